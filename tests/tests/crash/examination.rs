//! What is looked at after a death, from outside.

use std::fs;

use handover_tests::crash::Point;
use handover_tests::{http, locks, process};

use crate::case::{Act, Ending, Setup, Stage, committed, until_alone};

/// Somebody serves and answers; one process holds the lock and it is the one that serves; the
/// journal can be read; no process is left over; the next handover commits; and no acknowledged
/// write is lost.
///
/// # Panics
/// When something is wrong.
pub(crate) fn examine(
    setup: &Setup,
    mut stage: Stage,
    points: &[Point],
    fired: &[String],
) -> Ending {
    let status = stage.rest(points);
    // I12: a restarted supervisor finds a serving instance.
    let incumbent = status.incumbent.and_then(|member| member.pid);
    let incumbent = incumbent.expect("an incumbent").0;
    assert!(
        process::is_alive(incumbent),
        "{incumbent} serves and is dead"
    );
    let (address, lock) = (stage.service.address(), stage.data.join(".handover.lock"));
    let (code, body) = http::get(address, "/version").expect("somebody answers");
    assert_eq!(code, 200, "{body}");
    until_alone(&stage.service);
    journal_is_readable(&stage);
    if let Some(writers) = &stage.writers {
        writers.go_on();
        // I1
        locks::until_held(&lock, incumbent);
    }

    // I9: the next handover is possible.
    let outcome = stage.service.upgrade_in_place();
    assert!(committed(&outcome), "the next handover: {outcome}");
    let next = stage.service.until_alone().incumbent.and_then(|i| i.pid);
    let next = next.expect("an incumbent").0;
    assert_ne!(next, incumbent);
    let Some(writers) = stage.writers.take() else {
        return Ending::default();
    };
    writers.go_on();
    locks::until_held(&lock, next);
    let judgement = writers.finish();
    judgement.require_nothing_lost("acknowledged writes");
    match unnoticed(setup, points, fired) {
        // Whoever takes back in an undo has what was in memory before the upgrade.
        Some(why) if setup.act == Act::Undo => judgement.require_all_answered(why),
        Some(why) => judgement.require_unnoticed(why),
        None => {}
    }
    Ending {
        failed: judgement.failed.len(),
        ..Ending::default()
    }
}

/// Why no client may have noticed anything, if that is so. Requests that a process had accepted
/// fail with it; others wait.
fn unnoticed(setup: &Setup, points: &[Point], fired: &[String]) -> Option<&'static str> {
    if points.iter().all(|point| point.who == "supervisor") {
        // I12
        return Some("only the supervisor died");
    }
    let [_, successor] = setup.act.instances();
    let successor_only = points.iter().all(|point| point.who == successor);
    let before_ready = fired.iter().all(|effect| effect != "committed");
    if setup.act == Act::Upgrade && successor_only && before_ready {
        // I5
        return Some("only the successor died, and before it was ready");
    }
    None
}

/// I7: at least one of the two files holds a whole record.
fn journal_is_readable(stage: &Stage) {
    let files = fs::read_dir(stage.service.dir()).expect("the runtime directory");
    let journals = files.flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.contains("journal")
    });
    let whole = journals.filter(|entry| {
        let text = fs::read(entry.path()).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&text).is_ok()
    });
    assert!(whole.count() > 0, "no record of the journal can be read");
}
