//! A native instance written by hand over the real channel: owns a file lock as its lease, and lies
//! in any way it is told to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_from};
use handover_proto::identity::{Epoch, InstanceId, InstancePid};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_sys::inherited::take_numbered;
use handover_sys::passing;

/// How a lie is named on the command line of an instance.
pub const LIE: &str = "lie:";

/// Honest, but for the drains it never finishes.
const NEVER_DRAINS: &str = "never-drains";

/// Honest until it serves.
const TURNS: &str = "turns";

/// What an instance is told to do wrong, if anything.
fn lie() -> Option<String> {
    std::env::args().find_map(|argument| argument.strip_prefix(LIE).map(str::to_owned))
}

/// The process.
pub fn play() {
    let mut actor = Actor::new();
    end_with(actor.dir.clone());
    match lie().as_deref() {
        None | Some(NEVER_DRAINS | TURNS) => actor.own(),
        Some("silent") => park(),
        Some("notify") => {
            let socket = std::env::var("NOTIFY_SOCKET").expect("a notify socket");
            let sender = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
            sender.send_to(b"READY=1", socket).expect("sends");
            park();
        }
        Some("garbage") => actor.pour(&[0xff; 4096]),
        Some("huge") => {
            actor.greet(|_| {});
            actor.welcome();
            actor.pour(&[0xff; 4096]);
        }
        Some("flood") => {
            actor.greet(|_| {});
            actor.welcome();
            let text = "x".repeat(60_000);
            actor.pour(&encode_from(&FromInstance::Status { text }, VERSION_OLDEST));
        }
        Some("version") => {
            actor.greet(|_| {});
            actor.welcome();
            let mut frame = encode_from(&FromInstance::Warmed, VERSION_OLDEST);
            // After the length word: the version, little-endian.
            frame[4..6].copy_from_slice(&9_u16.to_le_bytes());
            let _ = actor.stream.write_all(&frame);
            park();
        }
        Some("early") => {
            actor.greet(|_| {});
            actor.welcome();
            actor.say(&ready(None));
            park();
        }
        Some(lie) => {
            actor.greet(|hello| hello.distort(lie));
            park();
        }
    }
}

/// The test that started it may have failed: ends this process with the test's directory.
pub fn end_with(dir: PathBuf) {
    std::thread::spawn(move || {
        while dir.exists() {
            std::thread::sleep(Duration::from_millis(50));
        }
        std::process::exit(3);
    });
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

fn ready(lease: Option<Epoch>) -> FromInstance {
    FromInstance::Ready {
        claimed: Vec::new(),
        lease,
    }
}

/// The words of a greeting.
struct Greeting {
    instance: InstanceId,
    pid: InstancePid,
    versions: (u16, u16),
}

impl Greeting {
    fn distort(&mut self, lie: &str) {
        match lie {
            "pid" => self.pid = InstancePid(1),
            "id" => self.instance = InstanceId(99),
            "newer" => self.versions = (2, 3),
            "older" => self.versions = (0, 0),
            other => panic!("no such lie: {other}"),
        }
    }
}

struct Actor {
    stream: UnixStream,
    reader: Reader,
    instance: InstanceId,
    dir: PathBuf,
    role: Role,
    lock: Option<File>,
    /// Our end of the channel to the other instance.
    channel: Option<UnixStream>,
}

impl Actor {
    fn new() -> Self {
        let number = std::env::var("HANDOVER_INSTANCE").expect("a number");
        let socket = take_numbered("HANDOVER_SOCKET_FD").expect("a channel");
        Self {
            stream: socket.expect("a channel").into(),
            reader: Reader::new(),
            instance: InstanceId(number.parse().expect("a number")),
            dir: std::env::var("ACTOR_DIR").expect("a directory").into(),
            role: Role::Successor,
            lock: None,
            channel: None,
        }
    }

    fn greet(&mut self, distort: impl FnOnce(&mut Greeting)) {
        let mut greeting = Greeting {
            instance: self.instance,
            pid: InstancePid(std::process::id()),
            versions: (VERSION_OLDEST, VERSION_OLDEST),
        };
        distort(&mut greeting);
        let lease = self.lock.is_some().then(|| self.epoch());
        self.say(&FromInstance::Hello {
            instance: greeting.instance,
            pid: greeting.pid,
            role: self.role,
            oldest: greeting.versions.0,
            newest: greeting.versions.1,
            lease,
        });
    }

    fn say(&mut self, message: &FromInstance) {
        // Whoever hangs up is heard of when reading.
        let _ = self.stream.write_all(&encode_from(message, VERSION_OLDEST));
    }

    /// Writes the same again and again until nobody reads it any more.
    fn pour(&mut self, bytes: &[u8]) {
        while self.stream.write_all(bytes).is_ok() {}
        park();
    }

    /// The next message, and the descriptor that came with it. `None` at the end.
    fn hear(&mut self) -> Option<(ToInstance, Option<OwnedFd>)> {
        let mut descriptor = None;
        loop {
            if let Some(decoded) = self.reader.next_to().expect("frames") {
                let Decoded::Message(message) = decoded else {
                    continue;
                };
                return Some((message, descriptor));
            }
            // A byte at a time: so a descriptor belongs to the frame under way.
            let mut byte = [0];
            let received = passing::receive(self.stream.as_fd(), &mut byte, 1).ok()?;
            if received.bytes == 0 {
                return None;
            }
            descriptor = received.descriptors.into_iter().next().or(descriptor);
            self.reader.push(&byte).expect("room");
        }
    }

    /// Waits for the answer to the greeting; whether an introduction follows.
    fn welcome(&mut self) -> bool {
        match self.hear() {
            Some((ToInstance::Welcome { introduced, .. }, None)) => introduced,
            other => panic!("expected Welcome, found {other:?}"),
        }
    }

    fn lease_file(&self) -> PathBuf {
        self.dir.join("lease")
    }

    fn epoch(&self) -> Epoch {
        Epoch(number(&self.dir.join("epoch")))
    }

    /// Takes the lock and counts the owners.
    fn acquire(&mut self) -> Epoch {
        let file = File::create(self.lease_file()).expect("a file");
        file.lock().expect("the lock");
        let epoch = self.epoch().next();
        fs::write(self.dir.join("epoch"), epoch.0.to_string()).expect("writes");
        self.lock = Some(file);
        epoch
    }

    /// Everything as it should be.
    fn own(&mut self) {
        self.greet(|_| {});
        if !self.welcome() {
            self.say(&FromInstance::Warmed);
        }
        loop {
            match self.hear() {
                Some((message, descriptor)) => self.obey(message, descriptor),
                None if self.lock.is_some() => self.reconnect(),
                // Somebody else serves; it holds nothing.
                None => std::process::exit(1),
            }
        }
    }

    fn obey(&mut self, message: ToInstance, descriptor: Option<OwnedFd>) {
        match message {
            ToInstance::Introduce { .. } => self.meet(descriptor.expect("an end of a channel")),
            ToInstance::Activate { .. } => {
                let epoch = self.acquire();
                self.role = Role::Incumbent;
                self.say(&ready(Some(epoch)));
            }
            ToInstance::Commit { .. } if lie().as_deref() == Some(TURNS) => {
                self.pour(&[0xff; 4096]);
            }
            ToInstance::Drain { .. } if lie().as_deref() == Some(NEVER_DRAINS) => {}
            ToInstance::Drain { id, .. } => {
                let report = DrainReport::default();
                self.say(&FromInstance::Drained { id, report });
            }
            ToInstance::Seal { id } => {
                self.lock = None;
                self.say(&FromInstance::Sealed { id });
            }
            ToInstance::Resume { id } => {
                let lease = match self.lock {
                    Some(_) => self.epoch(),
                    None => self.acquire(),
                };
                let lease = Some(lease);
                self.say(&FromInstance::Resumed { id, lease });
            }
            ToInstance::Retire { .. } => {
                let report = DrainReport::default();
                self.say(&FromInstance::Retired { report });
                std::process::exit(0);
            }
            ToInstance::Welcome { .. } | ToInstance::Commit { .. } => {}
            #[allow(
                unreachable_patterns,
                reason = "later messages are none of its business"
            )]
            _ => {}
        }
    }

    /// The two ends are of one channel: the incumbent says its number, the successor notes it.
    fn meet(&mut self, end: OwnedFd) {
        let mut channel = UnixStream::from(end);
        if self.role == Role::Incumbent {
            let _ = channel.write_all(&self.instance.0.to_le_bytes());
        } else {
            let mut number = [0; 8];
            channel.read_exact(&mut number).expect("a number");
            let met = u64::from_le_bytes(number).to_string();
            fs::write(self.dir.join(format!("met-{}", self.instance.0)), met).expect("writes");
            self.say(&FromInstance::Warmed);
        }
        self.channel = Some(channel);
    }

    fn reconnect(&mut self) {
        let socket = std::env::var("HANDOVER_NATIVE_SOCKET").expect("a path");
        self.stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        self.reader = Reader::new();
        self.greet(|_| {});
    }
}

/// The number a file holds; zero without one.
pub fn number(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
