//! A sealed instance without a coordinator: how long it waits for the lease, and what it does then.

use handover_proto::event::DrainReport;
use handover_proto::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use handover_proto::instance::{
    Effect, Identity, Incumbent, Input, RECLAIM_EVERY, RECLAIM_WITHIN, STAND_BY_EVERY, STAND_BY_FOR,
};
use handover_proto::message::ToInstance;
use handover_proto::moment::{Machine, Moment};

const ID: HandoverId = HandoverId::new(1, 2);

fn effects(machine: &mut Incumbent) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

/// It gave up its lease and waits for what becomes of the handover.
fn sealed() -> Incumbent {
    let identity = Identity {
        instance: InstanceId(1),
        pid: InstancePid(100),
    };
    let mut machine = Incumbent::alone(identity, Some(Epoch(1)));
    let (id, within_ms) = (ID, 1000);
    let report = DrainReport::default();
    for input in [
        Input::Connected,
        Input::Said(ToInstance::Drain { id, within_ms }),
        Input::Drained { report },
        Input::Said(ToInstance::Seal { id }),
        Input::Sealed,
    ] {
        machine.handle(Moment::ZERO, input);
    }
    effects(&mut machine);
    assert_eq!(machine.state_name(), "Sealed");
    machine
}

/// Tries for a lease that stays held until `until`; how many tries that were, and the last.
fn try_until(machine: &mut Incumbent, until: Moment) -> (usize, Moment) {
    let (mut tries, mut now) = (0, Moment::ZERO);
    while let Some(next) = machine.next_deadline() {
        if next > until {
            break;
        }
        now = next;
        machine.handle(now, Input::Tick);
        assert_eq!(effects(machine), [Effect::Acquire]);
        tries += 1;
        machine.handle(now, Input::LeaseBusy);
    }
    (tries, now)
}

#[test]
fn i11_it_takes_the_lease_when_the_successor_dies_a_minute_later() {
    let mut machine = sealed();
    machine.handle(Moment::ZERO, Input::Closed);
    assert_eq!(effects(&mut machine), [Effect::Acquire]);
    machine.handle(Moment::ZERO, Input::LeaseBusy);
    let minute = Moment::ZERO + STAND_BY_FOR / 2;
    let (tries, now) = try_until(&mut machine, minute);
    // Often while the coordinator may only be restarting, seldom after that.
    let often = RECLAIM_WITHIN.as_millis() / RECLAIM_EVERY.as_millis();
    let seldom = (STAND_BY_FOR / 2 - RECLAIM_WITHIN).as_millis() / STAND_BY_EVERY.as_millis();
    let expected = usize::try_from(often + seldom).expect("few");
    assert!(
        tries.abs_diff(expected) <= 2,
        "{tries} tries, {expected} expected"
    );

    let epoch = Epoch(3);
    machine.handle(now, Input::LeaseAcquired { epoch });
    let lease = Some(epoch);
    assert_eq!(effects(&mut machine), [Effect::Resume { lease }]);
    machine.handle(now, Input::Resumed);
    assert!(machine.serves());
    assert_eq!(effects(&mut machine), [Effect::Reconnect]);
}

#[test]
fn it_goes_by_its_ladder_when_the_successor_keeps_the_lease() {
    let mut machine = sealed();
    machine.handle(Moment::ZERO, Input::Closed);
    effects(&mut machine);
    machine.handle(Moment::ZERO, Input::LeaseBusy);
    let end = Moment::ZERO + STAND_BY_FOR;
    let (_, now) = try_until(&mut machine, end);
    assert_eq!(now, end);
    assert!(matches!(effects(&mut machine)[..], [Effect::Retire { .. }]));
    assert_eq!(machine.may_write(), None);
}

/// Responses in flight need no lease.
#[test]
fn sigterm_does_not_cut_what_is_in_flight() {
    let mut machine = sealed();
    machine.handle(Moment::ZERO, Input::Terminate);
    assert!(matches!(effects(&mut machine)[..], [Effect::Retire { .. }]));
    let report = DrainReport::default();
    machine.handle(Moment::ZERO, Input::Retired { report });
    assert!(effects(&mut machine).contains(&Effect::Exit { code: 0 }));
}
