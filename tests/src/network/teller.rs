//! The status of an instance, told with our library from a namespace.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use handover::container::{Environment, Network, Status};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::Namespace;

/// Tells the status of one instance until it is dropped.
#[derive(Debug)]
pub struct Teller {
    orders: UnboundedSender<(bool, mpsc::Sender<Result<(), String>>)>,
}

impl Teller {
    /// In mode bridge. Says nothing yet.
    #[must_use]
    pub fn new(namespace: &Arc<Namespace>, service: &str, started_ms: u64) -> Self {
        Self::on(namespace, Network::Bridge, service, started_ms)
    }

    /// The same in another network. `started_ms` is in milliseconds since the epoch.
    ///
    /// # Panics
    /// When there is no runtime.
    #[must_use]
    pub fn on(
        namespace: &Arc<Namespace>,
        network: Network,
        service: &str,
        started_ms: u64,
    ) -> Self {
        let (orders, mut ordered) = unbounded_channel::<(bool, mpsc::Sender<Result<(), String>>)>();
        let started_at = SystemTime::UNIX_EPOCH + Duration::from_millis(started_ms);
        let (namespace, service) = (Arc::clone(namespace), service.to_owned());
        let tell = async move {
            let environment = Environment {
                network,
                ..Environment::default()
            };
            let status = Status::within(&environment, service, started_at).expect("a name");
            while let Some((up, answer)) = ordered.recv().await {
                let told = match up {
                    true => status.up().await,
                    false => status.down().await,
                };
                let _ = answer.send(told.map_err(|error| error.to_string()));
            }
        };
        thread::spawn(move || {
            namespace.enter(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                runtime.expect("a runtime").block_on(tell);
            });
        });
        Self { orders }
    }

    /// Says UP from now on; what the library says of the first.
    ///
    /// # Errors
    /// What it says when it could not be sent.
    pub fn up(&self) -> Result<(), String> {
        self.say(true)
    }

    /// Says DOWN from now on.
    ///
    /// # Errors
    /// As [`Teller::up`].
    pub fn down(&self) -> Result<(), String> {
        self.say(false)
    }

    fn say(&self, up: bool) -> Result<(), String> {
        let (answer, answered) = mpsc::channel();
        self.orders.send((up, answer)).expect("it tells");
        answered.recv().expect("it answers")
    }
}
