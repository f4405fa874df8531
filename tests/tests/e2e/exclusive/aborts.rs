//! Attempts that fail before the successor is ready: the incumbent resumes and writes on (I5), and
//! the next attempt is possible (I9).

use handover_proto::outcome::{Cause, Outcome};
use handover_tests::{http, load};

use super::Owner;

/// An upgrade from `old` to `new` during which a hook does as it is told; then one without.
fn aborted(flags: &[&str], hook: &str, what: &str, value: &str, expected: fn(&Outcome) -> bool) {
    let owner = Owner::start("old", "", flags);
    let writers = owner.writers();
    let incumbent = owner.incumbent();
    owner.deploy("new", "");
    owner.wish(hook, what, value);
    let outcome = owner.upgrade_in_place();
    assert!(expected(&outcome), "{hook}.{what}: {outcome:?}");
    owner.until_serving();
    assert_eq!(owner.incumbent(), incumbent);
    writers.go_on();
    assert_eq!(http::version(owner.address()), "old");

    owner.forget(hook, what);
    let outcome = owner.upgrade_in_place();
    assert!(load::committed(&outcome), "{hook}.{what}: {outcome}");
    writers.go_on();
    http::until_version(owner.address(), "new");
    // Whoever wrote or connected meanwhile has waited, no more.
    writers
        .finish()
        .require_unnoticed(&format!("{hook}.{what}"));
    owner.until_alone();
    assert_eq!(owner.processes(), [owner.incumbent()]);
}

fn too_dark(outcome: &Outcome) -> bool {
    let dark = |cause: &Cause| matches!(cause, Cause::TooDark { .. });
    matches!(outcome, Outcome::RolledBack { cause } if dark(cause)) && outcome.exit_code() == 10
}

fn rolled_back(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::RolledBack { .. })
}

fn timed_out(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::TimedOut { .. })
}

#[test]
fn i5_too_dark_a_seal_is_aborted() {
    aborted(&["--max-dark", "500ms"], "seal", "delay", "1500", too_dark);
}

#[test]
fn i5_too_dark_an_activation_is_aborted() {
    aborted(
        &["--max-dark", "500ms"],
        "activate-new",
        "delay",
        "20000",
        too_dark,
    );
}

#[test]
fn i5_too_dark_a_drain_is_aborted() {
    aborted(
        &["--max-dark", "500ms"],
        "drain",
        "delay",
        "20000",
        too_dark,
    );
}

#[test]
fn i5_each_hook_may_fail() {
    for hook in ["base", "warm-new", "drain", "seal", "activate-new"] {
        aborted(&[], hook, "fail", "no space left", rolled_back);
    }
}

#[test]
fn i5_each_hook_may_hang() {
    let flags = [
        ["--ready-timeout", "1s"],
        ["--drain-timeout", "1s"],
        ["--activate-timeout", "1s"],
        ["--kill-after", "500ms"],
    ];
    for hook in ["base", "warm-new", "drain", "activate-new"] {
        aborted(flags.as_flattened(), hook, "delay", "30000", timed_out);
    }
}

/// The command says so with its exit code.
#[test]
fn the_command_ends_with_10_when_it_was_too_dark() {
    let owner = Owner::start("old", "", &["--max-dark", "500ms"]);
    owner.wish("seal", "delay", "1500");
    let output = owner.cli(&["upgrade"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(10), "{words}");
    assert!(words.contains("dark"), "{words}");
}
