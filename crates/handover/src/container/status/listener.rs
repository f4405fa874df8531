//! Hears the status of instances.

use super::{StatusDatagram, StatusError, look, report};
use crate::container::multicast::Post;
use crate::container::{Environment, Link, Network};
use crate::readable::readable;
use handover_proto::container::status::BYTES;
use handover_sys::interface::Changes;
use handover_sys::multicast::Arrival;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// Room for a status and one byte more, so that a longer one shows.
const ROOM: usize = BYTES + 1;

/// Between two looks at the interfaces where the kernel does not tell that they changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between two reports of messages that are none.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// A status, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusHeard {
    /// What was said.
    pub datagram: StatusDatagram,
    /// The address the datagram claims to come from.
    pub from: Ipv4Addr,
    /// The index of the interface it came in by.
    pub interface: u32,
}

/// What a listener learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A status.
    Status(StatusHeard),
    /// It listens on other interfaces than before; none: it waits for one.
    Interfaces(Vec<Link>),
    /// Datagrams that were no status; told once a minute at most.
    Malformed {
        /// How many since the last time.
        count: u64,
        /// Where the last came from.
        from: SocketAddr,
        /// What is wrong with it.
        why: String,
    },
}

/// Hears the status messages of all services: on every interface of the network in mode bridge, on
/// the one of mode host otherwise, also on those that appear later.
///
/// ```no_run
/// use handover::container::StatusListener;
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let mut listener = StatusListener::new()?;
/// loop {
///     let heard = listener.next().await?;
///     let status = heard.datagram;
///     println!("{} from {}: {}", status.service, heard.from, status.status);
/// }
/// # }
/// ```
///
/// Anybody on the network can send such messages. To route by them, keep what they say in a
/// [`Roster`](handover_proto::container::roster::Roster): it says who is the youngest that is up.
#[derive(Debug)]
pub struct StatusListener {
    network: Network,
    group: SocketAddrV4,
    post: Post,
    /// `None` where the kernel does not tell.
    changes: Option<AsyncFd<Changes>>,
    links: Vec<Link>,
    /// Whether `links` is to be told.
    unsaid: bool,
    look_at: Instant,
    /// The last look failed.
    blinded: bool,
    malformed: Malformed,
}

/// Datagrams that were no status.
#[derive(Debug, Default)]
struct Malformed {
    total: u64,
    told: u64,
    told_at: Option<Instant>,
}

impl StatusListener {
    /// Where to listen is read from the environment, as [`Status::new`](super::Status::new) does.
    ///
    /// # Errors
    /// A variable cannot be read, the port is in use by a socket that does not share it, or no
    /// tokio runtime runs. That no interface is there is no error: it is waited for.
    pub fn new() -> Result<Self, StatusError> {
        Self::within(&Environment::read()?)
    }

    /// As [`new`](Self::new), within this environment.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn within(environment: &Environment) -> Result<Self, StatusError> {
        tokio::runtime::Handle::try_current().map_err(|_| StatusError::NoRuntime)?;
        let group = SocketAddrV4::new(environment.status_group, environment.status_port);
        let post = Post::open(*group.ip(), None, group.port(), true)?;
        // A sandbox may not have them; the interfaces are then looked at.
        let changes = Changes::open().and_then(readable);
        let mut listener = Self {
            network: environment.network.clone(),
            group,
            post,
            changes: changes.ok(),
            links: Vec::new(),
            unsaid: true,
            look_at: Instant::now(),
            blinded: false,
            malformed: Malformed::default(),
        };
        listener.look()?;
        Ok(listener)
    }

    /// The next status. Cancel safe.
    ///
    /// # Errors
    /// The socket cannot be read any more.
    pub async fn next(&mut self) -> Result<StatusHeard, StatusError> {
        loop {
            if let News::Status(heard) = self.news().await? {
                return Ok(heard);
            }
        }
    }

    /// The next status, or what else there is to know: at first on which interfaces it listens.
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn news(&mut self) -> Result<News, StatusError> {
        loop {
            if std::mem::take(&mut self.unsaid) {
                return Ok(News::Interfaces(self.links.clone()));
            }
            tokio::select! {
                arrived = self.post.receive(ROOM) => {
                    let (bytes, arrival) = arrived.map_err(StatusError::Receive)?;
                    if let Some(news) = self.judge(&bytes, arrival) {
                        return Ok(news);
                    }
                }
                alive = changed(self.changes.as_ref()) => {
                    if !alive {
                        self.changes = None;
                    }
                    self.look_again();
                }
                () = sleep_until(self.look_at), if self.blind() => self.look_again(),
            }
        }
    }

    /// The interfaces on which it listens now; none while none is there.
    #[must_use]
    pub fn interfaces(&self) -> &[Link] {
        &self.links
    }

    /// The group and port that it listens to.
    #[must_use]
    pub fn group(&self) -> SocketAddrV4 {
        self.group
    }

    /// Why it waits, when there is no interface to listen on.
    #[must_use]
    pub fn nowhere(&self) -> StatusError {
        StatusError::nowhere(&self.network)
    }

    /// How many datagrams were no status so far.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.total
    }

    /// Whether interfaces have to be looked for: the kernel does not tell, or there are none and
    /// joining may have failed for another reason.
    fn blind(&self) -> bool {
        self.changes.is_none() || self.links.is_empty() || self.blinded
    }

    fn look_again(&mut self) {
        let looked = self.look();
        if let Err(error) = &looked
            && !self.blinded
        {
            tracing::warn!("{error}; those that are known are listened on");
        }
        self.blinded = looked.is_err();
    }

    /// Joins the group where it was not joined yet.
    fn look(&mut self) -> Result<(), StatusError> {
        self.look_at = Instant::now() + LOOK_EVERY;
        let (links, _) = look(&self.network)?;
        report(self.post.refresh(&links));
        let links: Vec<Link> = self.post.links().cloned().collect();
        self.unsaid |= links != self.links;
        self.links = links;
        Ok(())
    }

    /// What a datagram says; `None` for one that is not worth a word.
    fn judge(&mut self, bytes: &[u8], arrival: Arrival) -> Option<News> {
        let Arrival {
            from, interface, ..
        } = arrival;
        // One that was in the queue when its interface was left.
        if !self.links.iter().any(|link| link.index == interface) {
            return None;
        }
        let IpAddr::V4(address) = from.ip() else {
            return None;
        };
        match StatusDatagram::decode(bytes) {
            Ok(datagram) => Some(News::Status(StatusHeard {
                datagram,
                from: address,
                interface,
            })),
            Err(error) => {
                let count = self.malformed.one_more(Instant::now())?;
                let why = error.to_string();
                Some(News::Malformed { count, from, why })
            }
        }
    }
}

impl Malformed {
    /// Counts one; how many there are to tell of, if it is time.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        self.total += 1;
        if self
            .told_at
            .is_some_and(|told_at| now - told_at < REPORT_EVERY)
        {
            return None;
        }
        self.told_at = Some(now);
        let count = self.total - self.told;
        self.told = self.total;
        Some(count)
    }
}

/// Waits for news of interfaces; `false`: there will be none. Cancel safe: taking them is the last
/// that happens.
async fn changed(changes: Option<&AsyncFd<Changes>>) -> bool {
    let Some(changes) = changes else {
        return std::future::pending().await;
    };
    let taken = changes.async_io(Interest::READABLE, |changes| match changes.take() {
        Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
        other => other,
    });
    taken.await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_none_are_told_once_a_minute() {
        let mut malformed = Malformed::default();
        let start = Instant::now();
        assert_eq!(malformed.one_more(start), Some(1));
        for n in 1..50 {
            assert_eq!(malformed.one_more(start + Duration::from_secs(n)), None);
        }
        assert_eq!(malformed.one_more(start + REPORT_EVERY), Some(50));
        assert_eq!(malformed.total, 51);
    }
}
