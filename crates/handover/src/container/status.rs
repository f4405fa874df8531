//! The status of an instance, told to whoever routes requests to it.
//!
//! The datagram is that of handover-lib 0.2.3, so both sides understand theirs. It is there because
//! the DNS name of a container moves only when the old container is gone, which is after the
//! new one is up: a load balancer that follows the status instead is never wrong.

mod error;
mod listener;
mod sender;

pub use error::StatusError;
pub use handover_proto::container::status::{State, StatusDatagram};
pub use listener::{News, StatusHeard, StatusListener};

use super::Environment;
use super::multicast::Change;
use super::network::{Link, Network};
use super::register::wall_ms;
use handover_proto::container::status::{MAX_NAME, MOST_ADDRESSES};
use handover_sys::interface::{Interface, interfaces};
use sender::{Order, Sender};
use std::net::Ipv4Addr;
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Orders that wait for the sender; one is enough, since each waits for its answer.
const ORDERS: usize = 1;

/// Tells whoever routes requests whether this instance is up.
///
/// Says nothing until [`up`](Self::up) or [`down`](Self::down). Dropped, it says nothing more;
/// watchers then take an instance that was up for silent after a while, so say
/// [`down`](Self::down) first.
///
/// ```no_run
/// use handover::container::Status;
/// use std::time::SystemTime;
///
/// # async fn f(serving: impl Future, stopped: impl Future) -> Result<(), Box<dyn std::error::Error>> {
/// let status = Status::new("api", SystemTime::now())?;
/// serving.await; // ready: the load balancer may send requests
/// status.up().await?;
/// stopped.await; // a younger instance is up
/// status.down().await?; // no new requests from here on
/// // finish those in flight, then:
/// drop(status);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Status {
    orders: mpsc::Sender<(Order, oneshot::Sender<Result<(), StatusError>>)>,
    task: AbortHandle,
}

impl Status {
    /// For the service of this name, and an instance that started at this time. Nothing is sent.
    ///
    /// Where to send is read from the environment, as handover-lib 0.2.3 reads it:
    /// `HANDOVER_STATUS_BROADCAST_ADDRESS`, `HANDOVER_STATUS_PORT`, `HANDOVER_NETWORK_MODE`,
    /// `NETWORK_INTERFACE`. A youngest instance that is up is routed to, so give it the time that
    /// peers are told as well.
    ///
    /// # Errors
    /// A variable cannot be read, the name is longer than 62 bytes, or no tokio runtime runs.
    pub fn new(service: impl Into<String>, started_at: SystemTime) -> Result<Self, StatusError> {
        Self::within(&Environment::read()?, service, started_at)
    }

    /// As [`new`](Self::new), within this environment.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn within(
        environment: &Environment,
        service: impl Into<String>,
        started_at: SystemTime,
    ) -> Result<Self, StatusError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StatusError::NoRuntime)?;
        let service = service.into();
        // Found now, not when the instance is ready.
        if service.len() > MAX_NAME || service.contains('\0') {
            return Err(StatusError::Name { name: service });
        }
        let sender = Sender::open(environment, service, wall_ms(started_at))?;
        let (orders, ordered) = mpsc::channel(ORDERS);
        let task = runtime.spawn(sender.run(ordered)).abort_handle();
        Ok(Self { orders, task })
    }

    /// Says that this instance is up: now, and every 10 s from now on.
    ///
    /// Once this has returned, the first datagram is on its way. Cancelled, it may be or not; what is
    /// repeated is the same.
    ///
    /// # Errors
    /// Nothing could be sent: no interface of the network is there (yet), or none of them took it.
    /// It is tried again each second until one does, unless something else is said.
    pub async fn up(&self) -> Result<(), StatusError> {
        self.say(State::Up).await
    }

    /// Says that this instance is down: now, and every 100 ms until this is dropped.
    ///
    /// # Errors
    /// As [`up`](Self::up).
    pub async fn down(&self) -> Result<(), StatusError> {
        self.say(State::Down).await
    }

    async fn say(&self, state: State) -> Result<(), StatusError> {
        let (answer, answered) = oneshot::channel();
        let order = (Order(state), answer);
        let sent = self.orders.send(order).await;
        sent.map_err(|_| StatusError::NoRuntime)?;
        answered.await.map_err(|_| StatusError::NoRuntime)?
    }
}

impl Drop for Status {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where status messages cross now, and where this instance can be reached.
fn look(network: &Network) -> Result<(Vec<Link>, Vec<Ipv4Addr>), StatusError> {
    let all = interfaces().map_err(StatusError::Interfaces)?;
    let links = network.choose(&all);
    let addresses = addresses(&all, &links);
    Ok((links, addresses))
}

/// All IPv4 addresses but those of loopback. Those of interfaces that are used come first, so that
/// they are there on a host with more addresses than a datagram has room for.
fn addresses(all: &[Interface], links: &[Link]) -> Vec<Ipv4Addr> {
    let used = |one: &&Interface| links.iter().any(|link| link.index == one.index);
    let (first, rest): (Vec<_>, Vec<_>) = all.iter().filter(|one| !one.loopback).partition(used);
    let addresses = first.into_iter().chain(rest).flat_map(|one| &one.ipv4);
    addresses.copied().take(MOST_ADDRESSES).collect()
}

/// Says which interfaces cannot be used.
fn report(changes: Vec<Change>) {
    for change in changes {
        if let Change::Failed(link, error) = change {
            tracing::warn!("no status messages on {}: {error}", link.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn interface(index: u32, name: &str, ipv4: &[[u8; 4]]) -> Interface {
        Interface {
            index,
            name: name.to_owned(),
            up: true,
            running: true,
            loopback: name == "lo",
            multicast: true,
            ipv4: ipv4.iter().map(|octets| Ipv4Addr::from(*octets)).collect(),
            ipv6: Vec::new(),
        }
    }

    #[test]
    fn the_network_in_use_is_told_first_and_loopback_never() {
        let many: Vec<[u8; 4]> = (0..20).map(|n| [192, 168, n, 1]).collect();
        let all = [
            interface(1, "lo", &[[127, 0, 0, 1]]),
            interface(2, "eth0", &many),
            interface(3, "supervisor0", &[[10, 114, 104, 1]]),
        ];
        let host = Network::Host {
            interface: "supervisor0".to_owned(),
        };
        let told = addresses(&all, &host.choose(&all));
        assert_eq!(told.len(), MOST_ADDRESSES);
        assert_eq!(told[0], Ipv4Addr::new(10, 114, 104, 1));
        assert_eq!(told[1], Ipv4Addr::from(many[0]));
        let told = addresses(&all[..1], &Network::Bridge.choose(&all[..1]));
        assert_eq!(told, Vec::<Ipv4Addr>::new());
    }

    #[test]
    fn times_before_the_epoch_are_negative() {
        let second = Duration::from_secs(1);
        assert_eq!(wall_ms(SystemTime::UNIX_EPOCH + second), 1_000);
        assert_eq!(wall_ms(SystemTime::UNIX_EPOCH - second), -1_000);
    }
}
