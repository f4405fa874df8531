//! An incumbent's part: drain, seal, release. And the end of a retirement.

use std::time::{Duration, Instant};

use handover_proto::event::DrainReport;
use handover_proto::instance::Input;

use super::{Call, Closing, Draining, Hook, Owner, ServiceError, Step, Wire, words};
use crate::state::{Chapter, StateWriter};

impl Owner {
    /// Begins with the base, once no other hook runs.
    pub(super) fn base_next(&mut self) {
        if !self.base_due || self.running.is_some() || self.draining.is_some() {
            return;
        }
        self.base_due = false;
        if self.retiring || self.exiting.is_some() {
            return self.leave_alone();
        }
        if let Some(writer) = self.writer(Chapter::Base) {
            self.call(Call::Base(writer));
        }
    }

    /// Holds writers back and runs the drain hook. Listeners are the driver's, and paused already.
    pub(crate) fn drain(&mut self, within: Duration) {
        self.lease.freeze();
        self.draining = Some(Draining {
            report: DrainReport::default(),
            returned: false,
        });
        self.undrained = None;
        self.call(Call::Drain(within));
    }

    /// The listeners are paused; so much is open.
    pub(crate) fn paused(&mut self, report: DrainReport) {
        if let Some(draining) = &mut self.draining {
            draining.report = report;
        }
    }

    pub(super) fn hook_drained(&mut self, result: Result<(), ServiceError>) {
        if let Err(error) = result {
            // There is no word for it before the seal, which comes next and says it.
            self.undrained = Some(words("drain", &error));
        }
        if let Some(draining) = &mut self.draining {
            draining.returned = true;
        }
    }

    /// Runs the seal hook, unless the seal has failed already.
    pub(crate) fn seal(&mut self) {
        if let Some(reason) = self.undrained.take() {
            return self.seal_failed(reason);
        }
        self.sent = false;
        self.seal_until = Some(Instant::now() + self.budget.time);
        let writer = match &self.wire {
            Wire::Absent => self.discarding(),
            Wire::Broken { reason, .. } => {
                let reason = format!("the state channel to the successor: {reason}");
                return self.seal_failed(reason);
            }
            Wire::Open { .. } => match self.writer(Chapter::Delta) {
                Some(writer) => writer,
                None => {
                    let reason = "the successor has not said what state it reads".into();
                    return self.seal_failed(reason);
                }
            },
        };
        self.call(Call::Seal(writer));
    }

    /// A successor gets nothing from us any more. It finds the channel closed, as if we had died, and
    /// goes on without: we end, so that one that failed for it would leave nobody (I11).
    fn leave_alone(&mut self) {
        self.base_due = false;
        if let Wire::Open { .. } = self.wire {
            self.wire = Wire::Broken {
                reason: "the older instance is stopping".into(),
                _channel: None,
            };
        }
    }

    fn discarding(&self) -> StateWriter {
        StateWriter::discarding(&self.items, Chapter::Delta, self.budget)
    }

    pub(super) fn seal_failed(&mut self, reason: String) {
        self.input(Input::SealFailed { reason });
    }

    pub(super) fn hook_sealed(&mut self, result: Result<(), ServiceError>) {
        match result {
            Err(error) if self.closing.is_some() => {
                tracing::error!(
                    %error,
                    "the data could not be sealed; the directory stays locked until this process ends"
                );
                self.closed();
            }
            Err(error) => {
                let reason = words("seal", &error);
                self.break_off(reason.clone());
                self.seal_failed(reason);
            }
            Ok(()) => {
                self.sealed = true;
                match &self.wire {
                    Wire::Open { .. } if !self.sent => {
                        self.flushing = self.seal_until;
                    }
                    Wire::Open { .. } | Wire::Absent => self.input(Input::Sealed),
                    Wire::Broken { reason, .. } => {
                        let reason = format!("the state channel to the successor: {reason}");
                        self.seal_failed(reason);
                    }
                }
            }
        }
    }

    /// Everything is in the kernel's hands.
    pub(super) fn state_sent(&mut self) {
        self.sent = true;
        if self.flushing.take().is_some() {
            self.input(Input::Sealed);
        }
    }

    /// Nobody waits for the seal any more.
    pub(crate) fn give_up_flush(&mut self) {
        if self.flushing.is_some() {
            self.break_off("the handover was aborted".into());
        }
    }

    /// Gives the lease up (I3: the seal has succeeded).
    pub(crate) fn release(&mut self) {
        if let Err(error) = self.lease.release() {
            // Writers were awaited before the seal, and none was let in since.
            tracing::error!(%error, "the lease could not be released");
        }
        self.wire = Wire::Absent;
    }

    /// The way out has begun. Whoever serves lets requests in flight go on writing; whoever was
    /// handing over sends them away.
    pub(crate) fn retire(&mut self) {
        self.retiring = true;
        if matches!(self.running, Some(Hook::Base | Hook::Drain)) {
            self.call(Call::Rest);
        }
        self.draining = None;
        // What was sealed is on its way.
        if !self.sealed && self.running != Some(Hook::Seal) {
            self.leave_alone();
        }
        if !self.lease.gate().is_open() {
            self.lease.hand_over();
        }
    }

    /// The ladder is over: the data is closed before the end is told.
    pub(crate) fn close(&mut self, report: DrainReport) {
        self.lease.hand_over();
        self.closing = Some(Closing {
            report,
            until: Instant::now() + crate::drain::SETTLE,
        });
    }

    /// The report of a retirement whose data is being closed.
    pub(crate) fn closing(&self) -> Option<DrainReport> {
        self.closing.as_ref().map(|closing| closing.report)
    }

    /// Goes on with what waits for writers, hooks or time.
    pub(super) fn leave_next(&mut self) {
        let writers = self.lease.gate().permits();
        if writers == 0
            && let Some(draining) = self.draining.take_if(|draining| draining.returned)
        {
            let report = draining.report;
            self.input(Input::Drained { report });
        }
        let now = Instant::now();
        if self.flushing.is_some_and(|until| now >= until) {
            let allowed = self.budget.time;
            let reason = crate::state::StateError::TooLate { allowed }.to_string();
            self.break_off(reason);
        }
        if self.closing.is_some() {
            self.close_next(writers, now);
        }
    }

    fn close_next(&mut self, writers: usize, now: Instant) {
        if self.running.is_some() {
            return;
        }
        if self.lease.held().is_none() || self.caller.is_none() {
            return self.closed();
        }
        if self.sealed {
            self.release();
            return self.closed();
        }
        let Some(closing) = &self.closing else { return };
        if writers == 0 {
            let writer = self.discarding();
            self.wire = Wire::Absent;
            return self.call(Call::Seal(writer));
        }
        if now >= closing.until {
            tracing::error!(
                writers,
                "writes are still under way after the drain; the data is not sealed, and the \
                 directory stays locked until this process ends"
            );
            self.closed();
        }
    }

    fn closed(&mut self) {
        if let Some(Closing { report, .. }) = self.closing.take() {
            self.steps.push_back(Step::Closed(report));
        }
    }
}
