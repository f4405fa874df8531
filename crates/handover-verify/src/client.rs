//! The clients, each in a thread of its own so that none delays another.

mod keep_alive;
mod new;
mod patient;

use crate::clock::{Clock, micros};
use crate::error::VerifyError;
use crate::exchange::Question;
use crate::ledger::Ledger;
use crate::loss::{Loss, LossKind};
use crate::plan::Plan;
use crate::report::Load;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// What the clients of a run share.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) addr: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) ledger: Ledger,
    /// In force, at most [`Plan::max_in_flight`].
    pub(crate) max_in_flight: usize,
}

impl Scene {
    fn main_question(&self, close: bool) -> Question {
        Question::get(&self.plan, self.plan.url.path(), close)
    }

    /// When a request due at `due` is given up.
    fn deadline(&self, due: u64) -> Instant {
        Instant::from_std(
            self.clock
                .instant(due.saturating_add(micros(self.plan.timeout))),
        )
    }

    fn no_room(&self) -> Loss {
        let limit = self.max_in_flight;
        Loss::new(
            LossKind::NotSent,
            format!("{limit} requests due before it were unanswered"),
        )
    }
}

/// What the clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Load,
    /// No new requests; end when the last one is answered or given up.
    Finish,
}

/// The clients at work. Dropped: all stop at once, their connections closed.
pub(crate) struct Crew {
    order: watch::Sender<Order>,
    members: Vec<Member>,
}

struct Member {
    load: Load,
    ended: oneshot::Receiver<io::Result<()>>,
}

/// Which clients a plan needs.
pub(crate) fn loads(plan: &Plan) -> Vec<Load> {
    let wanted = |load: &Load| match load {
        Load::New => plan.new_rate > 0.0,
        Load::KeepAlive => plan.keep_alive_rate > 0.0,
        Load::Slow => plan.slow.is_some(),
        Load::Upload => plan.upload.is_some(),
    };
    Load::ALL.into_iter().filter(wanted).collect()
}

impl Crew {
    pub(crate) fn start(scene: &Arc<Scene>) -> Result<Self, VerifyError> {
        let (order, orders) = watch::channel(Order::Load);
        let mut crew = Self {
            order,
            members: Vec::new(),
        };
        for load in loads(&scene.plan) {
            let (end, ended) = oneshot::channel();
            let (scene, orders) = (Arc::clone(scene), orders.clone());
            thread::Builder::new()
                .name(format!("load {load}"))
                .spawn(move || {
                    let result = work(load, scene, orders);
                    // Nobody listens any more when the crew was dropped.
                    let _ = end.send(result);
                })
                .map_err(|error| stopped(load, &error.to_string()))?;
            crew.members.push(Member { load, ended });
        }
        Ok(crew)
    }

    /// Stops the load and waits for the last answers. Cancel safe: dropping
    /// it stops the clients at once.
    pub(crate) async fn finish(self) -> Result<(), VerifyError> {
        // Fails only when every client has ended, which is found out below.
        let _ = self.order.send(Order::Finish);
        for member in self.members {
            match member.ended.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(stopped(member.load, &error.to_string())),
                Err(_) => return Err(stopped(member.load, "it panicked")),
            }
        }
        Ok(())
    }
}

fn stopped(load: Load, reason: &str) -> VerifyError {
    VerifyError::LoadStopped {
        load: load.name(),
        reason: reason.to_owned(),
    }
}

fn work(load: Load, scene: Arc<Scene>, orders: watch::Receiver<Order>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let dismissed = dismissed(orders.clone());
        let working = async {
            match load {
                Load::New => new::work(scene, orders).await,
                Load::KeepAlive => keep_alive::work(scene, orders).await,
                Load::Slow | Load::Upload => patient::work(load, scene, orders).await,
            }
        };
        tokio::select! {
            () = dismissed => Ok(()),
            result = working => result,
        }
    });
    // What is still open is lingering for a close only.
    runtime.shutdown_timeout(Duration::ZERO);
    result
}

/// Waits until the crew is gone.
async fn dismissed(mut orders: watch::Receiver<Order>) {
    while orders.changed().await.is_ok() {}
}

/// Waits until there is no more load to make.
async fn enough(orders: &mut watch::Receiver<Order>) {
    // An error means that the crew is gone; there is no load to make then either.
    let _ = orders.wait_for(|order| *order == Order::Finish).await;
}
