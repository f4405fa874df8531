//! The block of descriptors a parent leaves, taken by a real child: this very program, started
//! again in one of the roles below. Adopted by name (I8).

mod world;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixListener;

use handover_sys::Exit;
use handover_sys::inherited::{InheritError, take, take_numbered, take_with_files};
use handover_sys::spawn::Spawn;
use world::{environment, pipe, run};

/// This program in the given role; what it prints after `>` is what it found.
fn role<'a>(
    name: &'a str,
    variables: &[(&str, &str)],
    descriptors: Vec<BorrowedFd<'a>>,
) -> Spawn<'a> {
    let mut variables = environment(variables);
    variables.push(("HANDOVER_TEST_ROLE".into(), name.into()));
    Spawn::path(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            name,
            "--nocapture",
            "--test-threads=1",
        ])
        .env(variables)
        .descriptors(descriptors)
}

fn found(spawn: Spawn<'_>) -> Vec<String> {
    let (_, exit, text) = run(spawn);
    assert_eq!(exit, Exit::Code(0), "{text}");
    text.lines()
        .filter_map(|line| line.split_once('>'))
        .map(|(_, line)| line.to_owned())
        .collect()
}

fn plays(name: &str) -> bool {
    std::env::var_os("HANDOVER_TEST_ROLE").is_some_and(|role| role == name)
}

/// Takes the block and says what came.
#[test]
#[ignore = "a role that other tests start"]
fn role_take() {
    if !plays("role_take") {
        return;
    }
    let inherited = match take() {
        Ok(inherited) => inherited,
        Err(error) => {
            let variables = std::env::var_os("LISTEN_FDS").is_some();
            let open = rustix::io::fcntl_getfd(std::io::stdin()).is_ok();
            println!(">{error:?}");
            println!(">variables kept {variables}, input open {open}");
            return;
        }
    };
    for entry in &inherited {
        let flags = rustix::io::fcntl_getfd(&entry.fd).unwrap();
        let close_on_exec = flags.contains(rustix::io::FdFlags::CLOEXEC);
        println!(
            ">{} {} {:?} {:?} {} {}",
            entry.fd.as_raw_fd(),
            entry.name,
            entry.facts.family,
            entry.facts.kind,
            entry.facts.local.as_deref().unwrap_or("-"),
            close_on_exec
        );
    }
    let left: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("LISTEN_"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(matches!(take(), Err(InheritError::AlreadyTaken)));
    // A real listener: take one connection if asked to.
    if std::env::var_os("HANDOVER_TEST_ACCEPT").is_some() {
        let fd = inherited.into_iter().next().unwrap().fd;
        TcpListener::from(fd).accept().unwrap();
        println!(">accepted");
    }
}

/// Takes the block with what is no socket, and says what came.
#[test]
#[ignore = "a role that other tests start"]
fn role_take_with_files() {
    if !plays("role_take_with_files") {
        return;
    }
    match take_with_files() {
        Ok((sockets, files)) => {
            let sockets: Vec<_> = sockets.iter().map(|entry| &entry.name).collect();
            for file in &files {
                let flags = rustix::io::fcntl_getfd(&file.fd).unwrap();
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            }
            let files: Vec<_> = files.iter().map(|file| &file.name).collect();
            println!(">{sockets:?} {files:?}");
        }
        Err(error) => println!(">{error:?}"),
    }
}

#[test]
fn what_is_no_socket_is_taken_from_a_block_that_is_surely_ours() {
    let (read, _write) = pipe();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let two = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "memory:http")];
    let passed = || vec![read.as_fd(), tcp.as_fd()];
    let lines = found(role("role_take_with_files", &two, passed()).listen_pid());
    assert_eq!(lines, [r#"["http"] ["memory"]"#]);
    let lines = found(role("role_take_with_files", &two, passed()));
    assert!(lines[0].starts_with("NotASocket { number: 3"), "{lines:?}");
}

/// Takes one descriptor named by a variable.
#[test]
#[ignore = "a role that other tests start"]
fn role_take_numbered() {
    if !plays("role_take_numbered") {
        return;
    }
    match take_numbered("HANDOVER_TEST_FD") {
        Ok(Some(fd)) => {
            assert!(std::env::var_os("HANDOVER_TEST_FD").is_none());
            assert!(
                rustix::io::fcntl_getfd(&fd)
                    .unwrap()
                    .contains(rustix::io::FdFlags::CLOEXEC)
            );
            println!(
                ">took {} {}",
                fd.as_raw_fd(),
                world::own_target(&fd).unwrap().display()
            );
            // SAFETY: the only test that runs in this process; it takes no environment elsewhere.
            unsafe { std::env::set_var("HANDOVER_TEST_FD", fd.as_raw_fd().to_string()) };
            drop(fd);
            // Closed, and its number may be another's by now: never again.
            assert!(matches!(
                take_numbered("HANDOVER_TEST_FD"),
                Err(InheritError::NotInherited { .. })
            ));
        }
        Ok(None) => println!(">nothing"),
        Err(error) => println!(">{error:?}"),
    }
}

#[test]
fn a_block_is_taken_with_names_and_facts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("[::1]:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let variables = [("LISTEN_FDS", "3"), ("LISTEN_FDNAMES", "http:dns:")];
    let sockets = vec![tcp.as_fd(), udp.as_fd(), unix.as_fd()];
    assert_eq!(
        found(role("role_take", &variables, sockets).listen_pid()),
        [
            format!("3 http Inet4 Stream {} true", tcp.local_addr().unwrap()),
            format!("4 dns Inet6 Datagram {} true", udp.local_addr().unwrap()),
            format!("5 unknown Unix Stream {} true", path.display()),
        ]
    );
}

#[test]
fn the_listener_that_was_taken_accepts() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _waiting = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let variables = [("LISTEN_FDS", "1"), ("HANDOVER_TEST_ACCEPT", "1")];
    let lines = found(role("role_take", &variables, vec![tcp.as_fd()]).listen_pid());
    assert_eq!(lines.last().map(String::as_str), Some("accepted"));
}

#[test]
fn a_block_for_nobody_in_particular_is_taken_if_all_are_sockets() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = found(role("role_take", &[("LISTEN_FDS", "1")], vec![tcp.as_fd()]));
    assert_eq!(
        lines,
        [format!(
            "3 unknown Inet4 Stream {} true",
            tcp.local_addr().unwrap()
        )]
    );
}

#[test]
fn no_block_and_anothers_block_are_empty_and_the_variables_go() {
    assert_eq!(found(role("role_take", &[], vec![])), [""; 0]);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [("LISTEN_PID", "1"), ("LISTEN_FDS", "1")];
    assert_eq!(
        found(role("role_take", &variables, vec![tcp.as_fd()])),
        [""; 0]
    );
}

#[test]
fn what_cannot_be_a_listener_is_refused_and_left_as_it_was() {
    let (read, _write) = pipe();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let refuse = |variables: &[(&str, &str)], fds: Vec<BorrowedFd<'_>>, wanted: &str| {
        let lines = found(role("role_take", variables, fds).listen_pid());
        assert!(lines[0].starts_with(wanted), "{lines:?}");
        assert_eq!(lines[1], "variables kept true, input open true");
    };
    let two = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "a:b")];
    refuse(
        &two,
        vec![tcp.as_fd(), read.as_fd()],
        "NotASocket { number: 4, name: \"b\"",
    );
    refuse(
        &two,
        vec![tcp.as_fd(), client.as_fd()],
        "NotListening { number: 4, name: \"b\"",
    );
    let many = [("LISTEN_FDS", "99")];
    refuse(&many, vec![tcp.as_fd()], "NotOpen { number: ");
    refuse(
        &[("LISTEN_FDS", "two")],
        vec![],
        "NotANumber { variable: \"LISTEN_FDS\"",
    );
    let names = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "a:b")];
    refuse(
        &names,
        vec![tcp.as_fd()],
        "NamesMismatch { expected: 1, found: 2 }",
    );
}

#[test]
fn a_single_descriptor_is_taken_by_its_variable() {
    let (read, _write) = pipe();
    let target = world::own_target(&read).unwrap();
    let take = |number: &str| {
        let variables = [("HANDOVER_TEST_FD", number)];
        found(role(
            "role_take_numbered",
            &variables,
            vec![read.as_fd(), read.as_fd()],
        ))
        .concat()
    };
    assert_eq!(take("4"), format!("took 4 {}", target.display()));
    // Nobody may own what everybody shares, nor what is not there.
    assert!(take("1").starts_with("NotInherited { number: 1"));
    assert!(take("800").starts_with("NotOpen { number: 800"));
    assert!(take("-1").starts_with("NotANumber"));
    assert!(take("").starts_with("NotANumber"));
    assert_eq!(found(role("role_take_numbered", &[], vec![])), ["nothing"]);
}

/// What this process opened itself is never mistaken for an inheritance.
#[test]
fn our_own_descriptor_is_not_inherited() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: only Rust code of this file reads the environment in this process, and nothing else
    // uses this variable.
    unsafe { std::env::set_var("HANDOVER_TEST_OWN", tcp.as_raw_fd().to_string()) };
    let error = take_numbered("HANDOVER_TEST_OWN").unwrap_err();
    assert!(
        matches!(error, InheritError::NotInherited { .. }),
        "{error:?}"
    );
    assert!(std::env::var_os("HANDOVER_TEST_OWN").is_some());
    tcp.local_addr().unwrap();
}
