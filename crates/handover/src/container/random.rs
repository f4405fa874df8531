//! Numbers nobody can foretell.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// `N` bytes of the kernel's generator. Blocks only in the first moments after boot, until that has
/// been seeded.
pub(super) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}
