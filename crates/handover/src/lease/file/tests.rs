use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::lease::Standing;

/// Long enough for the slowest machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory on a disk that locks count on; the usual place for temporary files may be another.
fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &Path) -> LeaseFile {
    LeaseFile::open(dir, Options::default().name("test")).expect("opens")
}

#[track_caller]
fn acquire(file: &mut LeaseFile) -> u64 {
    file.acquire_within(PATIENCE).expect("nobody holds it").0
}

fn overwrite(dir: &Path, place: usize, bytes: &[u8]) {
    let file = File::options().write(true).open(dir.join(LOCK_FILE));
    file.expect("is there")
        .write_all_at(bytes, place as u64)
        .expect("writes");
}

#[test]
fn i1_of_two_at_most_one_owns_it_and_epochs_grow() {
    let dir = directory();
    let (mut one, mut two) = (open(dir.path()), open(dir.path()));
    assert_eq!(one.last_epoch().expect("reads"), None);
    assert_eq!(acquire(&mut one), 1);
    assert_eq!(
        one.try_acquire().expect("again"),
        Attempt::Acquired(Epoch(1))
    );
    assert_eq!(two.try_acquire().expect("tries"), Attempt::Busy);
    let holder = two.holder();
    assert_eq!(holder.pid, Some(std::process::id()));
    assert_eq!(
        (holder.epoch, holder.standing),
        (Some(Epoch(1)), Standing::Alive)
    );
    assert_eq!(holder.name, "test");
    let error = two.acquire_within(Duration::ZERO).expect_err("held");
    assert!(matches!(error, LeaseFileError::Held { .. }), "{error}");

    one.release().expect("releases");
    one.release().expect("twice is once");
    assert_eq!(one.held(), None);
    assert_eq!(acquire(&mut two), 2);
    drop(two);
    assert_eq!(acquire(&mut one), 3);
    drop(one);
    // Whoever comes after a restart goes on where it was.
    assert_eq!(acquire(&mut open(dir.path())), 4);
    assert_eq!(
        open(dir.path()).last_epoch().expect("reads"),
        Some(Epoch(4))
    );
}

#[test]
fn i2_after_a_restart_of_the_machine_no_epoch_is_given_again() {
    let dir = directory();
    let mut file = open(dir.path());
    assert_eq!((acquire(&mut file), file.release().is_ok()), (1, true));
    assert_eq!((acquire(&mut file), file.release().is_ok()), (2, true));
    // The next life of the machine: what was not synced may be lost, so it is not relied on.
    file.boot = BootId([7; 16]);
    assert_eq!(acquire(&mut file), RESERVED_AT_ONCE + 1);
    file.release().expect("releases");
    assert_eq!(acquire(&mut file), RESERVED_AT_ONCE + 2);
    file.release().expect("releases");
    // Where the system does not tell, each start could be another life.
    file.boot = BootId::default();
    assert_eq!(acquire(&mut file), 2 * RESERVED_AT_ONCE + 1);
    file.release().expect("releases");
    assert_eq!(acquire(&mut file), 3 * RESERVED_AT_ONCE + 1);
}

#[test]
fn i2_more_owners_than_were_reserved() {
    let dir = directory();
    let mut file = open(dir.path());
    for expected in 1..=RESERVED_AT_ONCE + 3 {
        assert_eq!(acquire(&mut file), expected);
        file.release().expect("releases");
    }
    file.boot = BootId([7; 16]);
    assert_eq!(acquire(&mut file), 2 * RESERVED_AT_ONCE + 1);
}

#[test]
fn epochs_are_reserved_before_they_run_out() {
    let dir = directory();
    let mut file = open(dir.path());
    file.reserve().expect("does nothing without the lock");
    for _ in 0..=RESERVE_BELOW {
        acquire(&mut file);
        file.release().expect("releases");
    }
    acquire(&mut file);
    file.reserve().expect("reserves");
    let last = |file: &LeaseFile| file.last().expect("reads").record.expect("a record");
    assert_eq!(last(&file).reserved.0, 2 * RESERVED_AT_ONCE);
    assert_eq!(last(&file).epoch, file.held().expect("held"));
    file.reserve().expect("enough are left");
    assert_eq!(last(&file).reserved.0, 2 * RESERVED_AT_ONCE);
}

#[test]
fn i2_a_torn_record_gives_no_epoch_twice() {
    for torn in [0, BLOCK] {
        for owners in [2, 3] {
            let dir = directory();
            let mut file = open(dir.path());
            for _ in 0..owners {
                acquire(&mut file);
                file.release().expect("releases");
            }
            overwrite(dir.path(), torn + 100, b"torn");
            let next = acquire(&mut file);
            assert!(
                next > RESERVED_AT_ONCE,
                "{next} may have been given by a lost record"
            );
            file.release().expect("releases");
            assert_eq!(acquire(&mut file), next + 1, "and it is whole again");
        }
    }
}

#[test]
fn a_first_owner_that_died_while_writing_is_no_damage() {
    let dir = directory();
    fs::write(dir.path().join(LOCK_FILE), [0; 100]).expect("writes");
    assert_eq!(acquire(&mut open(dir.path())), 1);
}

#[test]
fn i2_without_any_record_the_epoch_is_not_guessed() {
    let dir = directory();
    let mut file = open(dir.path());
    acquire(&mut file);
    file.release().expect("releases");
    acquire(&mut file);
    file.release().expect("releases");
    for place in [0, BLOCK] {
        overwrite(dir.path(), place, b"x");
    }
    let error = file.try_acquire().expect_err("damaged");
    assert!(matches!(error, LeaseFileError::Damaged { .. }), "{error}");
    // And the lock is free again.
    assert!(lock::try_lock(&open(dir.path()).file).expect("locks"));
}

#[test]
fn i1_a_file_that_was_replaced_is_not_the_lock() {
    let dir = directory();
    let (mut stale, path) = (open(dir.path()), dir.path().join(LOCK_FILE));
    fs::remove_file(&path).expect("somebody tidies up");
    let mut new = open(dir.path());
    acquire(&mut new);
    assert_eq!(stale.try_acquire().expect("looks again"), Attempt::Busy);
    new.release().expect("releases");
    assert_eq!(acquire(&mut stale), 2);
}

#[test]
fn what_is_no_data_directory_is_refused() {
    let dir = directory();
    let opened = |path: &Path| LeaseFile::open(path, Options::default());
    let error = opened(&dir.path().join("missing")).expect_err("missing");
    assert!(matches!(error, LeaseFileError::Directory { .. }), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("writes");
    let error = opened(&file).expect_err("a file");
    assert!(
        matches!(error, LeaseFileError::NotADirectory { .. }),
        "{error}"
    );
    // Through a link others could make us lock whatever they like.
    std::os::unix::fs::symlink(&file, dir.path().join(LOCK_FILE)).expect("links");
    let error = opened(dir.path()).expect_err("a link");
    assert!(
        matches!(error, LeaseFileError::Io { what: "opened", .. }),
        "{error}"
    );
}

#[test]
fn i1_a_filesystem_of_unknown_locks_is_refused_unless_trusted() {
    // No data directory, but a real filesystem that is not in the table.
    let place = Path::new("/proc/self/task");
    let error = LeaseFile::open(place, Options::default()).expect_err("unknown");
    assert!(matches!(error, LeaseFileError::Untrusted { .. }), "{error}");
    let trusting = Options::default().trust_filesystem(true);
    let error = LeaseFile::open(place, trusting).expect_err("no files there");
    assert!(matches!(error, LeaseFileError::Io { .. }), "{error}");
}

#[test]
fn beyond_handoff_and_we_exclude_each_other() {
    let dir = directory();
    let (lock_path, pid_path) = (
        dir.path().join(".handoff.lock"),
        dir.path().join(".handoff.pidfile"),
    );
    let mut ours = open(dir.path());
    acquire(&mut ours);
    assert!(!lock_path.exists(), "no trace where none of them has been");
    ours.release().expect("releases");

    // One of theirs, as its lock.rs does it.
    let theirs = File::create(&lock_path).expect("creates");
    theirs.try_lock().expect("locks");
    fs::write(&pid_path, "4242\n").expect("writes");
    assert_eq!(ours.try_acquire().expect("tries"), Attempt::Busy);
    let holder = ours.holder();
    assert_eq!(
        (holder.pid, holder.standing),
        (Some(4242), Standing::Handoff)
    );
    assert!(
        lock::try_lock(&open(dir.path()).file).expect("locks"),
        "ours is not kept"
    );

    theirs.unlock().expect("unlocks");
    assert_eq!(acquire(&mut ours), 2);
    assert!(theirs.try_lock().is_err(), "they are kept out");
    let own = format!("{}\n", std::process::id());
    assert_eq!(fs::read_to_string(&pid_path).expect("reads"), own);
    ours.release().expect("releases");
    assert!(!pid_path.exists());
    theirs.try_lock().expect("they may again");

    let empty = directory();
    let options = Options::default().with_handoff_lock(true);
    let mut always = LeaseFile::open(empty.path(), options).expect("opens");
    acquire(&mut always);
    let theirs = File::open(empty.path().join(".handoff.lock")).expect("is there");
    assert!(theirs.try_lock().is_err());
}

#[test]
fn i2_a_lock_that_is_kept_stays_although_the_value_is_gone() {
    let dir = directory();
    let mut file = open(dir.path());
    acquire(&mut file);
    file.keep_until_exit();
    drop(file);
    assert_eq!(
        open(dir.path()).try_acquire().expect("tries"),
        Attempt::Busy
    );
}

// With real processes: this program again, in a role.

const ROLE: &str = "LEASE_TEST_ROLE";
const DIR: &str = "LEASE_TEST_DIR";

/// Not a test: what a child does that was started by [`role`].
#[test]
fn child() {
    let (Some(role), Some(dir)) = (std::env::var_os(ROLE), std::env::var_os(DIR)) else {
        return;
    };
    let dir = PathBuf::from(dir);
    match role.to_str() {
        Some("hold") => {
            let mut file = open(&dir);
            println!("acquired {}", acquire(&mut file));
            std::thread::sleep(PATIENCE);
        }
        Some("leave-a-copy") => {
            let mut file = open(&dir);
            let epoch = acquire(&mut file);
            let child = sleeper_with(&file);
            println!("acquired {epoch} copy {}", child.id());
            std::thread::sleep(PATIENCE);
            end(child);
        }
        Some("race") => race(&dir),
        other => panic!("{other:?} is no role"),
    }
    std::process::exit(0);
}

fn role(role: &str, dir: &Path) -> Child {
    started(role, dir, Stdio::piped())
}

fn started(role: &str, dir: &Path, stdout: Stdio) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "lease::file::tests::child", "--nocapture"]);
    command.env(ROLE, role).env(DIR, dir);
    command.stdout(stdout).spawn().expect("starts")
}

/// The words behind `acquired` that a child prints.
fn said(child: &mut Child) -> Vec<String> {
    let out = BufReader::new(child.stdout.take().expect("is piped"));
    let mut lines = out.lines().map_while(Result::ok);
    // The harness prints the test's name in front of the first line.
    let line = lines.find_map(|line| Some(line.split_once("acquired ")?.1.to_owned()));
    let words = line.expect("it says so");
    words.split(' ').map(str::to_owned).collect()
}

/// A child that has a copy of the descriptor, as a forked one would.
fn sleeper_with(file: &LeaseFile) -> Child {
    let copy = file.file.try_clone().expect("a descriptor");
    let mut sleep = Command::new("sleep");
    sleep.arg(PATIENCE.as_secs().to_string()).stdin(copy);
    sleep.stdout(Stdio::null()).spawn().expect("starts")
}

fn end(mut child: Child) {
    child.kill().expect("kills");
    child.wait().expect("waits");
}

#[test]
fn i1_a_killed_owner_frees_it_and_the_holder_is_named() {
    let dir = directory();
    let mut child = role("hold", dir.path());
    assert_eq!(said(&mut child), ["1"]);
    let mut file = open(dir.path());
    assert_eq!(file.try_acquire().expect("tries"), Attempt::Busy);
    let holder = file.holder();
    assert_eq!(
        (holder.pid, &holder.standing),
        (Some(child.id()), &Standing::Alive)
    );
    assert!(holder.running.is_some());
    end(child);
    assert_eq!(acquire(&mut file), 2);
}

#[test]
fn a_copy_of_the_descriptor_does_not_keep_what_is_released() {
    let dir = directory();
    let mut file = open(dir.path());
    acquire(&mut file);
    let child = sleeper_with(&file);
    file.release().expect("releases");
    assert_eq!(
        acquire(&mut open(dir.path())),
        2,
        "although the child lives"
    );
    end(child);
}

#[test]
fn i1_a_copy_that_outlives_its_owner_keeps_the_lock_and_is_named() {
    let dir = directory();
    let mut child = role("leave-a-copy", dir.path());
    let words = said(&mut child);
    let [epoch, _, copy] = &words[..] else {
        panic!("{words:?}");
    };
    assert_eq!(epoch, "1");
    let copy: u32 = copy.parse().expect("a pid");
    let owner = child.id();
    end(child);
    let mut file = open(dir.path());
    assert_eq!(
        file.try_acquire().expect("tries"),
        Attempt::Busy,
        "never broken"
    );
    let holder = file.holder();
    assert_eq!(holder.pid, Some(owner));
    assert_eq!(holder.standing, Standing::Inherited { by: vec![copy] });
    let text = file.busy().to_string();
    assert!(
        text.contains(&format!("inherited the descriptor holds it: {copy};")),
        "{text}"
    );
    let copy = handover_sys::Pidfd::open(copy).expect("lives");
    copy.signal(handover_sys::Signal::KILL).expect("kills");
    assert_eq!(acquire(&mut file), 2);
}

/// Takes and gives back the lock many times; whoever has it writes its epoch and leaves a mark
/// that nobody else may find.
fn race(dir: &Path) {
    let mut log = File::options()
        .append(true)
        .create(true)
        .open(dir.join("log"))
        .expect("opens");
    let mark = dir.join("mark");
    let mut file = open(dir);
    for _ in 0..ROUNDS {
        let epoch = acquire(&mut file);
        File::create_new(&mark).expect("nobody else owns it");
        log.write_all(format!("{epoch}\n").as_bytes())
            .expect("writes");
        fs::remove_file(&mark).expect("is mine");
        file.release().expect("releases");
    }
}

const ROUNDS: usize = 50;
const RACERS: usize = 8;

#[track_caller]
fn check_race(dir: &Path) {
    let log = fs::read_to_string(dir.join("log")).expect("reads");
    let epochs: Vec<u64> = log
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    let expected: Vec<u64> = (1..=(ROUNDS * RACERS) as u64).collect();
    assert_eq!(epochs, expected, "each owner's epoch is the next");
}

#[test]
fn i1_eight_processes_race_for_it() {
    let dir = directory();
    let racer = |_| started("race", dir.path(), Stdio::null());
    let racers: Vec<Child> = (0..RACERS).map(racer).collect();
    for mut racer in racers {
        assert!(racer.wait().expect("waits").success());
    }
    check_race(dir.path());
}

#[test]
fn i1_eight_threads_race_for_it() {
    let dir = directory();
    std::thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| race(dir.path()));
        }
    });
    check_race(dir.path());
}
