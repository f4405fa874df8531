//! What the tests share: a coordinator, instances without an environment, conditions with a
//! deadline.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use handover::blocking::{Connection, Instance, Listener};
use handover::{Inheritance, InstanceId, Ladder};
use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_to};
use handover_proto::identity::{Epoch, HandoverId, InstancePid};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use handover_sys::passing;

/// Long enough for the slowest machine; only a failing test waits for it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A ladder step that never ends within a test.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// An attempt.
pub(crate) const ATTEMPT: HandoverId = HandoverId::new(1, 1);

/// Something that blocks, on a thread of its own.
pub(crate) struct Task<T> {
    what: &'static str,
    done: mpsc::Receiver<T>,
}

/// Begins something that blocks.
pub(crate) fn begin<T: Send + 'static>(
    what: &'static str,
    act: impl FnOnce() -> T + Send + 'static,
) -> Task<T> {
    let (tell, done) = mpsc::channel();
    thread::spawn(move || drop(tell.send(act())));
    Task { what, done }
}

impl<T> Task<T> {
    /// Its value, or a failure that names what never came.
    #[track_caller]
    pub(crate) fn end(self) -> T {
        match self.done.recv_timeout(DEADLINE) {
            Ok(value) => value,
            Err(error) => panic!("{}: {error}", self.what),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.done.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// An instance that inherits what is given and nothing else.
pub(crate) fn instance_of(inheritance: Inheritance) -> Instance {
    let builder = Instance::builder("test").signals(false);
    builder.inherit(inheritance).start().unwrap()
}

/// An instance that inherits nothing.
pub(crate) fn instance() -> Instance {
    instance_of(Inheritance::default())
}

/// A ladder of notify and grace.
pub(crate) fn ladder(notify: Duration, grace: Duration) -> Ladder {
    Ladder {
        announce: Duration::ZERO,
        notify,
        grace,
    }
}

/// The Internet address of a listener.
pub(crate) fn inet(listener: &Listener) -> SocketAddr {
    listener.local_addr().inet().unwrap()
}

/// A client's end and the accepted end. The kernel queues the client, so no thread is needed.
pub(crate) fn pair(listener: &Listener) -> (TcpStream, Connection) {
    let client = client(inet(listener));
    let connection = listener.accept().unwrap().unwrap();
    let port = client.local_addr().unwrap().port();
    assert_eq!(connection.peer().port(), Some(port));
    (client, connection)
}

/// A connected client that does not wait for ever.
pub(crate) fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

/// Sends `text` and reads until as much has come back.
pub(crate) fn echo(client: &mut TcpStream, mut connection: &Connection, text: &[u8]) {
    let mut buffer = vec![0; text.len()];
    client.write_all(text).unwrap();
    connection.read_exact(&mut buffer).unwrap();
    connection.write_all(&buffer).unwrap();
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(buffer, text);
}

/// The other end of an instance's channel.
pub(crate) struct Coordinator {
    pub(crate) stream: UnixStream,
    reader: Reader,
}

impl Coordinator {
    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let reader = Reader::new();
        Self { stream, reader }
    }

    /// A coordinator and what its instance inherits.
    pub(crate) fn with(reconnect: Option<PathBuf>) -> (Self, Inheritance) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let inheritance = Inheritance::default().channel(theirs, InstanceId(7), reconnect);
        (Self::over(ours), inheritance)
    }

    /// The next frame but for counts, which come when they come; `None` at the end of the channel.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> Option<FromInstance> {
        loop {
            match self.hear_any() {
                Some(FromInstance::Connections { .. }) => {}
                other => return other,
            }
        }
    }

    /// The next frame; `None` at the end of the channel.
    #[track_caller]
    pub(crate) fn hear_any(&mut self) -> Option<FromInstance> {
        loop {
            match self.reader.next_from().unwrap() {
                Some(Decoded::Message(message)) => return Some(message),
                Some(Decoded::Unknown { kind }) => panic!("unknown frame {kind}"),
                None => {}
            }
            let mut buffer = [0; 1024];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                length => self.reader.push(&buffer[..length]).unwrap(),
            }
        }
    }

    pub(crate) fn say(&mut self, message: &ToInstance) {
        let bytes = encode_to(message, VERSION_OLDEST);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Says it, with a descriptor on its first byte.
    pub(crate) fn pass(&self, message: &ToInstance, descriptor: impl AsFd) {
        let bytes = encode_to(message, VERSION_OLDEST);
        let sent = passing::send(self.stream.as_fd(), &bytes, &[descriptor.as_fd()]);
        assert_eq!(sent.unwrap(), bytes.len());
    }

    #[track_caller]
    pub(crate) fn hello(&mut self, role: Role) {
        assert_eq!(self.hello_with_lease(role), None);
    }

    #[track_caller]
    pub(crate) fn hello_with_lease(&mut self, role: Role) -> Option<Epoch> {
        let Some(FromInstance::Hello {
            instance,
            pid,
            role: found,
            lease,
            ..
        }) = self.hear()
        else {
            panic!("expected a greeting");
        };
        assert_eq!((instance, found), (InstanceId(7), role));
        assert_eq!(pid, InstancePid(std::process::id()));
        lease
    }

    pub(crate) fn welcome(&mut self, mode: Mode, incumbent: bool) {
        self.welcome_and(mode, incumbent, false);
    }

    /// `introduced`: an introduction follows.
    pub(crate) fn welcome_and(&mut self, mode: Mode, incumbent: bool, introduced: bool) {
        self.say(&ToInstance::Welcome {
            version: VERSION_OLDEST,
            mode,
            incumbent,
            introduced,
        });
    }

    #[track_caller]
    pub(crate) fn ready(&mut self, instance: &Instance) {
        self.hello(Role::Successor);
        self.welcome(Mode::Overlap, true);
        instance.ready().unwrap();
        let Some(FromInstance::Ready { .. }) = self.hear() else {
            panic!("expected readiness");
        };
    }
}
