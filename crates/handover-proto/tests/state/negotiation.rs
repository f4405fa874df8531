//! Which items cross, in which version.

use std::ops::RangeInclusive;

use handover_proto::state::{
    Agreed, Disagreement, ItemError, ItemSpec, MAX_ITEMS, MAX_NAME, Manifest, Mismatch, Need,
    Terms, Versions, check, negotiate,
};
use proptest::prelude::*;

use crate::samples::items;

fn span(oldest: u32, newest: u32) -> Versions {
    Versions { oldest, newest }
}

proptest! {
    /// Every item is accounted for: agreed on, a mismatch, or best effort and left out.
    #[test]
    fn every_item_is_accounted_for(writes in items(), reads in items()) {
        let find = |items: &[ItemSpec], name: &str| items.iter().find(|i| i.name == name).cloned();
        let common = |w: &ItemSpec, r: &ItemSpec| {
            (w.oldest.max(r.oldest)..=w.newest.min(r.newest)).last()
        };
        let mut expected = Vec::new();
        let mut fails = 0;
        for w in &writes {
            let r = find(&reads, &w.name);
            let version = r.as_ref().and_then(|r| common(w, r));
            let need = r.map_or(w.need, |r| w.need.max(r.need));
            match version {
                Some(version) => expected.push(Agreed { name: w.name.clone(), version, need }),
                None => fails += usize::from(need == Need::Required),
            }
        }
        fails += reads
            .iter()
            .filter(|r| r.need == Need::Required && find(&writes, &r.name).is_none())
            .count();
        match negotiate(&writes, &reads) {
            Ok(agreed) => {
                prop_assert_eq!(fails, 0);
                prop_assert_eq!(agreed, expected);
            }
            Err(mismatches) => prop_assert_eq!(mismatches.len(), fails),
        }
    }
}

#[test]
fn the_highest_common_version_is_taken() {
    let writes = [ItemSpec::required("a").versions(1..=3)];
    let reads = [ItemSpec::best_effort("a").versions(2..=9)];
    let agreed = Agreed {
        name: "a".into(),
        version: 3,
        need: Need::Required,
    };
    assert_eq!(negotiate(&writes, &reads), Ok(vec![agreed.clone()]));
    assert_eq!(negotiate(&reads, &writes), Ok(vec![agreed]));
}

#[test]
fn each_mismatch_names_both_sides_and_what_to_do() {
    let writes = [
        ItemSpec::required("old").versions(1..=2),
        ItemSpec::best_effort("new").versions(7..=7),
        ItemSpec::required("kept"),
        ItemSpec::best_effort("cache").versions(1..=1),
    ];
    let reads = [
        ItemSpec::best_effort("old").versions(3..=4),
        ItemSpec::required("new").versions(1..=5),
        ItemSpec::required("wanted").versions(2..=2),
        ItemSpec::best_effort("cache").versions(2..=2),
    ];
    let mismatches = negotiate(&writes, &reads).expect_err("four of them");
    assert_eq!(
        mismatches,
        [
            Mismatch::NoCommonVersion {
                name: "old".into(),
                writes: span(1, 2),
                reads: span(3, 4),
            },
            Mismatch::NoCommonVersion {
                name: "new".into(),
                writes: span(7, 7),
                reads: span(1, 5),
            },
            Mismatch::NotRead {
                name: "kept".into(),
                writes: span(1, 1),
            },
            Mismatch::NotWritten {
                name: "wanted".into(),
                reads: span(2, 2),
            },
        ]
    );
    let words = Disagreement::Items { mismatches }.to_string();
    for part in [
        r#"item "old": the incumbent writes version 1 to 2, the successor reads 3 to 4; upgrade by way"#,
        r#"item "new": the incumbent writes version 7, the successor reads 1 to 5; the new version is older"#,
        r#"item "kept": the incumbent writes version 1 and must not lose it, the successor reads none"#,
        r#"item "wanted": the incumbent writes none, the successor reads version 2"#,
    ] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    assert!(!words.contains("cache"), "{words}");
}

#[test]
fn lists_that_break_the_rules_are_no_manifests() {
    let one = |name: &str| ItemSpec::required(name);
    let name = |name: &str| name.to_owned();
    let long = "x".repeat(MAX_NAME + 1);
    let cases = [
        (
            vec![one("a"), one("a")],
            ItemError::Twice { name: name("a") },
        ),
        (vec![one("a"), one("")], ItemError::NoName { position: 1 }),
        (
            vec![one(&long)],
            ItemError::LongName {
                name: long.clone(),
                found: MAX_NAME + 1,
            },
        ),
        (
            vec![one("a\nb")],
            ItemError::BadCharacter {
                name: name("a\nb"),
                found: '\n',
            },
        ),
        (
            vec![one("a").versions(RangeInclusive::new(2, 1))],
            ItemError::NoVersions {
                name: name("a"),
                oldest: 2,
                newest: 1,
            },
        ),
        (
            (0..=MAX_ITEMS).map(|n| one(&n.to_string())).collect(),
            ItemError::TooMany {
                found: MAX_ITEMS + 1,
            },
        ),
    ];
    for (items, error) in cases {
        assert_eq!(check(&items), Err(error.clone()));
        let bad = Mismatch::BadWrites {
            error: error.clone(),
        };
        assert_eq!(negotiate(&items, &[]), Err(vec![bad]));
        assert_eq!(
            negotiate(&[], &items),
            Err(vec![Mismatch::BadReads { error }])
        );
    }
}

#[test]
fn terms_are_the_same_on_both_sides() {
    let writes = Manifest::new(vec![ItemSpec::required("a").versions(1..=2)]);
    let reads = Manifest::new(vec![ItemSpec::required("a").versions(2..=3)]);
    let terms = Terms::between(&writes, &reads).expect("version 2");
    assert_eq!((terms.version, terms.items[0].version), (1, 2));
    let later = Manifest {
        oldest: 7,
        newest: 9,
        ..reads
    };
    let error = Terms::between(&writes, &later).expect_err("nothing in common");
    assert!(matches!(error, Disagreement::Version(_)), "{error}");
    // Two later programs agree on something this build does not speak.
    assert!(Terms::between(&later, &later).is_err());
}
