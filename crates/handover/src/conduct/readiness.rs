//! Who waits for an instance to be ready, and what they are told.

use handover_proto::instance::{Input, Instance, WELCOME_WITHIN};
use handover_proto::message::ToInstance;
use handover_proto::phase::Mode;
use tokio::sync::oneshot;

use super::{Conduct, Surroundings};
use crate::error::ReadyError;
use crate::exclusive::OwnError;
use crate::ledger::lock;

/// How far `ready` or `own` has come.
#[derive(Debug)]
pub(super) enum Readiness {
    Waiting,
    Asked(Asker),
    Told,
    /// It will never be ready; the reason waits for whoever asks.
    Refused(Option<Refusal>),
}

/// Who waits for it.
#[derive(Debug)]
pub(super) enum Asker {
    Ready(oneshot::Sender<Result<(), ReadyError>>),
    Own(oneshot::Sender<Result<(), OwnError>>),
}

/// Why it will never be ready.
#[derive(Debug)]
pub(super) enum Refusal {
    Ready(ReadyError),
    Own(OwnError),
    /// Somebody has the lease; who, is found out when it is said.
    Busy,
}

/// It will not be ready, and finishes what it took.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) reason: Refusal,
    /// Somebody has asked it to leave since.
    pub(super) asked: bool,
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

impl Refusal {
    fn into_ready(self) -> ReadyError {
        match self {
            Self::Ready(error) => error,
            // Only an owner fails with those.
            Self::Own(_) | Self::Busy => ReadyError::Exclusive,
        }
    }

    fn into_own(self) -> OwnError {
        match self {
            Self::Ready(error) => error.into(),
            Self::Own(error) => error,
            Self::Busy => OwnError::Ended,
        }
    }
}

impl<S: Surroundings> Conduct<S> {
    pub(super) fn ask(&mut self, asker: Asker) {
        match &mut self.readiness {
            Readiness::Waiting => {
                self.readiness = Readiness::Asked(asker);
                self.warm();
            }
            Readiness::Asked(_) | Readiness::Told => {
                asker.answer(Err(Refusal::Ready(ReadyError::Twice)));
            }
            Readiness::Refused(reason) => {
                let reason = reason.take();
                asker.answer(Err(reason.unwrap_or(Refusal::Ready(ReadyError::Twice))));
            }
        }
    }

    /// Both the coordinator and the program must have spoken before the machine may hear it.
    pub(super) fn warm(&mut self) {
        let Readiness::Asked(asker) = &self.readiness else {
            return;
        };
        if !self.warming {
            return;
        }
        // Nobody says where there is no coordinator, or where it died before its welcome.
        let mode = self.said.map(|welcome| welcome.mode);
        match (asker, mode) {
            (Asker::Own(_), Some(Mode::Exclusive) | None) => self.warm_owner(),
            (Asker::Ready(_), Some(Mode::Overlap) | None) => {
                let claimed = lock(&self.core.pool).claimed();
                let mode = Mode::Overlap;
                self.inputs.push_back(Input::Warmed { claimed, mode });
            }
            (Asker::Own(_), Some(Mode::Overlap)) => self.fail(&OwnError::Overlap),
            (Asker::Ready(_), Some(Mode::Exclusive)) => self.fail(&ReadyError::Exclusive),
        }
    }

    fn fail(&mut self, error: &impl std::error::Error) {
        let reason = error.to_string();
        self.inputs.push_back(Input::Failed { reason });
    }

    /// Answers `ready` once the machine has become an incumbent and all it had to say is sent.
    pub(super) fn confirm_ready(&mut self) {
        if !matches!(self.machine, Instance::Incumbent(_))
            || !matches!(self.readiness, Readiness::Asked(_))
        {
            return;
        }
        if !self.supervised {
            // Nobody else could.
            self.core.stand(|standing| standing.committed = true);
            if self.core.host.is_some() && !self.enthroned {
                self.reconnect();
            }
        }
        if let Readiness::Asked(asker) = std::mem::replace(&mut self.readiness, Readiness::Told) {
            asker.answer(Ok(()));
        }
    }

    pub(super) fn refuse(&mut self, reason: Refusal) {
        match std::mem::replace(&mut self.readiness, Readiness::Refused(None)) {
            Readiness::Asked(asker) => asker.answer(Err(reason)),
            Readiness::Waiting => self.readiness = Readiness::Refused(Some(reason)),
            other => self.readiness = other,
        }
    }

    /// Why an instance that is not ready ends after this input.
    pub(super) fn refusal(&mut self, input: &Input) -> Option<Refusal> {
        let owner = self.owner.as_mut();
        match input {
            Input::Closed => Some(Refusal::Ready(ReadyError::CoordinatorGone)),
            Input::Terminate => Some(Refusal::Ready(ReadyError::Terminated)),
            Input::Said(ToInstance::Retire { .. }) => Some(Refusal::Ready(ReadyError::Terminated)),
            Input::Said(ToInstance::Dismiss { reason }) => {
                let reason = reason.clone();
                Some(Refusal::Ready(ReadyError::Dismissed { reason }))
            }
            Input::Tick => Some(Refusal::Ready(ReadyError::NoWelcome {
                within: WELCOME_WITHIN,
            })),
            Input::LeaseBusy => Some(Refusal::Busy),
            Input::Failed { .. } => match owner {
                Some(owner) => Some(Refusal::Own(owner.failure().unwrap_or(OwnError::Overlap))),
                None => Some(Refusal::Ready(ReadyError::Exclusive)),
            },
            _ => None,
        }
    }
}
