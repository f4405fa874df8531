use std::sync::Arc;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, KindName, MoveId, NodeId, ProcessId};
use handover_hub_proto::node::{HostOrder, Origin};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use crate::Hub;
use crate::cell::{Cell, Letter, Phase, Verdict};
use crate::engine::memory::Authority;
use crate::hub::Shared;
use crate::process::{Context, Process, Stop};
use crate::transport::local::Network;

/// Says how often it was asked.
#[derive(serde::Serialize, serde::Deserialize)]
struct Tally(u64);

impl Process for Tally {
    type Argument = ();
    type Request = ();
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self(0))
    }

    async fn handle(&mut self, (): (), _: &mut Context) -> u64 {
        self.0 += 1;
        self.0
    }
}

async fn node() -> Hub {
    let hub = Hub::builder("hub").node("a").listen("a");
    let hub = hub.network(&Network::new()).kind::<Tally>("tally");
    hub.engine(Authority::default().engine())
        .start()
        .await
        .unwrap()
}

fn spec() -> Arc<ChildSpec> {
    let (kind, id) = (KindName::new("tally"), ProcessId::new("one"));
    Arc::new(ChildSpec::new(kind.unwrap(), id.unwrap()))
}

fn moved(number: u64) -> MoveId {
    let home = NodeId(7);
    MoveId { home, number }
}

fn epoch(grant: u64) -> Epoch {
    Epoch {
        grant,
        ..Epoch::default()
    }
}

fn warm(grant: u64, number: u64) -> HostOrder {
    HostOrder::Warm {
        spec: spec(),
        epoch: epoch(grant),
        attempt: Some(moved(number)),
    }
}

fn fresh(grant: u64) -> HostOrder {
    HostOrder::Activate {
        spec: spec(),
        epoch: epoch(grant),
        origin: Origin::Fresh,
        role: Role::Active,
        latecomers: None,
    }
}

/// A cell in its place, and what it was ordered before it could do any of it.
fn ordered(shared: &Arc<Shared>, orders: impl IntoIterator<Item = HostOrder>) -> Arc<Cell> {
    let cell = Cell::new(spec(), epoch(1));
    shared.cells.put(Arc::clone(&cell));
    for order in orders {
        assert_eq!(cell.order(shared, order), None);
    }
    cell
}

async fn done(cell: &Cell) {
    let wait = async {
        while cell.lock().running {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), wait).await;
    waited.expect("it does what it was ordered");
}

fn ask(shared: &Arc<Shared>, cell: &Arc<Cell>, grant: u64) -> Verdict {
    let body = Bytes::from(postcard::to_allocvec(&()).unwrap());
    cell.receive(
        shared,
        Letter {
            ticket: None,
            own: false,
            body,
        },
        epoch(grant),
    )
}

/// All is ordered before the run has its first turn: there is one thread.
#[tokio::test]
async fn one_that_returns_before_it_has_left_serves_in_a_new_place() {
    let hub = node().await;
    let shared = hub.shared();
    let (process, attempt, to) = (spec().id.clone(), moved(1), NodeId(9));
    let freeze = HostOrder::Freeze {
        process: process.clone(),
        epoch: epoch(1),
        attempt,
        forced: true,
    };
    let retire = HostOrder::Retire {
        process: process.clone(),
        attempt,
        to,
        epoch: epoch(2),
    };
    let old = ordered(shared, [fresh(1), freeze, retire, fresh(3)]);
    done(&old).await;
    let new = shared.cells.get(&process).expect("it is here");
    done(&new).await;
    assert!(!Arc::ptr_eq(&old, &new), "it began in the place it left");
    assert_eq!(new.lock().phase, Phase::Serving);
    assert_eq!(ask(shared, &new, 3), Verdict::Taken);
    assert_eq!(ask(shared, &old, 1), Verdict::Redirect(to, epoch(2)));
    // What is ordered of the old one is for the new one.
    let order = fresh(3);
    assert_eq!(old.order(shared, order.clone()), Some(order));
    // The place of the new one is not taken when the old one is forgotten.
    assert_eq!(shared.cells.len(), 1);
    let later = tokio::time::Instant::now() + std::time::Duration::from_secs(3600);
    shared.cells.sweep(later);
    assert!(Arc::ptr_eq(&shared.cells.get(&process).unwrap(), &new));
    assert_eq!(shared.cells.len(), 1);
}

#[tokio::test]
async fn one_that_is_warmed_again_before_it_was_discarded_is_found() {
    let hub = node().await;
    let shared = hub.shared();
    let process = spec().id.clone();
    let discard = HostOrder::Discard {
        process: process.clone(),
        attempt: moved(1),
    };
    let old = ordered(shared, [warm(1, 1), discard.clone(), warm(2, 2)]);
    done(&old).await;
    let new = shared.cells.get(&process).expect("its state can arrive");
    done(&new).await;
    assert_eq!(new.lock().phase, Phase::Warm);
    // Alone, a discard leaves nothing.
    shared.cells.clear();
    let old = ordered(shared, [warm(3, 1), discard]);
    done(&old).await;
    assert!(shared.cells.get(&process).is_none());
}
