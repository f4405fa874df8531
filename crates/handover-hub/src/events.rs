//! What a node tells whoever wants to know.

use handover_hub_proto::event::Event;
use tokio::sync::{broadcast, watch};

/// Events that may wait for one listener. The oldest are dropped for one that is slower.
pub(crate) const BACKLOG: usize = 4096;

/// What happens on a node from when this was asked for.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    ended: watch::Receiver<bool>,
    missed: u64,
}

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>, ended: watch::Receiver<bool>) -> Self {
        Self {
            receiver,
            ended,
            missed: 0,
        }
    }

    /// The next event, or none once the node has left its hub. May be cancelled: nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.receiver.recv() => received,
                _ = self.ended.wait_for(|ended| *ended) => return None,
            };
            match received {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How many events were dropped since this listener was too slow.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
