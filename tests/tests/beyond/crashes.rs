//! A supervisor dies at each stage of a handover, ours before each of its effects, theirs at each
//! of the crate's own crash points. One instance owns the directory and serves, and the next
//! handover commits (I9, I12).

use std::collections::VecDeque;
use std::sync::Mutex;

use handover_proto::outcome::Outcome;
use handover_tests::crash::{Crashes, How, Point};
use handover_tests::patience::{eventually, until};
use handover_tests::{Builder, Program, http, process};

use crate::DAEMON;
use crate::supervising::Deployment;
use crate::world::{Library, Library::Ours, Library::Theirs, World, who};

/// Cases at a time: most of the time each of them waits.
const AT_ONCE: usize = 4;

const MIXES: [(Library, Library); 3] = [(Theirs, Theirs), (Theirs, Ours), (Ours, Theirs)];

/// Runs all cases, some at a time; a case that panics fails the test with its name.
fn all<C: Send + std::fmt::Debug>(cases: impl IntoIterator<Item = C>, run: impl Fn(&C) + Sync) {
    let cases: Mutex<VecDeque<C>> = Mutex::new(cases.into_iter().collect());
    let next = || cases.lock().expect("no panic").pop_front();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let run = std::panic::AssertUnwindSafe(|| run(&case));
                    if let Err(panic) = std::panic::catch_unwind(run) {
                        eprintln!("the case was {case:?}");
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}

struct Case {
    world: World,
    service: handover_tests::Service,
    crashes: Crashes,
    next: Program,
}

impl Case {
    fn set((old, new): (Library, Library)) -> Self {
        let world = World::new();
        let crashes = Crashes::new();
        let first = world.program(old, "v1", "");
        let socket = world.socket().display().to_string();
        let service = Builder::new(first.path())
            .flags(["--exclusive", "--wire", "beyond-handoff"])
            .flags(["--handoff-socket", &socket])
            .env("HANDOVER_CRASH_DIR", crashes.path())
            .start();
        let next = world.program(new, "v2", "");
        Self {
            world,
            service,
            crashes,
            next,
        }
    }

    fn upgrade(&mut self, points: &[Point]) {
        self.crashes.plan(points);
        let control = self.service.control();
        let body = format!("{{\"binary\":\"{}\"}}", self.next.path().display());
        let asking = std::thread::spawn(move || control.request("POST", "/v1/upgrade", &body));
        // Does what an init does.
        until("it has come to rest", || {
            self.service.revive();
            let at_rest = self.service.try_status().is_some_and(|status| {
                status.incumbent.is_some() && status.handover.is_none() && status.leaving.is_empty()
            });
            asking.is_finished() && at_rest
        });
        drop(asking.join().expect("no panic"));
        self.crashes.over();
    }
}

#[test]
fn i12_our_supervisor_may_die_before_each_of_its_effects() {
    let mut points = Vec::new();
    for mix in MIXES {
        let mut case = Case::set(mix);
        case.upgrade(&[]);
        let trace = case
            .crashes
            .trace()
            .remove("supervisor")
            .unwrap_or_default();
        assert!(trace.len() > 10, "{trace:?}");
        points.extend((1..=trace.len()).map(|k| (mix, k)));
    }
    all(points, |&(mix, k)| {
        let mut case = Case::set(mix);
        let point = Point {
            who: "supervisor".into(),
            k,
            how: How::Kill,
        };
        case.upgrade(std::slice::from_ref(&point));
        let address = case.service.address();
        let serving = http::get(address, "/who").expect("an answer").1;
        assert!(["v1", "v2"].contains(&serving.as_str()), "{serving}");
        assert_eq!(http::get(address, "/write").expect("an answer").0, 200);
        assert!(case.world.is_locked());
        let last = case.world.program(mix.1, "v3", "");
        let outcome = case.service.upgrade_to(last.path());
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
        assert_eq!(who(address), "v3");
    });
}

/// Of `handoff::crash::points`.
const THEIR_POINTS: [&str; 11] = {
    use handoff::crash::points::*;
    [
        S_AFTER_O_HELLO,
        S_AFTER_SPAWN_SUCCESSOR,
        S_AFTER_N_HELLO,
        S_AFTER_PREPARE_SENT,
        S_AFTER_DRAINED_RECV,
        S_AFTER_SEAL_REQUEST_SENT,
        S_AFTER_SEAL_COMPLETE_RECV,
        S_AFTER_BEGIN_SENT,
        S_AFTER_READY_RECV,
        S_AFTER_COMMIT_SENT,
        S_AFTER_JOURNAL_CLEAR,
    ]
};

/// The code the crate dies with.
const CRASHED: i32 = 99;

#[test]
fn i12_their_supervisor_may_die_at_each_of_its_stages() {
    let mixes = [(Ours, Ours), (Ours, Theirs), (Theirs, Ours)];
    let cases = mixes
        .into_iter()
        .flat_map(|mix| THEIR_POINTS.map(|point| (mix, point)));
    all(cases.collect::<Vec<_>>(), |&((old, new), point)| {
        let mut deployment = Deployment::start(old);
        let next = deployment.world.program(new, "v2", "");
        let supervisor = Program::new(
            DAEMON,
            &format!(
                "--library supervisor --socket {} --binary {}",
                deployment.world.socket().display(),
                next.path().display()
            ),
        );
        let mut child = deployment.spawn(&supervisor, Some(point));
        let status = eventually("it dies", || child.try_wait().expect("waits"));
        assert_eq!(status.code(), Some(CRASHED));
        let address = deployment.address();
        until("one of them serves and owns", || {
            let written = http::get(address, "/write").is_ok_and(|(status, _)| status == 200);
            written && deployment.world.is_locked()
        });
        // For two seconds two of them may want the lock; who has not got it then, goes.
        until("only one is left", || {
            deployment.reap();
            process::with_in_environment(&deployment.world.data()).len() == 1
        });
        let outcome = deployment.hand_over(new, "v3", "");
        assert!(outcome.committed, "{outcome:?}");
        assert_eq!(who(address), "v3");
        assert!(deployment.world.is_locked());
    });
}
