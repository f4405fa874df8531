//! The task behind an instance of theirs: bytes to its machine, effects of its machine to bytes.

use std::future::pending;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handover_proto::beyond::{
    FrameError, Message, Peer, PeerEffect as Effect, PeerInput as Input, Reader, SILENCE, encode,
};
use handover_proto::identity::InstanceId;
use handover_proto::message::FromInstance;
use handover_proto::moment::{Machine, Moment};
use handover_sys::Pidfd;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Foreign;
use crate::supervisor::channel::{self, Outgoing, Pace, Sender, WAITING};
use crate::supervisor::driver::Command;

/// Read at a time; a frame rarely has more than a hundred bytes.
const CHUNK: usize = 4096;
/// First pause between two tries at a control socket: a successor binds it right after `Ready`.
const KNOCK_FIRST: Duration = Duration::from_millis(5);
/// Longest pause: an incumbent that takes its lock back is found within a quarter of a second of
/// it, which is little beside the two seconds it may try.
const KNOCK_MOST: Duration = Duration::from_millis(250);

/// The running task. Dropping it ends it, and closes its channel.
#[derive(Debug)]
pub(in crate::supervisor) struct Task {
    handle: AbortHandle,
    chosen: Arc<AtomicBool>,
}

impl Task {
    /// Whether the instance has spoken on it.
    pub(in crate::supervisor) fn is_chosen(&self) -> bool {
        self.chosen.load(Ordering::Acquire)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

#[derive(Debug)]
enum Channel {
    None,
    Open(UnixStream),
    Knocking { at: Instant, pause: Duration },
}

enum Event {
    /// From the coordinator; `None` when it has given the instance up.
    Said(Option<Outgoing>),
    Read(io::Result<usize>),
    Knocked(io::Result<UnixStream>),
    Deadline,
}

/// Everything the task holds.
pub(super) struct Session {
    peer: Peer,
    instance: InstanceId,
    pidfd: Arc<Pidfd>,
    stop: handover_sys::Signal,
    foreign: Foreign,
    to: UnboundedSender<Command>,
    chosen: Arc<AtomicBool>,
    origin: Instant,
    channel: Channel,
    reader: Reader,
    /// Why the present channel is at its end, if the instance broke a rule.
    fault: Option<String>,
    id: channel::ChannelId,
    messages: Receiver<Outgoing>,
    /// The driver's end, until there is something to be said to it.
    end: Option<Sender>,
    places: Arc<Semaphore>,
    pace: Pace,
}

impl Session {
    pub(super) fn new(
        peer: Peer,
        (instance, pidfd): (InstanceId, Arc<Pidfd>),
        stop: handover_sys::Signal,
        foreign: Foreign,
        to: UnboundedSender<Command>,
    ) -> Self {
        let (end, messages) = Sender::detached();
        Self {
            peer,
            instance,
            pidfd,
            stop,
            foreign,
            to,
            chosen: Arc::default(),
            origin: Instant::now(),
            channel: Channel::None,
            reader: Reader::new(),
            fault: None,
            id: end.id,
            messages,
            end: Some(end),
            places: Arc::new(Semaphore::new(WAITING)),
            pace: Pace::begin(),
        }
    }

    /// Starts the task, on the instance's own channel if it has one.
    pub(super) fn begin(mut self, stream: Option<std::os::unix::net::UnixStream>) -> Task {
        // Fails only without a reactor; then the instance is seen not to greet.
        let stream = stream.and_then(|stream| UnixStream::from_std(stream).ok());
        self.channel = stream.map_or(Channel::None, Channel::Open);
        let chosen = Arc::clone(&self.chosen);
        let handle = tokio::spawn(self.run()).abort_handle();
        Task { handle, chosen }
    }

    async fn run(mut self) {
        let mut chunk = [0; CHUNK];
        loop {
            if self.settle().await.is_none() {
                return;
            }
            match self.next(&mut chunk).await {
                Event::Said(None) => return,
                Event::Said(Some(said)) => {
                    let aside = self.foreign.with_aside(|aside| aside.clone());
                    let message = said.message;
                    self.put(Input::Say { message, aside });
                }
                Event::Read(Ok(0) | Err(_)) => self.broken(),
                Event::Read(Ok(read)) => {
                    if self.take(&chunk[..read]).await.is_none() {
                        return;
                    }
                }
                Event::Knocked(Ok(stream)) => {
                    self.channel = Channel::Open(stream);
                    self.reader = Reader::new();
                    self.put(Input::Connected);
                }
                Event::Knocked(Err(_)) => self.knock_later(),
                Event::Deadline => self.put(Input::Tick),
            }
        }
    }

    fn put(&mut self, input: Input) {
        let now = Moment::ZERO + self.origin.elapsed();
        self.peer.handle(now, input);
    }

    async fn next(&mut self, chunk: &mut [u8]) -> Event {
        let deadline = self.peer.next_deadline();
        let deadline = deadline.map(|at| self.origin + at.since(Moment::ZERO));
        let channel = &self.channel;
        let exchange = async {
            match channel {
                Channel::None => pending().await,
                Channel::Open(stream) => Event::Read(read(stream, chunk).await),
                Channel::Knocking { at, .. } => {
                    sleep_until(*at).await;
                    Event::Knocked(connect(&self.foreign.control, self.pidfd.pid()).await)
                }
            }
        };
        tokio::select! {
            said = self.messages.recv() => Event::Said(said),
            event = exchange => event,
            () = sleep_until(deadline.unwrap_or(self.origin)), if deadline.is_some() => {
                Event::Deadline
            }
        }
    }

    fn knock_later(&mut self) {
        if let Channel::Knocking { pause, .. } = self.channel {
            self.channel = Channel::Knocking {
                at: Instant::now() + pause,
                pause: (pause * 2).min(KNOCK_MOST),
            };
        }
    }

    fn broken(&mut self) {
        self.channel = Channel::None;
        self.put(Input::Closed);
    }

    /// Bytes that arrived. `None` when the driver has gone.
    async fn take(&mut self, bytes: &[u8]) -> Option<()> {
        let mut result = self.reader.push(bytes);
        while result.is_ok() {
            match self.reader.next_message() {
                Ok(Some(message)) => {
                    if let Err(flood) = self.pace.count() {
                        self.fault = Some(flood.to_string());
                        self.broken();
                        return Some(());
                    }
                    self.put(Input::Heard(message));
                    self.settle().await?;
                    // An effect may have dropped the channel the rest came from.
                    if !matches!(self.channel, Channel::Open(_)) {
                        return Some(());
                    }
                }
                Ok(None) => return Some(()),
                Err(error) => result = Err(error),
            }
        }
        if let Err(error) = result {
            self.refuse(&error);
        }
        Some(())
    }

    fn refuse(&mut self, error: &FrameError) {
        self.fault = Some(format!("beyond-handoff: {error}"));
        self.broken();
    }

    /// Does everything the machine wants done now. `None` when the driver has gone.
    async fn settle(&mut self) -> Option<()> {
        while let Some(effect) = self.peer.poll_effect() {
            match effect {
                Effect::Send(message) => self.send(&message).await,
                Effect::Tell(message) => self.tell(message).await?,
                Effect::Connect => {
                    self.reader = Reader::new();
                    self.channel = Channel::Knocking {
                        at: Instant::now(),
                        pause: KNOCK_FIRST,
                    };
                }
                Effect::Lost => self.lost().await?,
                Effect::Sealed {
                    revisions,
                    fingerprint,
                } => {
                    self.foreign
                        .with_aside(|aside| aside.revisions.clone_from(&revisions));
                    let text = sealed(&revisions, &fingerprint);
                    self.tell(FromInstance::Status { text }).await?;
                }
                // ESRCH: it is gone already, and its exit is on its way to the driver.
                Effect::Terminate => drop(self.pidfd.signal(self.stop)),
            }
        }
        Some(())
    }

    /// A peer that does not read within the time it may be silent is dead by the same measure.
    async fn send(&mut self, message: &Message) {
        let Channel::Open(stream) = &mut self.channel else {
            return;
        };
        let bytes = encode(message);
        match timeout(SILENCE, stream.write_all(&bytes)).await {
            // What it said before it closed is still to be read.
            Ok(_) => {}
            Err(_) => self.broken(),
        }
    }

    async fn tell(&mut self, message: FromInstance) -> Option<()> {
        let instance = self.instance;
        if let Some(link) = self.end.take() {
            self.chosen.store(true, Ordering::Release);
            self.to.send(Command::Linked { instance, link }).ok()?;
        }
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let said = Command::Said {
            instance,
            from: self.id,
            message,
            place,
        };
        self.to.send(said).ok()
    }

    /// The channel's end is told; what comes next is on another.
    async fn lost(&mut self) -> Option<()> {
        if let (Some(fault), Some(_)) = (&self.fault, &self.end) {
            // Whoever has not even greeted has no channel to lose, but has failed.
            let reason = fault.clone();
            self.tell(FromInstance::Failed { reason }).await?;
        }
        let (instance, id) = (self.instance, self.id);
        let fault = self.fault.take();
        let (end, messages) = Sender::detached();
        (self.id, self.messages) = (end.id, messages);
        let told = self.end.replace(end).is_none();
        if !told {
            // The driver has never heard of it.
            return Some(());
        }
        let closed = Command::Closed {
            instance,
            id,
            fault,
        };
        self.to.send(closed).ok()
    }
}

async fn read(stream: &UnixStream, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Connects to the control socket if it is this process that listens there.
async fn connect(path: &Path, pid: u32) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    let listens = handover_sys::peer::credentials(&stream)?;
    // Zero: it lives in another pid namespace, and its greeting decides.
    if listens.pid != 0 && listens.pid != pid {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let own = rustix::process::geteuid().as_raw();
    if listens.uid != own && listens.uid != 0 && own != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(stream)
}

/// For people: what is known of a seal, and that nothing is checked by the fingerprint.
fn sealed(revisions: &[u64], fingerprint: &[u8]) -> String {
    let revisions: Vec<String> = revisions.iter().map(u64::to_string).collect();
    let shards = if revisions.is_empty() {
        "no revisions named".to_owned()
    } else {
        format!("revisions {}", revisions.join(", "))
    };
    if fingerprint.iter().all(|byte| *byte == 0) {
        return format!("sealed: {shards}");
    }
    let begin: String = fingerprint[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sealed: {shards}; fingerprint {begin}…, which nothing is compared with")
}
