//! A coordinator played by the test: the other end of an instance's native channel.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;

use handover::{Inheritance, InstanceId};
use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_to};
use handover_proto::identity::{Epoch, HandoverId};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use handover_sys::passing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::within;

/// The attempt that tests carry out.
pub const ATTEMPT: HandoverId = HandoverId::new(1, 1);

pub struct Coordinator {
    pub stream: UnixStream,
    reader: Reader,
}

impl Coordinator {
    pub fn over(stream: UnixStream) -> Self {
        Self {
            stream,
            reader: Reader::new(),
        }
    }

    /// A coordinator and what its instance inherits.
    pub fn with(instance: u64, reconnect: Option<PathBuf>) -> (Self, Inheritance) {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Self::over(UnixStream::from_std(ours).unwrap());
        let inheritance = Inheritance::default().channel(theirs, InstanceId(instance), reconnect);
        (ours, inheritance)
    }

    /// A coordinator in an incumbent, and what its successor has from it.
    pub fn inside(successor: u64) -> (Self, Inheritance) {
        let (ours, theirs) = StdStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Self::over(UnixStream::from_std(ours).unwrap());
        let inheritance =
            Inheritance::default().channel_to_incumbent(theirs, InstanceId(successor));
        (ours, inheritance)
    }

    /// The next frame that is not for people; `None` at the end of the channel.
    pub async fn hear(&mut self) -> Option<FromInstance> {
        loop {
            match self.hear_any().await {
                Some(
                    FromInstance::Connections { .. }
                    | FromInstance::Status { .. }
                    | FromInstance::SealProgress { .. },
                ) => {}
                other => return other,
            }
        }
    }

    /// The next frame; `None` at the end of the channel.
    pub async fn hear_any(&mut self) -> Option<FromInstance> {
        loop {
            match self.reader.next_from().unwrap() {
                Some(Decoded::Message(message)) => return Some(message),
                Some(Decoded::Unknown { kind }) => panic!("unknown frame {kind}"),
                None => {}
            }
            let mut buffer = [0; 1024];
            let read = within("a frame", self.stream.read(&mut buffer)).await;
            match read {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.reader.push(&buffer[..length]).unwrap(),
            }
        }
    }

    /// What has been said by now that is not for people.
    pub fn heard(&mut self) -> Option<FromInstance> {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = self.stream.try_read(&mut buffer) {
            self.reader.push(&buffer[..length]).unwrap();
        }
        loop {
            match self.reader.next_from().unwrap()? {
                Decoded::Message(FromInstance::Connections { .. }) => {}
                Decoded::Message(message) => return Some(message),
                Decoded::Unknown { kind } => panic!("unknown frame {kind}"),
            }
        }
    }

    pub async fn say(&mut self, message: ToInstance) {
        let bytes = encode_to(&message, VERSION_OLDEST);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Says something that descriptors come with.
    pub async fn say_with(&mut self, message: ToInstance, descriptors: &[BorrowedFd<'_>]) {
        let bytes = encode_to(&message, VERSION_OLDEST);
        self.stream.writable().await.unwrap();
        let sent = passing::send(self.stream.as_fd(), &bytes, descriptors).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The greeting: whose part it plays, and its lease.
    pub async fn hello(&mut self) -> (Role, Option<Epoch>) {
        match self.hear().await {
            Some(FromInstance::Hello { role, lease, .. }) => (role, lease),
            other => panic!("expected a greeting, heard {other:?}"),
        }
    }

    pub async fn welcome(&mut self, mode: Mode, incumbent: bool, introduced: bool) {
        let version = VERSION_OLDEST;
        self.say(ToInstance::Welcome {
            version,
            mode,
            incumbent,
            introduced,
        })
        .await;
    }

    /// A first start in exclusive mode, up to its lease.
    pub async fn start(&mut self) -> Epoch {
        assert_eq!(self.hello().await, (Role::Successor, None));
        self.welcome(Mode::Exclusive, false, false).await;
        assert_eq!(self.hear().await, Some(FromInstance::Warmed));
        let (id, sealed) = (ATTEMPT, false);
        self.say(ToInstance::Activate { id, sealed }).await;
        let epoch = self.ready().await;
        self.say(ToInstance::Commit { id }).await;
        epoch
    }

    /// Readiness with a lease.
    pub async fn ready(&mut self) -> Epoch {
        match self.hear().await {
            Some(FromInstance::Ready {
                lease: Some(epoch), ..
            }) => epoch,
            other => panic!("expected readiness under a lease, heard {other:?}"),
        }
    }

    /// A successor is welcomed, and both are brought together.
    pub async fn introduce(&mut self, successor: &mut Self) {
        assert_eq!(successor.hello().await, (Role::Successor, None));
        successor.welcome(Mode::Exclusive, true, true).await;
        let (ours, theirs) = StdStream::pair().unwrap();
        let id = ATTEMPT;
        self.say_with(ToInstance::Introduce { id }, &[ours.as_fd()])
            .await;
        successor
            .say_with(ToInstance::Introduce { id }, &[theirs.as_fd()])
            .await;
    }

    /// Asks for a drain and waits until it is done.
    pub async fn drain(&mut self) {
        let (id, within_ms) = (ATTEMPT, 60_000);
        self.say(ToInstance::Drain { id, within_ms }).await;
        let heard = self.hear().await;
        assert!(
            matches!(heard, Some(FromInstance::Drained { .. })),
            "{heard:?}"
        );
    }

    /// Asks for a seal and waits until it is done.
    pub async fn seal(&mut self) {
        let id = ATTEMPT;
        self.say(ToInstance::Seal { id }).await;
        assert_eq!(self.hear().await, Some(FromInstance::Sealed { id }));
    }

    /// Asks for a resumption and waits until it is done: the lease then held.
    pub async fn resume(&mut self) -> Epoch {
        let id = ATTEMPT;
        self.say(ToInstance::Resume { id }).await;
        self.resumed().await
    }

    /// Waits until it has resumed: the lease then held.
    pub async fn resumed(&mut self) -> Epoch {
        match self.hear().await {
            Some(FromInstance::Resumed {
                lease: Some(epoch), ..
            }) => epoch,
            other => panic!("expected a resumption under a lease, heard {other:?}"),
        }
    }
}

/// A descriptor that a test passes where none is expected.
pub fn some_descriptor() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}
