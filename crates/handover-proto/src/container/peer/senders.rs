//! Whom an instance has heard: bounded memory for what anybody can send.

use alloc::collections::VecDeque;

use crate::container::identity::{BootId, PeerId};

/// Senders whose sequence is known. A device runs some services with two or three instances each.
const MOST_SENDERS: usize = 128;

/// Legacy times that are known for echoes.
const MOST_ECHOES: usize = 64;

/// Legacy senders that people were told of.
const MOST_TOLD: usize = 16;

/// Devices that people were told of.
const MOST_DEVICES: usize = 8;

/// Values that were seen, the latest last; when full, the one seen longest ago is forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recent<T>(VecDeque<T>);

impl<T: PartialEq> Recent<T> {
    const fn new() -> Self {
        Self(VecDeque::new())
    }

    fn push(&mut self, value: T, most: usize) {
        if self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// Whether `value` is there; if not, it is from now on.
    fn saw(&mut self, value: T, most: usize) -> bool {
        let seen = self.0.contains(&value);
        if !seen {
            self.push(value, most);
        }
        seen
    }
}

/// What is remembered of senders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Senders {
    sequences: Recent<(PeerId, u64)>,
    echoes: Recent<i64>,
    told: Recent<i64>,
    devices: Recent<BootId>,
}

impl Senders {
    pub(super) const fn new() -> Self {
        Self {
            sequences: Recent::new(),
            echoes: Recent::new(),
            told: Recent::new(),
            devices: Recent::new(),
        }
    }

    /// Whether a datagram is newer than all before of its sender (C4: none is taken twice).
    pub(super) fn is_new(&mut self, from: PeerId, sequence: u64) -> bool {
        let known = &mut self.sequences.0;
        if let Some(at) = known.iter().position(|(peer, _)| *peer == from) {
            if known[at].1 >= sequence {
                return false;
            }
            known.remove(at);
        }
        self.sequences.push((from, sequence), MOST_SENDERS);
        true
    }

    /// A sender of version 3 says that it sends this time to legacy peers.
    pub(super) fn note_echo(&mut self, time_ms: i64) {
        self.echoes.0.retain(|known| *known != time_ms);
        self.echoes.push(time_ms, MOST_ECHOES);
    }

    /// Whether a legacy time is of a sender of version 3.
    pub(super) fn is_echo(&self, time_ms: i64) -> bool {
        self.echoes.0.contains(&time_ms)
    }

    /// Whether people were told of this legacy sender; they are now.
    pub(super) fn told_of(&mut self, time_ms: i64) -> bool {
        self.told.saw(time_ms, MOST_TOLD)
    }

    /// Whether people were told of this device; they are now.
    pub(super) fn told_of_device(&mut self, boot: BootId) -> bool {
        self.devices.saw(boot, MOST_DEVICES)
    }
}
