//! A successor's part: warm, acquire, activate. And taking back: acquire, resume.

use std::time::{Duration, Instant};

use handover_proto::instance::Input;
use handover_proto::phase::Mode;
use handover_proto::state::Need;

use super::{Call, Due, Hook, OwnError, Owner, ServiceError, Step, Wire, words};
use crate::lease::Attempt;
use crate::state::State;

/// How long a successor whose turn it is waits for a lock that somebody holds, before it fails and
/// names the holder. The one before us has released it already; what is left of a killed process
/// takes a moment. Longer than an instance tries that has lost its coordinator.
const HELD_WITHIN: Duration = Duration::from_secs(5);

impl Owner {
    /// Runs the warm hook, once the base is here if one comes.
    pub(crate) fn warm(&mut self, introduced: bool) {
        self.due = Due::Warm { introduced };
    }

    /// The coordinator is gone: nobody will introduce us any more.
    pub(crate) fn uninvited(&mut self) {
        if let (Due::Warm { introduced }, Wire::Absent) = (&mut self.due, &self.wire) {
            *introduced = false;
        }
    }

    /// Tries to take the lease.
    pub(crate) fn acquire(&mut self) -> Input {
        match self.lease.try_acquire() {
            Ok(Attempt::Acquired(epoch)) => {
                self.lease.hold();
                Input::LeaseAcquired { epoch }
            }
            Ok(Attempt::Busy) => {
                if self.sealed {
                    // Taking back came too late: requests that wait belong to whoever has it.
                    self.lease.hand_over();
                    return Input::LeaseBusy;
                }
                self.held_elsewhere()
            }
            // Whoever takes back tries again; whoever waits for its turn gives up.
            Err(error) if self.sealed => {
                tracing::error!(%error, "the lease cannot be taken back yet");
                Input::LeaseBusy
            }
            Err(error) => {
                let reason = error.to_string();
                self.failure = Some(error.into());
                Input::Failed { reason }
            }
        }
    }

    /// It is our turn, yet somebody has the lock: not for long, or nobody of this handover.
    fn held_elsewhere(&mut self) -> Input {
        let since = *self.waiting.get_or_insert_with(Instant::now);
        if since.elapsed() < HELD_WITHIN {
            return Input::LeaseBusy;
        }
        let error = self.busy();
        let reason = error.to_string();
        self.failure = Some(error);
        Input::Failed { reason }
    }

    /// Runs the activate hook, once the sealed state is here if there is one. Not sealed means
    /// that nobody heard the incumbent say so before it died; what it had sealed and sent counts.
    pub(crate) fn activate(&mut self, sealed: bool) {
        self.due = Due::Activate { sealed };
    }

    /// Runs the resume hook.
    pub(crate) fn resume(&mut self) {
        (self.draining, self.undrained, self.flushing) = (None, None, None);
        self.sealed = false;
        self.wire = Wire::Absent;
        self.number += 1;
        let lease = self.lease();
        self.call(Call::Resume(lease));
    }

    /// Does what is due, if what it waits for is here.
    pub(super) fn take_next(&mut self) {
        match self.due {
            Due::Nothing => {}
            Due::Warm { introduced: false } => self.call_warm(State::default()),
            Due::Warm { introduced: true } => {
                if let Some(base) = self.base.take() {
                    self.call_warm(base);
                } else if matches!(self.wire, Wire::Broken { .. }) {
                    // The incumbent may be dead; then this instance is all there is (I11). If it is
                    // not, its seal fails, since it has no channel either.
                    tracing::warn!("no base arrived; warming without");
                    self.call_warm(State::default());
                }
            }
            Due::Activate { sealed: false } => self.activate_unsealed(),
            Due::Activate { sealed: true } => self.activate_sealed(),
        }
    }

    fn call_warm(&mut self, base: State) {
        self.due = Due::Nothing;
        self.call(Call::Warm(base));
    }

    fn call_activate(&mut self, state: State) {
        self.due = Due::Nothing;
        let lease = self.lease();
        self.call(Call::Activate(lease, state));
    }

    /// The lease is ours, so the incumbent has ended, or has sealed and sent all there is: what is
    /// on the channel ends soon, either way.
    fn activate_unsealed(&mut self) {
        match (self.delta.take(), &self.wire) {
            (Some(state), _) => self.call_activate(state),
            (None, Wire::Open { .. }) => {}
            (None, Wire::Absent | Wire::Broken { .. }) => self.call_activate(State::default()),
        }
    }

    fn activate_sealed(&mut self) {
        if let Some(state) = self.delta.take() {
            return self.call_activate(state);
        }
        match &self.wire {
            // On its way.
            Wire::Open { .. } => {}
            Wire::Broken { reason, .. } => {
                let reason = reason.clone();
                self.fail(OwnError::State { reason });
            }
            Wire::Absent => {
                let required = self.items.iter().find(|item| item.need == Need::Required);
                match required {
                    None => self.call_activate(State::default()),
                    Some(item) => {
                        let reason = format!(
                            "item {:?} is required and the coordinator introduced nobody",
                            item.name
                        );
                        self.fail(OwnError::State { reason });
                    }
                }
            }
        }
    }

    /// A successor cannot go on; an incumbent's failures are its seal's.
    pub(super) fn fail(&mut self, error: OwnError) {
        let waits = !matches!(self.due, Due::Nothing) || self.running == Some(Hook::Warm);
        if waits {
            self.due = Due::Nothing;
            self.input(Input::Failed {
                reason: error.to_string(),
            });
            self.failure = Some(error);
        }
    }

    pub(super) fn warmed(&mut self, result: Result<(), ServiceError>) {
        match result {
            // The driver knows what was claimed.
            Ok(()) => self.input(Input::Warmed {
                claimed: Vec::new(),
                mode: Mode::Exclusive,
            }),
            Err(error) => {
                self.input(Input::Failed {
                    reason: words("warm", &error),
                });
                self.failure = Some(OwnError::Warm(error));
            }
        }
    }

    pub(super) fn activated(&mut self, result: Result<(), ServiceError>) {
        match result {
            Ok(()) => {
                self.wire = Wire::Absent;
                self.lease.open();
                self.input(Input::Activated);
            }
            Err(error) => {
                self.input(Input::Failed {
                    reason: words("activate", &error),
                });
                self.failure = Some(OwnError::Activate(error));
            }
        }
    }

    pub(super) fn resumed(&mut self, result: Result<(), ServiceError>) {
        match result {
            Ok(()) => {
                self.lease.open();
                self.steps.push_back(Step::Resumed);
            }
            Err(error) => {
                let reason = words("resume", &error);
                tracing::error!(reason, "this instance cannot serve any more");
                self.input(Input::Failed { reason });
            }
        }
    }

    /// The lease is committed to us, or to the other one for good.
    pub(crate) fn committed(&mut self) {
        if self.lease.held().is_none() {
            self.lease.hand_over();
        } else if let Err(error) = self.lease.reserve() {
            tracing::warn!(%error, "epochs for later owners could not be reserved");
        }
    }
}
