//! What is kept in a directory, and what becomes of damage.

use handover_hub_proto::identity::Term;

use super::*;

fn epoch(term: u64) -> Epoch {
    Epoch {
        term: Term(term),
        grant: 7,
    }
}

fn state(text: &str) -> Handed {
    Handed::new(1, text.as_bytes().to_vec())
}

fn id() -> ProcessId {
    ProcessId::new("a/b c").unwrap()
}

fn kept(store: &Directory, term: u64) -> Option<String> {
    let handed = store.load(&id(), epoch(term)).unwrap()?;
    Some(String::from_utf8(handed.bytes().to_vec()).unwrap())
}

#[test]
fn a_host_that_was_replaced_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::new(directory.path().join("new")).unwrap();
    assert_eq!(kept(&store, 1), None);
    store.save(&id(), epoch(2), &state("two")).unwrap();
    store.save(&id(), epoch(1), &state("one")).unwrap();
    store.remove(&id(), epoch(1)).unwrap();
    assert_eq!(kept(&store, 2).as_deref(), Some("two"));
    store.save(&id(), epoch(3), &state("three")).unwrap();
    assert_eq!(kept(&store, 3).as_deref(), Some("three"));
    store.remove(&id(), epoch(3)).unwrap();
    assert_eq!(kept(&store, 3), None);
    store.remove(&id(), epoch(3)).unwrap();
}

/// All nodes were gone, and terms begin anew.
#[test]
fn whoever_loads_a_state_can_save_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::new(directory.path()).unwrap();
    store.save(&id(), epoch(9), &state("before")).unwrap();
    assert_eq!(kept(&store, 1).as_deref(), Some("before"));
    store.save(&id(), epoch(1), &state("after")).unwrap();
    assert_eq!(kept(&store, 1).as_deref(), Some("after"));
}

#[test]
fn every_damage_is_found_and_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let store = Directory::new(directory.path()).unwrap();
    store.save(&id(), epoch(1), &state("whole")).unwrap();
    let place = store.place(&id());
    let whole = std::fs::read(&place).unwrap();
    let mut damages: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
    damages.extend((0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    }));
    for bytes in damages {
        std::fs::write(&place, &bytes).unwrap();
        let error = store.load(&id(), epoch(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        let aside = place.with_extension("damaged");
        assert!(error.to_string().contains(aside.to_str().unwrap()));
        assert_eq!(std::fs::read(&aside).unwrap(), bytes);
        assert_eq!(kept(&store, 1), None);
    }
    std::fs::write(&place, &whole).unwrap();
    assert_eq!(kept(&store, 1).as_deref(), Some("whole"));
}
