//! Real processes: this very program, started again in one of the roles below.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use handover::blocking::{Connection, Instance};
use handover::{DrainReport, Inheritance};
use handover_proto::identity::InstancePid;
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::phase::Mode;
use handover_sys::notify::{Notification, NotifySocket};
use handover_sys::spawn::{Child, Spawn};
use handover_sys::{Exit, Signal};

use crate::exclusive::diary::{Diary, Plan};
use crate::world::{Coordinator, DEADLINE, NEVER, begin, eventually, inet, ladder};

const ROLE: &str = "HANDOVER_TEST_ROLE";

/// A child in a role and the lines it prints after `>`. Killed when dropped.
pub(crate) struct Actor {
    pub(crate) child: Child,
    lines: mpsc::Receiver<String>,
}

impl Actor {
    pub(crate) fn start(
        role: &str,
        variables: &[(&str, &str)],
        descriptors: Vec<BorrowedFd<'_>>,
    ) -> Self {
        let more = [(ROLE, role)];
        let more = more.iter().chain(variables);
        let environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .chain(more.map(|(name, value)| (name.into(), value.into())))
            .collect();
        let (read, write) = std::io::pipe().unwrap();
        let spawn = Spawn::path(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "processes::role", "--nocapture"])
            .env(environment)
            .descriptors(descriptors)
            .stdout(write.as_fd());
        let child = spawn.listen_pid().spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(read).lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once('>') {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("another line")
    }

    #[track_caller]
    pub(crate) fn says(&self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    fn signal(&self) {
        self.child.pidfd.signal(Signal::TERM).unwrap();
    }

    #[track_caller]
    pub(crate) fn ends(&self) -> Exit {
        let exit = self.child.pidfd.wait(Some(DEADLINE)).unwrap();
        exit.expect("it ends")
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.pidfd.signal(Signal::KILL);
        let _ = self.child.pidfd.wait(Some(DEADLINE));
    }
}

/// The program of every child.
#[test]
#[ignore = "what other tests start"]
fn role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match role.as_str() {
        "serve" => serve(),
        "own" => own(),
        "hasty" => hasty(),
        "deaf" => {
            let _instance = Instance::start("deaf").unwrap();
            println!(">up");
            loop {
                std::thread::park();
            }
        }
        "starve" => starve(),
        "come and go" => come_and_go(),
        "fail" => match Instance::start("fail") {
            Ok(_) => println!(">started"),
            Err(error) => println!(">{error:?}"),
        },
        other => panic!("no such role: {other}"),
    }
}

/// Greets every connection by its listener, and holds it until the drain ends it.
fn serve() {
    let instance = Instance::start("service").unwrap();
    println!(">{} {:?}", instance.name(), instance.id());
    let left: Vec<_> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("LISTEN_") || name == "HANDOVER_SOCKET_FD")
        .collect();
    println!(">left in the environment: {left:?}");
    let http = instance.tcp("http", "127.0.0.1:0").unwrap();
    let dns = instance.udp("dns", "127.0.0.1:0").unwrap();
    println!(">http {} {}", http.local_addr(), http.is_inherited());
    println!(">dns {} {}", dns.local_addr(), dns.is_inherited());
    instance.status("warming\nREADY=0");
    instance.extend(Duration::from_secs(3));
    // Whoever is told to drain may be signalled at once.
    assert!(!instance.draining_within(Duration::ZERO));
    instance.ready().unwrap();
    println!(">ready");
    let hold = |mut connection: Connection| {
        connection.write_all(b"http").unwrap();
        std::thread::spawn(move || drop((&connection).read_to_end(&mut Vec::new())));
    };
    let accepting = begin("accept ends", move || {
        http.incoming()
            .for_each(|connection| hold(connection.unwrap()));
    });
    instance.draining();
    println!(">draining");
    accepting.end();
    let report = instance.retired();
    println!(">{} {} {}", report.finished, report.cut, report.open);
}

/// Owns the directory it is told, until it is told to go.
fn own() {
    let directory = std::env::var_os("HANDOVER_TEST_DATA").unwrap();
    let instance = Instance::start("service").unwrap();
    let (_diary, service) = Diary::new(Plan::default().stateless());
    let lease = instance.own(directory, service).unwrap();
    println!(">owner {}", lease.epoch().0);
    instance.retired();
    println!(">gone");
}

/// Answers one after the other, and returns from `main` without a word about its drain.
fn hasty() {
    let instance = Instance::start("hasty").unwrap();
    let http = instance.tcp("http", "127.0.0.1:0").unwrap();
    instance.ready().unwrap();
    println!(">{}", inet(&http));
    for connection in http.incoming() {
        connection.unwrap().write_all(b"http").unwrap();
    }
}

/// Runs out of descriptors while a connection waits, and gets some back.
fn starve() {
    let instance = Instance::start("starve").unwrap();
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    let client = TcpStream::connect(inet(&listener)).unwrap();
    let limit = rustix::process::Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let before = own_ticks();
    let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let accepted = begin("accept", move || {
        listener.accept().unwrap().unwrap().peer().inet()
    });
    std::thread::sleep(Duration::from_millis(500));
    println!(">accepted while starved: {}", accepted.is_over());
    drop(hoard);
    // Ticks of 10 ms: 50 in the window, if it were spent on trying.
    println!(">busy: {}", own_ticks() - before > 25);
    assert_eq!(accepted.end(), Some(client.local_addr().unwrap()));
    println!(">accepted");
}

/// Instances that end leave neither threads nor descriptors behind.
fn come_and_go() {
    let count = |what: &str| {
        std::fs::read_dir(format!("/proc/self/{what}"))
            .unwrap()
            .count()
    };
    let before = (count("task"), count("fd"));
    for _ in 0..100 {
        let nothing = Inheritance::default();
        let instance = Instance::builder("guest").inherit(nothing).signals(false);
        let instance = instance.start().unwrap();
        let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
        let client = TcpStream::connect(inet(&listener)).unwrap();
        let connection = listener.accept().unwrap().unwrap();
        instance.ready().unwrap();
        drop((client, connection, listener, instance));
    }
    let mut after = (0, 0);
    eventually("all is given back", || {
        after = (count("task"), count("fd"));
        after == before
    });
    println!(">gone");
}

/// Processor time of this process in clock ticks (proc(5): fields 14 and 15, after the name).
fn own_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<_> = fields.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn greeted(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut text = [0; 4];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"http");
    stream
}

/// The part of an address line between the name and whether it was inherited.
fn address(line: &str) -> String {
    line.split(' ').nth(1).unwrap().to_owned()
}

/// I4 and I8: listeners are adopted by name, whatever their order, and outlive who serves them.
#[test]
fn listeners_are_inherited_by_name_and_outlive_the_instance() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = http.local_addr().unwrap().to_string();
    let start = || {
        let actor = Actor::start(
            "serve",
            &[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "dns:http")],
            vec![dns.as_fd(), http.as_fd()],
        );
        actor.says("service None");
        actor.says("left in the environment: []");
        actor.says(&format!("http {at} true"));
        actor.says(&format!("dns {} true", dns.local_addr().unwrap()));
        actor.says("ready");
        actor
    };
    let old = start();
    let held = greeted(&at);
    let new = start();
    // With a connection open, and nobody else to be waited for: the notify step, then grace.
    old.signal();
    old.says("draining");
    drop(greeted(&at));
    drop(held);
    old.says("1 0 0");
    assert_eq!(old.ends(), Exit::Code(0));
    drop(greeted(&at));
    new.signal();
    new.says("draining");
    assert_eq!(new.ends(), Exit::Code(0));
    // Even with nobody there connections queue up.
    TcpStream::connect(&at).unwrap();
}

#[test]
fn alone_it_binds_and_a_second_signal_cuts() {
    let actor = Actor::start("serve", &[("LISTEN_FDS", "0")], Vec::new());
    actor.says("service None");
    actor.says("left in the environment: []");
    let http = actor.line();
    assert!(http.ends_with(" false"), "{http}");
    let dns = actor.line();
    assert!(dns.ends_with(" false"), "{dns}");
    actor.says("ready");
    let mut held = greeted(&address(&http));
    actor.signal();
    actor.says("draining");
    actor.signal();
    actor.says("0 1 0");
    assert_eq!(actor.ends(), Exit::Code(0));
    let error = held.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// A program that never looks at its drain is stopped as any other.
#[test]
fn a_program_that_does_not_drain_is_ended_by_the_signal() {
    let actor = Actor::start("deaf", &[], Vec::new());
    actor.says("up");
    actor.signal();
    assert_eq!(actor.ends(), Exit::Signal(15));
}

/// Accepting is looking at the drain: such a program ends by itself.
#[test]
fn a_program_that_only_accepts_drains_by_the_signal() {
    let actor = Actor::start("hasty", &[], Vec::new());
    drop(greeted(&actor.line()));
    actor.signal();
    assert_eq!(actor.ends(), Exit::Code(0));
}

#[test]
fn a_lack_of_descriptors_is_waited_out_without_a_busy_loop() {
    let actor = Actor::start("starve", &[], Vec::new());
    actor.says("accepted while starved: false");
    actor.says("busy: false");
    actor.says("accepted");
}

#[test]
fn an_instance_that_ends_leaves_nothing_behind() {
    let actor = Actor::start("come and go", &[], Vec::new());
    actor.says("gone");
}

#[test]
fn systemd_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let socket = NotifySocket::bind(directory.path().join("notify")).unwrap();
    let path = socket.path().to_str().unwrap();
    let actor = Actor::start("serve", &[("NOTIFY_SOCKET", path)], Vec::new());
    let mut heard = Vec::new();
    let mut hear = |wanted: Notification| {
        let started = Instant::now();
        while !heard.contains(&wanted) {
            assert!(started.elapsed() < DEADLINE, "{wanted:?} not in {heard:?}");
            match socket.receive().unwrap() {
                Some((sender, told)) => {
                    assert_eq!(sender.pid, actor.child.pid);
                    heard.extend(told);
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    };
    hear(Notification::Ready);
    hear(Notification::Status("warming READY=0".into()));
    hear(Notification::ExtendTimeout(Duration::from_secs(3)));
    actor.signal();
    hear(Notification::Stopping);
    assert_eq!(actor.ends(), Exit::Code(0));
    let ready = heard.iter().filter(|told| **told == Notification::Ready);
    assert_eq!(ready.count(), 1);
}

/// An actor under a coordinator, over the descriptor that `HANDOVER_SOCKET_FD` names.
fn supervised(role: &str, http: &TcpListener, notify: &NotifySocket) -> (Actor, Coordinator) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let variables = [
        ("LISTEN_FDS", "1"),
        ("LISTEN_FDNAMES", "http"),
        // Passed after the listeners, and not counted among them.
        ("HANDOVER_SOCKET_FD", "4"),
        ("HANDOVER_INSTANCE", "12"),
        ("HANDOVER_SERVICE", "shop"),
        ("NOTIFY_SOCKET", notify.path().to_str().unwrap()),
    ];
    let actor = Actor::start(role, &variables, vec![http.as_fd(), theirs.as_fd()]);
    let mut coordinator = Coordinator::over(ours);
    let Some(FromInstance::Hello { pid, .. }) = coordinator.hear() else {
        panic!("expected a greeting");
    };
    assert_eq!(pid, InstancePid(actor.child.pid));
    coordinator.welcome(Mode::Overlap, false);
    while !matches!(coordinator.hear(), Some(FromInstance::Ready { claimed, .. }) if claimed == ["http"])
    {
    }
    (actor, coordinator)
}

#[track_caller]
fn last_words(coordinator: &mut Coordinator) -> Option<FromInstance> {
    let mut last = None;
    while let Some(message) = coordinator.hear() {
        last = Some(message);
    }
    last
}

/// The whole life under a coordinator.
#[test]
fn the_native_channel_is_inherited() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let notify = NotifySocket::bind(directory.path().join("notify")).unwrap();
    let (actor, mut coordinator) = supervised("serve", &http, &notify);
    actor.says("shop Some(InstanceId(12))");
    actor.says("left in the environment: []");
    let held = greeted(&http.local_addr().unwrap().to_string());
    let ladder = ladder(Duration::ZERO, NEVER);
    coordinator.say(&ToInstance::Retire { ladder });
    while actor.line() != "draining" {}
    drop(held);
    let report = DrainReport {
        finished: 1,
        ..DrainReport::default()
    };
    let last = last_words(&mut coordinator);
    assert_eq!(last, Some(FromInstance::Retired { report }));
    assert_eq!(actor.ends(), Exit::Code(0));
    // READY=1 is for those who do not speak the native protocol.
    assert!(notify.receive().unwrap().is_none());
}

/// `main` returns as soon as its listener ends, before the driver has had its turn.
#[test]
fn the_report_is_sent_even_when_main_returns_first() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let notify = NotifySocket::bind(directory.path().join("notify")).unwrap();
    let (actor, mut coordinator) = supervised("hasty", &http, &notify);
    let ladder = ladder(NEVER, NEVER);
    coordinator.say(&ToInstance::Retire { ladder });
    let report = DrainReport::default();
    let last = last_words(&mut coordinator);
    assert_eq!(last, Some(FromInstance::Retired { report }));
    assert_eq!(actor.ends(), Exit::Code(0));
}

#[test]
fn a_channel_that_is_none_is_refused_with_the_reason() {
    let (pipe, _write) = std::io::pipe().unwrap();
    let number = [("HANDOVER_SOCKET_FD", "3"), ("HANDOVER_INSTANCE", "1")];
    let actor = Actor::start("fail", &number, vec![pipe.as_fd()]);
    let found = actor.line();
    assert!(found.starts_with("Channel("), "{found}");
}
