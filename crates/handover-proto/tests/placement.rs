//! A successor whose coordinator is the incumbent itself: dismissed it goes, left it serves.

use std::time::Duration;

use handover_proto::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use handover_proto::instance::{
    Effect, Identity, Input, Instance, Placement, RECLAIM_EVERY, RECLAIM_WITHIN, Successor,
};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;

const ID: HandoverId = HandoverId::new(1, 2);
const LEASE: Epoch = Epoch(4);

fn effects(machine: &mut Instance) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

/// A successor after these inputs; what it wanted done is forgotten.
fn after(placement: Placement, inputs: &[Input]) -> Instance {
    let identity = Identity {
        instance: InstanceId(2),
        pid: InstancePid(200),
    };
    let successor = Successor::new(Moment::ZERO, identity, placement);
    let mut machine = Instance::Successor(successor);
    for input in inputs {
        machine.handle(Moment::ZERO, input.clone());
    }
    effects(&mut machine);
    machine
}

fn told(machine: &mut Instance, input: Input) -> Vec<Effect> {
    machine.handle(Moment::ZERO, input);
    effects(machine)
}

fn welcome(mode: Mode) -> Input {
    Input::Said(ToInstance::Welcome {
        version: 1,
        mode,
        incumbent: true,
        introduced: false,
    })
}

fn warmed(mode: Mode) -> Input {
    let claimed = vec!["http".to_owned()];
    Input::Warmed { claimed, mode }
}

fn dismiss() -> Input {
    let reason = "not ready in time".to_owned();
    Input::Said(ToInstance::Dismiss { reason })
}

/// What an instance does that became ready alone.
const SERVES: [Effect; 2] = [Effect::Committed, Effect::Reconnect];

/// Each state before it is ready, by the inputs that lead there.
fn states() -> Vec<(&'static str, Vec<Input>)> {
    let (id, sealed) = (ID, true);
    let activate = Input::Said(ToInstance::Activate { id, sealed });
    let way = [
        welcome(Mode::Exclusive),
        warmed(Mode::Exclusive),
        activate,
        Input::LeaseAcquired { epoch: LEASE },
    ];
    let names = ["Greeting", "Warming", "Warm", "Acquiring", "Activating"];
    let states = names.into_iter().enumerate();
    states
        .map(|(steps, name)| (name, way[..steps].to_vec()))
        .collect()
}

#[test]
fn a_dismissed_successor_goes_whatever_it_does() {
    for placement in [Placement::Supervisor, Placement::Incumbent] {
        for (name, inputs) in states() {
            let mut machine = after(placement, &inputs);
            assert_eq!(machine.state_name(), name);
            assert_eq!(told(&mut machine, dismiss()), [Effect::Exit { code: 1 }]);
            // What it reads next is the end of the channel, and too late.
            assert_eq!(told(&mut machine, Input::Closed), []);
            assert_eq!(machine.state_name(), "Exited");
        }
    }
}

/// It became ready as it was dismissed: the word of whoever decides counts, as a signal would.
#[test]
fn an_incumbent_that_is_dismissed_drains_and_goes() {
    let ready = [welcome(Mode::Overlap), warmed(Mode::Overlap)];
    let mut machine = after(Placement::Incumbent, &ready);
    assert!(machine.serves());
    let [Effect::Retire { .. }] = told(&mut machine, dismiss())[..] else {
        panic!("it serves on");
    };
    assert_eq!(machine.state_name(), "Retiring");
    assert_eq!(told(&mut machine, dismiss()), []);
}

#[test]
fn i11_left_before_the_welcome_it_serves_as_the_program_wants_to() {
    let mut machine = after(Placement::Incumbent, &[]);
    assert_eq!(told(&mut machine, Input::Closed), [Effect::Warm]);
    assert_eq!(told(&mut machine, warmed(Mode::Overlap)), SERVES);
    assert!(machine.serves());

    let mut machine = after(Placement::Incumbent, &[Input::Closed]);
    let tries = told(&mut machine, warmed(Mode::Exclusive));
    assert_eq!(tries, [Effect::Acquire]);
}

#[test]
fn i11_left_while_it_warms_or_waits_it_takes_the_lease() {
    for steps in [1, 2] {
        let (_, inputs) = states().swap_remove(steps);
        let mut machine = after(Placement::Incumbent, &inputs);
        let mut all = told(&mut machine, Input::Closed);
        all.extend(told(&mut machine, warmed(Mode::Exclusive)));
        assert_eq!(all, [Effect::Acquire], "after {steps}");
        let (lease, sealed) = (LEASE, false);
        assert_eq!(
            told(&mut machine, Input::LeaseAcquired { epoch: LEASE }),
            [Effect::Activate { lease, sealed }]
        );
        assert_eq!(told(&mut machine, Input::Activated), SERVES);
        assert!(machine.serves());
    }
}

#[test]
fn i11_left_after_it_was_told_to_activate_it_goes_on() {
    for (name, inputs) in states().split_off(3) {
        let mut machine = after(Placement::Incumbent, &inputs);
        let mut all = told(&mut machine, Input::Closed);
        if name == "Acquiring" {
            all.extend(told(&mut machine, Input::LeaseAcquired { epoch: LEASE }));
            let (lease, sealed) = (LEASE, true);
            assert_eq!(all, [Effect::Activate { lease, sealed }]);
        }
        assert_eq!(told(&mut machine, Input::Activated), SERVES);
        assert!(machine.serves(), "{name}");
    }
}

/// I5: the incumbent lives after all, and so it has the lease.
#[test]
fn i5_left_by_an_incumbent_that_lives_it_goes() {
    let (_, inputs) = states().swap_remove(2);
    let mut machine = after(Placement::Incumbent, &inputs);
    let mut now = Moment::ZERO;
    machine.handle(now, Input::Closed);
    assert_eq!(effects(&mut machine), [Effect::Acquire]);
    let until = now + RECLAIM_WITHIN + RECLAIM_EVERY;
    loop {
        machine.handle(now, Input::LeaseBusy);
        let Some(next) = machine.next_deadline() else {
            break;
        };
        assert!(next <= until, "it tries for ever");
        now = next;
        machine.handle(now, Input::Tick);
        assert_eq!(effects(&mut machine), [Effect::Acquire]);
    }
    assert_eq!(effects(&mut machine), [Effect::Exit { code: 1 }]);
    assert!(now.since(Moment::ZERO) >= RECLAIM_WITHIN - Duration::from_millis(1));
}

/// I5: beside a supervisor the incumbent outlives the channel.
#[test]
fn i5_left_by_a_supervisor_it_goes_while_somebody_serves() {
    for (name, inputs) in states().drain(..3) {
        let mut machine = after(Placement::Supervisor, &inputs);
        let exit = [Effect::Exit { code: 1 }];
        assert_eq!(told(&mut machine, Input::Closed), exit, "{name}");
    }
}

/// Whoever serves alone tells the next coordinator so.
#[test]
fn alone_it_greets_a_coordinator_as_the_incumbent() {
    let inputs = [Input::Closed, warmed(Mode::Overlap)];
    let mut machine = after(Placement::Incumbent, &inputs);
    let said = told(&mut machine, Input::Connected);
    assert!(
        matches!(said[..], [Effect::Send(FromInstance::Hello { .. })]),
        "{said:?}"
    );
}

/// Between its readiness and the commit: who is left commits itself.
#[test]
fn i6_left_before_the_commit_it_is_committed() {
    let ready = [welcome(Mode::Overlap), warmed(Mode::Overlap)];
    let mut machine = after(Placement::Incumbent, &ready);
    assert_eq!(told(&mut machine, Input::Closed), SERVES);
    // A new supervisor may still decide for the one before it.
    let mut machine = after(Placement::Supervisor, &ready);
    assert_eq!(told(&mut machine, Input::Closed), [Effect::Reconnect]);
}
