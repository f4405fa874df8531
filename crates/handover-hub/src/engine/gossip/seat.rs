//! What a gossip engine hands to its successor in another program, and how it rests meanwhile.

use std::time::{Duration, Instant};

use handover_hub_proto::view::{EngineEvent, Member};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Gossip;
use super::driver::{Driver, Ears};
use super::mail::{Mail, Published};
use crate::engine::{Charter, EngineError, Letter, SeatOrder, SeatOrders};

/// How long the word that this node rests may take on its way to the transport, and how often it is
/// looked. It is lost then, and the others may hold a long rest for death.
const LAST_WORDS: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(1);

/// What a successor must know to go on as the same member.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Seat {
    /// What was last said of the member itself; higher with each change.
    pub(super) revision: u64,
    /// The others.
    pub(super) members: Vec<Published>,
    /// All owners.
    pub(super) claims: String,
}

impl Seat {
    pub(super) fn encode(&self) -> Vec<u8> {
        // A struct of texts and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        serde_json::from_slice(bytes).map_err(|error| EngineError::Seat {
            reason: error.to_string(),
        })
    }
}

impl Driver {
    /// One that knows what its predecessor knew, and says nothing before it goes on.
    pub(super) fn succeeding(
        gossip: Gossip,
        me: Member,
        hub: Charter,
        outbox: mpsc::Sender<Letter>,
        seat: Seat,
    ) -> Self {
        let mut driver = Self::new(gossip, me, hub, outbox);
        let now = Instant::now();
        driver.me.revision = seat.revision + 1;
        let me = driver.me.clone();
        let _ = driver.roster.heard(me, now);
        for published in seat.members {
            let member = &published.member;
            driver.directory.put(member.id, &member.address);
            let events = driver.roster.heard(published, now);
            driver.backlog.extend(events);
        }
        let known = driver.ledger.hear(driver.me.member.id, &seat.claims);
        driver.backlog.push_back(EngineEvent::Owners(known));
        driver.backlog.push_back(EngineEvent::Ready);
        driver
    }

    /// Waits until the hub lets it go on, then serves as any other.
    pub(super) async fn take_over(mut self, mut ears: Ears) {
        if self.awaits_go_on(&mut ears.seat).await {
            self.announce_again();
            self.go(ears).await;
        }
    }

    /// Stands still. True when it is to go on; false when nobody needs it any more.
    pub(super) async fn rest(&mut self, seat: &mut SeatOrders, order: SeatOrder) -> bool {
        let SeatOrder::Rest(said) = order else {
            return true;
        };
        let members = self.roster.published().cloned().collect();
        let known = Seat {
            revision: self.me.revision,
            members,
            claims: self.ledger.all(),
        };
        self.send_to_all(&Mail::Resting);
        let carried = async {
            while self.outbox.capacity() < self.outbox.max_capacity() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, carried).await;
        // Nobody waits any more: the hub will say that it goes on.
        let _ = said.send(known.encode());
        let goes_on = self.awaits_go_on(seat).await;
        if goes_on {
            self.announce_again();
        }
        goes_on
    }

    async fn awaits_go_on(&mut self, seat: &mut SeatOrders) -> bool {
        loop {
            match seat.recv().await {
                Some(SeatOrder::GoOn) => break,
                Some(SeatOrder::Rest(said)) => drop(said),
                None => return false,
            }
        }
        self.roster.restart(Instant::now());
        true
    }

    /// The others are told that it goes on, and what this program says of the node.
    fn announce_again(&self) {
        self.send_to_all(&Mail::Changed(self.me.clone()));
    }
}
