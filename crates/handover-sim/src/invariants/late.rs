//! I13: frames of an earlier attempt are injected in every state, and nothing changes.
//!
//! What cannot be late is not injected: a successor belongs to one attempt for as long as it is
//! one, on a channel of its own; and `Drain` is what makes an attempt an incumbent's own.

use std::collections::HashSet;

use handover_proto::coordinator::{self, Coordinator};
use handover_proto::event::DrainReport;
use handover_proto::identity::{HandoverId, InstanceId};
use handover_proto::instance::{self, Instance};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};

use super::{Violation, broken};
use crate::fingerprint::{self, Fingerprints};
use crate::process::Program;
use crate::world::{Post, World};

/// An attempt of a coordinator that never lived.
const LATE: HandoverId = HandoverId::new(0, 1);

/// Machines that were tried already.
#[derive(Clone, Debug, Default)]
pub struct Injected(HashSet<u128, Fingerprints>);

/// Injects one late frame of each kind at each end of each channel.
///
/// # Errors
/// I13, with the frame and what it changed.
pub fn i13_late_frames_change_nothing(
    world: &World,
    injected: &mut Injected,
) -> Result<(), Violation> {
    for process in world.alive() {
        let Program::Native { machine, next, .. } = &process.program else {
            continue;
        };
        let Instance::Incumbent(_) = **machine else {
            continue;
        };
        if next.is_none() && injected.0.insert(fingerprint::of(machine)) {
            to_incumbent(machine, world.now)?;
        }
        if let Post::Held {
            machine,
            next: None,
        } = &world.post
        {
            let successor = machine
                .successor()
                .is_some_and(|member| member.instance == process.instance);
            let pair = (machine, process.instance);
            if !successor && injected.0.insert(fingerprint::of(&pair)) {
                to_coordinator(machine, world.now, process.instance)?;
            }
        }
    }
    Ok(())
}

fn to_coordinator(
    machine: &Coordinator,
    now: Moment,
    instance: InstanceId,
) -> Result<(), Violation> {
    let id = LATE;
    let report = DrainReport::default();
    let reason = String::new();
    let frames = [
        FromInstance::Drained { id, report },
        FromInstance::SealProgress {
            id,
            done: 1,
            total: 2,
        },
        FromInstance::Sealed { id },
        FromInstance::SealFailed { id, reason },
        FromInstance::Resumed { id, lease: None },
    ];
    for message in frames {
        let name = message.name();
        let mut after = machine.clone();
        after.handle(now, coordinator::Input::Said { instance, message });
        if after != *machine {
            let (from, to) = (machine.state_name(), after.state_name());
            let found = format!("a late {name} from {instance}: {from} became {to}");
            return Err(broken("I13", found));
        }
    }
    Ok(())
}

fn to_incumbent(machine: &Instance, now: Moment) -> Result<(), Violation> {
    let id = LATE;
    let frames = [
        ToInstance::Activate { id, sealed: true },
        ToInstance::Commit { id },
        ToInstance::Seal { id },
        ToInstance::Resume { id },
        ToInstance::Introduce { id },
    ];
    for message in frames {
        let name = message.name();
        let mut after = machine.clone();
        after.handle(now, instance::Input::Said(message));
        let answers: Vec<_> = std::iter::from_fn(|| after.poll_effect()).collect();
        // Whoever serves says so under the same late number, and may be told again that it does.
        let harmless = answers.iter().all(|effect| {
            *effect == instance::Effect::Committed
                || matches!(effect, instance::Effect::Send(FromInstance::Resumed { id: theirs, .. }) if *theirs == id)
        });
        if after != *machine || !harmless {
            let (from, to) = (machine.state_name(), after.state_name());
            let found = format!("a late {name}: {from} became {to}, {answers:?}");
            return Err(broken("I13", found));
        }
    }
    Ok(())
}
