//! The node processes of the demo, and the promise that nothing of them stays behind.

use super::counter::{Counter, KIND};
use super::report::Moved;
use super::{HubDemoError, node};
use crate::args::HubDemoArgs;
use crate::hub::HubClient;
use handover_hub::Hub;
use handover_hub::engine::gossip::Gossip;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;

/// How long a node may take to be a member: a cold start on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// How long a node may take to leave.
const LEAVE: Duration = Duration::from_secs(30);

/// Between two looks at a node that starts.
const LOOK: Duration = Duration::from_millis(20);

/// How much of a node's last words is shown.
const LAST_WORDS: usize = 2_000;

/// The hub's name.
pub(super) const HUB: &str = "demo";

/// The nodes, and a directory for their sockets.
pub(super) struct Stage {
    directory: tempfile::TempDir,
    program: PathBuf,
    args: HubDemoArgs,
    nodes: Vec<Node>,
    spawned: u32,
    heard: Arc<Mutex<Heard>>,
    ears: JoinSet<()>,
}

/// What nodes told of moves.
#[derive(Debug, Default)]
struct Heard {
    /// Each is told by more than one node.
    attempts: HashSet<String>,
    pauses: Vec<u64>,
    failed: u64,
}

/// A node process.
pub(super) struct Node {
    name: String,
    address: SocketAddr,
    socket: PathBuf,
    child: Child,
    /// Held here, since waiting for the child would close it, and the node end by that.
    _lifeline: Option<ChildStdin>,
}

impl Stage {
    pub(super) fn set(args: &HubDemoArgs) -> Result<Self, HubDemoError> {
        Ok(Self {
            directory: tempfile::tempdir().map_err(HubDemoError::Directory)?,
            program: std::env::current_exe().map_err(HubDemoError::OwnPath)?,
            args: args.clone(),
            nodes: Vec::new(),
            spawned: 0,
            heard: Arc::default(),
            ears: JoinSet::new(),
        })
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    fn seeds(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// Starts one more node and waits until it answers; its name.
    pub(super) async fn spawn(&mut self) -> Result<String, HubDemoError> {
        let name = node_name(self.spawned);
        let address = free_address()?;
        let mut command = Command::new(&self.program);
        command
            .args(["hub", "demo-node", "--hub", HUB, "--node", &name])
            .arg("--listen")
            .arg(address.to_string())
            .arg("--runtime-dir")
            .arg(self.directory.path())
            .arg("--replicas")
            .arg(self.args.replicas.to_string());
        for seed in self.seeds() {
            command.arg("--seed").arg(seed.to_string());
        }
        if let Some(page) = self.args.dashboard.filter(|_| self.spawned == 0) {
            command.arg("--dashboard").arg(page.to_string());
        }
        let log = self.directory.path().join(format!("{name}.log"));
        let stderr = File::create(&log).map_err(HubDemoError::Directory)?;
        let mut child = command
            // Ctrl-C reaches only us, and we stop it in order.
            .process_group(0)
            // It ends when this pipe is closed, also when we are killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| HubDemoError::Spawn {
                program: self.program.clone(),
                source,
            })?;
        self.spawned += 1;
        let socket = node::socket(self.directory.path(), &name);
        let client = HubClient::new(&socket);
        let mut node = Node {
            name: name.clone(),
            address,
            socket,
            _lifeline: child.stdin.take(),
            child,
        };
        node.ready(&client, &log).await?;
        self.ears.spawn(hear(client, Arc::clone(&self.heard)));
        self.nodes.push(node);
        Ok(name)
    }

    /// Makes this process a node that runs nothing.
    pub(super) async fn join(&self) -> Result<Hub, HubDemoError> {
        let address = free_address()?;
        let seeds = self.seeds().into_iter().map(|seed| seed.to_string());
        let hub = node::redundant(Hub::builder(HUB), self.args.replicas)
            .node("client")
            .listen(&address.to_string())
            .weight(0)
            .kind::<Counter>(KIND)
            .engine(Gossip::seeds(seeds))
            .start();
        let hub = hub.await;
        let hub = hub.map_err(|error| HubDemoError::Client(error.to_string()))?;
        let all = self.nodes.len() + 1;
        let gathered = tokio::time::timeout(READY, async {
            while hub.nodes().len() < all {
                tokio::time::sleep(LOOK).await;
            }
        });
        match gathered.await {
            Ok(()) => Ok(hub),
            Err(_) => Err(HubDemoError::Client(format!(
                "it sees {} of {all} nodes",
                hub.nodes().len()
            ))),
        }
    }

    /// Takes a node off the stage; neither the first nor the newest. None if only one is left.
    pub(super) fn take(&mut self) -> Option<Node> {
        (self.nodes.len() > 1).then(|| self.nodes.remove(1))
    }

    /// The moves since this was last asked.
    pub(super) fn moves(&self) -> Moved {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let pauses = std::mem::take(&mut heard.pauses);
        Moved::new(pauses, std::mem::take(&mut heard.failed))
    }

    /// Stops all nodes.
    pub(super) async fn clear(&mut self) {
        self.ears.abort_all();
        for mut node in self.nodes.drain(..) {
            node.kill().await;
        }
    }
}

impl Node {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    async fn ready(&mut self, client: &HubClient, log: &Path) -> Result<(), HubDemoError> {
        let answered = tokio::time::timeout(READY, async {
            while client.status().await.is_err() {
                if let Ok(Some(_)) = self.child.try_wait() {
                    return false;
                }
                tokio::time::sleep(LOOK).await;
            }
            true
        });
        if let Ok(true) = answered.await {
            return Ok(());
        }
        let words = std::fs::read(log).unwrap_or_default();
        let words = &words[words.len().saturating_sub(LAST_WORDS)..];
        Err(HubDemoError::NotReady {
            node: self.name.clone(),
            within: READY,
            last_words: String::from_utf8_lossy(words).into_owned(),
        })
    }

    /// SIGTERM, and waits for its end; whether it ended in time and by itself.
    pub(super) async fn terminate(&mut self) -> bool {
        if let Some(pid) = self.child.id().and_then(|pid| pid.try_into().ok())
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = tokio::time::timeout(LEAVE, self.child.wait()).await;
        matches!(ended, Ok(Ok(status)) if status.success())
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}

/// Listens to a node until it ends.
async fn hear(client: HubClient, heard: Arc<Mutex<Heard>>) {
    let Ok(mut events) = client.events(0, false).await else {
        return;
    };
    while let Ok(Some(line)) = events.next().await {
        let Some(event) = line.value else {
            continue;
        };
        let ended = matches!(event.event.as_str(), "moved" | "move_failed");
        let Some(attempt) = event.attempt.filter(|_| ended) else {
            continue;
        };
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.attempts.insert(attempt) {
            match event.pause_ns {
                Some(pause) => heard.pauses.push(pause),
                None => heard.failed += 1,
            }
        }
    }
}

/// `a`, `b`, `c`…
fn node_name(number: u32) -> String {
    let letter = char::from_u32(u32::from(b'a') + number % 26).unwrap_or('a');
    match number / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

/// A port that was free a moment ago; nobody else is told of it.
fn free_address() -> Result<SocketAddr, HubDemoError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|bound| bound.local_addr());
    bound.map_err(HubDemoError::Port)
}
