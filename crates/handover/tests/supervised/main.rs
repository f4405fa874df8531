//! Exclusive services under the real supervisor, with instances written by hand: honest ones, and
//! ones that lie.

#![cfg(feature = "supervisor")]
#![allow(clippy::expect_used, clippy::panic, unreachable_pub)]

mod actor;
mod full;
mod owner;
mod recovery;
mod stage;

use handover_proto::identity::{Epoch, InstanceId};
use handover_proto::outcome::{Cause, Outcome, Refusal};
use handover_proto::phase::Phase;
use handover_proto::status::LeaseStatus;
use std::time::Duration;

use actor::number;
use stage::Stage;

/// The program of every instance.
#[test]
#[ignore = "what other tests start"]
fn instance() {
    if std::env::var("HANDOVER_INSTANCE").is_err() {
        return;
    }
    if std::env::args().any(|argument| argument == owner::OWNER) {
        owner::play();
    } else {
        actor::play();
    }
}

/// The program of every supervisor.
#[test]
#[ignore = "what other tests start"]
fn supervisor() {
    if std::env::var("STAGE_CONFIG").is_ok() {
        stage::supervise();
    }
}

fn held(instance: u64, epoch: u64) -> Option<LeaseStatus> {
    Some(LeaseStatus {
        instance: InstanceId(instance),
        epoch: Epoch(epoch),
    })
}

#[track_caller]
fn committed(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome}");
}

#[test]
fn the_lease_changes_hands_and_the_status_says_so() {
    let stage = Stage::start(|_| {});
    let status = stage.status();
    assert_eq!(status.lease, held(1, 1));
    assert!(
        status.why.starts_with("since it was started"),
        "{}",
        status.why
    );

    committed(&stage.upgrade(None));
    let status = stage.status();
    assert_eq!(status.lease, held(2, 2));
    assert!(status.why.contains("was committed"), "{}", status.why);
    // The two were introduced to each other.
    assert_eq!(number(&stage.dir.path().join("met-2")), 1);

    let history = stage.history();
    let [start, upgrade] = &history[..] else {
        panic!("{history:?}")
    };
    assert_eq!(start.dark_us, 0);
    assert!(upgrade.dark_us > 0 && upgrade.dark_us < upgrade.took_us);
    assert_eq!(
        [start.epoch, upgrade.epoch],
        [Some(Epoch(1)), Some(Epoch(2))]
    );
    let held = "instance #2 holds the lease, epoch 2".to_owned();
    assert!(stage.told().contains(&held));
}

/// How an upgrade to an actor that lies ends; the honest one serves on (I5) and can be upgraded
/// again (I9).
#[track_caller]
fn refused(lie: &str, right: impl Fn(&Cause) -> bool) {
    let stage = Stage::start(|config| config.ready_timeout = Duration::from_secs(2));
    let before = stage.status();
    let outcome = stage.upgrade(Some(lie));
    let (Outcome::RolledBack { cause } | Outcome::TimedOut { cause }) = &outcome else {
        panic!("{lie}: {outcome}")
    };
    assert!(right(cause), "{lie}: {cause:?}");
    let status = stage.until("it leaves", |status| status.leaving.is_empty());
    assert_eq!(status.lease, before.lease, "{lie}");
    assert_eq!(
        status.incumbent.map(|incumbent| incumbent.pid),
        before.incumbent.map(|incumbent| incumbent.pid)
    );
    assert!(status.why.contains("was rolled back"), "{}", status.why);
    let grown = status
        .supervisor_rss_bytes
        .saturating_sub(before.supervisor_rss_bytes);
    assert!(grown < MOST_GROWTH, "{lie}: {grown} bytes more");
    committed(&stage.upgrade(None));
    assert_eq!(
        stage.status().lease.map(|lease| lease.epoch),
        Some(Epoch(2))
    );
}

/// What the supervisor may keep of an instance's words: the events that are kept, and buffers.
const MOST_GROWTH: u64 = 16 * 1024 * 1024;

fn violation(found: &str) -> impl Fn(&Cause) -> bool {
    move |cause| matches!(cause, Cause::Violation { found: said, .. } if said.contains(found))
}

#[test]
fn i5_a_wrong_process_id_is_no_greeting() {
    refused("pid", violation("process 1"));
}

#[test]
fn i5_a_wrong_number_is_no_greeting() {
    refused("id", violation("instance #99"));
}

#[test]
fn i5_a_newer_protocol_is_refused() {
    refused("newer", violation("protocol 2 to 3"));
}

#[test]
fn i5_an_older_protocol_is_refused() {
    refused("older", violation("protocol 0 to 0"));
}

#[test]
fn i5_a_frame_of_four_gibibytes_is_refused() {
    refused("huge", violation("a frame of 4294967295 bytes"));
}

#[test]
fn i5_garbage_in_place_of_a_greeting_is_refused() {
    refused("garbage", violation("a frame of 4294967295 bytes"));
}

#[test]
fn i5_a_frame_of_another_version_is_refused() {
    refused("version", violation("protocol version 9"));
}

#[test]
fn i5_a_flood_is_refused_and_takes_no_memory() {
    refused("flood", violation("frames in a second"));
}

/// One that serves is not stopped for it (I6), but cannot be asked to hand over any more.
#[test]
fn i6_an_incumbent_that_breaks_the_protocol_serves_on() {
    let stage = Stage::start(|_| {});
    committed(&stage.upgrade(Some("turns")));
    let warned = |line: &String| line.contains("the channel of instance #2 was closed");
    let deadline = std::time::Instant::now() + stage::PATIENCE;
    while !stage.told().iter().any(warned) {
        assert!(std::time::Instant::now() < deadline, "never warned");
    }
    let outcome = stage.upgrade(None);
    let Outcome::RolledBack { cause } = &outcome else {
        panic!("{outcome}")
    };
    assert!(violation("a frame of 4294967295 bytes")(cause), "{cause:?}");
    assert!(cause.to_string().contains("instance #2"), "{cause}");
    let status = stage.until("it leaves", |status| status.leaving.is_empty());
    assert_eq!(status.lease, held(2, 2));
    // Who is in the way of the next one can be ended; then it is started again.
    kill(status.incumbent.expect("who serves").pid);
    let honest = |lease: LeaseStatus| lease.epoch == Epoch(3);
    stage.until("another serves", |status| status.lease.is_some_and(honest));
}

#[test]
fn i5_ready_before_its_turn_is_refused() {
    refused("early", violation("Ready"));
}

#[test]
fn i5_a_program_that_knows_nothing_of_us_is_told_what_to_do() {
    let words = |cause: &Cause| *cause == Cause::NotNative && cause.to_string().contains("own`");
    refused("silent", words);
    refused("notify", words);
}

/// A start without anybody to go back to is a mistake to show.
#[test]
fn a_first_start_of_a_program_that_knows_nothing_of_us_says_so() {
    let mut stage = Stage::prepared(|config| {
        let lie = "lie:notify".to_owned();
        config.program.push(lie);
    });
    stage.supervise();
    assert_eq!(stage.ended(), Some(13));
    let said = stage.said();
    assert!(
        said.contains("build it with the handover library"),
        "{said}"
    );
}

/// At rest: the one that holds the lease says so, and nobody else is disturbed (I12).
#[test]
fn i12_a_supervisor_started_again_finds_who_holds_the_lease() {
    let mut stage = Stage::start(|_| {});
    committed(&stage.upgrade(None));
    let before = stage.status();
    stage.kill_supervisor();
    stage.supervise();
    let status = stage.until("it is found", |status| status.incumbent.is_some());
    let pid = |status: &handover_proto::status::Status| status.incumbent.as_ref().map(|i| i.pid);
    assert_eq!(pid(&status), pid(&before));
    assert_eq!(status.lease, held(2, 2));
    assert!(status.why.contains("found serving"), "{}", status.why);
    committed(&stage.upgrade(None));
    assert_eq!(stage.status().lease, held(3, 3));
}

#[test]
fn a_parked_instance_takes_back_when_the_new_one_dies() {
    let stage = Stage::start(|config| config.probation = Duration::from_secs(600));
    committed(&stage.upgrade(None));
    let status = stage.status();
    assert_eq!(status.phase, Phase::Probation);
    assert_eq!(status.lease, held(2, 2));
    let parked = status.parked.expect("a parked instance");
    assert_eq!(parked.instance, InstanceId(1));
    assert!(status.leaving.is_empty());
    assert!(status.probation_ms.expect("a time") <= 600_000);

    kill(status.incumbent.expect("who serves").pid);
    let status = stage.until("it takes back", |status| status.phase == Phase::Serving);
    assert_eq!(status.lease, held(1, 3));
    assert_eq!(
        status.why,
        "it took back: the serving instance was killed by signal 9"
    );
    assert!(status.parked.is_none() && status.probation_ms.is_none());
}

#[test]
fn an_undo_lets_the_parked_instance_take_back() {
    let stage = Stage::start(|config| config.probation = Duration::from_secs(600));
    let nothing = stage.undo();
    assert!(
        matches!(
            &nothing,
            Outcome::Refused {
                refusal: Refusal::NothingToUndo
            }
        ),
        "{nothing}"
    );
    assert!(
        nothing.to_string().contains("handover rollback"),
        "{nothing}"
    );

    committed(&stage.upgrade(None));
    assert_eq!(stage.status().lease, held(2, 2));
    let outcome = stage.undo();
    assert!(
        matches!(
            &outcome,
            Outcome::Committed {
                instance: InstanceId(1),
                ..
            }
        ),
        "{outcome}"
    );
    let status = stage.status();
    assert_eq!(status.lease, held(1, 3));
    assert_eq!(status.why, "it took back: it was undone on request");
    let history = stage.history();
    let undo = history.last().expect("an entry");
    assert!(undo.program.contains("instance") && undo.dark_us > 0);
    // I9: and on from there.
    stage.until("the other has gone", |status| status.leaving.is_empty());
    committed(&stage.upgrade(None));
    assert_eq!(stage.status().lease, held(3, 4));
}

#[test]
fn an_undo_that_fails_leaves_the_new_version_on_probation() {
    let stage = Stage::start(|config| {
        config.probation = Duration::from_secs(600);
        config.drain_timeout = Duration::from_secs(1);
    });
    committed(&stage.upgrade(Some("never-drains")));
    let outcome = stage.undo();
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome}");
    let status = stage.status();
    assert_eq!(status.phase, Phase::Probation);
    assert_eq!(status.lease, held(2, 2));
    assert!(status.parked.is_some() && status.probation_ms.is_some());
}

/// A new version that was ready and then fails its probe goes, although nobody asked.
#[test]
fn a_failed_probe_in_probation_undoes_the_new_version() {
    let stage = Stage::start(|config| {
        config.probation = Duration::from_secs(600);
        let probe = format!("command:test ! -e {}/sick", config.env["ACTOR_DIR"]);
        config.ready = probe.parse().expect("a probe");
        config.drain_timeout = Duration::from_secs(1);
    });
    // Whether it can still be drained or has to be killed.
    for (lie, epoch) in [(None, 3), (Some("never-drains"), 5)] {
        committed(&stage.upgrade(lie));
        let sick = stage.dir.path().join("sick");
        std::fs::write(&sick, "").expect("writes");
        let status = stage.until("it is undone", |status| status.phase == Phase::Serving);
        assert_eq!(status.lease, held(1, epoch));
        assert!(status.why.starts_with("it took back"), "{}", status.why);
        std::fs::remove_file(&sick).expect("removes");
        stage.until("the other has gone", |status| status.leaving.is_empty());
    }
    let mut told = stage.told();
    told.retain(|line| line.contains("took back"));
    assert!(
        told[0].contains("failed its probe in probation: `test"),
        "{told:?}"
    );
}

fn kill(pid: Option<handover_proto::identity::InstancePid>) {
    let pid = pid.expect("a process id").0;
    let process = handover_sys::Pidfd::open(pid).expect("it lives");
    process.signal(handover_sys::Signal::KILL).expect("ours");
}
