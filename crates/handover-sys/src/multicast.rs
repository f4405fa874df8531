//! Datagrams to a group of listeners on chosen interfaces (ip(7), ipv6(7)).
//!
//! An interface is named by its index on both sides: a sender or a membership without one is put
//! by the kernel wherever the routes say, which on a host with a local bridge is usually the LAN.

mod arrival;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_ip_add_membership_with_ifindex, set_ip_drop_membership_with_ifindex,
    set_ip_multicast_if_with_ifindex, set_ip_multicast_loop, set_ip_multicast_ttl,
    set_ipv6_add_membership, set_ipv6_drop_membership, set_ipv6_multicast_hops,
    set_ipv6_multicast_if, set_ipv6_multicast_loop, set_ipv6_v6only, set_socket_reuseaddr,
};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, sendto, socket_with};

pub use arrival::Arrival;

/// `IPV6_MULTICAST_ALL` (Linux 4.20, `linux/in6.h`), which not every C library names.
const IPV6_MULTICAST_ALL: libc::c_int = 29;

/// A group and the port of its datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    address: IpAddr,
    port: u16,
}

impl Group {
    /// `None` if the address is not one of a multicast group, or the port is 0.
    pub const fn new(address: IpAddr, port: u16) -> Option<Self> {
        if address.is_multicast() && port != 0 {
            Some(Self { address, port })
        } else {
            None
        }
    }

    /// The group's address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The port.
    pub const fn port(self) -> u16 {
        self.port
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// Hears one group on the interfaces it joined, and on no other. Non-blocking, close-on-exec.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedFd,
    group: Group,
}

impl Receiver {
    /// Binds without joining yet. Any number of sockets that allow it (`SO_REUSEADDR`) may share
    /// the port, those of other programs too; each one gets every datagram.
    ///
    /// Memberships of other sockets of this host do not count here (`IP_MULTICAST_ALL` off):
    /// otherwise whatever somebody joined on the LAN would arrive here as well.
    ///
    /// # Errors
    /// The address is taken by a socket that does not share, or the kernel has no such family
    /// (`EAFNOSUPPORT`).
    pub fn bind(group: Group) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match group.address {
            IpAddr::V4(address) => {
                let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
                set_socket_reuseaddr(&socket, true)?;
                switch(&socket, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, false)?;
                switch(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, true)?;
                // Bound to the group, so that nothing sent to an address of ours arrives.
                bind(&socket, &SocketAddr::new(address.into(), group.port))?;
                socket
            }
            IpAddr::V6(_) => {
                let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
                set_socket_reuseaddr(&socket, true)?;
                set_ipv6_v6only(&socket, true)?;
                match switch(&socket, libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, false) {
                    // Before Linux 4.20; the arrival tells the interface all the same.
                    Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
                    other => other?,
                }
                switch(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, true)?;
                // A group of link scope can be bound on one interface only, so it is compared on
                // arrival instead.
                bind(
                    &socket,
                    &SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), group.port),
                )?;
                socket
            }
        };
        Ok(Self { socket, group })
    }

    /// Hears the group on this interface from now on; `false` if it did already.
    ///
    /// # Errors
    /// `ENODEV` when there is no such interface, `ENOBUFS` when the limit of memberships
    /// (`net.ipv4.igmp_max_memberships`) is reached. Nothing changed.
    pub fn join(&self, interface: u32) -> io::Result<bool> {
        let result = match self.group.address {
            IpAddr::V4(group) => set_ip_add_membership_with_ifindex(
                &self.socket,
                &group,
                &Ipv4Addr::UNSPECIFIED,
                interface,
            ),
            IpAddr::V6(group) => set_ipv6_add_membership(&self.socket, &group, interface),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Errno::ADDRINUSE) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Hears the group on this interface no more; `false` if it did not. Also for an interface that
    /// was removed: until then its membership counts towards the limit.
    ///
    /// # Errors
    /// The kernel's; the membership stands.
    pub fn leave(&self, interface: u32) -> io::Result<bool> {
        let result = match self.group.address {
            IpAddr::V4(group) => set_ip_drop_membership_with_ifindex(
                &self.socket,
                &group,
                &Ipv4Addr::UNSPECIFIED,
                interface,
            ),
            IpAddr::V6(group) => set_ipv6_drop_membership(&self.socket, &group, interface),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Errno::ADDRNOTAVAIL | Errno::NODEV) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes one datagram. A longer one than the buffer is cut, and [`Arrival::truncated`] says so.
    /// `None` for one that was sent to another address than the group's: it is gone.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        let (arrival, to) = arrival::receive(self.socket.as_fd(), buffer)?;
        Ok((to == Some(self.group.address)).then_some(arrival))
    }

    /// The group.
    pub const fn group(&self) -> Group {
        self.group
    }
}

/// Sends to one group over one interface: it goes no further than this link (TTL 1), and comes
/// back to the listeners of this host (loop). Non-blocking, close-on-exec.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
    group: Group,
    interface: u32,
}

impl Sender {
    /// A socket with a port of its own.
    ///
    /// # Errors
    /// `ENODEV` or `EADDRNOTAVAIL` when there is no such interface, `EAFNOSUPPORT` when the kernel
    /// has no such family.
    pub fn open(group: Group, interface: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match group.address {
            IpAddr::V4(address) => {
                let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
                let any = Ipv4Addr::UNSPECIFIED;
                set_ip_multicast_if_with_ifindex(&socket, &address, &any, interface)?;
                set_ip_multicast_loop(&socket, true)?;
                set_ip_multicast_ttl(&socket, 1)?;
                socket
            }
            IpAddr::V6(_) => {
                let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
                set_ipv6_multicast_if(&socket, interface)?;
                set_ipv6_multicast_loop(&socket, true)?;
                set_ipv6_multicast_hops(&socket, 1)?;
                socket
            }
        };
        Ok(Self {
            socket,
            group,
            interface,
        })
    }

    /// Sends one datagram, at once or not at all. The source address is chosen anew each time, so
    /// that a changed address of the interface needs nothing.
    ///
    /// # Errors
    /// `ENODEV`, `ENETUNREACH`, `ENETDOWN`: the interface is gone, or has no address of this family
    /// (yet). `WouldBlock`: its queue is full. Nothing was sent.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let to = match self.group.address {
            IpAddr::V4(_) => SocketAddr::new(self.group.address, self.group.port),
            IpAddr::V6(address) => {
                SocketAddrV6::new(address, self.group.port, 0, self.interface).into()
            }
        };
        loop {
            match sendto(&self.socket, bytes, SendFlags::NOSIGNAL, &to) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The index of its interface.
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// The group.
    pub const fn group(&self) -> Group {
        self.group
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sets an option that takes an `int` and that rustix does not name.
fn switch(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, on: bool) -> io::Result<()> {
    let value = libc::c_int::from(on);
    // SAFETY: the pointer and the length describe `value`, which lives across the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
