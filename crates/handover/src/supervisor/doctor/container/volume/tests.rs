use super::super::super::Verdict;
use super::*;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn a_volume_that_can_be_used_is_left_as_it_was() {
    let volume = tempfile::tempdir().expect("a directory");
    let finding = examine(volume.path());
    assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    assert_eq!(fs::read_dir(volume.path()).expect("read").count(), 0);
}

#[test]
fn one_that_cannot_be_used_is_named() {
    let volume = tempfile::tempdir().expect("a directory");
    let missing = examine(&volume.path().join("missing"));
    assert_eq!(missing.verdict, Verdict::Bad);
    let file = volume.path().join("file");
    fs::write(&file, "").expect("written");
    assert_eq!(examine(&file).verdict, Verdict::Bad);
    // Its kind is not known to keep locks.
    assert_eq!(examine(Path::new("/proc")).verdict, Verdict::Bad);
}

#[test]
fn a_key_must_be_private_and_long() {
    let volume = tempfile::tempdir().expect("a directory");
    let verdicts = |given: Option<&Path>| -> Vec<Verdict> {
        let found = keys(Some(volume.path()), given);
        found.into_iter().map(|one| one.verdict).collect()
    };
    assert_eq!(verdicts(None), [Verdict::Ok]);
    let made = volume.path().join("web/key");
    fs::create_dir(volume.path().join("web")).expect("made");
    fs::write(&made, "0123456789abcdef0123456789abcdef\n").expect("written");
    mode(&made, 0o600);
    assert_eq!(verdicts(None), [Verdict::Ok]);
    mode(&made, 0o644);
    assert_eq!(verdicts(None), [Verdict::Bad]);

    let own = volume.path().join("own");
    assert_eq!(verdicts(Some(&own)), [Verdict::Bad]);
    fs::write(&own, "short").expect("written");
    mode(&own, 0o400);
    assert_eq!(verdicts(Some(&own)), [Verdict::Bad]);
    mode(&own, 0o600);
    fs::write(&own, "a key that is long enough").expect("written");
    assert_eq!(verdicts(Some(&own)), [Verdict::Ok]);
    // Without either, anybody can speak.
    assert_eq!(keys(None, None)[0].verdict, Verdict::Note);
}
