//! An accepted connection that counts as long as it lives.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Wake, Waker};

use super::stream::sealed::Duplex;
use super::stream::{Force, Stream};
use crate::address::Address;
use crate::connection::Cut;
use crate::ledger::{Entry, Side};

/// A connection accepted from a [`Listener`](super::Listener): reads and writes, blocking, and
/// counts as open until it is dropped. Also through a shared reference, so that two threads can
/// have a direction each.
///
/// It is a [`TcpStream`] or a [`UnixStream`](std::os::unix::net::UnixStream) in all else, such as
/// its time-outs.
///
/// When the drain ladder ends, it is cut: waiting and later reads and writes fail with
/// [`io::ErrorKind::ConnectionAborted`] and [`Cut`] inside, and dropping it resets a TCP
/// connection, so that a client cannot take half an answer for a whole one. Whoever uses the
/// stream below directly finds its end instead, writers a tenth of a second later. A copy made
/// with `try_clone` does not count.
#[derive(Debug)]
pub struct Connection<S: Stream = TcpStream> {
    shared: Arc<Shared<S>>,
    peer: Address,
}

#[derive(Debug)]
struct Shared<S: Stream> {
    // Before the entry: the count falls after the socket is closed.
    stream: S,
    entry: Entry,
}

/// What the ledger wakes to end a connection: no task, but its socket.
struct Severing<S: Stream> {
    shared: Weak<Shared<S>>,
    severed: AtomicBool,
}

impl<S: Stream> Wake for Severing<S> {
    fn wake(self: Arc<Self>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        if self.severed.swap(true, Ordering::SeqCst) {
            shared.stream.sever(Force::Rough);
        } else {
            shared.stream.sever(Force::Gentle);
            // For the second cut.
            register(&shared.entry, self);
        }
    }
}

fn register<S: Stream>(entry: &Entry, severing: Arc<Severing<S>>) -> bool {
    let waker = Waker::from(severing);
    entry.cut_or_register(Side::Read, &Context::from_waker(&waker))
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(stream: S, peer: Address, entry: Entry) -> Self {
        let shared = Arc::new(Shared { stream, entry });
        let severing = Severing {
            shared: Arc::downgrade(&shared),
            severed: AtomicBool::new(false),
        };
        // Taken from a queue after the cut: reads and writes look before they begin.
        let _late = register(&shared.entry, Arc::new(severing));
        Self { shared, peer }
    }

    /// Where it comes from.
    #[must_use]
    pub const fn peer(&self) -> &Address {
        &self.peer
    }

    /// Whether the drain has cut it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.shared.entry.is_cut()
    }

    fn guarded<T>(&self, act: impl FnOnce(&mut dyn Duplex) -> io::Result<T>) -> io::Result<T> {
        let cut = || io::Error::new(io::ErrorKind::ConnectionAborted, Cut);
        if self.is_cut() {
            return Err(cut());
        }
        let done = self.shared.stream.through(act);
        // The end that a cut makes is not the client's.
        if self.is_cut() { Err(cut()) } else { done }
    }
}

impl<S: Stream> Deref for Connection<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.shared.stream
    }
}

impl<S: Stream> AsFd for Connection<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.stream.as_fd()
    }
}

impl<S: Stream> Read for &Connection<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.guarded(|stream| stream.read(buffer))
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.guarded(|stream| stream.read_vectored(buffers))
    }
}

impl<S: Stream> Write for &Connection<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.guarded(|stream| stream.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.guarded(|stream| stream.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.guarded(|stream| stream.flush())
    }
}

impl<S: Stream> Read for Connection<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }
}

impl<S: Stream> Write for Connection<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl<S: Stream> Drop for Shared<S> {
    fn drop(&mut self) {
        if self.entry.is_cut() {
            self.stream.reset_on_close();
        }
    }
}
