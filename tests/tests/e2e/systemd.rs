//! The supervisor as a service of systemd: activated by the real `systemd-socket-activate`, heard by
//! a notify socket that checks who says what in which order, and killed with everything it started.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use handover_sys::notify::{Notification, monotonic_usec};
use handover_sys::{Exit, Signal};
use handover_tests::service::{NAME, clean, command_path};
use handover_tests::{Control, Program, Systemd, eventually, http, peer, process};

use crate::FIXTURE;

/// Short drains.
const QUICK: [&str; 4] = ["--drain-notify", "0s", "--drain-grace", "2s"];

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    QUICK.iter().chain(more).copied().collect()
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("binds");
    probe.local_addr().expect("an address")
}

/// Where the real one is.
fn socket_activate() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("systemd-socket-activate"))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        peer::skip("systemd-socket-activate is not installed");
    }
    found
}

/// A service that `systemd-socket-activate` starts, and everything it started.
struct Activated {
    main: Child,
    root: tempfile::TempDir,
}

impl Activated {
    /// Listens at `address`; the first connection starts `words`.
    fn new(address: SocketAddr, name: Option<&str>, words: &[&str]) -> Option<Self> {
        let root = tempfile::tempdir().expect("a directory");
        let mut command = clean(socket_activate()?);
        command.arg(format!("--listen={address}"));
        command.args(name.map(|name| format!("--fdname={name}")));
        command.arg(format!(
            "--setenv=HANDOVER_RUNTIME_DIR={}",
            root.path().display()
        ));
        let main = command
            .args(words)
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        Some(Self { main, root })
    }

    fn control(&self) -> Control {
        Control::new(self.root.path().join(NAME).join("control.sock"))
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.main.kill();
        let _ = self.main.wait();
        let dir = self.root.path().join(NAME);
        while let left @ [_, ..] = &process::of_service(&dir)[..] {
            for pid in left {
                process::signal(*pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The answer of whoever is started by this very request.
fn first_answer(address: SocketAddr) -> String {
    // Until it listens there, nobody does.
    let answered = eventually("systemd-socket-activate listens", || {
        http::get(address, "/version").ok()
    });
    assert_eq!(answered.0, 200);
    answered.1
}

fn run<'a>(handover: &'a str, flags: &[&'a str], program: &'a str) -> Vec<&'a str> {
    let mut words = vec![handover, "run", "--name", NAME, "--drain-notify", "0s"];
    words.extend(flags);
    words.extend(["--", program]);
    words
}

fn activated(
    name: Option<&str>,
    flags: &[&str],
    address: SocketAddr,
) -> Option<(Activated, Program)> {
    let program = Program::new(FIXTURE, "--version 1");
    let handover = command_path().display().to_string();
    let path = program.path().display().to_string();
    let service = Activated::new(address, name, &run(&handover, flags, &path))?;
    assert_eq!(first_answer(address), "1");
    let listeners = service.control().status().listeners;
    let [listener] = &listeners[..] else {
        panic!("{listeners:?}")
    };
    assert_eq!(listener.name, "http");
    assert_eq!(listener.address, address.to_string());
    Some((service, program))
}

#[test]
fn a_named_listener_of_a_socket_unit_is_the_one_of_that_name() {
    // Nothing may be bound there: the unit has chosen the address.
    let elsewhere = free_address();
    let flag = format!("http={elsewhere}");
    let Some((service, program)) = activated(Some("http"), &["-l", &flag], free_address()) else {
        return;
    };
    assert!(http::get(elsewhere, "/").is_err());
    // And it stays through an upgrade.
    let address: SocketAddr = service.control().status().listeners[0]
        .address
        .parse()
        .unwrap();
    program.replace(FIXTURE, "--version 2");
    assert_eq!(service.control().upgrade_in_place().exit_code(), 0);
    http::until_version(address, "2");
}

#[test]
fn an_unnamed_listener_is_known_by_its_address() {
    let address = free_address();
    let flag = format!("http={address}");
    activated(None, &["-l", &flag], address);
}

#[test]
fn without_a_word_about_listeners_those_of_the_socket_unit_are_taken() {
    activated(Some("http"), &[], free_address());
}

#[test]
fn a_program_with_the_library_is_activated_by_itself() {
    let address = free_address();
    let Some(_service) = Activated::new(address, Some("http"), &[FIXTURE, "--version", "7"]) else {
        return;
    };
    assert_eq!(first_answer(address), "7");
}

#[test]
fn a_block_for_another_process_is_not_taken() {
    let mut systemd = Systemd::new()
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "http");
    let program = Program::new(FIXTURE, "--version 1");
    systemd.supervise(&quick(&["-l", "http=127.0.0.1:0"]), program.path());
    systemd.after(0, &Notification::Ready);
    assert_eq!(http::version(systemd.address()), "1");
}

/// What was said, without what is said by the clock.
fn story(systemd: &mut Systemd) -> Vec<&'static str> {
    let main = systemd.heard().first().map(|heard| heard.pid);
    let mut story = Vec::new();
    for heard in systemd.heard() {
        assert_eq!(Some(heard.pid), main, "{heard:?}");
        for said in &heard.said {
            match said {
                Notification::Ready => story.push("ready"),
                Notification::Reloading { monotonic_usec } => {
                    let at = monotonic_usec.expect("with its time");
                    assert!(at <= handover_sys::notify::monotonic_usec());
                    story.push("reloading");
                }
                Notification::Stopping => story.push("stopping"),
                Notification::Malformed(reason) => panic!("{reason}"),
                _ => {}
            }
        }
    }
    story
}

#[test]
fn it_is_told_of_start_upgrades_failures_and_the_end_in_order_by_the_main_process() {
    let mut systemd = Systemd::new();
    let program = Program::new(FIXTURE, "--version 1 --start-delay 300");
    let before = monotonic_usec();
    systemd.supervise(&quick(&["-l", "http=127.0.0.1:0"]), program.path());
    let main = systemd.main_pid();
    let ready = systemd.after(0, &Notification::Ready);
    // It serves by then, and had asked for time until it did.
    assert_eq!(http::version(systemd.address()), "1");
    let heard = systemd.heard();
    assert!(heard.iter().all(|heard| heard.pid == main), "{heard:?}");
    let asks = |heard: &handover_tests::systemd::Heard| {
        let extends = |said: &Notification| matches!(said, Notification::ExtendTimeout(_));
        heard.said.iter().any(extends)
    };
    assert!(heard[..ready].iter().any(asks), "{heard:?}");

    program.replace(FIXTURE, "--version 2");
    assert_eq!(systemd.control().upgrade_in_place().exit_code(), 0);
    let ready = systemd.after(ready + 1, &Notification::Ready);
    let status = systemd.heard()[ready].status().map(str::to_owned);
    assert!(
        status
            .as_deref()
            .is_some_and(|s| s.starts_with("committed")),
        "{status:?}"
    );

    program.replace(FIXTURE, "--crash-at-start 3");
    assert_eq!(systemd.control().upgrade_in_place().exit_code(), 10);
    let ready = systemd.after(ready + 1, &Notification::Ready);
    let status = systemd.heard()[ready].status().map(str::to_owned);
    assert!(
        status
            .as_deref()
            .is_some_and(|s| s.starts_with("rolled back")),
        "{status:?}"
    );
    assert_eq!(http::version(systemd.address()), "2");

    systemd.signal(Signal::TERM);
    assert_eq!(systemd.ended(), Exit::Code(0));
    let expected = [
        "ready",
        "reloading",
        "ready",
        "reloading",
        "ready",
        "stopping",
    ];
    assert_eq!(story(&mut systemd), expected);
    // It waited until all was read.
    assert!(
        systemd
            .heard()
            .last()
            .is_some_and(|last| last.other("BARRIER") == Some("1"))
    );
    let reloads = reloads(&mut systemd);
    assert!(
        before < reloads[0] && reloads[0] < reloads[1],
        "{reloads:?}"
    );
}

/// When each reload began, in microseconds of `CLOCK_MONOTONIC`.
fn reloads(systemd: &mut Systemd) -> Vec<u64> {
    let heard = systemd.heard().iter().flat_map(|heard| &heard.said);
    let began = heard.filter_map(|said| match said {
        Notification::Reloading { monotonic_usec } => *monotonic_usec,
        _ => None,
    });
    began.collect()
}

#[test]
fn the_watchdog_is_fed_through_a_swap() {
    // It is due every 25 ms, the swap takes 400.
    let mut systemd = Systemd::new().env("WATCHDOG_USEC", "50000");
    let program = Program::new(FIXTURE, "--version 1");
    systemd.supervise(&quick(&["-l", "http=127.0.0.1:0"]), program.path());
    systemd.after(0, &Notification::Ready);
    program.replace(FIXTURE, "--version 2 --start-delay 400");
    assert_eq!(systemd.control().upgrade_in_place().exit_code(), 0);
    let began = systemd.until("an upgrade", |heard| {
        let reloads = |said: &Notification| matches!(said, Notification::Reloading { .. });
        heard
            .iter()
            .position(|heard| heard.said.iter().any(reloads))
    });
    let ended = systemd.after(began, &Notification::Ready);
    let fed = systemd.heard()[began..ended]
        .iter()
        .filter(|heard| heard.said.contains(&Notification::Watchdog))
        .count();
    assert!(fed >= 2, "fed {fed} times");
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let mut systemd = Systemd::new()
        .env("WATCHDOG_USEC", "50000")
        .env("WATCHDOG_PID", "1");
    let program = Program::new(FIXTURE, "--version 1");
    systemd.supervise(&quick(&["-l", "http=127.0.0.1:0"]), program.path());
    systemd.after(0, &Notification::Ready);
    systemd.signal(Signal::TERM);
    systemd.ended();
    let fed = |heard: &handover_tests::systemd::Heard| heard.said.contains(&Notification::Watchdog);
    assert!(!systemd.heard().iter().any(fed));
}

/// The listener and the note of it.
fn until_stored(systemd: &mut Systemd, names: &[&str]) {
    let mut expected: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    expected.push("handover-note".into());
    expected.sort();
    eventually("the listeners are left", || {
        (systemd.stored() == expected).then_some(())
    });
}

#[test]
fn connections_that_wait_survive_the_death_of_every_process() {
    let mut systemd = Systemd::new();
    let program = Program::new(FIXTURE, "--version 1");
    let flags = quick(&["-l", "http=127.0.0.1:0"]);
    systemd.supervise(&flags, program.path());
    systemd.after(0, &Notification::Ready);
    until_stored(&mut systemd, &["http"]);
    let stored = systemd
        .heard()
        .iter()
        .find(|heard| heard.other("FDNAME") == Some("http"));
    let stored = stored.expect("a listener");
    assert_eq!((stored.descriptors, stored.other("FDPOLL")), (1, Some("0")));
    let address = systemd.address();

    systemd.kill_everything();
    // Nobody is there to accept, and nobody is refused.
    let mut waits = http::connect(address).expect("queued");
    waits
        .write_all(b"GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("sent");
    program.replace(FIXTURE, "--version 2");
    systemd.supervise(&flags, program.path());
    assert_eq!(http::finish(waits).expect("an answer"), (200, "2".into()));
    assert_eq!(systemd.address(), address);
    // And so does the next time.
    systemd.kill_everything();
    systemd.supervise(&flags, program.path());
    assert_eq!(first_answer(address), "2");
    assert_eq!(systemd.address(), address);
}

#[test]
fn a_stored_listener_is_dropped_when_another_address_is_configured() {
    let mut systemd = Systemd::new();
    let program = Program::new(FIXTURE, "--version 1");
    let old = free_address();
    let flag = format!("http={old}");
    systemd.supervise(&quick(&["-l", &flag]), program.path());
    systemd.after(0, &Notification::Ready);
    until_stored(&mut systemd, &["http"]);
    systemd.kill_everything();

    let new = free_address();
    let flag = format!("http={new}");
    let so_far = systemd.heard().len();
    systemd.supervise(&quick(&["-l", &flag]), program.path());
    systemd.after(so_far, &Notification::Ready);
    assert_eq!(systemd.address(), new);
    until_stored(&mut systemd, &["http"]);
    eventually("the old one is closed", || {
        http::connect(old).is_err().then_some(())
    });
    assert_eq!(http::version(new), "1");
}

#[test]
fn a_listener_of_a_socket_unit_is_not_left_as_well() {
    let mut systemd = Systemd::new();
    let unit = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = unit.local_addr().expect("an address");
    systemd.put("http", unit.into());
    systemd.put(
        "admin",
        TcpListener::bind("127.0.0.1:0").expect("binds").into(),
    );
    let program = Program::new(FIXTURE, "--version 1");
    let flags = quick(&["-l", "http=127.0.0.1:1"]);
    systemd.supervise(&flags, program.path());
    systemd.after(0, &Notification::Ready);
    assert_eq!(systemd.address(), address);
    let warned = |kind: &handover_proto::event::EventKind| kind.to_string().contains("admin");
    eventually("the other one is mentioned", || {
        systemd
            .events()
            .iter()
            .find(|event| warned(&event.kind))
            .map(drop)
    });
    systemd.signal(Signal::TERM);
    systemd.ended();
    let stores = |heard: &handover_tests::systemd::Heard| heard.other("FDSTORE").is_some();
    assert!(!systemd.heard().iter().any(stores));
}

#[test]
fn something_else_under_a_listeners_name_is_refused() {
    let mut systemd = Systemd::new();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
    systemd.put("http", udp.into());
    let program = Program::new(FIXTURE, "--version 1");
    systemd.supervise(&quick(&["-l", "http=127.0.0.1:0"]), program.path());
    assert_eq!(systemd.ended(), Exit::Code(11));
    let stderr = systemd.stderr();
    assert!(stderr.contains("FileDescriptorName="), "{stderr}");
}

#[test]
fn a_program_with_the_library_feeds_the_watchdog_and_starts_beside_what_it_stored() {
    let mut systemd = Systemd::new().env("WATCHDOG_USEC", "50000");
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = listener.local_addr().expect("an address");
    systemd.put("http", listener.into());
    // No socket, as memory with state is none.
    let memory = std::fs::File::open("/dev/null").expect("opens");
    systemd.put("state", memory.into());
    systemd.start(FIXTURE.as_ref(), &["--version".into(), "7".into()]);
    assert_eq!(first_answer(address), "7");
    let main = systemd.main_pid();
    let ready = systemd.after(0, &Notification::Ready);
    let first = systemd.after(ready, &Notification::Watchdog);
    systemd.after(first + 1, &Notification::Watchdog);
    systemd.signal(Signal::TERM);
    assert_eq!(systemd.ended(), Exit::Code(0));
    systemd.after(ready, &Notification::Stopping);
    assert!(systemd.heard().iter().all(|heard| heard.pid == main));
}
