//! What a hub is asked to do: start, stop, move, pin, evacuate, leave.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use handover_hub_proto::identity::{NodeId, NodeName, ProcessId};
use handover_hub_proto::node::{
    Answer, Command, Evacuation, Failure, StartOptions, Started, Stopped,
};
use handover_hub_proto::placement::guided;
use handover_hub_proto::spec::Placing;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Hub;
use crate::child::ChildSpec;
use crate::error::CommandError;

/// How long [`Hub::stop_child`] waits.
const STOP: Duration = Duration::from_secs(10);

/// What became of a start of several children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StartResult {
    /// Those that run, one line for each replica.
    pub started: Vec<Started>,
    /// Those that do not.
    pub failed: Vec<(ProcessId, Failure)>,
    /// Whether those that had started were stopped again.
    pub rolled_back: bool,
}

/// What became of a stop of several children.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StopResult {
    /// Those that ran.
    pub stopped: Vec<Stopped>,
    /// Those that did not, or did not answer.
    pub failed: Vec<(ProcessId, Failure)>,
}

/// A child that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Which.
    pub process: ProcessId,
    /// Where it runs now.
    pub node: NodeId,
    /// How long it answered nothing, in nanoseconds.
    pub pause_ns: u64,
}

/// What became of an evacuation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evacuated {
    /// Processes that moved.
    pub moved: u64,
    /// Processes left behind, with the reason.
    pub left: Vec<(ProcessId, Failure)>,
}

/// How long a node that has left at most takes to say so.
const GOODBYE: Duration = Duration::from_secs(10);

impl Hub {
    /// Starts a child somewhere in the cluster; every replica runs, and enough nodes know it, when
    /// this returns.
    ///
    /// Dropped before it is ready, the child may be started all the same.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; the child does not run, unless another one of its id did before.
    pub async fn start_child(&self, child: impl Into<ChildSpec>) -> Result<Started, CommandError> {
        let child = child.into().check()?;
        let id = child.id.clone();
        let started = self
            .start_children([child], StartOptions::default())
            .await?;
        if let Some((_, failure)) = started.failed.into_iter().next() {
            return Err(failure.into());
        }
        started
            .started
            .into_iter()
            .next()
            .ok_or(CommandError::Failed(Failure::Unknown(id)))
    }

    /// Starts children somewhere in the cluster, all at once.
    ///
    /// Dropped before it is ready, they may be started all the same.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if nothing was started; what became of each child is in the result.
    pub async fn start_children<C: Into<ChildSpec>>(
        &self,
        children: impl IntoIterator<Item = C>,
        options: StartOptions,
    ) -> Result<StartResult, CommandError> {
        let children = check(children)?;
        let children = self.shared().handlers.alter(children).await;
        match self.command(Command::Start { children, options }).await? {
            Answer::Started {
                started,
                failed,
                rolled_back,
            } => Ok(StartResult {
                started,
                failed,
                rolled_back,
            }),
            answer => Err(unexpected(answer)),
        }
    }

    /// Starts children on the nodes that a map names for each, one for each replica; those that it
    /// does not name are placed by the hub's strategy, and fail where that is
    /// [`Guided`](handover_hub_proto::placement::Distribution::Guided). As
    /// [`ChildSpec::pinned`](crate::ChildSpec::pinned) on each child.
    ///
    /// Dropped before it is ready, they may be started all the same.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if nothing was started, for one since the map names a child that is not
    /// among them; what became of each child is in the result.
    pub async fn start_guided<'a, C: Into<ChildSpec>, N: IntoIterator<Item = &'a str>>(
        &self,
        children: impl IntoIterator<Item = C>,
        map: impl IntoIterator<Item = (&'a str, N)>,
        options: StartOptions,
    ) -> Result<StartResult, CommandError> {
        let mut checked = Vec::new();
        for child in children {
            checked.push(child.into().check()?);
        }
        let mut nodes = BTreeMap::new();
        for (id, names) in map {
            let names: Result<Vec<_>, _> = names.into_iter().map(NodeName::new).collect();
            nodes.insert(ProcessId::new(id)?, names?);
        }
        guided::pin(&mut checked, nodes)?;
        self.start_children(checked, options).await
    }

    /// Stops a child wherever it runs.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; it runs as before, or is stopped later if it was only late.
    pub async fn stop_child(&self, id: &str) -> Result<Stopped, CommandError> {
        let id = ProcessId::new(id)?;
        let result = self.stop_children([id.clone()], STOP).await?;
        match (
            result.stopped.into_iter().next(),
            result.failed.into_iter().next(),
        ) {
            (Some(stopped), _) => Ok(stopped),
            (None, Some((_, failure))) => Err(failure.into()),
            (None, None) => Err(Failure::Unknown(id).into()),
        }
    }

    /// Stops children wherever they run. What has not answered after `timeout` counts as failed.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if nothing was done; what became of each child is in the result.
    pub async fn stop_children(
        &self,
        processes: impl IntoIterator<Item = ProcessId>,
        timeout: Duration,
    ) -> Result<StopResult, CommandError> {
        let processes = processes.into_iter().collect();
        match self.command(Command::Stop { processes, timeout }).await? {
            Answer::Stopped { stopped, failed } => Ok(StopResult { stopped, failed }),
            answer => Err(unexpected(answer)),
        }
    }

    /// Moves a child to a node. It stays there until the members change, unless it is pinned.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; it serves where it was.
    pub async fn move_child(&self, id: &str, node: &str) -> Result<Moved, CommandError> {
        let process = ProcessId::new(id)?;
        let to = NodeName::new(node)?;
        match self.command(Command::Move { process, to }).await? {
            Answer::Moved {
                process,
                node,
                pause_ns,
            } => Ok(Moved {
                process,
                node,
                pause_ns,
            }),
            answer => Err(unexpected(answer)),
        }
    }

    /// Pins a child to nodes, or leaves it to the strategy again; it moves there by itself.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; it is placed as before.
    pub async fn pin(&self, id: &str, placing: Placing) -> Result<(), CommandError> {
        let process = ProcessId::new(id)?;
        self.done(Command::Pin { process, placing }).await
    }

    /// Moves everything away from a node, which stays a member and takes nothing new until
    /// [`abort_evacuation`](Self::abort_evacuation).
    ///
    /// # Errors
    ///
    /// [`CommandError`]. [`Failure::StillEmptying`] when its time is over: it says how many processes
    /// that node still runs, and the evacuation goes on. After any other error nothing was moved, or
    /// that is not known. Processes that did not move are in the result.
    pub async fn evacuate(&self, evacuation: Evacuation) -> Result<Evacuated, CommandError> {
        self.evacuated(Command::Evacuate(evacuation)).await
    }

    /// Lets a node take processes again; moves that have begun end.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing has changed.
    pub async fn abort_evacuation(&self, node: &str) -> Result<(), CommandError> {
        let node = NodeName::new(node)?;
        self.done(Command::AbortEvacuation { node }).await
    }

    /// Replaces the list of declared children: those of it that do not run are started, those that
    /// are not on it any more are stopped.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; the list is as before.
    pub async fn declare<C: Into<ChildSpec>>(
        &self,
        children: impl IntoIterator<Item = C>,
    ) -> Result<(), CommandError> {
        let children = check(children)?;
        let children = self.shared().handlers.alter(children).await;
        self.done(Command::Declare { children }).await
    }

    /// Forgets the largest size the cluster ever had, for the majority rule.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing has changed.
    pub async fn reset_cluster_size(&self, size: u32) -> Result<(), CommandError> {
        self.done(Command::ResetClusterSize { size }).await
    }

    /// Moves everything away from this node, then leaves the hub. What is still here after
    /// `timeout` is left behind, as if the node had died with it.
    ///
    /// Dropped before it is ready, the node goes on leaving.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; the node stays.
    pub async fn leave(&self, timeout: Duration) -> Result<Evacuated, CommandError> {
        let handlers = Arc::clone(&self.shared().handlers);
        handlers.leaving().await;
        let evacuated = self.evacuated(Command::Leave { timeout }).await;
        if evacuated.is_err() && self.is_alive() {
            handlers.stays();
        }
        let evacuated = evacuated?;
        // What processes that moved left behind is still on its way, and so is the word that this
        // node goes: a program that ended now would look like one that was killed.
        let mut ended = self.seat.shared.ended.subscribe();
        let _ = tokio::time::timeout(GOODBYE, ended.wait_for(|ended| *ended)).await;
        let operations = &self.seat.operations;
        let operations = operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(operations) = operations {
            operations.finish().await;
        }
        handlers.finish().await;
        Ok(evacuated)
    }

    /// Waits for SIGTERM or SIGINT, then [leaves](Self::leave). A second signal while it leaves ends
    /// the program at once, with status 143 for SIGTERM and 130 for SIGINT: to the others the node is
    /// as if it had been killed.
    ///
    /// From its first poll on these signals do not end the program any more, also after it is ready.
    /// Several hubs of one program may each wait.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; the node stays.
    pub async fn leave_on_signal(&self, timeout: Duration) -> Result<Evacuated, CommandError> {
        let mut signals = Signals::new()?;
        signals.next().await;
        tokio::select! {
            left = self.leave(timeout) => left,
            status = signals.next() => std::process::exit(status),
        }
    }

    async fn evacuated(&self, command: Command) -> Result<Evacuated, CommandError> {
        match self.command(command).await? {
            Answer::Evacuated { moved, left } => Ok(Evacuated { moved, left }),
            Answer::Done => Ok(Evacuated::default()),
            answer => Err(unexpected(answer)),
        }
    }

    async fn done(&self, command: Command) -> Result<(), CommandError> {
        match self.command(command).await? {
            Answer::Done => Ok(()),
            answer => Err(unexpected(answer)),
        }
    }

    /// Gives the machine a command and waits for its answer.
    pub(crate) async fn command(&self, command: Command) -> Result<Answer, CommandError> {
        match self.shared().command(command).await? {
            Answer::Failed(failure) => Err(failure.into()),
            answer => Ok(answer),
        }
    }
}

fn check<C: Into<ChildSpec>>(
    children: impl IntoIterator<Item = C>,
) -> Result<Vec<Arc<handover_hub_proto::spec::ChildSpec>>, CommandError> {
    let check = |child: C| child.into().check().map(Arc::new);
    Ok(children.into_iter().map(check).collect::<Result<_, _>>()?)
}

/// What asks a program to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, CommandError> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(unheard)?,
            interrupt: signal(SignalKind::interrupt()).map_err(unheard)?,
        })
    }

    /// The next one: the status of a program that it ended, as shells count.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => 128 + SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => 128 + SignalKind::interrupt().as_raw_value(),
        }
    }
}

fn unheard(error: std::io::Error) -> CommandError {
    CommandError::Signals(error.to_string())
}

/// The machine answers each command in its own form.
fn unexpected(answer: Answer) -> CommandError {
    CommandError::Unexpected(format!("{answer:?}"))
}
