//! All ways to other instances, as one.

use std::io;
use std::net::Ipv4Addr;

use handover_proto::container::GROUP_V6;
use handover_proto::container::envelope::MAX_BYTES;
use handover_sys::interface::{Changes, interfaces};
use tokio::io::unix::AsyncFd;
use tokio::time::{Duration, Instant, sleep_until};

use super::multicast::{Change, GroupError, Post};
use super::network::{Network, Protocol};
use super::news::{Medium, Way};
use super::volume::Volume;
use crate::readable::readable;

/// Room for the longest datagram and one byte more, so that a longer one shows.
pub(super) const ROOM: usize = MAX_BYTES + 1;

/// Looks for an interface while there is none, where the kernel does not tell.
const LOOK_OFTEN: Duration = Duration::from_secs(1);

/// Looks whether everything is as it was; the kernel tells of changes at once.
const LOOK: Duration = Duration::from_secs(60);

/// What is wanted of the network.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) network: Network,
    pub(super) group: Ipv4Addr,
    /// `None` with a volume.
    pub(super) peer_port: Option<u16>,
    /// `None` without legacy peers. Those who are not obeyed are heard all the same, to warn of
    /// them.
    pub(super) legacy: Option<u16>,
}

/// What came.
pub(super) enum Came {
    /// A datagram of version 3.
    Peer(Vec<u8>),
    /// A legacy one.
    Legacy(Vec<u8>),
    /// Interfaces may have changed, or it is time to look.
    Look,
    /// A socket is of no use.
    Broken(Medium, io::Error),
}

/// The ways.
#[derive(Debug)]
pub(super) struct Media {
    network: Network,
    volume: Option<Volume>,
    peers: Option<Post>,
    legacy: Option<Post>,
    changes: Option<AsyncFd<Changes>>,
    look_at: Instant,
    /// It was told that there is no interface.
    alone: bool,
}

impl Media {
    /// Opens what is wanted; nothing is joined before [`look`](Self::look).
    pub(super) fn open(wanted: &Wanted, volume: Option<Volume>) -> Result<Self, GroupError> {
        let group = wanted.group;
        let peers = wanted
            .peer_port
            .map(|port| Post::open(group, Some(GROUP_V6), port, true))
            .transpose()?;
        let legacy = wanted
            .legacy
            .map(|port| Post::open(group, None, port, true))
            .transpose()?;
        let networked = peers.is_some() || legacy.is_some();
        let changes = networked.then(|| Changes::open().and_then(readable));
        let changes = changes.transpose().unwrap_or_else(|error| {
            tracing::debug!(%error, "the kernel does not tell of interfaces; they are looked at");
            None
        });
        Ok(Self {
            network: wanted.network.clone(),
            volume,
            peers,
            legacy,
            changes,
            look_at: Instant::now(),
            alone: false,
        })
    }

    /// Uses the interfaces that can be used now. What happened, and whether there is a way that
    /// was not there before.
    pub(super) fn look(&mut self) -> (Vec<Way>, bool) {
        let mut told = Vec::new();
        let mut reachable = self.volume.as_mut().is_some_and(Volume::repair);
        if self.peers.is_some() || self.legacy.is_some() {
            reachable |= self.look_at_interfaces(&mut told);
        }
        let often = self.changes.is_none() && self.alone;
        self.look_at = Instant::now() + if often { LOOK_OFTEN } else { LOOK };
        (told, reachable)
    }

    fn look_at_interfaces(&mut self, told: &mut Vec<Way>) -> bool {
        let all = match interfaces() {
            Ok(all) => all,
            Err(error) => {
                told.push(Way::Failed {
                    medium: Medium::Multicast,
                    reason: format!("interfaces cannot be listed: {error}"),
                });
                return false;
            }
        };
        let links = self.network.choose(&all);
        let mut joined = false;
        for post in [&mut self.peers, &mut self.legacy].into_iter().flatten() {
            for change in post.refresh(&links) {
                joined |= matches!(change, Change::Joined(_));
                let way = way_of(change);
                // Both use the same interfaces; once is enough to be told.
                if !told.contains(&way) {
                    told.push(way);
                }
            }
        }
        if let Some(legacy) = &mut self.legacy {
            let own = all.iter().flat_map(|one| one.ipv4.iter().copied());
            legacy.overhear(&self.network.strays(&all), own.collect());
        }
        let any = |post: &Option<Post>| post.as_ref().is_some_and(Post::is_reachable);
        let alone = !any(&self.peers) && !any(&self.legacy);
        if alone && !self.alone {
            told.push(Way::NoInterface {
                expected: self.network.expected(),
                only_legacy: self.peers.is_none(),
            });
        }
        self.alone = alone;
        joined
    }

    /// Sends to instances of version 3.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), (Medium, String)> {
        if let Some(volume) = &self.volume {
            volume.send(bytes).map_err(|error| {
                let path = volume.path().display();
                (Medium::Volume, format!("{path} cannot be read: {error}"))
            })?;
        }
        send_to(self.peers.as_ref(), bytes)
    }

    /// Sends to legacy peers.
    pub(super) fn send_legacy(&self, bytes: &[u8]) -> Result<(), (Medium, String)> {
        send_to(self.legacy.as_ref(), bytes)
    }

    /// What comes next. Cancel-safe.
    pub(super) async fn next(&self) -> Came {
        tokio::select! {
            result = receive(self.peers.as_ref()) => match result {
                Ok(bytes) => Came::Peer(bytes),
                Err(error) => Came::Broken(Medium::Multicast, error),
            },
            result = receive(self.legacy.as_ref()) => match result {
                Ok(bytes) => Came::Legacy(bytes),
                Err(error) => Came::Broken(Medium::Multicast, error),
            },
            result = through(self.volume.as_ref()) => match result {
                Ok(bytes) => Came::Peer(bytes),
                Err(error) => Came::Broken(Medium::Volume, error),
            },
            () = changed(self.changes.as_ref()) => Came::Look,
            () = sleep_until(self.look_at) => Came::Look,
        }
    }
}

fn way_of(change: Change) -> Way {
    match change {
        Change::Joined(link) => Way::Joined {
            interface: link.name,
            ipv6_only: link.protocol == Protocol::Ipv6,
        },
        Change::Left(interface) => Way::Left { interface },
        Change::Failed(link, error) => Way::Failed {
            medium: Medium::Multicast,
            reason: format!("interface {} cannot be used: {error}", link.name),
        },
    }
}

fn send_to(post: Option<&Post>, bytes: &[u8]) -> Result<(), (Medium, String)> {
    let sent = post.map_or(Ok(()), |post| post.send(bytes));
    sent.map_err(|(interface, error)| {
        let reason = format!("nothing can be sent over {interface}: {error}");
        (Medium::Multicast, reason)
    })
}

async fn receive(post: Option<&Post>) -> io::Result<Vec<u8>> {
    match post {
        Some(post) => Ok(post.receive(ROOM).await?.0),
        None => std::future::pending().await,
    }
}

async fn through(volume: Option<&Volume>) -> io::Result<Vec<u8>> {
    match volume {
        Some(volume) => volume.receive(ROOM).await,
        None => std::future::pending().await,
    }
}

/// Returns when the kernel told of a change; never if it does not tell.
async fn changed(changes: Option<&AsyncFd<Changes>>) {
    let Some(changes) = changes else {
        return std::future::pending().await;
    };
    loop {
        let Ok(mut guard) = changes.readable().await else {
            return std::future::pending().await;
        };
        let taken = changes.get_ref().take();
        guard.clear_ready();
        match taken {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "the kernel tells of interfaces no more");
                return std::future::pending().await;
            }
        }
    }
}
