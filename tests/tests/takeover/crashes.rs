//! Each of the two dies just before each of its effects: those of its instance, and those of the
//! coordinator in it. The gaps between request and descriptors, descriptors and ready, seal and
//! activate are among them, and so is every other.

use std::time::{Duration, Instant};

use handover_tests::crash::{How, Point, Trace};
use handover_tests::patience::{LONG, until};
use handover_tests::{http, locks};
use rustix::process::Signal;

use crate::world::{Kind, Started, World};

/// The number of the old process, and of the new one.
const OLD: u32 = 1;
const NEW: u32 = 2;
/// Of whoever comes when all is over.
const NEXT: u32 = 3;

/// How often a point that was not reached is tried: the last effects depend a little on timing.
const TRIES: u32 = 3;

/// How the new one comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Somebody starts it.
    Stranger,
    /// The old one does, told by a signal.
    Signal,
}

impl Way {
    /// Has the new one come to be. Kept by whoever started it.
    fn go(self, world: &World, old: &Started) -> Option<Started> {
        match self {
            Self::Stranger => Some(world.start(NEW)),
            Self::Signal => {
                old.signal(Signal::USR2);
                None
            }
        }
    }
}

/// A service, its first process, and that it counts from now on.
fn begin(kind: Kind, points: &[Point]) -> (World, Started) {
    let world = World::new(kind, "");
    let old = world.serving(OLD);
    world.crashes.plan(points);
    world.deploy("new", "");
    (world, old)
}

/// What happens when nobody dies.
fn undisturbed(kind: Kind, way: Way) -> Trace {
    let (world, mut old) = begin(kind, &[]);
    let _new = way.go(&world, &old);
    until("the new one serves", || world.named() != Some(old.pid()));
    assert_ne!(rest(&world, "undisturbed"), Some(old.pid()));
    old.ends();
    world.crashes.trace()
}

/// Waits until nothing goes on any more: somebody serves, or nobody is left. Looked at from outside,
/// since whoever is asked counts that as an effect.
fn rest(world: &World, what: &str) -> Option<u32> {
    let patience = Instant::now() + LONG;
    loop {
        let alive = world.processes();
        match alive[..] {
            [] => return None,
            [one] if world.named() == Some(one) => return Some(one),
            _ => {}
        }
        assert!(
            Instant::now() < patience,
            "{what}: {alive:?} live, the pid file names {:?}\n{:?}\n{}",
            world.named(),
            world.crashes.trace(),
            world.said()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Who must serve when all is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heir {
    Old,
    New,
    /// Nobody is left, or it depends.
    Nobody,
}

fn heir(way: Way, point: &Point, effects: &[String]) -> Heir {
    let at = |effect: &str| effects.iter().position(|found| found == effect);
    match (point.who.as_str(), way) {
        // A stranger goes on, or begins anew with what the dead one had (I11).
        ("1" | "1.takeover", Way::Stranger) => Heir::New,
        // So does a child, once there is one.
        ("1", Way::Signal) => Heir::New,
        ("1.takeover", Way::Signal) if at("spawn").is_some_and(|at| point.k > at + 1) => Heir::New,
        // Before it has said that it is ready, the old one serves (I5). After that it was told to
        // go.
        ("2", _) if at("Ready").is_some_and(|at| point.k <= at + 1) => Heir::Old,
        _ => Heir::Nobody,
    }
}

/// Whether the old one dies after it has sealed, so that what was in memory has crossed.
fn died_sealed(point: &Point, effects: &[String]) -> bool {
    let after = |effect: &str| {
        let at = effects.iter().position(|found| found == effect);
        at.is_some_and(|at| point.k > at)
    };
    match point.who.as_str() {
        "1" => after("release lease"),
        // The next effect but one is the record of what follows the seal.
        "1.takeover" => after("Seal") && effects[point.k - 1] != "Seal",
        _ => false,
    }
}

/// One death. Whether it came to it.
fn case(kind: Kind, way: Way, point: &Point, effects: &[String]) -> bool {
    let (world, old) = begin(kind, std::slice::from_ref(point));
    let writers = kind.exclusive.then(|| world.writers());
    let _new = way.go(&world, &old);
    until("it is decided", || {
        let replaced = world.named() != Some(old.pid());
        world.crashes.fired(point).is_some() || replaced
    });
    let served = rest(&world, &point.to_string());
    let Some(effect) = world.crashes.fired(point) else {
        return false;
    };
    world.crashes.over();
    let told = format!("{way:?}, {point}, before {effect}:\n{}", world.said());
    match heir(way, point, effects) {
        Heir::Old => assert_eq!(served, Some(old.pid()), "{told}"),
        Heir::New => assert!(
            served.is_some_and(|it| it != old.pid()),
            "{served:?}, {told}"
        ),
        Heir::Nobody => {}
    }

    // I9: the next one takes over, or starts where nobody is left.
    world.deploy("next", "");
    let next = world.serving(NEXT);
    world.until_alone(next.pid());
    http::until_version(world.address, "next");
    if let Some(writers) = writers {
        writers.go_on();
        locks::until_held(&world.lock(), next.pid());
        let judgement = writers.finish();
        let told = format!("{point}, before {effect}");
        judgement.require_nothing_lost(&told);
        if died_sealed(point, effects) {
            assert!(judgement.forgotten.is_empty(), "{told}: {judgement:#?}");
        }
    }
    next.signal(Signal::TERM);
    true
}

fn every_death(kind: Kind, way: Way) {
    let trace = undisturbed(kind, way);
    let mut struck = 0;
    for (who, effects) in &trace {
        // What the new one does as the incumbent is the next takeover's business.
        if who == "2.takeover" {
            continue;
        }
        eprintln!("{way:?} · {who}: {}", effects.join(", "));
        for k in 1..=effects.len() {
            let (who, how) = (who.clone(), How::Kill);
            let point = Point { who, k, how };
            let fired = (0..TRIES).any(|_| case(kind, way, &point, effects));
            struck += u32::from(fired);
            let last = k + 2 >= effects.len();
            assert!(fired || last, "{point} was never reached: {effects:?}");
        }
    }
    assert!(struck > 10, "only {struck} deaths");
}

#[test]
fn i11_whenever_one_dies_the_other_serves() {
    every_death(Kind::new(false, false), Way::Stranger);
}

#[test]
fn i11_whenever_one_dies_the_other_serves_with_threads() {
    every_death(Kind::new(false, true), Way::Stranger);
}

#[test]
fn i11_whenever_one_dies_no_write_is_lost() {
    every_death(Kind::new(true, false), Way::Stranger);
}

#[test]
fn i11_whenever_one_dies_no_write_is_lost_with_threads() {
    every_death(Kind::new(true, true), Way::Stranger);
}

#[test]
fn i11_whenever_one_dies_in_a_self_upgrade_the_other_serves() {
    every_death(Kind::new(false, false), Way::Signal);
}

#[test]
fn i11_whenever_one_dies_in_a_self_upgrade_no_write_is_lost() {
    every_death(Kind::new(true, false), Way::Signal);
}

#[test]
fn i11_whenever_one_dies_in_a_self_upgrade_no_write_is_lost_with_threads() {
    every_death(Kind::new(true, true), Way::Signal);
}
