//! What goes wrong around a takeover, and who serves then.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::phase::Phase;
use handover_proto::takeover::{Answer, encode_answer};
use handover_tests::patience::{eventually, until};
use handover_tests::{http, locks, process};
use rustix::process::Signal;

use crate::world::{KINDS, Kind, World};

const OWNERS: [Kind; 2] = [Kind::new(true, false), Kind::new(true, true)];

/// The old one is told to end while a stranger warms: that one goes on, with everything.
#[test]
fn told_to_end_it_leaves_its_place_to_who_is_coming() {
    for kind in KINDS {
        let world = World::new(kind, "");
        let mut old = world.serving(1);
        let writers = kind.exclusive.then(|| world.writers());
        world.deploy("new", "--start-delay 0");
        world.wish("warm-new", "delay", "300");
        let new = world.start(2);
        until("it takes over", || {
            let phase = world.phase();
            phase == Some(Phase::Warm) || world.named() == Some(new.pid())
        });
        old.signal(Signal::TERM);
        assert!(old.ends().success(), "{}", world.said());
        world.until_serves(new.pid());
        world.until_alone(new.pid());
        http::until_version(world.address, "new");
        if let Some(writers) = writers {
            writers.go_on();
            locks::until_held(&world.lock(), new.pid());
            writers.finish().require_nothing_lost("told to end");
        }
    }
}

/// A new version that dies in its probation is replaced by the old one, which has everything.
#[test]
fn what_dies_in_its_probation_is_taken_back_from() {
    for kind in KINDS {
        let world = World::new(kind, "--probation 60000");
        let old = world.serving(1);
        let writers = kind.exclusive.then(|| world.writers());
        world.deploy("new", "");
        let new = world.start(2);
        until("it is on probation", || {
            world.phase() == Some(Phase::Probation)
        });
        assert_eq!(world.named(), Some(new.pid()));
        http::until_version(world.address, if kind.exclusive { "new" } else { "0" });
        new.signal(Signal::KILL);
        until("the old one serves", || {
            world.phase() == Some(Phase::Serving)
        });
        world.until_serves(old.pid());
        assert_eq!(world.named(), Some(old.pid()));
        http::until_version(world.address, "0");
        if let Some(writers) = writers {
            writers.go_on();
            locks::until_held(&world.lock(), old.pid());
            writers.finish().require_nothing_lost("taken back");
        }
        world.until_alone(old.pid());
    }
}

/// Of those that come together one takes over, and the others are told why not.
#[test]
fn of_several_at_once_one_takes_over() {
    for kind in KINDS {
        let world = World::new(kind, "");
        let _old = world.serving(1);
        world.deploy("new", "");
        world.wish("warm-new", "delay", "200");
        let mut takers: Vec<_> = (2..6).map(|n| world.start(n)).collect();
        let serving = eventually("one takes over, the others are gone", || {
            let alive = world.processes();
            let [one] = alive[..] else { return None };
            takers.iter().any(|it| it.pid() == one).then_some(one)
        });
        world.until_serves(serving);
        http::until_version(world.address, "new");
        for taker in &mut takers {
            if taker.pid() != serving {
                let code = taker.ends().code();
                // One that came when the first had become the incumbent has taken over from it.
                assert!(matches!(code, Some(0 | 1)), "{code:?}: {}", world.said());
            }
        }
    }
}

/// Somebody who listens where an incumbent would.
fn impostor(world: &World) -> UnixListener {
    std::fs::create_dir_all(world.socket().parent().expect("a directory")).expect("made");
    UnixListener::bind(world.socket()).expect("bound")
}

/// The connection of a process that has asked to take over.
fn asked(impostor: &UnixListener) -> UnixStream {
    let (mut asked, _) = impostor.accept().expect("it asks");
    assert!(asked.read(&mut [0; 1024]).expect("a question") > 0);
    asked
}

/// That it may, and gets one listener.
fn yes() -> Vec<u8> {
    let granted = Answer::Granted {
        instance: InstanceId(7),
        generation: Generation(3),
        listeners: 1,
    };
    encode_answer(&granted, true)
}

/// Whoever answers ends in the middle of a word: whoever asked starts with nobody's help.
#[test]
fn an_answer_that_is_cut_off_is_none() {
    let world = World::new(Kind::new(false, false), "");
    let fake = impostor(&world);
    let mut new = world.start(1);
    let mut asked = asked(&fake);
    let bytes = yes();
    asked.write_all(&bytes[..bytes.len() - 3]).expect("said");
    drop((asked, fake));
    world.until_serves(new.pid());
    assert_eq!(world.status().expect("it serves").generation, Generation(1));
    assert!(!new.is_over());
}

/// The same, but for the descriptors: it must not serve with fewer listeners than there are.
#[test]
fn a_yes_without_descriptors_is_refused() {
    let world = World::new(Kind::new(false, false), "");
    let fake = impostor(&world);
    let mut new = world.start(1);
    let mut asked = asked(&fake);
    asked.write_all(&yes()).expect("said");
    assert_eq!(new.ends().code(), Some(1), "{}", world.said());
    let said = world.said();
    assert!(said.contains("without its takeover socket"), "{said}");
    assert!(world.socket().exists(), "it was left alone");
}

/// SIGINT ends, and starts nobody.
#[test]
fn an_interrupt_ends_and_starts_nobody() {
    for kind in KINDS {
        let world = World::new(kind, "");
        let mut old = world.serving(1);
        world.deploy("new", "");
        old.signal(Signal::INT);
        assert!(old.ends().success(), "{}", world.said());
        assert_eq!(world.processes(), Vec::<u32>::new());
        assert!(!world.said().contains("taking over"));
    }
}

/// Process ids of another namespace mean nothing here, and a process there may not be signalled.
const ELSEWHERE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--"];

/// The process of a service that is none of these.
fn other(world: &World, known: &[u32]) -> u32 {
    eventually("a process of the service", || {
        let alive = world.processes();
        alive.into_iter().find(|pid| !known.contains(pid))
    })
}

#[test]
fn another_process_namespace_is_no_obstacle() {
    for kind in KINDS {
        let world = World::new(kind, "--ready-within 500");
        let old = world.serving(1);
        let writers = kind.exclusive.then(|| world.writers());
        // There.
        world.deploy("there", "");
        let _there = world.start_in(&ELSEWHERE, 2);
        http::until_version(world.address, "there");
        let there = other(&world, &[old.pid()]);
        world.until_alone(there);

        // One that comes from outside and never becomes ready cannot be signalled from there.
        world.deploy("slow", "--never-ready");
        world.wish("warm-slow", "delay", "1000");
        let mut slow = world.start(3);
        if kind.exclusive {
            assert_eq!(slow.ends().code(), Some(1), "{}", world.said());
            let said = world.said();
            assert!(said.contains("gave this handover up"), "{said}");
        } else {
            until("it is given up", || world.phase() == Some(Phase::Serving));
        }
        drop(slow);
        world.until_alone(there);

        // And back.
        world.deploy("back", "");
        let back = world.start(4);
        http::until_version(world.address, "back");
        world.until_alone(back.pid());
        if let Some(writers) = writers {
            writers.go_on();
            let judgement = writers.finish();
            judgement.require_unnoticed("between process namespaces");
        }
    }
}

/// I5: an attempt that fails while the old one drains, where the new one cannot be killed.
#[test]
fn i5_whoever_cannot_be_killed_is_told() {
    for kind in OWNERS {
        let world = World::new(kind, "");
        let _elsewhere = world.start_in(&ELSEWHERE, 1);
        http_serves(&world);
        let old = other(&world, &[]);
        let writers = world.writers();
        world.deploy("new", "");
        world.wish("seal-0", "fail", "the disk is full");
        let mut new = world.start(2);
        assert_eq!(new.ends().code(), Some(1), "{}", world.said());
        let said = world.said();
        assert!(said.contains("gave this handover up"), "{said}");
        world.forget("seal-0", "fail");
        http::until_version(world.address, "0");
        assert!(process::is_alive(old));
        let next = world.start(3);
        http::until_version(world.address, "new");
        world.until_alone(next.pid());
        writers.go_on();
        writers.finish().require_unnoticed("a seal that failed");
    }
}

fn http_serves(world: &World) {
    until("it serves", || {
        http::get(world.address, "/version").is_ok() && world.status().is_some()
    });
}

/// What it would get are the listeners of this network namespace; nobody there could connect.
#[test]
fn i5_another_network_namespace_is_refused_under_load() {
    for kind in OWNERS {
        let world = World::new(kind, "");
        let old = world.serving(1);
        let writers = world.writers();
        world.deploy("new", "");
        let mut new = world.start_in(&["unshare", "--net", "--"], 2);
        assert_eq!(new.ends().code(), Some(1), "{}", world.said());
        let said = world.said();
        for word in ["network namespace", "--network", "load balancer"] {
            assert!(said.contains(word), "{said}");
        }
        world.until_alone(old.pid());
        let next = world.serving(3);
        world.until_alone(next.pid());
        writers
            .finish()
            .require_unnoticed("refused, then taken over");
    }
}
