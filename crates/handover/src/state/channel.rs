//! The thread that carries a state channel, for as long as one attempt lasts.
//!
//! A thread, not a task: it maps and verifies what arrives, sends while a hook blocks its own
//! thread, and serves programs without a runtime as well.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handover_proto::state::{Frame, ItemSpec, MAX_FRAME, Terms};
use handover_sys::passing;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::StateBudget;
use super::exchange::Exchange;
use super::outbox::{Outbox, Outgoing};
use super::writer::{Account, Chapter, StateWriter};

pub(crate) use super::exchange::{Event, Side};

/// Bytes read at once: an item that crosses in the channel has at most 64 KiB, and a read brings at
/// most one descriptor whatever its size.
const READ_AT_ONCE: usize = 128 * 1024;

/// Pause when the kernel has no room for more descriptors in flight (unix(7), `ETOOMANYREFS`): the
/// other side takes them out within microseconds, unless it is stopped.
const CROWDED: Duration = Duration::from_millis(5);

const _: () = assert!(
    READ_AT_ONCE <= MAX_FRAME,
    "a reader takes what is read at once"
);

/// A driver's hold on the channel. Dropping it ends it: what was not sent yet is dropped, and the
/// other side finds it closed.
#[derive(Debug)]
pub(crate) struct Channel {
    outbox: Arc<Outbox>,
    bell: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    account: Arc<Mutex<Account>>,
    items: Vec<ItemSpec>,
    budget: StateBudget,
}

impl Channel {
    /// Begins to talk over `socket`. `tell` is called on the channel's own thread.
    ///
    /// # Errors
    /// A thread, a descriptor or memory could not be had; the socket is closed.
    pub(crate) fn open(
        socket: OwnedFd,
        side: Side,
        items: Vec<ItemSpec>,
        budget: StateBudget,
        tell: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let ring = Arc::clone(&bell);
        let outbox = Arc::new(Outbox::new(move || ring_bell(&ring)));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            exchange: Exchange::new(side, items.clone(), budget, Arc::clone(&outbox)),
            socket,
            bell: Arc::clone(&bell),
            stop: Arc::clone(&stop),
            buffer: vec![0; READ_AT_ONCE],
        };
        std::thread::Builder::new()
            .name("handover-state".into())
            .spawn(move || thread.run(&tell))?;
        Ok(Self {
            outbox,
            bell,
            stop,
            account: Arc::default(),
            items,
            budget,
        })
    }

    /// Tells the other side why nothing more comes.
    pub(crate) fn refuse(&self, reason: &str) {
        let frame = Frame::Refused {
            reason: reason.to_owned(),
        };
        let descriptor = None;
        // If it is closed already, the other side knows.
        let _ = self.outbox.push(Outgoing { frame, descriptor });
    }

    /// A writer of the base or the delta.
    pub(crate) fn writer(
        &self,
        terms: &Terms,
        chapter: Chapter,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> StateWriter {
        StateWriter::over(
            Arc::clone(&self.outbox),
            &self.items,
            terms,
            Arc::clone(&self.account),
            chapter,
            self.budget,
            progress,
        )
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.outbox.close("this instance gave the attempt up");
        ring_bell(&self.bell);
    }
}

fn ring_bell(bell: &OwnedFd) {
    // Fails only when it has rung 2^64 times unheard, and then it is readable anyway.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

/// Whether the socket takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Everything that waits was sent.
    Idle,
    /// Wait until it is writable.
    Full,
    /// Wait a moment.
    Crowded,
    /// It takes nothing any more; what the other side said before may still be read.
    Shut,
}

struct Thread {
    exchange: Exchange,
    socket: UnixStream,
    bell: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    buffer: Vec<u8>,
}

impl Thread {
    fn run(mut self, tell: &impl Fn(Event)) {
        let mut shut = false;
        while !self.stop.load(Ordering::Acquire) {
            let flow = if shut { Flow::Shut } else { self.send(tell) };
            shut |= flow == Flow::Shut;
            if self.exchange.is_over() && matches!(flow, Flow::Idle | Flow::Shut) {
                return;
            }
            match self.wait(flow) {
                Ok(true) => self.receive(tell),
                Ok(false) => {}
                Err(error) => {
                    tell(Event::Broken(error.to_string()));
                    return;
                }
            }
        }
    }

    fn send(&mut self, tell: &impl Fn(Event)) -> Flow {
        while let Some((bytes, descriptor)) = self.exchange.outgoing() {
            let descriptors: &[_] = &Vec::from_iter(descriptor);
            match passing::send(self.socket.as_fd(), bytes, descriptors) {
                Ok(sent) => {
                    if let Some(event) = self.exchange.sent(sent) {
                        tell(event);
                    }
                }
                Err(error) if error.is_would_block() => return Flow::Full,
                Err(passing::PassError::Io(error))
                    if Errno::from_io_error(&error) == Some(Errno::TOOMANYREFS) =>
                {
                    return Flow::Crowded;
                }
                Err(_) => return Flow::Shut,
            }
        }
        Flow::Idle
    }

    /// Waits for something to do; whether it is something to read.
    fn wait(&self, flow: Flow) -> io::Result<bool> {
        let interest = match flow {
            Flow::Full => PollFlags::IN | PollFlags::OUT,
            Flow::Idle | Flow::Crowded | Flow::Shut => PollFlags::IN,
        };
        let mut fds = [
            PollFd::new(&self.socket, interest),
            PollFd::new(&*self.bell, PollFlags::IN),
        ];
        let most = (flow == Flow::Crowded)
            .then(|| Timespec::try_from(CROWDED).ok())
            .flatten();
        match poll(&mut fds, most.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [socket, bell] = &fds;
        let readable = socket
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        if !bell.revents().is_empty() {
            // `WouldBlock`: it was silent.
            let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        }
        Ok(readable)
    }

    fn receive(&mut self, tell: &impl Fn(Event)) {
        let received = passing::receive(self.socket.as_fd(), &mut self.buffer, 1);
        match received {
            Ok(received) if received.bytes > 0 => {
                let bytes = self.buffer.get(..received.bytes).unwrap_or_default();
                let events = self.exchange.feed(bytes, received.descriptors);
                events.into_iter().for_each(tell);
            }
            Err(error) if error.is_would_block() => {}
            Ok(_) | Err(_) => {
                if let Some(event) = self.exchange.ended() {
                    tell(event);
                }
            }
        }
    }
}
