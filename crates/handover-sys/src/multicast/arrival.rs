//! One datagram with the interface it came in by (`IP_PKTINFO`, `IPV6_PKTINFO`).

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::ancillary;

/// What one datagram brought besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How many bytes of the buffer were filled.
    pub bytes: usize,
    /// The datagram was longer than the buffer.
    pub truncated: bool,
    /// Who sent it, as the datagram claims.
    pub from: SocketAddr,
    /// The index of the interface it came in by; of a datagram that was sent on this host, the one
    /// it was sent by.
    pub interface: u32,
}

/// Room for the larger of the two control messages, in units that give the alignment of `cmsghdr`.
const CONTROL: usize = 8;

/// The datagram, and the address it was sent to when the kernel told it.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(Arrival, Option<IpAddr>)> {
    let mut data = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = [MaybeUninit::<u64>::uninit(); CONTROL];
    // SAFETY: plain data for which all zero is a valid value (family 0, unspecified).
    let mut from: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    // SAFETY: the same for `msghdr` (with padding on some C libraries).
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = size_of_val(&from) as libc::socklen_t;
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let bytes = loop {
        // SAFETY: `header` points to `from`, `data` and `control`, all live and writable for the
        // lengths given; `data` points to `buffer`.
        let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        match usize::try_from(result) {
            Ok(bytes) => break bytes,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    };
    // SAFETY: the kernel has just filled `header` and the control buffer it points to.
    let destination = unsafe { destination(&header) };
    let (to, interface) = destination.map_or((None, 0), |(to, index)| (Some(to), index));
    let arrival = Arrival {
        bytes: bytes.min(buffer.len()),
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        from: source(&from),
        interface,
    };
    Ok((arrival, to))
}

/// The address in the IP header and the interface, from the first control message that has them.
///
/// # Safety
/// `header` must come from a successful `recvmsg` whose buffers are still alive.
unsafe fn destination(header: &libc::msghdr) -> Option<(IpAddr, u32)> {
    let mut found = None;
    let look = |level, kind, payload: *const libc::c_uchar, length| match (level, kind) {
        _ if found.is_some() => {}
        (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= size_of::<libc::in_pktinfo>() => {
            // SAFETY: the payload holds a whole `in_pktinfo`, which is plain data.
            let info = unsafe { payload.cast::<libc::in_pktinfo>().read_unaligned() };
            let to = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
            found = Some((to.into(), info.ipi_ifindex.try_into().unwrap_or(0)));
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= size_of::<libc::in6_pktinfo>() => {
            // SAFETY: the payload holds a whole `in6_pktinfo`, which is plain data.
            let info = unsafe { payload.cast::<libc::in6_pktinfo>().read_unaligned() };
            let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            #[allow(clippy::unnecessary_cast)] // `ipi6_ifindex` is signed with some libraries
            let index = info.ipi6_ifindex as u32;
            found = Some((to.into(), index));
        }
        _ => {}
    };
    // SAFETY: the header is valid by the contract of this function.
    unsafe { ancillary::each(header, look) };
    found
}

fn source(from: &libc::sockaddr_storage) -> SocketAddr {
    match i32::from(from.ss_family) {
        libc::AF_INET6 => {
            // SAFETY: of this family the kernel wrote a `sockaddr_in6`, for which the storage is
            // large and aligned enough.
            let from = unsafe { &*(&raw const *from).cast::<libc::sockaddr_in6>() };
            SocketAddrV6::new(
                Ipv6Addr::from(from.sin6_addr.s6_addr),
                u16::from_be(from.sin6_port),
                from.sin6_flowinfo,
                from.sin6_scope_id,
            )
            .into()
        }
        _ => {
            // SAFETY: the same for `sockaddr_in`; a storage that nobody wrote is all zero, which
            // reads as 0.0.0.0:0.
            let from = unsafe { &*(&raw const *from).cast::<libc::sockaddr_in>() };
            SocketAddrV4::new(
                Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()),
                u16::from_be(from.sin_port),
            )
            .into()
        }
    }
}
