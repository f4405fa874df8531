//! Between an engine's post and the transport.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Posted, Transport};
use crate::engine::Postman;

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
                // A full inbox drops it, as its engine expects.
                Some(arrival) => drop(inbox.try_send(arrival)),
                None => return,
            },
            letter = outbox.recv() => match letter {
                Some(letter) => transport.post(&letter.address, letter.bytes),
                None => return,
            },
        }
    }
}
