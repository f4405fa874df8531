//! Several hubs in one program share nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use handover_hub::dashboard::Dashboard;
use handover_hub::engine::gossip::Gossip;
use handover_hub::proto::hook::Hook;
use handover_hub::{ChildSpec, Hub, Scope};

use crate::operators::ask;
use crate::world::{Ask, Counter, PATIENCE, Told, until};

/// A hub of its own with one child, called `one`, and how often its hook was called.
async fn hub(name: &str, directory: &Path, value: u64) -> (Hub, Arc<AtomicUsize>) {
    let started = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&started);
    let hub = Hub::builder(name)
        .node("same")
        .listen("127.0.0.1:0")
        .engine(Gossip::alone())
        .shards(64)
        .kind::<Counter>(name)
        .admin(directory.join(name))
        .dashboard(Dashboard::at("127.0.0.1:0".parse().unwrap()))
        .hook(
            Hook::Started,
            "count",
            0,
            Arc::new(move |_, _| {
                counts.fetch_add(1, Ordering::SeqCst);
            }),
        )
        .start()
        .await
        .unwrap();
    let child = ChildSpec::new(name, "one").argument(&value);
    hub.start_child(child).await.unwrap();
    (hub, started)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_hub_leaves_and_the_other_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (left, of_left) = hub("left", directory.path(), 1).await;
    let (right, of_right) = hub("right", directory.path(), 100).await;
    // Each knows its own kinds, children and members alone.
    assert!(
        left.start_child(ChildSpec::new("right", "two"))
            .await
            .is_err()
    );
    for (hub, value) in [(&left, 1), (&right, 100)] {
        assert_eq!(hub.nodes().len(), 1);
        assert_eq!(hub.list(Scope::Hub).len(), 1);
        let told = hub.call::<Counter>("one", Ask::Read).await;
        assert_eq!(told, Ok(Told::Value(value)));
        let (status, metrics) = ask(
            &directory.path().join(hub.name().as_str()),
            "GET",
            "/metrics",
            "",
        )
        .await;
        assert_eq!(status, 200);
        let label = format!("hub=\"{}\"", hub.name());
        let values = metrics
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        assert!(values.clone().count() > 5, "{metrics}");
        assert!(
            values.clone().all(|line| line.contains(&label)),
            "{metrics}"
        );
    }
    assert_ne!(left.dashboard().unwrap(), right.dashboard().unwrap());
    let counted = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    until("each hook is called for its own hub", || {
        counted(&of_left) == 1 && counted(&of_right) == 1
    })
    .await;

    let calls = async {
        for value in 101..=300 {
            let told = right.call::<Counter>("one", Ask::Add(1)).await;
            assert_eq!(told, Ok(Told::Value(value)));
        }
    };
    let (leaving, ()) = tokio::join!(left.leave(PATIENCE), calls);
    assert_eq!(leaving.unwrap().left.len(), 1, "nobody else could take it");
    assert!(!left.is_alive());
    assert!(right.is_alive());
    let told = right.call::<Counter>("one", Ask::Add(1)).await;
    assert_eq!(told, Ok(Told::Value(301)));
    let (status, _) = ask(&directory.path().join("right"), "GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert_eq!(counted(&of_right), 1);
}
