//! A connection for each request.

use super::{Order, Scene, enough};
use crate::exchange::{Question, ask_once};
use crate::pacer::Pacer;
use crate::report::Load;
use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(super) async fn work(scene: Arc<Scene>, mut orders: watch::Receiver<Order>) -> io::Result<()> {
    let question = Arc::new(scene.main_question(true));
    let room = Arc::new(Semaphore::new(scene.max_in_flight));
    let mut pacer = Pacer::new(scene.clock, scene.plan.new_rate)?;
    loop {
        tokio::select! {
            biased;
            () = enough(&mut orders) => break,
            waited = pacer.wait() => waited?,
        }
        while let Some(due) = pacer.take() {
            scene.ledger.due(Load::New, due);
            match Arc::clone(&room).try_acquire_owned() {
                Ok(place) => {
                    let asking = ask(Arc::clone(&scene), Arc::clone(&question), due, place);
                    tokio::spawn(asking);
                }
                Err(_) => scene.ledger.done(Load::New, due, Err(scene.no_room())),
            }
        }
    }
    wait_for_all(&room, scene.max_in_flight).await;
    Ok(())
}

/// Every place is free again only when every request is answered or given up.
pub(super) async fn wait_for_all(room: &Semaphore, places: usize) {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    // The semaphore is never closed.
    let _ = room.acquire_many(places).await;
}

async fn ask(scene: Arc<Scene>, question: Arc<Question>, due: u64, place: OwnedSemaphorePermit) {
    let asked = ask_once(scene.addr, &question, None, scene.deadline(due)).await;
    let (result, driver) = match asked {
        Ok((answer, driver)) => (Ok(answer), Some(driver)),
        Err(loss) => (Err(loss), None),
    };
    scene.ledger.done(Load::New, due, result);
    // Lingering for the close is no request in flight.
    drop(place);
    if let Some(driver) = driver {
        // The answer is complete; how the connection ends is no loss.
        let _ = driver.await;
    }
}
