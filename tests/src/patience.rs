//! Waiting on a condition.

use std::time::{Duration, Instant};

/// How long any condition may take: far more than a loaded machine needs, so that passing it means
/// that it will never hold.
pub const LONG: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, or says what it missed last.
fn wait<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let patience = Instant::now() + LONG;
    loop {
        match look() {
            Ok(found) => return found,
            Err(missed) => assert!(
                Instant::now() < patience,
                "still waiting for: {what}{missed}"
            ),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it has found nothing for [`LONG`]; `what` says what was waited for.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    wait(what, || look().ok_or_else(String::new))
}

/// Waits until a condition holds.
///
/// # Panics
/// As [`eventually`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}

/// Waits until nothing is in the way of a condition.
///
/// # Panics
/// As [`eventually`], and says what was in the way last.
pub fn until_nothing(what: &str, mut in_the_way: impl FnMut() -> Option<String>) {
    wait(what, || {
        in_the_way().map_or(Ok(()), |found| Err(format!("; {found}")))
    });
}
