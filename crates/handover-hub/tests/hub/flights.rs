//! Moves in flight, seen from nodes that have no part in them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use handover_hub::admin::view::{MoveList, MoveView, Moves, Status};
use handover_hub::process::{Context, Process, Stop};
use handover_hub::proto::migration;
use handover_hub::proto::placement::homes;
use handover_hub::{ChildSpec, Hub};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::operators::ask;
use crate::world::{PATIENCE, World, id_on, until};

/// Busy with its first message until the gate is open.
#[derive(Serialize, Deserialize)]
struct Gated;

/// Of the only test that has such processes: one is at its message.
static BUSY: AtomicBool = AtomicBool::new(false);
static GATE: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

impl Process for Gated {
    type Argument = ();
    type Request = ();
    type Reply = ();

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self)
    }

    async fn handle(&mut self, (): (), _: &mut Context) {
        BUSY.store(true, Ordering::Release);
        // The sender lives as long as the program.
        let _ = GATE.subscribe().wait_for(|open| *open).await;
    }
}

/// A node knows all three, and that every shard has the home which placement names.
fn is_placed(node: &Hub) -> bool {
    let (members, owners) = (node.nodes(), node.homes());
    let wanted = homes(&members, node.status().shards);
    members.len() == 3
        && owners.len() == wanted.len()
        && owners
            .iter()
            .all(|(shard, owner)| owner.node == wanted[usize::from(shard.0)])
}

/// Nodes a, b and c with sockets; a move may wait long for its process.
struct Cluster {
    world: World,
    nodes: Vec<Hub>,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn new() -> Self {
        let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
        let slow = migration::Settings {
            timeout: 2 * PATIENCE,
            ..migration::Settings::default()
        };
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let node = world.builder(name).kind::<Gated>("gated").migration(slow);
            let socket = directory.path().join(name);
            nodes.push(node.admin(socket).start().await.unwrap());
        }
        // Nothing moves that the test does not move.
        until("every shard has its home", || nodes.iter().all(is_placed)).await;
        Self {
            world,
            nodes,
            directory,
        }
    }

    fn socket(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    async fn text(&self, node: &str, path: &str) -> String {
        let (status, body) = ask(&self.socket(node), "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn get<T: DeserializeOwned>(&self, node: &str, path: &str) -> T {
        serde_json::from_str(&self.text(node, path).await).unwrap()
    }

    async fn moves(&self, node: &str) -> Moves {
        self.get::<Status>(node, "/v1/status").await.moves
    }

    /// Asks a node until its moves are as they should be.
    async fn shows(&self, node: &str, what: &str, fits: impl Fn(&Moves) -> bool) -> Moves {
        let asked = async {
            loop {
                let moves = self.moves(node).await;
                if fits(&moves) {
                    return moves;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let shown = tokio::time::timeout(PATIENCE, asked).await;
        shown.unwrap_or_else(|_| panic!("{node} does not show {what}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_shown_by_a_node_that_is_neither_home_nor_source_nor_target() {
    let cluster = Cluster::new().await;
    let [a, _, c] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    // Its home is where placement has it.
    let id = id_on(a).await;
    a.start_child(ChildSpec::new("gated", &id)).await.unwrap();
    let id: Arc<str> = id.into();
    let before = cluster.moves("c").await;
    assert_eq!(before.unknown, [""; 0], "{before:?}");
    let busy = tokio::spawn({
        let (caller, id) = (c.clone(), Arc::clone(&id));
        async move { caller.call_within::<Gated>(&id, (), PATIENCE).await }
    });
    until("it is busy", || BUSY.load(Ordering::Acquire)).await;
    let moved = tokio::spawn({
        let (node, id) = (a.clone(), Arc::clone(&id));
        async move { node.move_child(&id, "b").await }
    });
    for node in ["c", "b", "a"] {
        cluster
            .shows(node, "a move", |moves| moves.in_flight == 1)
            .await;
        let list: MoveList = cluster.get(node, "/v1/moves").await;
        let expected = MoveView {
            process: id.parse().unwrap(),
            from: "a".to_owned(),
            to: "b".to_owned(),
            home: "a".to_owned(),
            elapsed_ms: list.moves[0].elapsed_ms,
        };
        assert_eq!((list.in_flight, list.moves), (1, vec![expected]), "{node}");
        assert_eq!(list.unknown, [""; 0]);
    }
    // Whoever adds up what all nodes measure counts it once.
    for (node, count) in [("a", 1), ("b", 0), ("c", 0)] {
        let metrics = cluster.text(node, "/metrics").await;
        let line =
            format!("handover_hub_moves_in_flight{{hub=\"world\",node=\"{node}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    GATE.send_replace(true);
    busy.await.unwrap().unwrap();
    moved.await.unwrap().unwrap();
    let after = cluster
        .shows("c", "its end", |moves| moves.in_flight == 0)
        .await;
    assert_eq!(after.moved, before.moved + 1, "{after:?}");
    assert!(after.last_pause_ns.is_some(), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_heard_is_named() {
    let cluster = Cluster::new().await;
    let [_, b, c] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    cluster
        .shows("c", "all", |moves| moves.unknown.is_empty())
        .await;
    cluster.world.network.mute(b.node(), c.node());
    cluster
        .shows("c", "that b is unknown", |moves| moves.unknown == ["b"])
        .await;
    let list: MoveList = cluster.get("c", "/v1/moves").await;
    assert_eq!(list.unknown, ["b"]);
    assert_eq!(cluster.moves("a").await.unknown, [""; 0]);
    cluster.world.network.heal();
    cluster
        .shows("c", "all again", |moves| moves.unknown.is_empty())
        .await;
}
