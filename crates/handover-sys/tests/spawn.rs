//! Programs start with exactly what they were given.

mod world;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use handover_sys::Exit;
use handover_sys::diag::{descendants, process_group_members};
use handover_sys::executable::{Identity, pin};
use handover_sys::process::process_group;
use handover_sys::spawn::Spawn;
use world::{
    copy, descriptors, environment, eventually, own_target, pipe, program, run, shell, target,
};

/// A program that stays and opens nothing, with its input held open.
fn resident<'a>(input: &'a OwnedFd) -> Spawn<'a> {
    Spawn::path("/bin/cat").stdin(input.as_fd())
}

#[test]
fn listen_pid_is_the_pid_of_the_program() {
    let (pid, exit, text) = run(shell("echo $LISTEN_PID $$").listen_pid());
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(text, format!("{pid} {pid}\n"));
}

#[test]
fn listen_pid_replaces_the_inherited_one_and_is_the_only_one() {
    let variables = [("LISTEN_PID", "1"), ("A", "1"), ("LISTEN_FDS", "2")];
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    let (pid, _, text) = run(Spawn::path("/usr/bin/env").env(variables).listen_pid());
    assert_eq!(text, format!("A=1\nLISTEN_FDS=2\nLISTEN_PID={pid}\n"));
}

#[test]
fn the_environment_is_complete_and_by_default_ours() {
    let (_, _, text) = run(Spawn::path("/usr/bin/env").env([("ONLY".into(), "x=y".into())]));
    assert_eq!(text, "ONLY=x=y\n");
    let (_, _, text) = run(Spawn::path("/usr/bin/env"));
    let ours = std::env::var("PATH").unwrap();
    assert!(
        text.lines().any(|line| line == format!("PATH={ours}")),
        "{text}"
    );
}

#[test]
fn arguments_arrive_as_given() {
    let (_, _, text) = run(Spawn::path("/bin/sh").arg0("called so").args([
        "-c",
        r#"printf '%s|' "$@"; tr '\0' '|' </proc/$$/cmdline"#,
        "zero",
        "",
        "a b",
        "ä",
    ]));
    assert!(text.starts_with("|a b|ä|called so|-c|"), "{text}");
}

/// Targets 3 to 42 and 0 to 2 while the sources lie, in reverse order, among the same numbers.
#[test]
fn sources_among_the_targets_do_not_overwrite_each_other() {
    let (input, _keep) = pipe();
    let pipes: Vec<(OwnedFd, OwnedFd)> = (0..20).map(|_| pipe()).collect();
    let mut sources: Vec<BorrowedFd<'_>> = pipes
        .iter()
        .rev()
        .flat_map(|(read, write)| [write.as_fd(), read.as_fd()])
        .collect();
    // One twice, and two of the standard ones.
    sources.push(sources[5]);
    let child = resident(&input)
        .stdout(sources[0])
        .stderr(sources[1])
        .descriptors(sources.clone())
        .spawn()
        .unwrap();
    let expected: Vec<Option<PathBuf>> = [input.as_fd(), sources[0], sources[1]]
        .iter()
        .chain(&sources)
        .map(own_target)
        .collect();
    let numbers: Vec<i32> = (0..expected.len() as i32).collect();
    assert!(
        sources
            .iter()
            .any(|source| numbers.contains(&source.as_raw_fd())),
        "no overlap"
    );
    let seen = || {
        numbers
            .iter()
            .map(|fd| target(child.pid, *fd))
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(), expected);
    // The loader opens libraries for a moment.
    eventually("only the map is open", || descriptors(child.pid) == numbers);
}

#[test]
fn nothing_else_leaks_into_the_program() {
    let (input, _keep) = pipe();
    // As C code leaves them: not close-on-exec.
    let leaky: Vec<OwnedFd> = (0..5).map(|_| rustix::io::dup(&input).unwrap()).collect();
    assert!(
        !rustix::io::fcntl_getfd(&leaky[0])
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    let child = resident(&input)
        .descriptors(vec![input.as_fd()])
        .spawn()
        .unwrap();
    eventually("only the map is open", || {
        descriptors(child.pid) == [0, 1, 2, 3]
    });
    // Ours are as they were.
    assert!(
        !rustix::io::fcntl_getfd(&leaky[4])
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
}

#[test]
fn a_pinned_program_among_the_targets_is_still_the_one_started() {
    let (input, _keep) = pipe();
    let pinned = pin("/bin/cat").unwrap();
    let many: Vec<BorrowedFd<'_>> = vec![input.as_fd(); pinned.as_raw_fd() as usize + 8];
    let child = Spawn::executable(pinned.as_fd(), "cat")
        .stdin(input.as_fd())
        .descriptors(many.clone())
        .spawn()
        .unwrap();
    let running = Identity::of(format!("/proc/{}/exe", child.pid)).unwrap();
    assert_eq!(running, Identity::of("/bin/cat").unwrap());
    let numbers: Vec<i32> = (0..many.len() as i32 + 3).collect();
    eventually("the program itself is not open", || {
        descriptors(child.pid) == numbers
    });
}

#[test]
fn a_replaced_program_can_still_be_started_from_its_pin() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    copy("/bin/cat", &path);
    let before = Identity::of(&path).unwrap();
    let pinned = pin(&path).unwrap();

    let next = directory.path().join("next");
    copy("/bin/true", &next);
    fs::rename(&next, &path).unwrap();
    assert_ne!(Identity::of(&path).unwrap(), before);
    assert_eq!(Identity::of_descriptor(&pinned).unwrap(), before);

    let (input, _keep) = pipe();
    let old = Spawn::executable(pinned.as_fd(), &path)
        .stdin(input.as_fd())
        .spawn()
        .unwrap();
    assert_eq!(
        Identity::of(format!("/proc/{}/exe", old.pid)).unwrap(),
        before
    );
    let (_, exit, _) = run(Spawn::path(&path));
    assert_eq!(exit, Exit::Code(0));

    fs::remove_file(&path).unwrap();
    let again = Spawn::executable(pinned.as_fd(), &path)
        .stdin(input.as_fd())
        .spawn()
        .unwrap();
    assert_eq!(
        Identity::of(format!("/proc/{}/exe", again.pid)).unwrap(),
        before
    );
    let mut expected = path.as_os_str().as_encoded_bytes().to_vec();
    expected.push(0);
    eventually("its argument 0 is the path", || {
        fs::read(format!("/proc/{}/cmdline", again.pid)).unwrap() == expected
    });
}

#[test]
fn the_process_group_is_its_own_when_asked_for() {
    let (input, _keep) = pipe();
    let group = |pid: u32| process_group(pid).unwrap();
    let with = resident(&input).process_group().spawn().unwrap();
    let without = resident(&input).spawn().unwrap();
    assert_eq!(group(with.pid), with.pid);
    assert_eq!(group(without.pid), group(std::process::id()));
    assert_eq!(process_group_members(with.pid).unwrap(), [with.pid]);
}

#[test]
fn prefork_workers_are_found() {
    let (input, _keep) = pipe();
    // A shell gives background jobs no input; they inherit this one as descriptor 3.
    let script = "for i in 1 2 3; do cat <&3 & done; wait";
    let parent = shell(script)
        .descriptors(vec![input.as_fd()])
        .process_group()
        .spawn()
        .unwrap();
    eventually("three workers", || {
        descendants(parent.pid).unwrap().len() == 3
    });
    let members = process_group_members(parent.pid).unwrap();
    assert_eq!(members.len(), 4);
    assert!(
        descendants(std::process::id())
            .unwrap()
            .contains(&parent.pid)
    );
    assert!(
        descendants(parent.pid)
            .unwrap()
            .iter()
            .all(|worker| members.contains(worker))
    );
}

#[test]
fn the_program_is_found_from_here_and_starts_there() {
    let directory = tempfile::tempdir().unwrap();
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| Path::new("..")).collect();
    // Only here is there a `src` to begin with.
    let relative = Path::new("src/..").join(up).join("bin/pwd");
    let (_, _, text) = run(Spawn::path(relative)
        .args(["-P"])
        .current_dir(directory.path()));
    let expected = directory.path().canonicalize().unwrap();
    assert_eq!(Path::new(text.trim_end()), expected);
    assert_eq!(std::env::current_dir().unwrap(), here);
}

#[test]
fn many_threads_start_programs_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut pids = BTreeSet::new();
                for round in 0..40 {
                    let code = (thread * 31 + round) % 251;
                    let token = format!("{thread}.{round}");
                    let script = format!("echo $TOKEN $LISTEN_PID $$; exit {code}");
                    let variables = environment(&[("TOKEN", &token)]);
                    let (pid, exit, text) = run(shell(&script).env(variables).listen_pid());
                    assert_eq!(exit, Exit::Code(code));
                    assert_eq!(text, format!("{token} {pid} {pid}\n"));
                    pids.insert(pid);
                }
                pids.len()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 40);
    }
}

#[test]
fn a_script_is_started_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script");
    program(&path, b"#!/bin/sh\necho $0\n");
    let (_, _, text) = run(Spawn::path(&path));
    assert_eq!(Path::new(text.trim_end()), path);
}

#[test]
fn a_sibling_is_the_child_of_our_parent() {
    use std::io::Read;
    let (mut said, to) = std::io::pipe().unwrap();
    let child = Spawn::path("/bin/sh")
        .args(["-c", "echo $PPID"])
        .stdout(to.as_fd())
        .sibling()
        .spawn()
        .unwrap();
    drop(to);
    let mut parent = String::new();
    said.read_to_string(&mut parent).unwrap();
    assert_eq!(
        parent.trim(),
        std::os::unix::process::parent_id().to_string()
    );
    // Whose child it is learns how it ended; we, that it did.
    assert_eq!(child.pidfd.wait(None).unwrap(), Some(Exit::Unknown));
}
