//! The network interfaces of the caller's network namespace, and news of their changes.

use std::ffi::CStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// A network interface as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The number by which sockets name it. Not used again for another one before very many came.
    pub index: u32,
    /// Its name, which may be given to another one.
    pub name: String,
    /// Switched on (`IFF_UP`). Says nothing of a cable or of others on a bridge: processes of this
    /// host reach each other over a bridge without any port.
    pub up: bool,
    /// Something is at the other end (`IFF_RUNNING`).
    pub running: bool,
    /// `lo` (`IFF_LOOPBACK`).
    pub loopback: bool,
    /// Takes multicast (`IFF_MULTICAST`).
    pub multicast: bool,
    /// Its IPv4 addresses, in the order of the kernel.
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses, link-local ones too.
    pub ipv6: Vec<Ipv6Addr>,
}

/// The list that `getifaddrs` made, freed when dropped.
struct List(*mut libc::ifaddrs);

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a successful `getifaddrs`, is freed only here, and every
        // reference into the list borrows this value.
        unsafe { libc::freeifaddrs(self.0) }
    }
}

impl List {
    fn read() -> io::Result<Self> {
        let mut first = ptr::null_mut();
        // SAFETY: `first` lives across the call, which writes one pointer to it.
        if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(first))
    }

    fn entries(&self) -> impl Iterator<Item = &libc::ifaddrs> {
        // SAFETY: `getifaddrs` gives a list whose pointers are null or valid until it is freed,
        // which needs this value by `&mut`; nothing writes to it meanwhile.
        let first = unsafe { self.0.as_ref() };
        // SAFETY: the same for each `ifa_next`.
        std::iter::successors(first, |entry| unsafe { entry.ifa_next.as_ref() })
    }
}

/// What an entry of the list tells.
enum Fact {
    /// The link itself; the kernel's index.
    Link(u32),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Other,
}

fn fact(entry: &libc::ifaddrs) -> Fact {
    if entry.ifa_addr.is_null() {
        return Fact::Other;
    }
    // SAFETY: a non-null `ifa_addr` points to an address that begins with its family.
    let family = unsafe { (*entry.ifa_addr).sa_family };
    match i32::from(family) {
        libc::AF_PACKET => {
            // SAFETY: of this family the C library stores a whole `sockaddr_ll`, suitably aligned
            // for any socket address.
            let link = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_ll>() };
            u32::try_from(link.sll_ifindex).map_or(Fact::Other, Fact::Link)
        }
        libc::AF_INET => {
            // SAFETY: as above, for `sockaddr_in`.
            let address = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_in>() };
            Fact::Ipv4(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let address = unsafe { &*entry.ifa_addr.cast::<libc::sockaddr_in6>() };
            Fact::Ipv6(Ipv6Addr::from(address.sin6_addr.s6_addr))
        }
        _ => Fact::Other,
    }
}

fn name_of(entry: &libc::ifaddrs) -> String {
    if entry.ifa_name.is_null() {
        return String::new();
    }
    // SAFETY: a non-null `ifa_name` is a string with a terminator that lives as long as the list.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    name.to_string_lossy().into_owned()
}

/// All interfaces of the calling thread's network namespace, loopback too, in the kernel's order.
///
/// # Errors
/// The kernel has no netlink for us (a sandbox forbids it), or no descriptor is free.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let list = List::read()?;
    let mut found: Vec<Interface> = Vec::new();
    for entry in list.entries() {
        if let Fact::Link(index) = fact(entry) {
            let flag = |flag: libc::c_int| entry.ifa_flags & flag.cast_unsigned() != 0;
            found.push(Interface {
                index,
                name: name_of(entry),
                up: flag(libc::IFF_UP),
                running: flag(libc::IFF_RUNNING),
                loopback: flag(libc::IFF_LOOPBACK),
                multicast: flag(libc::IFF_MULTICAST),
                ipv4: Vec::new(),
                ipv6: Vec::new(),
            });
        }
    }
    for entry in list.entries() {
        let name = name_of(entry);
        // The label of a second address may be `eth0:1`; it belongs to eth0.
        let name = name.split(':').next().unwrap_or_default();
        let Some(interface) = found.iter_mut().find(|found| found.name == name) else {
            continue;
        };
        match fact(entry) {
            Fact::Ipv4(address) => interface.ipv4.push(address),
            Fact::Ipv6(address) => interface.ipv6.push(address),
            Fact::Link(_) | Fact::Other => {}
        }
    }
    Ok(found)
}

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Becomes readable when an interface or an address of this network namespace came, went or
/// changed (rtnetlink(7)). What changed is not told: ask [`interfaces`].
#[derive(Debug)]
pub struct Changes {
    socket: OwnedFd,
}

impl Changes {
    /// Listens from now on; non-blocking, close-on-exec. Needs no privilege.
    ///
    /// # Errors
    /// As [`interfaces`].
    pub fn open() -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { socket })
    }

    /// Takes all news there are; whether there were any. News that were lost because too many came
    /// (`ENOBUFS`) count as some.
    ///
    /// # Errors
    /// The kernel's; the socket is then of no use.
    pub fn take(&self) -> io::Result<bool> {
        let mut any = false;
        // Longer messages are cut, which loses nothing that is looked at.
        let mut buffer = [0u8; 64];
        loop {
            match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
                Ok(_) | Err(Errno::NOBUFS) => any = true,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(any),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::os::fd::AsRawFd for Changes {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }
}
