//! The seat of a member in etcd, handed from one program to its successor on the same host: the same
//! lease, under which the same keys are.

use std::time::Duration;

use handover_hub_proto::view::{EngineEvent, EngineOrder, Member};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Etcd;
use super::driver::Driver;
use super::fault::Fault;
use super::keys::Keys;
use super::lease::{Lease, LeaseId};
use super::store::Store;
use super::table::Table;
use crate::engine::{Boottime, Charter, EngineError, SeatOrder, SeatOrders, Session};

/// What a successor must know.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Seat {
    lease: i64,
    /// How long it lives from when etcd last heard.
    life: Duration,
}

/// What a driver listens to, and whom it tells.
pub(super) struct Ends {
    pub(super) events: mpsc::Sender<EngineEvent>,
    pub(super) orders: mpsc::Receiver<EngineOrder>,
    pub(super) seat: SeatOrders,
}

/// How a driver ends.
pub(super) enum End {
    /// The node leaves.
    Left,
    /// Nobody gives orders any more.
    Dropped,
    /// It is another program's seat by now.
    Succeeded,
}

impl Seat {
    pub(super) fn new(lease: LeaseId, life: Duration) -> Self {
        let LeaseId(lease) = lease;
        Self { lease, life }
    }

    /// None of a node that has no lease at the moment.
    pub(super) fn encode(seat: Option<Self>) -> Vec<u8> {
        // Numbers can always be written.
        serde_json::to_vec(&seat).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, EngineError> {
        let refuse = |reason: String| EngineError::Seat { reason };
        let seat: Option<Self> =
            serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        seat.ok_or_else(|| refuse("its lease was not held".to_owned()))
    }
}

impl Etcd {
    /// Keeps the lease of the predecessor, and reads what there is. Nothing is written before the
    /// hub lets it go on.
    pub(super) async fn take_over(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        seat: Vec<u8>,
    ) -> Result<Session, EngineError> {
        let seat = Seat::decode(&seat)?;
        let access = self.access().await?;
        let keys = Keys::new(&self.prefix, &hub.hub);
        let base = keys.base().to_owned();
        let store = Store::new(access, keys.clone(), me.id, hub.agreement);
        let explain = |fault| match fault {
            Fault::Ended => EngineError::Seat {
                reason: "its lease has ended".to_owned(),
            },
            fault => self.explain(fault, &base),
        };
        let lease = LeaseId(seat.lease);
        let sent = Boottime::now();
        store.keep(lease).await.map_err(explain)?;
        let lease = Lease::held(lease, seat.life, Self::margin(seat.life), sent);
        let mut table = Table::new(keys, hub.shards);
        let (revision, all) = store.read().await.map_err(explain)?;
        let known = table.replace(revision, &all).unwrap_or_default();
        let seated = |event: &EngineEvent| matches!(event, EngineEvent::Member(member) if member.id == me.id);
        if !known.iter().any(seated) {
            return Err(EngineError::Seat {
                reason: "etcd does not know it as a member any more".to_owned(),
            });
        }
        let (session, driver) = self.seated(store, lease, table, me);
        tokio::spawn(driver.take_over(known));
        Ok(session)
    }
}

impl Driver {
    /// As [`run`](Self::run), once the hub lets it go on; until then nothing is written.
    pub(super) async fn take_over(mut self, known: Vec<EngineEvent>) {
        let Some(ends) = &mut self.ends else {
            return;
        };
        if awaits_go_on(&mut ends.seat).await {
            self.unsaid = true;
            self.run(known).await;
        }
    }

    /// Asks etcd for nothing more until it goes on; what is under way ends. False if the seat is
    /// another program's.
    pub(super) async fn rest(&mut self, seat: &mut SeatOrders, order: SeatOrder) -> bool {
        let SeatOrder::Rest(said) = order else {
            return true;
        };
        let lease = self.lease.seat();
        let _ = said.send(Seat::encode(lease));
        awaits_go_on(seat).await
    }
}

/// False if nobody needs the seat here any more.
async fn awaits_go_on(seat: &mut SeatOrders) -> bool {
    loop {
        match seat.recv().await {
            Some(SeatOrder::GoOn) => return true,
            Some(SeatOrder::Rest(said)) => drop(said),
            None => return false,
        }
    }
}
