//! Between an engine's post and the transport.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{PeerEvent, Posted, Transport};
use crate::engine::{Letter, Postman};

/// Carries the letters of an engine until the engine or the transport ends. To be spawned.
pub async fn carry(
    transport: Arc<dyn Transport>,
    mut arrivals: mpsc::Receiver<Posted>,
    postman: Postman,
) {
    let Postman { inbox, mut outbox } = postman;
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(arrival) => {
                    if let Some(letter) = letter(arrival) {
                        // A full inbox drops it, as its engine expects.
                        let _ = inbox.try_send(letter);
                    }
                }
                None => return,
            },
            letter = outbox.recv() => match letter {
                Some(Letter::Bytes { address, bytes }) => transport.post(&address, bytes),
                Some(Letter::Refused { .. }) => {}
                None => return,
            },
        }
    }
}

fn letter(arrival: Posted) -> Option<Letter> {
    match arrival {
        Posted::Bytes { address, bytes, .. } => Some(Letter::Bytes { address, bytes }),
        Posted::Peer(PeerEvent::Refused { address, .. }) => Some(Letter::Refused { address }),
        Posted::Peer(
            PeerEvent::Connected(_)
            | PeerEvent::Disconnected(_)
            | PeerEvent::Replaced { .. }
            | PeerEvent::Rejected { .. },
        ) => None,
    }
}
