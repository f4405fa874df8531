//! Takeovers nobody notices.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use handover_tests::patience::until;
use handover_tests::{http, load, process};
use handover_verify::Plan;
use rustix::process::Signal;

use crate::world::{KINDS, Kind, Started, World, named};

/// By strangers, each time.
const TAKEOVERS: u32 = 8;
/// By itself.
const UPGRADES: u32 = 20;

const BOTH: [bool; 2] = [false, true];

/// How the load counts an upgrade.
fn committed(n: u32) -> Outcome {
    Outcome::Committed {
        generation: Generation(n.into()),
        instance: InstanceId(n.into()),
    }
}

fn plan(world: &World, upgrades: u32) -> Plan {
    load::plan(world.address, upgrades)
}

/// I4, I10: whoever is started takes over; no request is lost.
fn taken_over_by_strangers(blocking: bool) {
    let world = Arc::new(World::new(Kind::new(false, blocking), ""));
    let processes: Arc<Mutex<Vec<Started>>> = Arc::default();
    let first = world.serving(1);
    processes.lock().expect("whole").push(first);
    let (within, started) = (Arc::clone(&world), Arc::clone(&processes));
    let plan = plan(&world, TAKEOVERS);
    let report = load::run(
        &plan,
        move |n| {
            within.deploy(&n.to_string(), "");
            let next = within.serving(n + 1);
            started.lock().expect("whole").push(next);
            committed(n)
        },
        load::committed,
    );
    load::require_lossless(&report);
    http::until_version(world.address, &TAKEOVERS.to_string());
    let mut processes = processes.lock().expect("whole");
    let last = processes.pop().expect("the last one");
    for process in processes.iter_mut() {
        assert!(process.ends().success(), "{}", world.said());
    }
    world.until_alone(last.pid());
    let generation = world.status().expect("it serves").generation;
    assert_eq!(generation, Generation(u64::from(TAKEOVERS) + 1));
}

#[test]
fn strangers_take_over_without_loss() {
    taken_over_by_strangers(false);
}

#[test]
fn strangers_take_over_without_loss_with_threads() {
    taken_over_by_strangers(true);
}

/// Looks at a pid file all the time: it is always there, and always names a process that lives.
struct Watch {
    stop: Arc<AtomicBool>,
    faults: mpsc::Receiver<String>,
    thread: std::thread::JoinHandle<u64>,
}

impl Watch {
    fn of(world: &World) -> Self {
        let (file, stop) = (world.pid_file(), Arc::new(AtomicBool::new(false)));
        let (tell, faults) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !stopped.load(Ordering::Relaxed) {
                let before = named(&file);
                let fine = before.is_some_and(process::is_alive)
                    // It may have been renamed between the two looks.
                    || (before != named(&file) && named(&file).is_some());
                if !fine {
                    let content = fs::read_to_string(&file);
                    let _ = tell.send(format!("it named {before:?}, and says {content:?}"));
                }
                looks += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            looks
        });
        Self {
            stop,
            faults,
            thread,
        }
    }

    fn require_faultless(self) {
        self.stop.store(true, Ordering::Relaxed);
        let looks = self.thread.join().expect("it looked");
        assert!(looks > 100, "only {looks} looks at the pid file");
        let faults: Vec<String> = self.faults.iter().collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// Signals whoever the pid file names, and waits until another one serves.
fn upgrade(world: &World, n: u32) -> u32 {
    let old = world.named().expect("the pid file names somebody");
    world.deploy(&n.to_string(), "");
    let signal = if n.is_multiple_of(2) {
        Signal::HUP
    } else {
        Signal::USR2
    };
    process::signal(old, signal);
    world.successor_of(old)
}

fn upgraded_by_signal(blocking: bool) {
    let world = Arc::new(World::new(Kind::new(false, blocking), ""));
    let mut first = world.serving(1);
    let watch = Watch::of(&world);
    let within = Arc::clone(&world);
    let report = load::run(
        &plan(&world, UPGRADES),
        move |n| {
            let pid = upgrade(&within, n);
            assert_eq!(within.named(), Some(pid));
            committed(n)
        },
        load::committed,
    );
    load::require_lossless(&report);
    watch.require_faultless();
    assert!(first.ends().success(), "{}", world.said());
    http::until_version(world.address, &UPGRADES.to_string());
    let last = world.named().expect("the pid file names somebody");
    world.until_alone(last);
    let generation = world.status().expect("it serves").generation;
    assert_eq!(generation, Generation(u64::from(UPGRADES) + 1));
    process::signal(last, Signal::TERM);
    until("the pid file goes with the last", || {
        !world.pid_file().exists()
    });
}

#[test]
fn signals_upgrade_without_loss() {
    upgraded_by_signal(false);
}

#[test]
fn signals_upgrade_without_loss_with_threads() {
    upgraded_by_signal(true);
}

/// State and lease cross: every write is answered, once, and what is in memory is not forgotten.
#[test]
fn i2_data_changes_hands_between_strangers_unnoticed() {
    for blocking in BOTH {
        let world = World::new(Kind::new(true, blocking), "");
        let mut processes = vec![world.serving(1)];
        let writers = world.writers();
        for n in 1..=TAKEOVERS {
            world.deploy(&n.to_string(), "");
            processes.push(world.serving(n + 1));
            writers.go_on();
        }
        let last = processes.pop().expect("the last one");
        handover_tests::locks::until_held(&world.lock(), last.pid());
        let judgement = writers.finish();
        judgement.require_unnoticed("takeovers by strangers");
        assert_eq!(judgement.epochs.len(), TAKEOVERS as usize + 1);
        for mut process in processes {
            assert!(process.ends().success(), "{}", world.said());
        }
        world.until_alone(last.pid());
    }
}

#[test]
fn i2_data_changes_hands_by_signal_unnoticed() {
    for blocking in BOTH {
        let world = World::new(Kind::new(true, blocking), "");
        let _first = world.serving(1);
        let watch = Watch::of(&world);
        let writers = world.writers();
        for n in 1..=UPGRADES {
            upgrade(&world, n);
            writers.go_on();
        }
        let judgement = writers.finish();
        judgement.require_unnoticed("upgrades by signal");
        assert_eq!(judgement.epochs.len(), UPGRADES as usize + 1);
        watch.require_faultless();
        world.until_alone(world.named().expect("somebody"));
    }
}

/// What cannot serve changes nothing, whichever way it comes, and the next one can.
#[test]
fn i5_bad_versions_change_nothing() {
    for kind in KINDS {
        let world = World::new(kind, "--ready-within 500");
        let old = world.serving(1);
        let serves_alone = || {
            world.until_alone(old.pid());
            let serving = world.status().expect("it serves");
            assert_eq!((serving.pid, serving.successor), (old.pid(), None));
            assert_eq!(http::version(world.address), "0");
        };

        world.deploy("bad", "--crash-at-start 3");
        assert_eq!(world.start(10).ends().code(), Some(3));
        serves_alone();
        let crashes = || world.said().matches("no column email").count();
        let before = crashes();
        old.signal(Signal::HUP);
        until("it is tried", || crashes() > before);
        until("it is given up", || world.phase() == Some(Phase::Serving));
        serves_alone();

        world.deploy("slow", "--never-ready");
        world.wish("warm-slow", "delay", "60000");
        let begun = || until("it is tried", || world.phase() == Some(Phase::Warm));
        let taker = world.start(11);
        begun();
        until("it is sent away", || world.phase() == Some(Phase::Serving));
        drop(taker);
        serves_alone();
        old.signal(Signal::USR2);
        begun();
        serves_alone();

        world.deploy("good", "");
        let next = world.serving(3);
        http::until_version(world.address, "good");
        world.until_alone(next.pid());
    }
}
