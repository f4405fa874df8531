//! State crosses whole, or not at all: what does not fit is refused while the incumbent still owns
//! everything.

use handover_proto::outcome::Outcome;
use handover_tests::{http, load};
use serde_json::Value;

use super::Owner;

/// What the instance that serves has received.
fn state(owner: &Owner) -> Value {
    let (status, body) = http::get(owner.address(), "/state").expect("an answer");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn upgraded(old: &str, new: &str) -> (Owner, Outcome) {
    let owner = Owner::start("old", old, &[]);
    owner.deploy("new", new);
    let outcome = owner.upgrade_in_place();
    (owner, outcome)
}

fn crosses(items: &[(&str, &str, &str, u64)]) {
    let flags = |part: fn(&(&str, &str, &str, u64)) -> String| {
        let all = items.iter().map(|item| format!("--item {}", part(item)));
        all.collect::<Vec<_>>().join(" ")
    };
    let old = flags(|(name, need, how, bytes)| format!("{name}:{need}:1-2:{bytes}:{how}"));
    let new = flags(|(name, need, how, bytes)| format!("{name}:{need}:2-3:{bytes}:{how}"));
    let (owner, outcome) = upgraded(&old, &new);
    assert!(load::committed(&outcome), "{outcome}");
    let found = state(&owner);
    assert_eq!(found["sealed"]["sealed"], true, "{found}");
    for (name, _, _, bytes) in items {
        let item = &found["sealed"]["items"][name];
        assert_eq!(item["bytes"], *bytes, "{name}: {found}");
        assert_eq!(item["whole"], true, "{name}: {found}");
        // The highest version that both know.
        assert_eq!(item["version"], 2, "{name}: {found}");
    }
}

#[test]
fn items_cross_whatever_their_size_and_way() {
    crosses(&[
        ("nothing", "required", "put", 0),
        ("small", "required", "put", 1000),
        ("inline", "required", "put", 64 << 10),
        ("larger", "best", "put", (64 << 10) + 1),
        ("streamed", "required", "stream", 20_000_000),
        ("mapped", "best", "memfd", 3_000_000),
    ]);
}

#[test]
fn a_hundred_mebibytes_cross_as_memory() {
    crosses(&[("table", "required", "memfd", 100 << 20)]);
}

/// I5: the refusal comes while the incumbent owns everything: no hook of the dark window was called.
fn refused(old: &str, new: &str, word: &str) {
    let (owner, outcome) = upgraded(old, new);
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    assert!(outcome.to_string().contains(word), "{outcome}");
    let forbidden = ["old drain", "old seal", "old resume"];
    let hooks = owner.hooks();
    let called = hooks.iter().find(|hook| forbidden.contains(&hook.as_str()));
    assert_eq!(called, None, "{hooks:?}");
    let last = owner.history().pop().expect("an entry");
    assert_eq!(last.dark_us, 0, "{last:?}");
    assert_eq!(http::version(owner.address()), "old");
    let writers = owner.writers();
    writers.finish().require_unnoticed("a refused successor");
}

#[test]
fn i5_a_required_item_of_another_version_is_refused_before_the_seal() {
    refused(
        "--item notes:required:1-1:100:put",
        "--item notes:required:2-3:100:put",
        "notes",
    );
}

#[test]
fn i5_a_required_item_that_the_successor_does_not_know_is_refused_before_the_seal() {
    refused("--item notes:required:1-1:100:put", "", "notes");
}

#[test]
fn a_best_effort_item_that_does_not_fit_is_left_behind() {
    let (owner, outcome) = upgraded(
        "--item chart:best:1-1:100:put --item colours:best:1-1:100:put",
        "--item chart:best:2-3:100:put",
    );
    assert!(load::committed(&outcome), "{outcome}");
    let found = state(&owner);
    assert_eq!(found["sealed"]["sealed"], true, "{found}");
    assert_eq!(found["sealed"]["items"], serde_json::json!({}), "{found}");
}

/// I5: more than the budget allows is noticed in the seal, and undone.
#[test]
fn i5_more_state_than_the_budget_is_rolled_back() {
    let item = "--item table:required:1-1:5000000:memfd";
    let (owner, outcome) = upgraded(&format!("{item} --state-budget 1000000"), item);
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    owner.until_serving();
    assert_eq!(http::version(owner.address()), "old");
    let writers = owner.writers();
    writers.finish().require_unnoticed("too much state");
}
