//! Repeats the status of an instance.

use super::{State, StatusDatagram, StatusError, look, report};
use crate::container::multicast::Post;
use crate::container::{Environment, Network};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Between two UP, as handover-lib 0.2.3.
const UP_EVERY: Duration = Duration::from_secs(10);

/// Between two DOWN, as handover-lib 0.2.3: who routes to this instance must not miss it.
const DOWN_EVERY: Duration = Duration::from_millis(100);

/// Between two looks for an interface while there is none, or none that sends.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is to be said from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order(pub(super) State);

/// What a sender is told, and where it answers how the first datagram went.
pub(super) type Ordered = mpsc::Receiver<(Order, oneshot::Sender<Result<(), StatusError>>)>;

/// Sends one instance's status over all interfaces of its network.
#[derive(Debug)]
pub(super) struct Sender {
    network: Network,
    post: Post,
    service: String,
    started_ms: i64,
    addresses: Vec<Ipv4Addr>,
    /// When the interfaces were last looked at.
    looked: Option<Instant>,
    /// The last attempt failed.
    failing: bool,
}

impl Sender {
    pub(super) fn open(
        environment: &Environment,
        service: String,
        started_ms: i64,
    ) -> Result<Self, StatusError> {
        let (group, port) = (environment.status_group, environment.status_port);
        Ok(Self {
            network: environment.network.clone(),
            post: Post::open(group, None, port, false)?,
            service,
            started_ms,
            addresses: Vec::new(),
            looked: None,
            failing: false,
        })
    }

    /// Says what it is told to until nobody tells any more.
    pub(super) async fn run(mut self, mut ordered: Ordered) {
        let mut saying: Option<(State, Instant)> = None;
        loop {
            let due = async {
                match saying {
                    Some((state, due)) => {
                        sleep_until(due).await;
                        state
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = ordered.recv() => {
                    let Some((Order(state), answer)) = order else { return };
                    // What is there may have changed since it was last needed.
                    self.looked = None;
                    let sent = self.send(state);
                    saying = Some((state, Instant::now() + self.pause(state)));
                    // Whoever asked may have stopped waiting.
                    let _ = answer.send(sent);
                }
                state = due => {
                    self.repeat(state);
                    saying = Some((state, Instant::now() + self.pause(state)));
                }
            }
        }
    }

    fn pause(&self, state: State) -> Duration {
        match (self.failing, state) {
            (true, State::Up) => LOOK_EVERY,
            (false, State::Up) => UP_EVERY,
            // One interface that fails is no reason to be slow on another.
            (true, State::Down) if !self.post.is_reachable() => LOOK_EVERY,
            (true | false, State::Down) => DOWN_EVERY,
        }
    }

    /// As [`send`](Self::send), with nobody who waits for the result: told when it begins to fail.
    fn repeat(&mut self, state: State) {
        let failed_before = self.failing;
        match self.send(state) {
            Ok(()) if failed_before => tracing::info!("the status is told again"),
            Err(error) if !failed_before => tracing::warn!("{error}"),
            Ok(()) | Err(_) => {}
        }
    }

    /// Sends over every interface there is.
    fn send(&mut self, state: State) -> Result<(), StatusError> {
        let sent = self.try_send(state);
        self.failing = sent.is_err();
        sent
    }

    fn try_send(&mut self, state: State) -> Result<(), StatusError> {
        if self
            .looked
            .is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
        {
            let (links, addresses) = look(&self.network)?;
            report(self.post.refresh(&links));
            self.addresses = addresses;
            self.looked = Some(Instant::now());
        }
        if !self.post.is_reachable() {
            return Err(StatusError::nowhere(&self.network));
        }
        let datagram = StatusDatagram {
            started_ms: self.started_ms,
            service: self.service.clone(),
            addresses: self.addresses.clone(),
            status: state,
        };
        let bytes = datagram.encode().map_err(|_| StatusError::Name {
            name: self.service.clone(),
        })?;
        let sent = self.post.send(&bytes);
        sent.map_err(|(interface, source)| StatusError::Send { interface, source })
    }
}
