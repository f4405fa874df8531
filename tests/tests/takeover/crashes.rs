//! Each of the two dies just before each of its effects: those of its instance, and those of the
//! coordinator in it. The gaps between request and descriptors, descriptors and ready, seal and
//! activate are among them, and so is every other.

use std::time::{Duration, Instant};

use handover_tests::crash::{How, Point, Trace};
use handover_tests::patience::LONG;
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

/// A service, its first process, and that it counts from now on.
fn begin(kind: Kind, points: &[Point]) -> (World, Started) {
    let world = World::new(kind, "");
    let old = world.serving(OLD);
    world.crashes.plan(points);
    world.deploy("new", "");
    (world, old)
}

/// What happens when nobody dies.
fn undisturbed(kind: Kind) -> Trace {
    let (world, mut old) = begin(kind, &[]);
    let new = world.start(NEW);
    assert_eq!(rest(&world, "undisturbed"), Some(new.pid()));
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

/// Who must serve when all is over, if that follows.
fn heir(point: &Point, effects: &[String], old: u32, new: u32) -> Option<u32> {
    if point.who.starts_with('1') {
        // Whoever came goes on, or begins anew with what the dead one had (I11).
        return Some(new);
    }
    // Before it has said that it is ready, the old one serves (I5). After that it was told to go.
    let ready = effects.iter().position(|effect| effect == "Ready")?;
    (point.k <= ready + 1).then_some(old)
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
fn case(kind: Kind, point: &Point, effects: &[String]) -> bool {
    let (world, old) = begin(kind, std::slice::from_ref(point));
    let writers = kind.exclusive.then(|| world.writers());
    let new = world.start(NEW);
    let served = rest(&world, &point.to_string());
    let Some(effect) = world.crashes.fired(point) else {
        return false;
    };
    world.crashes.over();
    if let Some(heir) = heir(point, effects, old.pid(), new.pid()) {
        let told = format!("{point}, before {effect}:\n{}", world.said());
        assert_eq!(served, Some(heir), "{told}");
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

fn every_death(kind: Kind) {
    let trace = undisturbed(kind);
    let mut struck = 0;
    for (who, effects) in &trace {
        // What the new one does as the incumbent is the next takeover's business.
        if who == "2.takeover" {
            continue;
        }
        eprintln!("{who}: {}", effects.join(", "));
        for k in 1..=effects.len() {
            let (who, how) = (who.clone(), How::Kill);
            let point = Point { who, k, how };
            let fired = (0..TRIES).any(|_| case(kind, &point, effects));
            struck += u32::from(fired);
            let last = k + 2 >= effects.len();
            assert!(fired || last, "{point} was never reached: {effects:?}");
        }
    }
    assert!(struck > 10, "only {struck} deaths");
}

#[test]
fn i11_whenever_one_dies_the_other_serves() {
    every_death(Kind::new(false, false));
}

#[test]
fn i11_whenever_one_dies_the_other_serves_with_threads() {
    every_death(Kind::new(false, true));
}

#[test]
fn i11_whenever_one_dies_no_write_is_lost() {
    every_death(Kind::new(true, false));
}

#[test]
fn i11_whenever_one_dies_no_write_is_lost_with_threads() {
    every_death(Kind::new(true, true));
}
