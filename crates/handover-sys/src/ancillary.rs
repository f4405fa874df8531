//! Receiving a message with descriptors and credentials, every descriptor owned from the first
//! moment.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::peer::Credentials;

/// What one `recvmsg` brought.
pub(crate) struct Message {
    pub(crate) bytes: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) credentials: Option<Credentials>,
    /// The kernel had descriptors for us that did not fit or that it could not install.
    pub(crate) control_truncated: bool,
    /// The datagram was longer than the buffer.
    pub(crate) data_truncated: bool,
}

/// Room for control messages: `descriptors` descriptors and one set of credentials, in units that
/// give the alignment of `cmsghdr`.
pub(crate) fn control_space(descriptors: usize) -> Vec<MaybeUninit<u64>> {
    let rights = (descriptors * size_of::<RawFd>()) as u32;
    // SAFETY: CMSG_SPACE only computes.
    let bytes =
        unsafe { libc::CMSG_SPACE(rights) + libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) };
    vec![MaybeUninit::uninit(); (bytes as usize).div_ceil(size_of::<u64>())]
}

/// Receives one message; descriptors arrive close-on-exec (`MSG_CMSG_CLOEXEC`).
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    control: &mut [MaybeUninit<u64>],
    flags: i32,
) -> io::Result<Message> {
    let mut data = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: `msghdr` is plain data (with padding on some C libraries); zero is a valid value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut data;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(control) as _;
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    let bytes = loop {
        // SAFETY: `header` points to `data` and `control`, both live and writable for the lengths
        // given; `data` points to `buffer`.
        let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
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
    let mut message = Message {
        bytes: bytes.min(buffer.len()),
        descriptors: Vec::new(),
        credentials: None,
        control_truncated: header.msg_flags & libc::MSG_CTRUNC != 0,
        data_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
    };
    // SAFETY: the kernel has just filled `header` and the control buffer it points to, and set
    // `msg_controllen` to the part it wrote; nothing else has read it.
    unsafe { collect(&header, &mut message) };
    Ok(message)
}

/// Shows each control message: level, type, payload, and the payload's length in bytes.
///
/// # Safety
/// `header` must come from a successful `recvmsg` whose buffers are still alive.
pub(crate) unsafe fn each(
    header: &libc::msghdr,
    mut show: impl FnMut(i32, i32, *const libc::c_uchar, usize),
) {
    // SAFETY: the header is valid by the contract of this function.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give either null or a whole, aligned header
        // inside the control buffer.
        let entry = unsafe { &*next };
        // SAFETY: CMSG_LEN only computes, CMSG_DATA stays inside the entry.
        let (payload, overhead) = unsafe { (libc::CMSG_DATA(next), libc::CMSG_LEN(0) as usize) };
        #[allow(clippy::unnecessary_cast)] // `cmsg_len` is u32 with musl
        let length = (entry.cmsg_len as usize).saturating_sub(overhead);
        show(entry.cmsg_level, entry.cmsg_type, payload, length);
        // SAFETY: `next` is an entry of this header.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

/// Takes ownership of everything in the control buffer.
///
/// # Safety
/// `header` must come from a successful `recvmsg` whose buffers are still alive, and must not have
/// been collected before: each descriptor number in it becomes an `OwnedFd`.
unsafe fn collect(header: &libc::msghdr, message: &mut Message) {
    let take = |level, kind, payload: *const libc::c_uchar, length| match (level, kind) {
        (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
            for index in 0..length / size_of::<RawFd>() {
                // SAFETY: `index` is inside the payload; the kernel has installed each number
                // as a new descriptor of this process, which nobody else knows.
                let fd = unsafe {
                    let number = payload.cast::<RawFd>().add(index).read_unaligned();
                    OwnedFd::from_raw_fd(number)
                };
                message.descriptors.push(fd);
            }
        }
        (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
            // SAFETY: the payload holds at least one `ucred`, which is plain data.
            let raw = unsafe { payload.cast::<libc::ucred>().read_unaligned() };
            message.credentials = Some(raw.into());
        }
        _ => {}
    };
    // SAFETY: the header is valid by the contract of this function.
    unsafe { each(header, take) };
}
