//! Who is introduced to whom, and when nobody is.

use crate::desk::*;

use handover_proto::coordinator::Input;
use handover_proto::identity::{CandidateId, Epoch, InstanceId};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use handover_proto::settings::WhenBusy;

#[test]
fn both_are_introduced_before_the_successor_warms() {
    let mut desk = greeted(Mode::Exclusive);
    let welcome = ToInstance::Welcome {
        version: 1,
        mode: Mode::Exclusive,
        incumbent: true,
        introduced: true,
    };
    let introduce = ToInstance::Introduce { id: UPGRADE };
    assert_eq!(
        desk.said(),
        [(NEW, welcome), (OLD, introduce.clone()), (NEW, introduce)]
    );
    // In overlap mode nothing crosses.
    let said = greeted(Mode::Overlap).said();
    assert!(
        matches!(
            said[..],
            [(
                NEW,
                ToInstance::Welcome {
                    introduced: false,
                    ..
                }
            )]
        ),
        "{said:?}"
    );
}

#[test]
fn nobody_is_introduced_to_an_incumbent_that_cannot_be_told() {
    let mut desk = started(Mode::Exclusive);
    desk.tell(Input::Closed { instance: OLD });
    desk.tell(Input::Upgrade {
        request: None,
        candidate: CandidateId(2),
        when_busy: WhenBusy::Queue,
    });
    desk.hear(NEW, hello(NEW, Role::Successor, None));
    let said = desk.said();
    assert!(
        matches!(
            said[..],
            [(
                NEW,
                ToInstance::Welcome {
                    introduced: false,
                    ..
                }
            )]
        ),
        "{said:?}"
    );
    // It comes back too late: nothing it has in memory could cross, so it serves on.
    desk.hear(OLD, hello(OLD, Role::Incumbent, Some(Epoch(1))));
    desk.hear(NEW, FromInstance::Warmed);
    serves(&desk, OLD);
    let sent_on = |(_, message): &(InstanceId, ToInstance)| {
        matches!(
            message,
            ToInstance::Introduce { .. } | ToInstance::Drain { .. }
        )
    };
    assert!(!desk.said().iter().any(sent_on));
}
