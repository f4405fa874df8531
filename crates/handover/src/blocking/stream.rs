//! What a connection runs over.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use socket2::SockRef;

use crate::address::Address;
use crate::bell;

/// A stream of bytes a listener can bring: [`TcpStream`] or [`UnixStream`]. Nothing else
/// implements it.
pub trait Stream: sealed::Sealed {}

impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// How hard a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// Whoever reads or writes through us finds it ended.
    Gentle,
    /// So does whoever uses the stream below directly.
    Rough,
}

pub(super) mod sealed {
    use super::*;

    pub trait Sealed: AsFd + Debug + Send + Sync + Sized + 'static {
        #[doc(hidden)]
        type Listener: AsFd + Debug + From<OwnedFd> + Send + Sync;
        #[doc(hidden)]
        fn accept(listener: &Self::Listener) -> io::Result<(Self, Address)>;
        #[doc(hidden)]
        fn bound_to(listener: &Self::Listener) -> io::Result<Address>;
        #[doc(hidden)]
        fn through<T>(&self, act: impl FnOnce(&mut dyn Duplex) -> io::Result<T>) -> io::Result<T>;
        /// Wakes whoever is blocked in a read or a write, with an error or an end.
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn sever(&self, force: Force);
        /// Makes the coming close a reset rather than an orderly end, where there is a difference.
        #[doc(hidden)]
        fn reset_on_close(&self);
    }

    pub trait Duplex: Read + Write {}
    impl<T: Read + Write> Duplex for T {}
}

impl sealed::Sealed for TcpStream {
    type Listener = TcpListener;

    fn accept(listener: &TcpListener) -> io::Result<(Self, Address)> {
        let (stream, peer) = listener.accept()?;
        Ok((stream, Address::Inet(peer)))
    }

    fn bound_to(listener: &TcpListener) -> io::Result<Address> {
        listener.local_addr().map(Address::Inet)
    }

    fn through<T>(
        &self,
        act: impl FnOnce(&mut dyn sealed::Duplex) -> io::Result<T>,
    ) -> io::Result<T> {
        act(&mut { self })
    }

    #[allow(private_interfaces)]
    fn sever(&self, force: Force) {
        self.reset_on_close();
        // Ending our direction sends an orderly end, after which no reset can tell the client that
        // its answer is not whole. Ending theirs sends nothing and wakes readers.
        let _ = self.shutdown(Shutdown::Read);
        // A writer that waits for room waits behind bytes the client has not taken; an orderly end
        // would queue up behind them, and the reset overtakes it.
        if force == Force::Rough || !has_room(self) {
            let _ = self.shutdown(Shutdown::Both);
        }
    }

    fn reset_on_close(&self) {
        // If it fails, the end is orderly after all.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl sealed::Sealed for UnixStream {
    type Listener = UnixListener;

    fn accept(listener: &UnixListener) -> io::Result<(Self, Address)> {
        let (stream, peer) = listener.accept()?;
        let peer = Address::of_unix(peer.as_pathname(), peer.as_abstract_name());
        Ok((stream, peer))
    }

    fn bound_to(listener: &UnixListener) -> io::Result<Address> {
        let address = listener.local_addr()?;
        Ok(Address::of_unix(
            address.as_pathname(),
            address.as_abstract_name(),
        ))
    }

    fn through<T>(
        &self,
        act: impl FnOnce(&mut dyn sealed::Duplex) -> io::Result<T>,
    ) -> io::Result<T> {
        act(&mut { self })
    }

    #[allow(private_interfaces)]
    fn sever(&self, _force: Force) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn reset_on_close(&self) {}
}

fn has_room(stream: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::OUT)];
    let looked = bell::poll(&mut fds, Some(std::time::Instant::now()));
    looked.is_ok() && fds.iter().all(|fd| fd.revents().contains(PollFlags::OUT))
}
