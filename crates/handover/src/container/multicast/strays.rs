//! What processes of this very host send over interfaces that are not used.
//!
//! Nothing that comes from elsewhere is taken: the sender's address must be one of this host's. The
//! kernel drops datagrams that come in from a network and claim one (they are martians, RFC 1812,
//! section 5.3.7), unless `net.ipv4.conf.*.accept_local` is set.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use handover_sys::multicast::{Arrival, Receiver};

/// The interfaces, and the addresses of this host.
#[derive(Debug, Default)]
pub(super) struct Strays {
    interfaces: BTreeSet<u32>,
    own: BTreeSet<Ipv4Addr>,
}

impl Strays {
    /// Hears `wanted` and no others from now on. Those that are `used` keep their membership.
    pub(super) fn refresh(
        &mut self,
        receiver: &Receiver,
        wanted: &[u32],
        used: impl Fn(&u32) -> bool,
        own: Vec<Ipv4Addr>,
    ) {
        self.own = own.into_iter().collect();
        let before = std::mem::take(&mut self.interfaces);
        let gone = |index: &&u32| !wanted.contains(index) && !used(index);
        for index in before.iter().filter(gone) {
            if let Err(error) = receiver.leave(*index) {
                tracing::debug!(%error, index, "a membership stays");
            }
        }
        for index in wanted.iter().filter(|index| !used(index)) {
            match receiver.join(*index) {
                Ok(_) => {
                    self.interfaces.insert(*index);
                }
                Err(error) => tracing::debug!(%error, index, "strays are not heard there"),
            }
        }
    }

    /// Whether a datagram was sent by this host over one of them.
    pub(super) fn include(&self, arrival: &Arrival) -> bool {
        let IpAddr::V4(from) = arrival.from.ip() else {
            return false;
        };
        self.interfaces.contains(&arrival.interface) && self.own.contains(&from)
    }
}
