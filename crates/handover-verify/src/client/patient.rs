//! Requests that take long: slow ones, and those sent in two halves. Each
//! worker waits for its answer before it asks again.

use super::{Order, Scene, enough};
use crate::exchange::{Question, ask_once};
use crate::report::Load;
use crate::stream::{Hold, first_half, second_half_due};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The pause after a lost request: these clients are not paced, and a server
/// that refuses must not be asked as fast as it can refuse.
const PAUSE_AFTER_LOSS: Duration = Duration::from_millis(50);

struct Worker {
    load: Load,
    scene: Arc<Scene>,
    question: Question,
    /// Bytes before the pause, and the pause.
    hold: Option<(u64, Duration)>,
}

pub(super) async fn work(
    load: Load,
    scene: Arc<Scene>,
    orders: watch::Receiver<Order>,
) -> io::Result<()> {
    let mut workers = JoinSet::new();
    for _ in 0..concurrency(load, &scene) {
        let worker = Worker::new(load, Arc::clone(&scene));
        workers.spawn(worker.repeat(orders.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    Ok(())
}

fn concurrency(load: Load, scene: &Scene) -> usize {
    match (load, &scene.plan.slow, &scene.plan.upload) {
        (Load::Slow, Some(slow), _) => slow.concurrency,
        (Load::Upload, _, Some(upload)) => upload.concurrency,
        _ => 0,
    }
}

impl Worker {
    fn new(load: Load, scene: Arc<Scene>) -> Self {
        let ask = |path: &str| Question::get(&scene.plan, path, true).any_body();
        let (question, hold) = match (load, &scene.plan.slow, &scene.plan.upload) {
            (Load::Upload, _, Some(upload)) => {
                let mut question = ask(&upload.path);
                if upload.bytes > 0 {
                    question = question.post(Bytes::from(vec![b'u'; upload.bytes]));
                }
                (question, Some((first_half(upload.bytes), upload.hold)))
            }
            (_, Some(slow), _) => (ask(&slow.path), None),
            _ => (scene.main_question(true), None),
        };
        Self {
            load,
            scene,
            question,
            hold,
        }
    }

    async fn repeat(self, mut orders: watch::Receiver<Order>) {
        while *orders.borrow() == Order::Load {
            if !self.ask().await {
                tokio::select! {
                    () = enough(&mut orders) => {}
                    () = tokio::time::sleep(PAUSE_AFTER_LOSS) => {}
                }
            }
        }
    }

    /// Whether it was answered.
    async fn ask(&self) -> bool {
        let scene = &self.scene;
        let began = scene.clock.now();
        let due = self
            .hold
            .map_or(began, |(_, pause)| second_half_due(began, pause));
        scene.ledger.due(self.load, began);
        let hold = self.hold.map(|(after, pause)| Hold::new(after, pause));
        match ask_once(scene.addr, &self.question, hold, scene.deadline(due)).await {
            Ok((answer, driver)) => {
                scene.ledger.done(self.load, due, Ok(answer));
                let _ = driver.await;
                true
            }
            Err(loss) => {
                scene.ledger.done(self.load, due, Err(loss));
                false
            }
        }
    }
}
