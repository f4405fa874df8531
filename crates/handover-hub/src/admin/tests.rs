//! The socket against a hub made up: requests as `curl --unix-socket` would send them.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{NodeId, NodeName, ProcessId};
use handover_hub_proto::node::{Answer, Command, Failure, Flight, Ordered, Pause};
use handover_hub_proto::view::Standing;
use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::sample::Sample;
use super::view::{Complaint, Mishap};
use super::{AdminError, Desk, Observer, Server, serve};

struct World {
    sample: Arc<Sample>,
    observer: Arc<Observer>,
    path: PathBuf,
    server: Server,
    _directory: tempfile::TempDir,
}

async fn world(processes: u64) -> World {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hub.sock");
    let sample = Sample::three(processes);
    let observer = Arc::new(Observer::default());
    let desk = Desk::new(Arc::clone(&sample) as _, Arc::clone(&observer));
    let server = serve(path.clone(), desk).await.unwrap();
    World {
        sample,
        observer,
        path,
        server,
        _directory: directory,
    }
}

impl World {
    /// Status and body of one request.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (StatusCode, String) {
        let stream = UnixStream::connect(&self.path).await.unwrap();
        let (head, rest) = talk(TokioIo::new(stream), method, path, body).await;
        (head, String::from_utf8(rest.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "").await;
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Complaint> {
        let (status, text) = self.ask("POST", path, &body.to_string()).await;
        match status.is_success() {
            true => Ok(serde_json::from_str(&text).unwrap()),
            false => Err(serde_json::from_str(&text).unwrap()),
        }
    }

    async fn refused(&self, path: &str, body: &Value) -> Complaint {
        self.post(path, body).await.unwrap_err()
    }

    fn commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.sample.commands.lock().unwrap())
    }

    fn answer(&self, answer: Answer) {
        *self.sample.answer.lock().unwrap() = Some(answer);
    }
}

/// One request over one connection, which the server closes.
async fn talk(
    stream: TokioIo<UnixStream>,
    method: &str,
    path: &str,
    body: &str,
) -> (StatusCode, Bytes) {
    let mut stream = stream.into_inner();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = Bytes::from(answer);
    let end = text
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let status = std::str::from_utf8(&text[9..12]).unwrap().parse().unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    (status, text.slice(end + 4..))
}

#[tokio::test]
async fn a_node_says_what_it_knows() {
    let world = world(30).await;
    let status = world.get("/v1/status").await;
    assert_eq!(status["hub"], "sessions");
    assert_eq!(status["processes"], 30);
    assert_eq!(
        status["shards"],
        json!({"total": 8, "here": 3, "vacant": 0})
    );
    let nodes = world.get("/v1/nodes").await;
    let names: Vec<&str> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(nodes[1]["processes"], 10);
    assert_eq!(nodes[0]["leader"], true);
    assert_eq!(nodes[0]["here"], true);
    let process = world.get("/v1/process?id=p4").await;
    assert_eq!(
        process["hosts"],
        json!([{"node": "b", "epoch": "3.1", "role": "active"}])
    );
    let (status, body) = world.ask("GET", "/v1/process?id=nobody", "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body.contains("no process is called nobody"), "{body}");
    let (status, body) = world.ask("GET", "/v2", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("GET /v1/status"), "{body}");
}

#[tokio::test]
async fn processes_come_one_a_line_and_only_those_wanted() {
    let world = world(300).await;
    let count = async |query: &str| {
        let (status, body) = world.ask("GET", &format!("/v1/processes{query}"), "").await;
        assert!(status.is_success(), "{body}");
        for line in body.lines() {
            serde_json::from_str::<super::view::ProcessView>(line).unwrap();
        }
        body.lines().count()
    };
    assert_eq!(count("").await, 300);
    assert_eq!(count("?prefix=p29").await, 11);
    assert_eq!(count("?node=b").await, 100);
    assert_eq!(count("?limit=7").await, 7);
    assert_eq!(count("?kind=counter&tag=eu").await, 0);
    assert_eq!(count("?prefix=p%2F").await, 0);
    for wrong in ["?node=z", "?limit=x", "?prefx=a"] {
        let (status, body) = world.ask("GET", &format!("/v1/processes{wrong}"), "").await;
        assert!(status.is_client_error(), "{wrong}: {body}");
    }
}

#[tokio::test]
async fn orders_reach_the_hub_and_their_end_is_told() {
    let world = world(3).await;
    let process = ProcessId::new("p0").unwrap();
    world.answer(Answer::Moved {
        process: process.clone(),
        node: NodeId(2),
        pause_ns: 800_000,
    });
    let moved = world
        .post("/v1/move", &json!({"process": "p0", "to": "b"}))
        .await;
    assert_eq!(moved.unwrap()["node"], "b");
    assert!(matches!(&world.commands()[..], [Command::Move { to, .. }] if to.as_str() == "b"));
    world.answer(Answer::Evacuated {
        moved: 1,
        left: vec![(process, Failure::Moving)],
    });
    let evacuated = world
        .post("/v1/evacuate", &json!({"node": "c", "rate": 500}))
        .await
        .unwrap();
    assert_eq!(
        (&evacuated["moved"], &evacuated["node"]),
        (&json!(1), &json!("c"))
    );
    assert!(matches!(&world.commands()[..], [Command::Evacuate(order)] if order.rate == Some(500)));
    world.answer(Answer::Done);
    let pinned = world
        .post("/v1/pin", &json!({"process": "p0", "nodes": []}))
        .await;
    assert_eq!(pinned.unwrap()["outcome"], "done");
    world.answer(Answer::Failed(Failure::NotMoved {
        serves: NodeId(1),
        reason: "busy".to_owned(),
    }));
    let failed = world
        .refused("/v1/move", &json!({"process": "p0", "to": "c"}))
        .await;
    assert_eq!(failed.kind, Mishap::NotMoved);
    assert_eq!(
        failed.error,
        "p0: it did not move and serves on node a: busy"
    );
}

#[tokio::test]
async fn an_evacuation_whose_time_is_over_is_said_to_go_on() {
    let world = world(3).await;
    world.answer(Answer::Failed(Failure::StillEmptying {
        node: NodeName::new("c").unwrap(),
        left: 7,
    }));
    let body = json!({"node": "c", "timeout_ms": 1_500}).to_string();
    let (status, body) = world.ask("POST", "/v1/evacuate", &body).await;
    assert_eq!(status, 202);
    assert_eq!(body, r#"{"outcome":"evacuating","node":"c","left":7}"#);
    assert!(matches!(&world.commands()[..], [Command::Evacuate(order)]
        if order.timeout == Duration::from_millis(1_500)));
}

#[tokio::test]
async fn a_mistake_about_a_process_is_told_and_not_tried() {
    refuses(&[
        (
            "/v1/move",
            json!({"process": "p9", "to": "b"}),
            Mishap::Refused,
            "no process is called p9",
        ),
        (
            "/v1/move",
            json!({"process": "p0", "to": "z"}),
            Mishap::Refused,
            "these are: a, b, c",
        ),
        (
            "/v1/move",
            json!({"process": "p0", "to": "a"}),
            Mishap::Refused,
            "runs on node a already",
        ),
        (
            "/v1/move",
            json!({"process": "p0"}),
            Mishap::Usage,
            "missing field `to`",
        ),
        (
            "/v1/pin",
            json!({"process": "p0", "nodes": ["b", "b"]}),
            Mishap::Usage,
            "named twice",
        ),
        (
            "/v1/pin",
            json!({"process": "p9", "nodes": []}),
            Mishap::Refused,
            "no process is called p9",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_mistake_about_emptying_a_node_is_told_and_not_tried() {
    refuses(&[
        (
            "/v1/evacuate",
            json!({"node": "a", "rate": 0}),
            Mishap::Usage,
            "at a rate of 0",
        ),
        (
            "/v1/evacuate",
            json!({"node": "a", "timeout_ms": 0}),
            Mishap::Usage,
            "at least 1 ms",
        ),
        (
            "/v1/evacuate",
            json!({"node": "a", "to": ["a"]}),
            Mishap::Usage,
            "into itself",
        ),
        (
            "/v1/evacuate",
            json!({"node": "z"}),
            Mishap::Refused,
            "no node is called z",
        ),
        (
            "/v1/abort",
            json!({"node": "a"}),
            Mishap::Refused,
            "is not being emptied",
        ),
    ])
    .await;
}

/// Each of these requests is refused with these words, and the hub does not hear of it.
async fn refuses(cases: &[(&str, serde_json::Value, Mishap, &str)]) {
    let world = world(3).await;
    for (path, body, kind, words) in cases {
        let complaint = world.refused(path, body).await;
        assert_eq!(complaint.kind, *kind, "{body}");
        assert!(
            complaint.error.contains(words),
            "{body}: {}",
            complaint.error
        );
    }
    assert!(world.commands().is_empty(), "a mistake reached the hub");
}

#[tokio::test]
async fn a_node_that_is_being_emptied_is_not_emptied_twice_and_takes_nothing() {
    let world = world(3).await;
    world.sample.members.lock().unwrap()[2].standing = Standing::Evacuating;
    let again = world.refused("/v1/evacuate", &json!({"node": "c"})).await;
    assert!(
        again.error.contains("evacuate c --abort"),
        "{}",
        again.error
    );
    let into = world
        .refused("/v1/evacuate", &json!({"node": "a", "to": ["c"]}))
        .await;
    assert!(into.error.contains("takes nothing"), "{}", into.error);
    let onto = world
        .refused("/v1/move", &json!({"process": "p0", "to": "c"}))
        .await;
    assert!(onto.error.contains("serves where it was"), "{}", onto.error);
    world.sample.members.lock().unwrap()[1].standing = Standing::Leaving;
    let only = world.refused("/v1/evacuate", &json!({"node": "a"})).await;
    assert!(only.error.contains("start another node"), "{}", only.error);
    assert!(world.commands().is_empty());
    world.answer(Answer::Done);
    world
        .post("/v1/abort", &json!({"node": "c"}))
        .await
        .unwrap();
    assert!(matches!(
        &world.commands()[..],
        [Command::AbortEvacuation { .. }]
    ));
}

#[tokio::test]
async fn metrics_carry_the_hub_and_the_node() {
    let world = world(30).await;
    let ordered = |moved| {
        Some(Ordered {
            moved,
            ..Ordered::default()
        })
    };
    *world.sample.moves.lock().unwrap() = vec![(NodeId(1), ordered(1)), (NodeId(2), ordered(7))];
    let (_, text) = world.ask("GET", "/metrics", "").await;
    for line in [
        "handover_hub_processes{hub=\"sessions\",node=\"a\"} 30",
        "handover_hub_moves_total{hub=\"sessions\",node=\"a\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line}\nis not in\n{text}"
        );
    }
    assert!(text.contains("member=\"c\"} 10"), "{text}");
    // Of the moves of others nobody was asked: each tells of its own.
    assert_eq!(*world.sample.looks.lock().unwrap(), (1, 0));
    *world.sample.moves.lock().unwrap() = vec![(NodeId(1), None)];
    let (_, text) = world.ask("GET", "/metrics", "").await;
    assert!(!text.contains("handover_hub_moves"), "{text}");
    assert!(text.contains("handover_hub_processes"), "{text}");
}

#[tokio::test]
async fn the_moves_of_all_nodes_are_told_by_each() {
    let world = world(30).await;
    let flight = |process: &str, from, to, elapsed_ms| Flight {
        process: ProcessId::new(process).unwrap(),
        from: NodeId(from),
        to: NodeId(to),
        elapsed_ms,
    };
    let here = Ordered {
        in_flight: 1,
        moved: 4,
        failed: 1,
        deferred: 1,
        rate: 400,
        last: Some(Pause {
            pause_ns: 900,
            ago_ms: 60,
        }),
        flights: vec![flight("p0", 1, 2, 5)],
    };
    let there = Ordered {
        in_flight: 3,
        moved: 10,
        rate: 1_000,
        last: Some(Pause {
            pause_ns: 700,
            ago_ms: 50,
        }),
        flights: vec![flight("p1", 2, 3, 800), flight("p4", 2, 1, 3)],
        ..Ordered::default()
    };
    let nodes = vec![
        (NodeId(1), Some(here)),
        (NodeId(2), Some(there)),
        (NodeId(3), None),
    ];
    *world.sample.moves.lock().unwrap() = nodes;
    let status = world.get("/v1/status").await;
    assert_eq!(
        status["moves"],
        json!({
            "in_flight": 4, "deferred": 1, "per_second": 1.4, "moved": 14, "failed": 1,
            "last_pause_ns": 700, "unknown": ["c"],
        })
    );
    let moves = world.get("/v1/moves").await;
    assert_eq!(
        moves,
        json!({
            "in_flight": 4,
            "moves": [
                {"process": "p1", "from": "b", "to": "c", "home": "b", "elapsed_ms": 800},
                {"process": "p0", "from": "a", "to": "b", "home": "a", "elapsed_ms": 5},
                {"process": "p4", "from": "b", "to": "a", "home": "b", "elapsed_ms": 3},
            ],
            "unknown": ["c"],
        })
    );
    // Many who look one after the other ask once.
    assert_eq!(*world.sample.looks.lock().unwrap(), (0, 1));
}

/// A node whose own machine does not answer knows of no moves, and says so of all members.
#[tokio::test]
async fn moves_that_cannot_be_asked_for_are_unknown() {
    let sample = Sample::three(3);
    *sample.mute.lock().unwrap() = true;
    let desk = Desk::new(sample, Arc::default());
    let flights = desk.flights().await;
    let list = desk.move_list(&flights);
    assert_eq!(list.unknown, ["a", "b", "c"]);
    assert_eq!((list.in_flight, list.moves), (0, Vec::new()));
}

#[tokio::test]
async fn events_end_with_the_node_and_so_does_the_socket() {
    let world = world(3).await;
    world.observer.tell(&Event::Joined { node: NodeId(2) });
    let mut stream = UnixStream::connect(&world.path).await.unwrap();
    let request = "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = vec![0; 4096];
    let mut text = String::new();
    while !text.contains("node b joined") {
        let count = stream.read(&mut read).await.unwrap();
        assert!(count > 0, "ended early: {text}");
        text.push_str(std::str::from_utf8(&read[..count]).unwrap());
    }
    let World { server, path, .. } = world;
    server.finish().await;
    while stream.read(&mut read).await.unwrap_or(0) > 0 {}
    assert!(!path.exists());
}

#[tokio::test]
async fn the_socket_is_private_and_is_not_taken_from_a_node_that_lives() {
    let world = world(0).await;
    let mode = std::fs::metadata(&world.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let desk = Desk::new(Arc::clone(&world.sample) as _, Arc::default());
    let second = serve(world.path.clone(), desk.clone()).await;
    assert!(matches!(second, Err(AdminError::Bind(_))), "{second:?}");
    assert_eq!(world.get("/v1/status").await["node"], "a");
    let long = world.path.with_file_name("x".repeat(120));
    let second = serve(long, desk).await;
    assert!(
        matches!(second, Err(AdminError::TooLong { .. })),
        "{second:?}"
    );
}
