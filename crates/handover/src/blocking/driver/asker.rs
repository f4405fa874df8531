//! Who waits for an instance to be ready.

use std::sync::mpsc::SyncSender;

use crate::driver::Refusal;
use crate::error::ReadyError;
use crate::exclusive::OwnError;

/// A thread that waits, by what it called.
#[derive(Debug)]
pub(in crate::blocking) enum Asker {
    Ready(SyncSender<Result<(), ReadyError>>),
    Own(SyncSender<Result<(), OwnError>>),
}

impl Asker {
    pub(super) fn answer(self, result: Result<(), Refusal>) {
        // Whoever does not wait any more does not need it.
        match self {
            Self::Ready(answer) => drop(answer.send(result.map_err(Refusal::into_ready))),
            Self::Own(answer) => drop(answer.send(result.map_err(Refusal::into_own))),
        }
    }
}
