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
pub(crate) fn examine(setup: &Setup, mut stage: Stage, points: &[Point]) -> Ending {
    let status = stage.rest(points);
    // I12: a restarted supervisor finds a serving instance.
    let incumbent = status.incumbent.and_then(|member| member.pid);
    let incumbent = incumbent.expect("an incumbent").0;
    assert!(
        process::is_alive(incumbent),
        "{incumbent} serves and is dead"
    );
    let address = stage.service.address();
    let (code, body) = http::get(address, "/version").expect("somebody answers");
    assert_eq!(code, 200, "{body}");
    until_alone(&stage.service);
    journal_is_readable(&stage);
    if let Some(writers) = &stage.writers {
        writers.go_on();
        // I1
        let held = locks::holders(&stage.data.join(".handover.lock"));
        assert_eq!(held, [incumbent], "who holds the lock, and who serves");
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
    let held = locks::holders(&stage.data.join(".handover.lock"));
    assert_eq!(held, [next], "who holds the lock, and who serves");
    let judgement = writers.finish();
    judgement.require_nothing_lost("acknowledged writes");
    let supervisor_only = points.iter().all(|point| point.who == "supervisor");
    if supervisor_only {
        // I12: nobody notices.
        judgement.require_all_answered("only the supervisor died");
        // Whoever takes back in an undo has what was in memory before the upgrade.
        if setup.act == Act::Upgrade {
            judgement.require_unnoticed("only the supervisor died");
        }
    }
    Ending {
        failed: judgement.failed.len(),
        ..Ending::default()
    }
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
