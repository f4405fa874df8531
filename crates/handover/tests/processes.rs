//! Real processes: this very program, started again in one of the roles below.

mod world;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Instant;

use handover::Instance;
use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_to};
use handover_proto::identity::InstancePid;
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::phase::Mode;
use handover_sys::notify::{Notification, NotifySocket};
use handover_sys::spawn::{Child, Spawn};
use handover_sys::{Exit, Signal};
use world::{DEADLINE, NEVER, ladder};

const ROLE: &str = "HANDOVER_TEST_ROLE";

/// A child in a role and the lines it prints after `>`. Killed when dropped.
struct Actor {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Actor {
    fn start(role: &str, variables: &[(&str, &str)], descriptors: Vec<BorrowedFd<'_>>) -> Self {
        let more = [(ROLE, role)];
        let more = more.iter().chain(variables);
        let environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .chain(more.map(|(name, value)| (name.into(), value.into())))
            .collect();
        let (read, write) = std::io::pipe().unwrap();
        let spawn = Spawn::path(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "role", "--nocapture"])
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
    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("another line")
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    fn signal(&self) {
        self.child.pidfd.signal(Signal::TERM).unwrap();
    }

    #[track_caller]
    fn ends(&self) -> Exit {
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
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match role.as_str() {
        "serve" => runtime.block_on(serve()),
        "deaf" => runtime.block_on(async {
            let _instance = Instance::start("deaf").await.unwrap();
            println!(">up");
            std::future::pending().await
        }),
        "starve" => runtime.block_on(starve()),
        "fail" => match runtime.block_on(Instance::start("fail")) {
            Ok(_) => println!(">started"),
            Err(error) => println!(">{error:?}"),
        },
        other => panic!("no such role: {other}"),
    }
}

/// Greets every connection by its listener, and holds it until the drain ends it.
async fn serve() {
    use tokio::io::AsyncWriteExt;
    let instance = Instance::start("service").await.unwrap();
    println!(">{} {:?}", instance.name(), instance.id());
    let left: Vec<_> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("LISTEN_") || name == "HANDOVER_SOCKET_FD")
        .collect();
    println!(">left in the environment: {left:?}");
    let mut http = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let dns = instance.udp("dns", "127.0.0.1:0").await.unwrap();
    println!(">http {} {}", http.local_addr(), http.is_inherited());
    println!(">dns {} {}", dns.local_addr(), dns.is_inherited());
    instance.status("warming\nREADY=0");
    instance.extend(std::time::Duration::from_secs(3));
    let draining = instance.draining();
    instance.ready().await.unwrap();
    println!(">ready");
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut connection, _) = http.accept().await.unwrap();
            connection.write_all(b"http").await.unwrap();
            held.push(tokio::spawn(async move {
                use tokio::io::AsyncReadExt;
                let _ = connection.read_to_end(&mut Vec::new()).await;
            }));
        }
    });
    draining.await;
    println!(">draining");
    let report = instance.retired().await;
    println!(">{} {} {}", report.finished, report.cut, report.open);
    accepting.abort();
}

/// Runs out of descriptors while a connection waits, and gets some back.
async fn starve() {
    let instance = Instance::start("starve").await.unwrap();
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(world::inet(&listener)).unwrap();
    let limit = rustix::process::Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let before = own_ticks();
    let hoard: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let window = std::time::Duration::from_millis(500);
    let starved = tokio::time::timeout(window, listener.accept()).await;
    println!(">accepted while starved: {}", starved.is_ok());
    drop(hoard);
    // Ticks of 10 ms: 50 in the window, if it were spent on trying.
    println!(">busy: {}", own_ticks() - before > 25);
    let (_, peer) = world::within("accept", listener.accept()).await.unwrap();
    assert_eq!(peer.inet(), Some(client.local_addr().unwrap()));
    println!(">accepted");
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

#[test]
fn a_lack_of_descriptors_is_waited_out_without_a_busy_loop() {
    let actor = Actor::start("starve", &[], Vec::new());
    actor.says("accepted while starved: false");
    actor.says("busy: false");
    actor.says("accepted");
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
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    };
    hear(Notification::Ready);
    hear(Notification::Status("warming READY=0".into()));
    hear(Notification::ExtendTimeout(std::time::Duration::from_secs(
        3,
    )));
    actor.signal();
    hear(Notification::Stopping);
    assert_eq!(actor.ends(), Exit::Code(0));
    let ready = heard.iter().filter(|told| **told == Notification::Ready);
    assert_eq!(ready.count(), 1);
}

/// The whole life under a coordinator, over the descriptor that `HANDOVER_SOCKET_FD` names.
#[test]
fn the_native_channel_is_inherited() {
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let notify = NotifySocket::bind(directory.path().join("notify")).unwrap();
    let actor = Actor::start(
        "serve",
        &[
            ("LISTEN_FDS", "1"),
            ("LISTEN_FDNAMES", "http"),
            // Passed after the listeners, and not counted among them.
            ("HANDOVER_SOCKET_FD", "4"),
            ("HANDOVER_INSTANCE", "12"),
            ("HANDOVER_SERVICE", "shop"),
            ("NOTIFY_SOCKET", notify.path().to_str().unwrap()),
        ],
        vec![http.as_fd(), theirs.as_fd()],
    );
    drop(theirs);
    actor.says("shop Some(InstanceId(12))");
    actor.says("left in the environment: []");
    let mut coordinator = Coordinator::over(ours);
    let Some(FromInstance::Hello { pid, .. }) = coordinator.hear() else {
        panic!("expected a greeting");
    };
    assert_eq!(pid, InstancePid(actor.child.pid));
    coordinator.say(&ToInstance::Welcome {
        version: VERSION_OLDEST,
        mode: Mode::Overlap,
        incumbent: false,
        introduced: false,
    });
    while !matches!(coordinator.hear(), Some(FromInstance::Ready { claimed, .. }) if claimed == ["http"])
    {
    }
    let held = greeted(&http.local_addr().unwrap().to_string());
    let ladder = ladder(std::time::Duration::ZERO, NEVER);
    coordinator.say(&ToInstance::Retire { ladder });
    while actor.line() != "draining" {}
    drop(held);
    let mut last = None;
    while let Some(message) = coordinator.hear() {
        last = Some(message);
    }
    let Some(FromInstance::Retired { report }) = last else {
        panic!("expected a report, found {last:?}");
    };
    assert_eq!((report.finished, report.cut, report.open), (1, 0, 0));
    assert_eq!(actor.ends(), Exit::Code(0));
    // READY=1 is for those who do not speak the native protocol.
    assert!(notify.receive().unwrap().is_none());
}

#[test]
fn a_channel_that_is_none_is_refused_with_the_reason() {
    let (pipe, _write) = std::io::pipe().unwrap();
    let number = [("HANDOVER_SOCKET_FD", "3"), ("HANDOVER_INSTANCE", "1")];
    let actor = Actor::start("fail", &number, vec![pipe.as_fd()]);
    let found = actor.line();
    assert!(found.starts_with("Channel("), "{found}");

    let (stream, _other) = UnixStream::pair().unwrap();
    let actor = Actor::start("fail", &number[..1], vec![stream.as_fd()]);
    actor.says("BadInstance { found: \"\" }");

    let actor = Actor::start("fail", &number, Vec::new());
    let found = actor.line();
    assert!(found.starts_with("Inherit("), "{found}");
}

/// The coordinator's end of a channel, blocking.
struct Coordinator {
    stream: UnixStream,
    reader: Reader,
}

impl Coordinator {
    fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let reader = Reader::new();
        Self { stream, reader }
    }

    fn say(&mut self, message: &ToInstance) {
        use std::io::Write;
        let bytes = encode_to(message, VERSION_OLDEST);
        self.stream.write_all(&bytes).unwrap();
    }

    fn hear(&mut self) -> Option<FromInstance> {
        loop {
            if let Some(Decoded::Message(message)) = self.reader.next_from().unwrap() {
                return Some(message);
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                length => self.reader.push(&buffer[..length]).unwrap(),
            }
        }
    }
}
