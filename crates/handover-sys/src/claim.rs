//! Which children belong to a [`Pidfd`](crate::Pidfd) of this crate, so that the reaper of
//! orphans never takes a status that somebody is waiting for.
//!
//! Counted by ownership: the claim lives in the `Pidfd`, dropping it ends the claim.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Held shared while a child exists but is not claimed yet, and exclusively while reaping.
static GATE: RwLock<()> = RwLock::new(());

/// Pid to the token of its latest claim. A pid can be reused the moment it is reaped, so an old
/// claim must not end a newer one: the token tells them apart.
static CLAIMS: Mutex<Claims> = Mutex::new(Claims {
    next: 0,
    tokens: BTreeMap::new(),
});

struct Claims {
    next: u64,
    tokens: BTreeMap<u32, u64>,
}

fn claims() -> MutexGuard<'static, Claims> {
    // The map is consistent after any panic: every change is one call.
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to wait for one child.
#[derive(Debug)]
pub(crate) struct Claim {
    pid: u32,
    token: u64,
}

impl Claim {
    /// Claims `pid`. Call while holding [`birth`], before anybody can reap the child.
    pub(crate) fn new(pid: u32) -> Self {
        let mut claims = claims();
        let token = claims.next;
        claims.next += 1;
        claims.tokens.insert(pid, token);
        Self { pid, token }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = claims();
        if claims.tokens.get(&self.pid) == Some(&self.token) {
            claims.tokens.remove(&self.pid);
        }
    }
}

/// Whether some live `Pidfd` claims the child.
pub(crate) fn is_claimed(pid: u32) -> bool {
    claims().tokens.contains_key(&pid)
}

/// Keeps the reaper out while a child is born and claimed.
pub(crate) fn birth() -> RwLockReadGuard<'static, ()> {
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps births out while children are reaped.
pub(crate) fn reaping() -> RwLockWriteGuard<'static, ()> {
    GATE.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_drop_does_not_end_a_newer_claim() {
        let pid = u32::MAX;
        let old = Claim::new(pid);
        let new = Claim::new(pid);
        drop(old);
        assert!(is_claimed(pid));
        drop(new);
        assert!(!is_claimed(pid));
    }
}
