//! What an owner of data does for each exclusive effect of its machine, without a runtime: calls in
//! of effects and reports, steps out. Shared by all drivers.

mod leaving;
mod taking;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use handover_proto::event::DrainReport;
use handover_proto::identity::HandoverId;
use handover_proto::instance::Input;
use handover_proto::message::FromInstance;
use handover_proto::state::{ItemSpec, Need, Terms};

use super::OwnError;
use super::call::{Call, Caller, Hook, Report};
use crate::lease::{Gate, Lease, LeaseFile, Ownership};
use crate::service::ServiceError;
use crate::state::channel::{Channel, Event, Side};
use crate::state::{Chapter, State, StateBudget, StateWriter};

/// How reports reach the driver; from any thread.
pub(crate) type Tell = Arc<dyn Fn(Report) + Send + Sync>;

/// What the driver has to do next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Tell the machine.
    Input(Input),
    /// Tell the coordinator, for people.
    Say(FromInstance),
    /// The service serves again: accept, and tell the machine so.
    Resumed,
    /// The data is closed after a retirement: it is over.
    Closed(DrainReport),
    /// The service is gone and the lease is free: end with this code.
    Ended(u8),
}

/// The channel to the other instance of an attempt.
#[derive(Debug)]
enum Wire {
    /// Nobody was introduced.
    Absent,
    Open {
        channel: Channel,
        terms: Option<Terms>,
    },
    /// It will bring or take nothing more. The channel may still have to say why.
    Broken {
        reason: String,
        _channel: Option<Channel>,
    },
}

/// An effect that waits for what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Whether a base comes first.
    Warm {
        introduced: bool,
    },
    Activate {
        sealed: bool,
    },
}

/// A drain under way.
#[derive(Debug)]
struct Draining {
    report: DrainReport,
    returned: bool,
}

/// The end of a retirement with the lease.
#[derive(Debug)]
struct Closing {
    report: DrainReport,
    /// Until then writers may finish.
    until: Instant,
}

/// Lease, service and state of an instance that owns data, or waits to.
pub(crate) struct Owner {
    /// Absent once the service was told to go.
    caller: Option<Box<dyn Caller>>,
    tell: Tell,
    lease: Ownership,
    items: Vec<ItemSpec>,
    budget: StateBudget,
    /// Of the last call.
    serial: u64,
    running: Option<Hook>,
    wire: Wire,
    /// Of the last channel.
    number: u64,
    attempt: HandoverId,
    due: Due,
    /// The successor waits for our base.
    base_due: bool,
    base: Option<State>,
    delta: Option<State>,
    draining: Option<Draining>,
    /// Why the next seal must fail.
    undrained: Option<String>,
    /// When the seal must be through.
    seal_until: Option<Instant>,
    /// The seal hook is done, its end is on its way; given up then.
    flushing: Option<Instant>,
    /// The end of the state has gone out.
    sent: bool,
    /// The service has sealed, and not resumed since.
    sealed: bool,
    /// The way out has begun.
    retiring: bool,
    closing: Option<Closing>,
    /// Since when it has been our turn while somebody else has the lock.
    waiting: Option<Instant>,
    exiting: Option<u8>,
    /// What the program will be told if the machine now ends.
    failure: Option<OwnError>,
    steps: VecDeque<Step>,
}

impl Owner {
    pub(crate) fn new(
        caller: Box<dyn Caller>,
        tell: Tell,
        file: LeaseFile,
        items: Vec<ItemSpec>,
        budget: StateBudget,
    ) -> Self {
        Self {
            caller: Some(caller),
            tell,
            lease: Ownership::new(file),
            items,
            budget,
            serial: 0,
            running: None,
            wire: Wire::Absent,
            number: 0,
            attempt: HandoverId::default(),
            due: Due::Nothing,
            base_due: false,
            base: None,
            delta: None,
            draining: None,
            undrained: None,
            seal_until: None,
            flushing: None,
            sent: false,
            sealed: false,
            retiring: false,
            closing: None,
            waiting: None,
            exiting: None,
            failure: None,
            steps: VecDeque::new(),
        }
    }

    pub(crate) fn lease(&self) -> Lease {
        self.lease.lease()
    }

    pub(crate) fn gate(&self) -> Arc<Gate> {
        Arc::clone(self.lease.gate())
    }

    /// Whether it waits for the last permit, and for nothing else.
    pub(crate) fn waits_for_writers(&self) -> bool {
        let draining = self.draining.as_ref();
        let closing = self.closing.is_some() && self.running.is_none();
        closing || draining.is_some_and(|draining| draining.returned)
    }

    /// Whether a seal waits for its state to go out.
    pub(crate) const fn flushes(&self) -> bool {
        self.flushing.is_some()
    }

    /// What the program is to be told of a failure that ends it.
    pub(crate) fn failure(&mut self) -> Option<OwnError> {
        self.failure.take()
    }

    /// The error that says who has the lease.
    pub(crate) fn busy(&self) -> OwnError {
        self.lease.busy().into()
    }

    /// An item that must cross, if there is one.
    pub(crate) fn requires(&self) -> Option<&str> {
        let required = |item: &&ItemSpec| item.need == Need::Required;
        let item = self.items.iter().find(required)?;
        Some(&item.name)
    }

    /// When to look again although nothing happened.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let closing = self.closing.as_ref().map(|closing| closing.until);
        // Passed already: it waits for a hook.
        let closing = closing.filter(|_| self.running.is_none());
        self.flushing.into_iter().chain(closing).min()
    }

    /// The next thing to do; `None`: nothing now.
    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        if self.steps.is_empty() {
            self.take_next();
            self.base_next();
            self.leave_next();
        }
        self.steps.pop_front()
    }

    fn input(&mut self, input: Input) {
        self.steps.push_back(Step::Input(input));
    }

    fn call(&mut self, call: Call) {
        self.serial += 1;
        self.running = call.hook();
        match &self.caller {
            Some(caller) => caller.call(self.serial, call),
            None => self.running = None,
        }
    }

    /// The attempt that begins or goes on.
    pub(crate) fn attempt(&mut self, id: HandoverId) {
        self.attempt = id;
    }

    /// The coordinator brought us together with the other instance of an attempt.
    pub(crate) fn introduced(&mut self, id: HandoverId, socket: Option<OwnedFd>, side: Side) {
        self.attempt = id;
        if self.running == Some(Hook::Base) {
            self.call(Call::Rest);
        }
        self.number += 1;
        (self.sent, self.base_due) = (false, false);
        (self.base, self.delta) = (None, None);
        let (number, tell) = (self.number, Arc::clone(&self.tell));
        let opened = match socket {
            Some(socket) => Channel::open(
                socket,
                side,
                self.items.clone(),
                self.budget,
                move |event| {
                    tell(Report::Channel { number, event });
                },
            )
            .map_err(|error| format!("it cannot be opened: {error}")),
            None => Err("the coordinator announced it and sent no descriptor".into()),
        };
        self.wire = match opened {
            Ok(channel) => Wire::Open {
                channel,
                terms: None,
            },
            Err(reason) => Wire::Broken {
                reason,
                _channel: None,
            },
        };
    }

    /// Something happened.
    pub(crate) fn hear(&mut self, report: Report) {
        match report {
            Report::Done { serial, result } if serial == self.serial => {
                if let Some(hook) = self.running.take() {
                    self.done(hook, result);
                }
            }
            // It was cancelled, or its result is no longer wanted.
            Report::Done { .. } => {}
            Report::Dropped => self.dropped(),
            Report::Channel { number, event } if number == self.number => self.heard(event),
            // Of an earlier attempt (I13).
            Report::Channel { .. } => {}
            Report::Progress {
                chapter,
                done,
                total,
            } => self.progressed(chapter, done, total),
        }
    }

    fn done(&mut self, hook: Hook, result: Result<(), ServiceError>) {
        match hook {
            Hook::Warm => self.warmed(result),
            Hook::Activate => self.activated(result),
            Hook::Base => {
                if let Err(error) = result {
                    tracing::warn!(%error, "the base hook failed; the handover cannot be");
                    self.break_off(format!(
                        "the base hook of the older instance failed: {error}"
                    ));
                }
            }
            Hook::Drain => self.hook_drained(result),
            Hook::Seal => self.hook_sealed(result),
            Hook::Resume => self.resumed(result),
        }
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::Agreed(agreed) => self.agreed(agreed),
            Event::Disagreed(reason) => {
                tracing::warn!(reason, "the two versions cannot pass state");
                self.breaks(reason.clone());
                self.fail(OwnError::Mismatch { reason });
            }
            Event::Base(state) => self.base = Some(state),
            Event::Complete(state) => self.delta = Some(state),
            Event::Sent => self.state_sent(),
            Event::Ended => self.breaks("the other instance closed it".into()),
            Event::Broken(reason) => {
                self.breaks(reason.clone());
                self.fail(OwnError::State { reason });
            }
        }
    }

    /// Both manifests are known: the incumbent's base comes next.
    fn agreed(&mut self, agreed: Terms) {
        if let Wire::Open { terms, .. } = &mut self.wire {
            *terms = Some(agreed);
        }
        self.base_due = self.lease.held().is_some();
    }

    /// A writer to the other instance, if it takes anything.
    fn writer(&self, chapter: Chapter) -> Option<StateWriter> {
        let Wire::Open {
            channel,
            terms: Some(terms),
        } = &self.wire
        else {
            return None;
        };
        let tell = Arc::clone(&self.tell);
        Some(channel.writer(terms, chapter, move |done, total| {
            tell(Report::Progress {
                chapter,
                done,
                total,
            });
        }))
    }

    /// The channel is of no use any more.
    fn breaks(&mut self, reason: String) {
        if self.running == Some(Hook::Base) {
            tracing::info!(reason, "the successor is gone; its base is given up");
            self.call(Call::Rest);
        }
        self.base_due = false;
        let channel = match std::mem::replace(&mut self.wire, Wire::Absent) {
            Wire::Open { channel, .. } => Some(channel),
            Wire::Broken { _channel, .. } => _channel,
            Wire::Absent => None,
        };
        if self.flushing.take().is_some() {
            self.seal_failed(reason.clone());
        }
        self.wire = Wire::Broken {
            reason,
            _channel: channel,
        };
    }

    /// Tells the other instance that nothing more comes, and why.
    fn break_off(&mut self, reason: String) {
        if let Wire::Open { channel, .. } = &self.wire {
            channel.refuse(&reason);
        }
        self.breaks(reason);
    }

    fn progressed(&mut self, chapter: Chapter, done: u64, total: u64) {
        let id = self.attempt;
        self.steps.push_back(Step::Say(match chapter {
            Chapter::Delta => FromInstance::SealProgress { id, done, total },
            Chapter::Base => FromInstance::Status {
                text: format!("base: {done} of {total}"),
            },
        }));
    }

    /// The machine wants to end the process: the service goes first, then the lease.
    pub(crate) fn exit(&mut self, code: u8) {
        self.exiting = Some(code);
        self.due = Due::Nothing;
        if self.caller.take().is_none() {
            self.dropped();
        }
    }

    fn dropped(&mut self) {
        self.caller = None;
        self.running = None;
        self.wire = Wire::Absent;
        if let Err(error) = self.lease.release() {
            tracing::warn!(%error, "the data directory stays locked until this process ends");
        }
        self.lease.hand_over();
        match self.exiting.take() {
            Some(code) => self.steps.push_back(Step::Ended(code)),
            None => self.input(Input::Failed {
                reason: "the service is gone: dropping it, or its task, panicked".into(),
            }),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Nobody has seen the service go, so something of it may still write (I2).
        if self.lease.held().is_some() {
            self.lease.keep_until_exit();
        }
    }
}

/// How a failed hook reads to people.
fn words(hook: &str, error: &ServiceError) -> String {
    format!("the {hook} hook failed: {error}")
}
