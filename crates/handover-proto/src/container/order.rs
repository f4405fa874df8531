//! Who is younger. No wall clock: it is stepped, and some devices start without one.

use core::cmp::Ordering;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::identity::{BootId, PeerId, RegisterId};

/// Where an instance stands among the others on its device. Another one for each time it begins to
/// serve: an instance that takes back is younger than the one it takes back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Its kernel.
    pub boot: BootId,
    /// Nanoseconds of `CLOCK_BOOTTIME` when it began; stamped under the register's lock if there is
    /// one.
    pub started_ns: u64,
    /// Its number, if there is a shared volume.
    pub entry: Option<Entry>,
}

/// A number from the register in a shared volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Which register.
    pub register: RegisterId,
    /// The number; each is given once.
    pub epoch: u64,
}

/// How another instance stands to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// The other is to serve.
    Younger,
    /// This one is to serve.
    Older,
    /// The other runs on another device, and neither concerns the other.
    Elsewhere,
}

impl Order {
    /// How `other` stands to the instance `id` of this order.
    ///
    /// On one device: by the register if both have a number of the same one, else by the time since
    /// boot, then by peer id. On two devices neither is younger, even with numbers of one register:
    /// a volume that was copied to another device must not join their services.
    #[must_use]
    pub fn compare(&self, id: PeerId, other: &Self, other_id: PeerId) -> Relation {
        if self.boot != other.boot {
            return Relation::Elsewhere;
        }
        let by_register = match (self.entry, other.entry) {
            (Some(own), Some(other)) if own.register == other.register => {
                other.epoch.cmp(&own.epoch)
            }
            (Some(_) | None, Some(_) | None) => Ordering::Equal,
        };
        let by_time = other.started_ns.cmp(&self.started_ns);
        match by_register.then(by_time).then(other_id.cmp(&id)) {
            Ordering::Greater => Relation::Younger,
            Ordering::Less | Ordering::Equal => Relation::Older,
        }
    }

    /// Whether an instance of this order came after the one of `earlier`, which has ended and may be
    /// of an earlier boot: what an instance that was retired and is started again asks of whoever
    /// serves on its device.
    #[must_use]
    pub fn came_after(&self, earlier: &Self) -> bool {
        match (self.entry, earlier.entry) {
            (Some(own), Some(earlier)) if own.register == earlier.register => {
                own.epoch > earlier.epoch
            }
            // Nobody of another boot is there any more.
            (Some(_) | None, Some(_) | None) => {
                self.boot != earlier.boot || self.started_ns > earlier.started_ns
            }
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "number {} of its volume", entry.epoch),
            None => {
                let since_boot = core::time::Duration::from_nanos(self.started_ns);
                write!(f, "begun {since_boot:.3?} after boot")
            }
        }
    }
}
