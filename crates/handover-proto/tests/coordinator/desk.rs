//! A coordinator told by hand what an exclusive service says.

use std::time::Duration;

use handover_proto::coordinator::{Coordinator, Effect, Input, Signal};
use handover_proto::event::{DrainReport, EventKind};
use handover_proto::identity::{
    CandidateId, Epoch, HandoverId, InstanceId, InstancePid, RequestId,
};
use handover_proto::journal::Record;
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::outcome::Outcome;
use handover_proto::phase::{Mode, Phase};
use handover_proto::settings::{Settings, WhenBusy};

pub(crate) const OLD: InstanceId = InstanceId(1);
pub(crate) const NEW: InstanceId = InstanceId(2);
/// The attempts of a first coordinator: a start, an upgrade, an undo.
pub(crate) const UPGRADE: HandoverId = HandoverId::new(1, 2);
pub(crate) const UNDO: HandoverId = HandoverId::new(1, 3);
pub(crate) const REQUEST: RequestId = RequestId(7);

/// A coordinator whose effects are kept, and whose journal is always written.
pub(crate) struct Desk {
    pub(crate) machine: Coordinator,
    pub(crate) now: Moment,
    pub(crate) journal: Option<Record>,
    pub(crate) said: Vec<(InstanceId, ToInstance)>,
    pub(crate) signals: Vec<(InstanceId, Signal)>,
    pub(crate) events: Vec<EventKind>,
    pub(crate) answers: Vec<Outcome>,
}

impl Desk {
    pub(crate) fn new(machine: Coordinator, now: Moment) -> Self {
        let mut desk = Self {
            machine,
            now,
            journal: None,
            said: Vec::new(),
            signals: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
        };
        desk.settle();
        desk
    }

    pub(crate) fn settle(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::Record(record) => self.journal = Some(record),
                Effect::Spawn { instance, .. } => {
                    let pid = pid(instance);
                    self.machine
                        .handle(self.now, Input::Spawned { instance, pid });
                }
                Effect::Send { to, message } => self.said.push((to, message)),
                Effect::Signal { to, signal } => self.signals.push((to, signal)),
                Effect::Report(kind) => self.events.push(kind),
                Effect::Finish { outcome, .. } => self.answers.push(outcome),
                Effect::Exit { .. } => {}
            }
        }
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.machine.handle(self.now, input);
        self.settle();
    }

    pub(crate) fn hear(&mut self, instance: InstanceId, message: FromInstance) {
        self.tell(Input::Said { instance, message });
    }

    pub(crate) fn later(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// Lets its next deadline pass.
    pub(crate) fn expire(&mut self) {
        self.now = self.machine.next_deadline().expect("a deadline");
        self.tell(Input::Tick);
    }

    pub(crate) fn said(&mut self) -> Vec<(InstanceId, ToInstance)> {
        std::mem::take(&mut self.said)
    }

    pub(crate) fn phase(&self) -> Option<(Phase, bool)> {
        self.journal
            .as_ref()
            .map(|record| (record.phase, record.undo))
    }

    pub(crate) fn dark(&self) -> Option<Duration> {
        self.events.iter().rev().find_map(|event| match event {
            EventKind::HandoverFinished { dark, .. } => Some(*dark),
            _ => None,
        })
    }
}

pub(crate) fn pid(instance: InstanceId) -> InstancePid {
    InstancePid(100 + instance.0 as u32)
}

pub(crate) fn hello(instance: InstanceId, role: Role, lease: Option<Epoch>) -> FromInstance {
    FromInstance::Hello {
        instance,
        pid: pid(instance),
        role,
        oldest: 1,
        newest: 1,
        lease,
    }
}

pub(crate) fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        probation: Duration::from_secs(30),
        ..Settings::default()
    }
}

pub(crate) fn drained(id: HandoverId) -> FromInstance {
    let report = DrainReport::default();
    FromInstance::Drained { id, report }
}

pub(crate) fn ready() -> FromInstance {
    FromInstance::Ready {
        claimed: vec![],
        lease: None,
    }
}

pub(crate) fn resumed(id: HandoverId) -> FromInstance {
    FromInstance::Resumed { id, lease: None }
}

/// The first instance serves.
pub(crate) fn started(mode: Mode) -> Desk {
    let machine = Coordinator::new(Moment::ZERO, settings(mode), 1, CandidateId(1));
    let mut desk = Desk::new(machine, Moment::ZERO);
    desk.hear(OLD, hello(OLD, Role::Successor, None));
    if mode == Mode::Exclusive {
        desk.hear(OLD, FromInstance::Warmed);
    }
    desk.hear(OLD, ready());
    assert_eq!(desk.machine.state_name(), "Serving");
    desk.said();
    desk
}

/// The second one greeted.
pub(crate) fn greeted(mode: Mode) -> Desk {
    let mut desk = started(mode);
    desk.tell(Input::Upgrade {
        request: None,
        candidate: CandidateId(2),
        when_busy: WhenBusy::Queue,
    });
    desk.hear(NEW, hello(NEW, Role::Successor, None));
    desk
}

/// The second one is in probation, the first one parked.
pub(crate) fn probation(mode: Mode) -> Desk {
    let mut desk = greeted(mode);
    if mode == Mode::Exclusive {
        desk.hear(NEW, FromInstance::Warmed);
        desk.hear(OLD, drained(UPGRADE));
        desk.hear(OLD, FromInstance::Sealed { id: UPGRADE });
    }
    desk.hear(NEW, ready());
    assert_eq!(desk.machine.state_name(), "Probation");
    desk.said();
    desk.answers.clear();
    desk
}

pub(crate) fn undoing() -> Desk {
    let mut desk = probation(Mode::Exclusive);
    let request = Some(REQUEST);
    desk.tell(Input::Undo { request });
    assert_eq!(desk.machine.state_name(), "UndoDraining");
    desk
}

/// The undo as far as the parked instance being told to resume.
pub(crate) fn sealed() -> Desk {
    let mut desk = undoing();
    desk.hear(NEW, drained(UNDO));
    desk.hear(NEW, FromInstance::Sealed { id: UNDO });
    assert_eq!(desk.machine.state_name(), "UndoResuming");
    desk
}

pub(crate) fn serves(desk: &Desk, instance: InstanceId) {
    assert_eq!(desk.machine.state_name(), "Serving");
    let incumbent = desk.machine.incumbent().map(|member| member.instance);
    assert_eq!(incumbent, Some(instance));
}
