//! Running nodes, asked and ordered through their admin sockets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use handover_hub::admin::OperationsError;
use handover_hub::admin::view::{
    Complaint, EventView, Mishap, NodeView, Outcome, ProcessView, Status,
};
use handover_hub::dashboard::{Dashboard, DashboardError};
use handover_hub::error::StartError;
use handover_hub::proto::node::StartOptions;
use handover_hub::{ChildSpec, Hub};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::world::{Ask, Counter, PATIENCE, Told, World, until};

/// Three nodes with sockets, and children on them.
struct Cluster {
    _world: World,
    nodes: Vec<Hub>,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn new(children: usize) -> Self {
        let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let socket = directory.path().join(name);
            nodes.push(world.builder(name).admin(socket).start().await.unwrap());
        }
        until("three members", || {
            nodes.iter().all(|node| node.nodes().len() == 3)
        })
        .await;
        let specs = (0..children).map(|n| ChildSpec::new("counter", &id(n)).argument(&0_u64));
        let started = nodes[0].start_children(specs, StartOptions::default());
        assert_eq!(started.await.unwrap().failed, []);
        Self {
            _world: world,
            nodes,
            directory,
        }
    }

    fn socket(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    async fn get<T: DeserializeOwned>(&self, node: &str, path: &str) -> T {
        let (status, body) = ask(&self.socket(node), "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    async fn post(&self, path: &str, body: &serde_json::Value) -> Result<Outcome, Complaint> {
        let (status, text) = ask(&self.socket("b"), "POST", path, &body.to_string()).await;
        match status {
            200 => Ok(serde_json::from_str(&text).unwrap()),
            _ => Err(serde_json::from_str(&text).unwrap()),
        }
    }

    async fn host(&self, process: &str) -> String {
        let view: ProcessView = self.get("a", &format!("/v1/process?id={process}")).await;
        view.active().unwrap().node.clone()
    }
}

fn id(number: usize) -> String {
    format!("p{number}")
}

pub(crate) async fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head[9..12].parse().unwrap();
    (status, body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_says_who_runs_what() {
    let cluster = Cluster::new(60).await;
    for node in ["a", "b", "c"] {
        let status: Status = cluster.get(node, "/v1/status").await;
        assert_eq!(status.node.as_str(), node);
        let nodes: Vec<NodeView> = cluster.get(node, "/v1/nodes").await;
        assert_eq!(nodes.iter().map(|node| node.shards).sum::<u32>(), 64);
        let here: Vec<_> = nodes.iter().filter(|node| node.here).collect();
        assert_eq!(here.len(), 1);
        assert_eq!(here[0].name.as_str(), node);
    }
    let (_, lines) = ask(&cluster.socket("c"), "GET", "/v1/processes", "").await;
    let listed = lines.lines().map(serde_json::from_str::<ProcessView>);
    let listed: Vec<ProcessView> = listed.map(Result::unwrap).collect();
    assert_eq!(listed.len(), 60);
    for process in listed {
        let told = cluster.nodes[0].call::<Counter>(process.id.as_str(), Ask::Where);
        let Told::Node(node) = told.await.unwrap() else {
            panic!("not a node")
        };
        let active = process.active().unwrap();
        let ids: Vec<NodeView> = cluster.get("a", "/v1/nodes").await;
        let named = ids.iter().find(|view| view.name.as_str() == active.node);
        assert!(node == active.node || node == named.unwrap().id, "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_moved_with_its_state_and_stays() {
    let cluster = Cluster::new(12).await;
    let from = cluster.host("p3").await;
    let to = ["a", "b", "c"]
        .into_iter()
        .find(|node| *node != from)
        .unwrap();
    let caller = &cluster.nodes[0];
    caller.call::<Counter>("p3", Ask::Add(5)).await.unwrap();
    let order = json!({"process": "p3", "to": to});
    let moved = cluster.post("/v1/move", &order).await.unwrap();
    assert!(
        matches!(&moved, Outcome::Moved { node, .. } if node == to),
        "{moved:?}"
    );
    assert_eq!(cluster.host("p3").await, to);
    let told = caller.call::<Counter>("p3", Ask::Read).await.unwrap();
    assert_eq!(told, Told::Value(5));
    let again = cluster.post("/v1/move", &order).await.unwrap_err();
    assert_eq!(again.kind, Mishap::Refused);
    // Some node tells of it, by name.
    let mut told = Vec::new();
    for node in ["a", "b", "c"] {
        told.extend(events(&cluster.socket(node)).await);
    }
    let moved = told.iter().find(|event| event.event == "moved");
    let moved = moved.expect("the move is told of");
    assert_eq!(moved.node.as_deref(), Some(to));
    assert_eq!(moved.process.as_ref().unwrap().as_str(), "p3");
}

/// What a node has told so far.
async fn events(socket: &Path) -> Vec<EventView> {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let request = "GET /v1/events HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let mut read = vec![0; 65_536];
    // All that is kept comes at once; then there is silence.
    let silence = std::time::Duration::from_millis(500);
    while let Ok(Ok(count)) = tokio::time::timeout(silence, stream.read(&mut read)).await {
        text.push_str(std::str::from_utf8(&read[..count]).unwrap());
    }
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_emptied_and_takes_processes_again() {
    let cluster = Cluster::new(60).await;
    let order = json!({"node": "c"});
    let emptied = cluster.post("/v1/evacuate", &order).await.unwrap();
    let Outcome::Evacuated { left, .. } = emptied else {
        panic!("{emptied:?}")
    };
    assert_eq!(left, []);
    // c answers when nothing runs there; what other nodes know of it follows.
    let listed = async || {
        let (status, lines) = ask(&cluster.socket("a"), "GET", "/v1/processes?node=c", "").await;
        (status == 200).then_some(lines)
    };
    let known = async {
        while listed().await.as_deref() != Some("") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let known = tokio::time::timeout(PATIENCE, known).await;
    assert!(known.is_ok(), "a still lists: {:?}", listed().await);
    let again = cluster.post("/v1/evacuate", &order).await.unwrap_err();
    assert!(again.error.contains("--abort"), "{}", again.error);
    cluster.post("/v1/abort", &order).await.unwrap();
    let nodes = &cluster.nodes;
    until("c runs something again", || {
        let rows = nodes[0].list(handover_hub::Scope::Hub);
        let c = nodes[2].node();
        rows.iter()
            .any(|row| row.hosts().iter().any(|host| host.node == c))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_serve_what_was_asked_for_does_not_start() {
    let (world, directory) = (World::default(), tempfile::tempdir().unwrap());
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let started = world
        .builder("a")
        .dashboard(Dashboard::at(everywhere))
        .start();
    let error = started.await.unwrap_err();
    assert!(
        matches!(
            &error,
            StartError::Operations(OperationsError::Dashboard(
                DashboardError::NotLoopback { .. }
            ))
        ),
        "{error}"
    );
    let socket = directory.path().join("x".repeat(120));
    let error = world.builder("b").admin(socket).start().await.unwrap_err();
    assert!(error.to_string().contains("give a shorter one"), "{error}");
}
