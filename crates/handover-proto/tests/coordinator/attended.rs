//! Where somebody is there who mends what fails, nothing is started unasked and nothing given up.

use crate::desk::*;

use handover_proto::coordinator::{Coordinator, Input};
use handover_proto::event::EventKind;
use handover_proto::identity::CandidateId;
use handover_proto::moment::Machine;
use handover_proto::moment::Moment;
use handover_proto::outcome::{Exit, Outcome};
use handover_proto::phase::{Mode, Phase};
use handover_proto::settings::{Settings, Stop, WhenBusy};

fn attended() -> Desk {
    let settings = Settings {
        attended: true,
        ..settings(Mode::Overlap)
    };
    let machine = Coordinator::new(Moment::ZERO, settings, 1, CandidateId(1));
    Desk::new(machine, Moment::ZERO)
}

fn ends(desk: &mut Desk, instance: handover_proto::identity::InstanceId) {
    let exit = Exit::Code(101);
    desk.tell(Input::Exited { instance, exit });
}

fn vacant(desk: &Desk) {
    assert_eq!(desk.machine.state_name(), "Vacant");
    assert_eq!(desk.machine.next_deadline(), None);
    assert_eq!(desk.phase(), Some((Phase::Vacant, false)));
    let gave_up = |event: &EventKind| {
        matches!(
            event,
            EventKind::GaveUp { .. } | EventKind::RestartScheduled { .. }
        )
    };
    assert!(!desk.events.iter().any(gave_up), "{:?}", desk.events);
}

fn mended(desk: &mut Desk) {
    desk.tell(Input::Upgrade {
        request: Some(REQUEST),
        candidate: CandidateId(1),
        when_busy: WhenBusy::Supersede,
    });
}

#[test]
fn a_first_start_that_fails_waits_to_be_mended() {
    let mut desk = attended();
    ends(&mut desk, OLD);
    vacant(&desk);
    mended(&mut desk);
    ends(&mut desk, NEW);
    vacant(&desk);
    assert!(matches!(desk.answers[..], [Outcome::NobodyServes { .. }]));
    mended(&mut desk);
    let third = NEW.next();
    desk.hear(third, ready());
    serves(&desk, third);
}

#[test]
fn a_crash_waits_to_be_mended_however_often() {
    let mut desk = attended();
    let mut instance = OLD;
    for _ in 0..20 {
        desk.hear(instance, ready());
        serves(&desk, instance);
        ends(&mut desk, instance);
        vacant(&desk);
        mended(&mut desk);
        instance = instance.next();
    }
    desk.tell(Input::Stop { how: Stop::Fast });
    ends(&mut desk, instance);
    assert!(desk.machine.is_stopped());
}
