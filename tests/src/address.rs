//! Addresses for tests that run side by side.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of this machine that no other test uses, free to be bound again and again.
#[must_use]
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = (std::process::id() << 6) + NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from(([127, 1 + a % 254, b, c], 7080))
}
