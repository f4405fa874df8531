//! All messages, with anything in them.

use handover_proto::event::DrainReport;
use handover_proto::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn id() -> impl Strategy<Value = HandoverId> {
    any::<u64>().prop_map(HandoverId)
}

fn words() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn report() -> impl Strategy<Value = DrainReport> {
    any::<(u64, u64, u64)>().prop_map(|(finished, cut, open)| DrainReport {
        finished,
        cut,
        open,
    })
}

fn hello() -> impl Strategy<Value = FromInstance> {
    let role = prop_oneof![Just(Role::Successor), Just(Role::Incumbent)];
    let lease = option::of(any::<u64>().prop_map(Epoch));
    (any::<(u64, u32, u16, u16)>(), role, lease).prop_map(
        |((instance, pid, oldest, newest), role, lease)| FromInstance::Hello {
            instance: InstanceId(instance),
            pid: InstancePid(pid),
            role,
            oldest,
            newest,
            lease,
        },
    )
}

pub(crate) fn from_instance() -> impl Strategy<Value = FromInstance> {
    prop_oneof![
        hello(),
        Just(FromInstance::Warmed),
        (vec(words(), 0..5), option::of(any::<u64>().prop_map(Epoch)))
            .prop_map(|(claimed, lease)| FromInstance::Ready { claimed, lease }),
        (id(), report()).prop_map(|(id, report)| FromInstance::Drained { id, report }),
        (id(), any::<(u64, u64)>()).prop_map(|(id, (done, total))| FromInstance::SealProgress {
            id,
            done,
            total
        }),
        id().prop_map(|id| FromInstance::Sealed { id }),
        (id(), words()).prop_map(|(id, reason)| FromInstance::SealFailed { id, reason }),
        (id(), option::of(any::<u64>().prop_map(Epoch)))
            .prop_map(|(id, lease)| FromInstance::Resumed { id, lease }),
        words().prop_map(|reason| FromInstance::Failed { reason }),
        words().prop_map(|text| FromInstance::Status { text }),
        any::<u64>().prop_map(|millis| FromInstance::Extend { millis }),
        any::<u64>().prop_map(|open| FromInstance::Connections { open }),
        report().prop_map(|report| FromInstance::Retired { report }),
    ]
}

pub(crate) fn to_instance() -> impl Strategy<Value = ToInstance> {
    let mode = prop_oneof![Just(Mode::Overlap), Just(Mode::Exclusive)];
    let ladder = any::<[std::time::Duration; 3]>().prop_map(|[announce, notify, grace]| Ladder {
        announce,
        notify,
        grace,
    });
    prop_oneof![
        (any::<(u16, bool, bool)>(), mode).prop_map(|((version, incumbent, introduced), mode)| {
            ToInstance::Welcome {
                version,
                mode,
                incumbent,
                introduced,
            }
        }),
        (id(), any::<bool>()).prop_map(|(id, sealed)| ToInstance::Activate { id, sealed }),
        id().prop_map(|id| ToInstance::Commit { id }),
        (id(), any::<u64>()).prop_map(|(id, within_ms)| ToInstance::Drain { id, within_ms }),
        id().prop_map(|id| ToInstance::Seal { id }),
        id().prop_map(|id| ToInstance::Resume { id }),
        ladder.prop_map(|ladder| ToInstance::Retire { ladder }),
        id().prop_map(|id| ToInstance::Introduce { id }),
        words().prop_map(|reason| ToInstance::Dismiss { reason }),
    ]
}
