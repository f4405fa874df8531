//! A node dies in the middle of a move, at each effect of it: whoever it is, home, source or target.
//!
//! A move without a death says which effects there are, so a new one is a new case. In each case all
//! counters are called all the time; then the counter runs once, all calls were answered, nothing was
//! counted twice, and what began anew had been on the node that died.

mod cluster;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use self::cluster::{Case, Cluster, Roles};

/// One cluster at a time: a machine that is too slow for several would be held for dead ones.
static ALONE: Mutex<()> = Mutex::new(());

/// Effects after which the target has the state for certain: its home has decided so.
const WHOLE: [&str; 7] = [
    "row",
    "commit",
    "host-activate",
    "activated",
    "retire",
    "host-retire",
    "moved",
];
/// Effects after which only the target has it.
const SERVES: [&str; 7] = [
    "activated",
    "retire",
    "host-retire",
    "late",
    "late-last",
    "retired",
    "moved",
];

/// Whether the counter that moves may begin anew: all who had its state are dead, or had let go.
fn may_be_lost(roles: &Roles, case: &Case) -> bool {
    let effect = case.effect.as_str();
    let before_whole = !WHOLE.contains(&effect) && !SERVES.contains(&effect);
    // What its home tells itself is done before others are told.
    let begun = effect == "row" && roles.target == roles.home;
    (case.victim == roles.source && before_whole)
        || (case.victim == roles.target && (SERVES.contains(&effect) || begun))
}

/// Every effect of every node that takes part; and, while the home is about to do something, the
/// death of each other one.
fn cases(roles: &Roles, trace: &[(String, String)]) -> Vec<Case> {
    let parties = BTreeSet::from([roles.home, roles.source, roles.target]);
    let mut cases: Vec<Case> = Vec::new();
    for (node, effect) in trace {
        let at = *parties.get(node.as_str()).expect("a party");
        for &victim in &parties {
            let case = Case {
                at,
                effect: effect.clone(),
                victim,
            };
            let dies = victim == at || at == roles.home;
            if dies && !cases.contains(&case) {
                cases.push(case);
            }
        }
    }
    cases
}

fn play(roles: &Roles, expected: &[(&str, &str)]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = Cluster::start();
    let trace = cluster.trace(roles);
    for (node, effect) in expected {
        let found = trace.iter().any(|(n, e)| n == node && e == effect);
        assert!(found, "{node} {effect} is not in {trace:?}");
    }
    let mut lost = 0;
    for case in cases(roles, &trace) {
        let may_be_lost = may_be_lost(roles, &case);
        lost += u32::from(cluster.play(roles, &case, may_be_lost));
    }
    assert!(lost > 0, "no case had a counter begin anew");
}

/// H3 to H6, H9.
#[test]
fn each_party_dies_at_each_effect_of_a_move_from_its_home() {
    let roles = Roles {
        home: "b",
        source: "b",
        target: "c",
    };
    let expected = [
        ("b", "prepare"),
        ("c", "host-warm"),
        ("c", "prepared"),
        ("b", "host-freeze"),
        ("b", "state-chunk"),
        ("b", "state-close"),
        ("c", "arrived"),
        ("b", "row"),
        ("b", "commit"),
        ("c", "host-activate"),
        ("c", "activated"),
        ("b", "host-retire"),
        ("b", "late-last"),
    ];
    play(&roles, &expected);
}

/// H3 to H6, H9.
#[test]
fn each_party_dies_at_each_effect_of_a_move_to_its_home() {
    let roles = Roles {
        home: "b",
        source: "c",
        target: "b",
    };
    let expected = [
        ("b", "host-warm"),
        ("b", "depart"),
        ("c", "state-close"),
        ("b", "host-activate"),
        ("b", "retire"),
        ("c", "host-retire"),
        ("c", "retired"),
    ];
    play(&roles, &expected);
}

/// H3 to H6, H9.
#[test]
fn each_party_dies_at_each_effect_of_a_move_between_two_others() {
    let roles = Roles {
        home: "b",
        source: "c",
        target: "d",
    };
    let expected = [
        ("b", "prepare"),
        ("d", "prepared"),
        ("b", "depart"),
        ("c", "state-close"),
        ("d", "arrived"),
        ("b", "row"),
        ("b", "commit"),
        ("d", "activated"),
        ("b", "retire"),
        ("c", "retired"),
        ("b", "moved"),
    ];
    play(&roles, &expected);
}
