//! Twenty swaps, Go and ours in turn, under load.

use std::sync::{Arc, Mutex};

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::outcome::Outcome;
use handover_tests::patience::until;
use handover_tests::{Program, Service, load};

use crate::world::{Go, World, fixture};

const SWAPS: u32 = 20;

/// Who serves, with what keeps it alive.
enum Serves {
    Go(Go),
    /// And the file that it runs.
    Ours(
        Box<Service>,
        #[allow(dead_code, reason = "the file is there for as long as it is")] Program,
    ),
}

/// Lets the other side take over, and waits until the one before has gone.
fn swap(world: &World, serves: &mut Serves, n: u32) {
    let next = match serves {
        Serves::Go(go) => {
            let program = fixture(&format!("--version {n}"));
            let service = world.taker(&program).drain_notify("1s").start();
            assert!(go.ended().success(), "{}", go.log());
            service.until_alone();
            Serves::Ours(Box::new(service), program)
        }
        Serves::Ours(service, _) => {
            let go = world.go(&n.to_string());
            assert_eq!(service.ended().code(), Some(0));
            Serves::Go(go)
        }
    };
    until("the next can take over", || world.is_offered());
    *serves = next;
}

/// Where ours gives, nothing is lost. Where Go gives, it ends five seconds later in the middle of
/// whatever it has accepted by then: what that costs is Go's, and is counted and printed.
#[test]
fn i4_go_and_ours_take_turns_under_load() {
    let Some(world) = World::new() else { return };
    let mut plan = load::plan(world.address, SWAPS);
    // Go cuts connections that are kept alive; it says so nowhere.
    plan.keep_alive_rate = 0.0;
    plan.connections = 0;
    plan.upload = None;
    let first = world.serving_go("0");
    let world = Arc::new(world);
    let serves = Arc::new(Mutex::new(Serves::Go(first)));
    let report = load::run(
        &plan,
        {
            let (world, serves) = (Arc::clone(&world), Arc::clone(&serves));
            move |n| {
                swap(&world, &mut serves.lock().expect("nobody panicked"), n);
                Outcome::Committed {
                    generation: Generation(u64::from(n)),
                    instance: InstanceId(u64::from(n)),
                }
            }
        },
        load::committed,
    );
    let by_go: u64 = report
        .upgrades
        .iter()
        .step_by(2)
        .map(|swap| swap.failed)
        .sum();
    let by_ours: u64 = report
        .upgrades
        .iter()
        .skip(1)
        .step_by(2)
        .map(|swap| swap.failed)
        .sum();
    println!(
        "lost where Go went: {by_go}, where ours went: {by_ours}, in all: {}",
        report.failed
    );
    assert_eq!(report.upgrades.len() as u32, SWAPS);
    assert_eq!(report.unexpected_upgrades(), 0, "{}", report.table());
    assert_eq!(by_ours, 0, "{}", report.table());
    assert_eq!(report.failed, by_go, "{}", report.table());
    world.until_only(&SWAPS.to_string());
}
