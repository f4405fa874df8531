//! Containers hand over: old and new instance share no socket, no parent and perhaps no clock that
//! can be trusted. They find each other by datagrams to a group, or through a volume.
//!
//! | where | what |
//! |---|---|
//! | [`legacy`], [`status`] | the datagrams of `handover-lib`, byte for byte |
//! | [`message`], [`envelope`] | version 3, ours: what is said, its bytes, its authentication |
//! | [`order`] | who is younger; no wall clock |
//! | [`peer`] | the machine of one instance: announces, asks, drains, lets go or takes back |
//! | [`schedule`] | when announcements are repeated |
//! | [`settings`] | what the machine decides by |
//! | [`roster`] | what a watcher believes of each service, from status datagrams alone |
//! | [`event`] | what people and programs are told |
//!
//! # Legacy and version 3 on one network
//! A peer of `handover-lib` throws when the first byte of a datagram is not its version, so version 3
//! has a port of its own. A version 3 instance sends both; its own announcement carries the time it
//! sends to legacy peers, so that another version 3 instance knows the legacy one for an echo.
//!
//! # What is kept, whatever the network does
//! - **C1** Of the healthy instances that became ready, one serves or is coming back: loss,
//!   duplication, reordering and delay of datagrams, or the death of one instance, never leave
//!   nobody.
//! - **C2** [`peer::Effect::Complete`] never comes before the program is drained, never twice, and
//!   for a version 3 successor never without a confirmation younger than
//!   [`settings::Settings::silence`], unless this instance itself is told to stop.
//! - **C3** With fair delivery exactly one serves in the end.
//! - **C4** A datagram without the key, of another service, of another device, replayed, or of an
//!   older instance changes nothing about who serves.
//! - **C5** A drain is asked for once per time served.

use core::net::{Ipv4Addr, Ipv6Addr};

pub mod envelope;
pub mod event;
mod identity;
pub mod legacy;
pub mod message;
pub mod order;
pub mod peer;
pub mod roster;
pub mod schedule;
pub mod settings;
pub mod status;

pub use self::identity::{Attempt, BootId, IdError, PeerId, RegisterId};

/// The group of all datagrams over IPv4: `SHUTDOWN_BROADCAST_ADDRESS` and
/// `HANDOVER_STATUS_BROADCAST_ADDRESS` of handover-lib 0.2.3 by default.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 16, 16);

/// The group of version 3 over IPv6: transient, of this link, the number of [`GROUP_V4`] below.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0xefc0, 0x1010);

/// Port of the legacy peer datagram: `SHUTDOWN_PORT` of handover-lib 0.0.10 by default.
pub const LEGACY_PORT: u16 = 1536;

/// Port of the status datagram: `HANDOVER_STATUS_PORT` of handover-lib 0.2.3 by default.
pub const STATUS_PORT: u16 = 1537;

/// Port of version 3, `HANDOVER_PEER_PORT` by default.
pub const PEER_PORT: u16 = 1538;

/// Longest name of a service in bytes: what the status datagram has room for.
pub const MAX_SERVICE: usize = 63;
