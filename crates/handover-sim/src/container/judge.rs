//! C1 to C5, in every state.

use handover_proto::container::BootId;
use handover_proto::container::envelope::Envelope;
use handover_proto::container::event::Event;
use handover_proto::container::message::Message;
use handover_proto::container::peer::{Effect, Input, Peer, Phase};
use handover_proto::moment::{Machine, Moment};

use super::fault::Fault;
use super::world::{Program, Side, World};
use crate::broken::Broken;

/// Whether an instance can still come to serve without anybody's help.
fn has_a_way_back(side: &Side) -> bool {
    match side.machine.phase() {
        Phase::Serving | Phase::Asking | Phase::Draining | Phase::Probation | Phase::TakingBack => {
            true
        }
        Phase::Warming | Phase::Stranded | Phase::Retired | Phase::Leaving | Phase::Left => false,
    }
}

fn serves(side: &Side) -> bool {
    side.alive && side.machine.phase().serves()
}

/// C1: somebody serves; with a death, or a program that failed, somebody serves or is about to.
pub(super) fn somebody_serves(world: &World) -> Result<(), Broken> {
    let sides = || world.sides.iter().filter(|side| side.was_ready);
    if sides().next().is_none() || sides().any(serves) {
        return Ok(());
    }
    if !world.disturbed() {
        return Err(Broken::new("C1", "all live, and nobody serves"));
    }
    let alive = || sides().filter(|side| side.alive);
    // Those that let go did so for somebody who was there: C2.
    let wait = || alive().filter(|side| side.completed.is_none());
    if wait().next().is_some() && !wait().any(has_a_way_back) {
        return Err(Broken::new("C1", "nobody serves, and nobody comes back"));
    }
    Ok(())
}

/// C2: the file is written once, after the drain, and upon an answer of the one it is written for,
/// to a question that was asked after the drain.
pub(super) fn may_complete(world: &World, at: usize, by: &Input) -> Result<(), Broken> {
    let side = &world.sides[at];
    if side.completed.is_some() {
        return Err(Broken::new("C2", "completed twice"));
    }
    if side.program != Program::Stopped {
        return Err(Broken::new("C2", "completed while the program serves"));
    }
    let Input::Heard(heard) = by else {
        return Err(Broken::new("C2", "completed without an answer"));
    };
    let Message::Confirm { handover, .. } = heard.message else {
        return Err(Broken::new("C2", "completed without a confirmation"));
    };
    let asked = side.asked.iter().find(|(name, _)| *name == handover);
    let fresh = asked.is_some_and(|(_, asked)| {
        side.clock.since(*asked) < side.machine.settings().silence
            && side.drained.is_some_and(|drained| *asked >= drained)
    });
    if !fresh {
        return Err(Broken::new("C2", "the confirmation is old"));
    }
    if !world.confirmed.contains(&(heard.from, handover)) {
        return Err(Broken::new("C2", "nobody gave that confirmation"));
    }
    Ok(())
}

/// C4: a datagram that was taken is not taken again, nor one of another service or device.
pub(super) fn c4_nothing_changes(
    machine: &Peer,
    now: Moment,
    heard: &Envelope,
    fault: Fault,
) -> Result<(), Broken> {
    let mut again = heard.clone();
    if fault == Fault::Replays {
        again.sequence += 1_000;
    }
    let mut service = heard.clone();
    service.sequence += 1_000;
    service.service = "another".into();
    let mut device = heard.clone();
    device.sequence += 1_000;
    device.order.boot = BootId([0xff; 16]);
    for strange in [again, service, device] {
        let mut told = machine.clone();
        let number = strange.sequence;
        told.handle(now, Input::Heard(strange));
        let effects: Vec<_> = std::iter::from_fn(|| told.poll_effect()).collect();
        let quiet = |effect: &Effect| matches!(effect, Effect::Report(Event::Elsewhere { .. }));
        if told.phase() != machine.phase() || !effects.iter().all(quiet) {
            let how = format!(
                "{} again or from elsewhere: {effects:?}",
                heard.message.name()
            );
            return Err(Broken::new("C4", how));
        }
        if number == heard.sequence && told != *machine {
            return Err(Broken::new(
                "C4",
                format!("{} changes", heard.message.name()),
            ));
        }
    }
    Ok(())
}

/// C3, and the must of C1: with fair delivery exactly one serves in the end, and the others let go.
pub(super) fn in_the_end(world: &World) -> Result<(), Broken> {
    let alive = || {
        world
            .sides
            .iter()
            .filter(|side| side.alive && side.was_ready)
    };
    let serving = alive().filter(|side| serves(side)).count();
    if serving > 1 {
        return Err(Broken::new("C3", format!("{serving} serve in the end")));
    }
    let waits = alive().filter(|side| !serves(side) && side.completed.is_none());
    let waits: Vec<_> = waits.map(|side| side.machine.phase()).collect();
    if serving == 0 && !waits.is_empty() {
        let how = format!("nobody serves in the end: {waits:?}");
        return Err(Broken::new("C1 in the end", how));
    }
    if let [stuck, ..] = waits[..] {
        return Err(Broken::new("C3", format!("one never lets go: {stuck:?}")));
    }
    if serving == 0 && alive().next().is_some() && !world.disturbed() {
        return Err(Broken::new("C3", "nobody serves in the end"));
    }
    Ok(())
}
