//! Datagrams to a group over the interfaces that are chosen now.

mod strays;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use handover_sys::multicast::{Arrival, Group, Receiver, Sender};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::network::{Link, Protocol};
use crate::readable::readable;
use strays::Strays;

/// A socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "the group {group} cannot be {}: {source}{}",
    if *heard { "heard" } else { "sent to" },
    if source.kind() == io::ErrorKind::AddrInUse {
        "; another program has the port for itself: choose another one (SHUTDOWN_PORT, \
         HANDOVER_STATUS_PORT, HANDOVER_PEER_PORT)"
    } else {
        ""
    }
)]
pub struct GroupError {
    /// The group and port.
    pub group: String,
    /// Whether it was to be heard.
    pub heard: bool,
    /// The reason.
    pub source: io::Error,
}

/// What became of an interface.
#[derive(Debug)]
pub(super) enum Change {
    /// It is used from now on.
    Joined(Link),
    /// It is used no more.
    Left(String),
    /// It cannot be used, though it is chosen.
    Failed(Link, io::Error),
}

/// One port of one group, in both protocols or in IPv4 only, on any number of interfaces.
#[derive(Debug)]
pub(super) struct Post {
    v4: Side,
    v6: Option<Side>,
    links: BTreeMap<u32, Link>,
    strays: Strays,
    /// Interfaces whose failure was told.
    failed: BTreeMap<u32, io::ErrorKind>,
}

#[derive(Debug)]
struct Side {
    group: Group,
    /// `None` when nothing is to be heard, or nothing yet.
    receiver: Option<AsyncFd<Receiver>>,
    hears: bool,
    senders: BTreeMap<u32, Sender>,
}

impl Side {
    fn receiver(&mut self) -> Result<Option<&Receiver>, GroupError> {
        if self.hears && self.receiver.is_none() {
            let receiver = Receiver::bind(self.group).and_then(readable);
            self.receiver = Some(receiver.map_err(|source| GroupError {
                group: self.group.to_string(),
                heard: true,
                source,
            })?);
        }
        Ok(self.receiver.as_ref().map(AsyncFd::get_ref))
    }

    fn join(&mut self, index: u32) -> io::Result<()> {
        let sender = Sender::open(self.group, index)?;
        if let Some(receiver) = self.receiver().map_err(|error| error.source)? {
            receiver.join(index)?;
        }
        self.senders.insert(index, sender);
        Ok(())
    }

    fn leave(&mut self, index: u32) {
        self.senders.remove(&index);
        if let Some(receiver) = &self.receiver
            && let Err(error) = receiver.get_ref().leave(index)
        {
            tracing::debug!(%error, index, "a membership stays");
        }
    }

    /// Pends for ever without a receiver.
    async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, Receiver>> {
        match &self.receiver {
            Some(receiver) => receiver.readable().await,
            None => std::future::pending().await,
        }
    }
}

impl Post {
    /// Binds the sockets of IPv4; no interface is used before [`refresh`](Self::refresh). Call it
    /// inside a runtime.
    pub(super) fn open(
        v4: Ipv4Addr,
        v6: Option<Ipv6Addr>,
        port: u16,
        hears: bool,
    ) -> Result<Self, GroupError> {
        let side = |address: IpAddr| {
            let group = Group::new(address, port).ok_or_else(|| GroupError {
                group: format!("{address}, port {port},"),
                heard: hears,
                source: io::Error::new(io::ErrorKind::InvalidInput, "it is no multicast group"),
            })?;
            Ok(Side {
                group,
                receiver: None,
                hears,
                senders: BTreeMap::new(),
            })
        };
        let mut post = Self {
            v4: side(v4.into())?,
            v6: v6.map(|v6| side(v6.into())).transpose()?,
            links: BTreeMap::new(),
            strays: Strays::default(),
            failed: BTreeMap::new(),
        };
        post.v4.receiver()?;
        Ok(post)
    }

    fn side(&mut self, protocol: Protocol) -> Option<&mut Side> {
        match protocol {
            Protocol::Ipv4 => Some(&mut self.v4),
            Protocol::Ipv6 => self.v6.as_mut(),
        }
    }

    /// Uses these interfaces and no others; what changed. Those that speak only IPv6 are left out
    /// where the group has none.
    pub(super) fn refresh(&mut self, links: &[Link]) -> Vec<Change> {
        let mut changes = Vec::new();
        let before = std::mem::take(&mut self.links);
        for (index, link) in before {
            if links.contains(&link) {
                self.links.insert(index, link);
                continue;
            }
            if let Some(side) = self.side(link.protocol) {
                side.leave(index);
            }
            changes.push(Change::Left(link.name));
        }
        self.failed
            .retain(|index, _| links.iter().any(|link| link.index == *index));
        for link in links {
            if self.links.contains_key(&link.index) {
                continue;
            }
            let Some(side) = self.side(link.protocol) else {
                continue;
            };
            match side.join(link.index) {
                Ok(()) => {
                    self.failed.remove(&link.index);
                    self.links.insert(link.index, link.clone());
                    changes.push(Change::Joined(link.clone()));
                }
                Err(error) => {
                    side.leave(link.index);
                    let told = self.failed.insert(link.index, error.kind());
                    if told != Some(error.kind()) {
                        changes.push(Change::Failed(link.clone(), error));
                    }
                }
            }
        }
        changes
    }

    /// Hears what this host itself sends over these interfaces too, and nothing else on them.
    pub(super) fn overhear(&mut self, interfaces: &[u32], own: Vec<Ipv4Addr>) {
        if let Some(receiver) = &self.v4.receiver {
            let used = |index: &u32| self.links.contains_key(index);
            self.strays
                .refresh(receiver.get_ref(), interfaces, used, own);
        }
    }

    /// Whether any interface is used.
    pub(super) fn is_reachable(&self) -> bool {
        !self.links.is_empty()
    }

    /// The interfaces that are used.
    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// Sends over every interface, at once; the last one that could not and is not merely busy.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), (String, io::Error)> {
        let mut result = Ok(());
        let sides = [Some(&self.v4), self.v6.as_ref()];
        for (index, sender) in sides.into_iter().flatten().flat_map(|side| &side.senders) {
            match sender.send(bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    let name = self.links.get(index).map(|link| link.name.clone());
                    result = Err((name.unwrap_or_default(), error));
                }
            }
        }
        result
    }

    fn is_meant(&self, arrival: &Arrival) -> bool {
        self.links.contains_key(&arrival.interface) || self.strays.include(arrival)
    }

    /// The next datagram, cut after `room` bytes. Cancel-safe: none is lost.
    ///
    /// # Errors
    /// The kernel's, for a socket that is of no use any more.
    pub(super) async fn receive(&self, room: usize) -> io::Result<(Vec<u8>, Arrival)> {
        loop {
            let mut guard = match &self.v6 {
                None => self.v4.readable().await?,
                Some(v6) => tokio::select! {
                    guard = self.v4.readable() => guard?,
                    guard = v6.readable() => guard?,
                },
            };
            let mut bytes = vec![0; room];
            match guard.try_io(|receiver| receiver.get_ref().receive(&mut bytes)) {
                // Kernels before 4.20 deliver what another socket of this host joined for.
                Ok(Ok(Some(arrival))) if self.is_meant(&arrival) => {
                    bytes.truncate(arrival.bytes);
                    return Ok((bytes, arrival));
                }
                Ok(Err(error)) => return Err(error),
                Ok(Ok(Some(_) | None)) | Err(_) => {}
            }
        }
    }
}
