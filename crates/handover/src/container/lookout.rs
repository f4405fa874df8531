//! Who serves? Asked without taking part.

use std::collections::BTreeMap;
use std::time::Duration;

use handover_proto::container::PeerId;
use handover_proto::container::envelope::{self, Envelope};
use handover_proto::container::legacy;
use handover_proto::container::message::Message;
use handover_proto::container::order::Order;
use tokio::time::{Instant, interval, sleep_until};

use super::builder::{BeginError, Setup};
use super::medium::{Came, Media};
use super::random;
use super::register::{self, RegisterError};

/// How often it is asked: a datagram may be lost.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Most answers that are kept: more instances than a service has at one moment.
const MOST: usize = 64;

/// An instance that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serving {
    /// Its name.
    pub peer: PeerId,
    /// Its place among the others.
    pub order: Order,
}

pub(super) async fn ask(setup: Setup, within: Duration) -> Result<Vec<Serving>, BeginError> {
    let until = Instant::now() + within;
    let peer = PeerId(random::bytes().map_err(RegisterError::Random)?);
    let own = register::stamp(0)?.order;
    let (mut media, _) = setup.ways(peer)?;
    let _ = media.look();
    let mut question = Envelope {
        service: setup.service.clone(),
        from: peer,
        order: own,
        sequence: 0,
        message: Message::Who,
    };
    let mut found = BTreeMap::new();
    let mut again = interval(ASK_EVERY);
    loop {
        tokio::select! {
            () = sleep_until(until) => break,
            _ = again.tick() => {
                question.sequence += 1;
                send(&setup, &media, &question);
            }
            came = media.next() => match came {
                Came::Look => drop(media.look()),
                Came::Peer(bytes) => take(&setup, &bytes, own, &mut found),
                Came::Legacy(_) => {}
                Came::Broken(medium, error) => {
                    tracing::warn!(%medium, %error, "answers cannot be heard");
                    tokio::time::sleep(ASK_EVERY).await;
                }
            },
        }
    }
    let mut found: Vec<Serving> = found.into_values().collect();
    found.sort_by_key(|one| {
        let number = one.order.entry.map(|entry| entry.epoch);
        (number, one.order.started_ns, one.peer)
    });
    Ok(found)
}

/// Listens for a legacy peer that is not older than `since_ms`.
pub(super) async fn listen(
    setup: Setup,
    since_ms: i64,
    within: Duration,
) -> Result<Option<i64>, BeginError> {
    if setup.wanted.legacy.is_none() {
        return Ok(None);
    }
    let until = Instant::now() + within;
    let peer = PeerId(random::bytes().map_err(RegisterError::Random)?);
    let (mut media, _) = setup.ways(peer)?;
    let _ = media.look();
    loop {
        tokio::select! {
            () = sleep_until(until) => return Ok(None),
            came = media.next() => match came {
                Came::Look => drop(media.look()),
                Came::Legacy(bytes) => {
                    let found = legacy::decode(&bytes).ok();
                    if let Some(time_ms) = found.filter(|time_ms| *time_ms >= since_ms) {
                        return Ok(Some(time_ms));
                    }
                }
                Came::Peer(_) => {}
                Came::Broken(medium, error) => {
                    tracing::warn!(%medium, %error, "announcements cannot be heard");
                    tokio::time::sleep(ASK_EVERY).await;
                }
            },
        }
    }
}

fn send(setup: &Setup, media: &Media, question: &Envelope) {
    let sealed = envelope::seal(question, setup.key.as_ref());
    match sealed.map(|bytes| media.send(&bytes)) {
        Ok(Ok(())) => {}
        Ok(Err((medium, reason))) => tracing::debug!(%medium, reason, "nobody was asked"),
        Err(error) => tracing::warn!(%error, "nobody was asked"),
    }
}

fn take(setup: &Setup, bytes: &[u8], own: Order, found: &mut BTreeMap<PeerId, Serving>) {
    let Ok(envelope) = envelope::open(bytes, setup.key.as_ref()) else {
        return;
    };
    let Envelope {
        service,
        from,
        order,
        message,
        ..
    } = envelope;
    let here = service == setup.service && order.boot == own.boot;
    if let Message::Announce { .. } = message
        && here
        && (found.len() < MOST || found.contains_key(&from))
    {
        found.insert(from, Serving { peer: from, order });
    }
}
