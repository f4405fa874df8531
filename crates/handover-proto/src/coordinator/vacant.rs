//! Nobody serves; a start is due, or waits for a request. The listeners stay open, so that clients wait in the backlog.

use super::core::Core;
use super::{Input, State, stopping};
use crate::moment::Moment;
use crate::outcome::Refusal;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vacant {
    /// Absent where somebody is there who mends what failed.
    pub(super) restart_at: Option<Moment>,
}

impl Vacant {
    pub(super) fn handle(self, core: &mut Core, now: Moment, input: Input) -> State {
        match input {
            Input::Upgrade {
                request,
                candidate,
                when_busy: _,
            } => core.begin(now, candidate, request, None),
            Input::Tick if self.restart_at.is_some_and(|at| now >= at) => {
                let candidate = core.current;
                core.begin(now, candidate, None, None)
            }
            Input::Stop { how } => stopping::begin(core, now, how, []),
            Input::Undo { request } => {
                core.refuse(request, Refusal::NothingToUndo);
                State::Vacant(self)
            }
            Input::RecordFailed { reason } => {
                core.unrecorded(&reason);
                State::Vacant(self)
            }
            Input::Tick
            | Input::Cancel
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. } => State::Vacant(self),
        }
    }
}
