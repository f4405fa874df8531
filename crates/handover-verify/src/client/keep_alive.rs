//! Kept-alive connections. Strict: what was sent and not answered is lost,
//! never asked again.

use super::{Order, Scene, enough, new::wait_for_all};
use crate::exchange::{Answer, Failure, Link, Question, connect, timed_out};
use crate::loss::{Loss, LossKind};
use crate::pacer::Pacer;
use crate::report::Load;
use std::io;
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// A request waiting for a connection, with its place in flight.
type Waiting = (u64, OwnedSemaphorePermit);

pub(super) async fn work(scene: Arc<Scene>, mut orders: watch::Receiver<Order>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(scene.max_in_flight));
    // Bounded by the places in flight.
    let (sender, queue) = mpsc::unbounded_channel::<Waiting>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..scene.plan.connections {
        let connection = Connection {
            scene: Arc::clone(&scene),
            question: scene.main_question(false),
            open: None,
        };
        tokio::spawn(connection.serve(Arc::clone(&queue)));
    }
    let mut pacer = Pacer::new(scene.clock, scene.plan.keep_alive_rate)?;
    loop {
        tokio::select! {
            biased;
            () = enough(&mut orders) => break,
            waited = pacer.wait() => waited?,
        }
        while let Some(due) = pacer.take() {
            scene.ledger.due(Load::KeepAlive, due);
            let sent = match Arc::clone(&room).try_acquire_owned() {
                Ok(place) => sender.send((due, place)).is_ok(),
                Err(_) => false,
            };
            if !sent {
                scene
                    .ledger
                    .done(Load::KeepAlive, due, Err(scene.no_room()));
            }
        }
    }
    wait_for_all(&room, scene.max_in_flight).await;
    Ok(())
}

struct Connection {
    scene: Arc<Scene>,
    question: Question,
    open: Option<Open>,
}

/// An open connection, driven by a task of its own so that a close is seen
/// while it is idle.
struct Open {
    link: Link,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// The queue's lock is fair: the connection that has been idle longest
    /// gets the next request, so all are used alike.
    async fn serve(mut self, queue: Arc<Mutex<mpsc::UnboundedReceiver<Waiting>>>) {
        // Connecting is no part of the first request's latency; if it fails,
        // that request will tell.
        let deadline = self.scene.deadline(self.scene.clock.now());
        if let Ok(Ok(open)) = tokio::time::timeout_at(deadline, self.connect()).await {
            self.open = Some(open);
        }
        loop {
            let next = queue.lock().await.recv().await;
            let Some((due, place)) = next else { return };
            let result = self.ask_in_time(due).await;
            self.scene.ledger.done(Load::KeepAlive, due, result);
            drop(place);
        }
    }

    async fn ask_in_time(&mut self, due: u64) -> Result<Answer, Loss> {
        let deadline = self.scene.deadline(due);
        match tokio::time::timeout_at(deadline, self.ask()).await {
            Ok(result) => result,
            Err(_) => Err(match self.open.take() {
                // A connection with an unanswered request cannot be used again.
                Some(open) => timed_out(open.link.answer_bytes()),
                None => Loss::new(LossKind::TimedOut, "while connecting"),
            }),
        }
    }

    async fn ask(&mut self) -> Result<Answer, Loss> {
        loop {
            if self.open.as_ref().is_some_and(|open| open.link.is_closed()) {
                self.scene.ledger.idle_closed(Load::KeepAlive);
                self.open = None;
            }
            if self.open.is_none() {
                self.open = Some(self.connect().await?);
            }
            let Some(open) = &mut self.open else { continue };
            match open.link.ask(&self.question).await {
                Ok(answer) => {
                    if answer.close {
                        self.open = None;
                    }
                    return Ok(answer);
                }
                // Nothing was sent, so this is the first try still.
                Err(Failure::Unsent) => {
                    self.scene.ledger.idle_closed(Load::KeepAlive);
                    self.open = None;
                }
                Err(Failure::Lost(loss)) => {
                    // After a wrong answer the connection is as good as before.
                    if loss.kind != LossKind::Wrong || open.link.is_closed() {
                        self.open = None;
                    }
                    return Err(loss);
                }
            }
        }
    }

    async fn connect(&self) -> Result<Open, Loss> {
        let (link, driver) = connect(self.scene.addr, None).await?;
        self.scene.ledger.connected(Load::KeepAlive);
        // Its errors reach the one who asks.
        let driver = tokio::spawn(async { drop(driver.await) });
        Ok(Open { link, driver })
    }
}
