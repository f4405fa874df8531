//! How the program that sits in a node's seat is replaced by its successor on the same host.

use tokio::sync::{mpsc, oneshot};

/// What an engine is told about its seat.
#[derive(Debug)]
pub(crate) enum SeatOrder {
    /// Say nothing and do nothing from now on; here goes what a successor must know to sit in the
    /// same seat. The seat is given back by nobody if the session is dropped after this: a successor
    /// has it.
    Rest(oneshot::Sender<Vec<u8>>),
    /// Go on: no successor came, or this is the successor and it serves.
    GoOn,
}

/// The hub's hold on the seat that its engine has.
#[derive(Debug)]
pub struct SeatHolder {
    orders: Option<mpsc::Sender<SeatOrder>>,
}

/// The engine's end.
pub(crate) type SeatOrders = mpsc::Receiver<SeatOrder>;

impl SeatHolder {
    /// Of an engine that cannot be handed to another program.
    #[must_use]
    pub const fn fixed() -> Self {
        Self { orders: None }
    }

    /// Of an engine that listens.
    pub(crate) fn new() -> (Self, SeatOrders) {
        let (orders, ordered) = mpsc::channel(1);
        let orders = Some(orders);
        (Self { orders }, ordered)
    }

    /// Has the engine rest; what a successor must know. None if the engine cannot, or has ended.
    pub(crate) async fn rest(&self) -> Option<Vec<u8>> {
        let (said, heard) = oneshot::channel();
        let orders = self.orders.as_ref()?;
        orders.send(SeatOrder::Rest(said)).await.ok()?;
        heard.await.ok()
    }

    /// Has the engine go on.
    pub(crate) async fn go_on(&self) {
        if let Some(orders) = &self.orders {
            // One that has ended is known by its events.
            let _ = orders.send(SeatOrder::GoOn).await;
        }
    }
}
