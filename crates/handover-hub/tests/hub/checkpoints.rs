//! States that outlast their nodes, and what is said when they cannot be written or read.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use handover_hub::checkpoint::{Directory, Store};
use handover_hub::process::{Context, Handed, Process, Stop};
use handover_hub::proto::event::Event;
use handover_hub::proto::identity::{Epoch, ProcessId};
use handover_hub::proto::spec::Restart;
use handover_hub::{ChildSpec, Events, Hub};
use serde::{Deserialize, Serialize};

use crate::world::{Ask, Counter, PATIENCE, Told, World, counter, until};

const SOON: Duration = Duration::from_millis(10);
const NEVER: Duration = Duration::from_secs(3600);

/// One node of a hub that begins anew.
async fn node(store: impl Store, every: Duration) -> Hub {
    let builder = World::default().builder("a").checkpoints(store, every);
    let builder = builder.kind::<Versioned<1>>("one");
    builder.kind::<Versioned<2>>("two").start().await.unwrap()
}

async fn value(hub: &Hub, id: &str) -> Told {
    hub.call::<Counter>(id, Ask::Read).await.unwrap()
}

/// What is said of the next checkpoint that fails.
async fn failure(events: &mut Events) -> String {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        if let Some(Event::CheckpointFailed { reason, .. }) = event {
            return reason;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_leaves_behind_is_kept_and_what_ended_is_not() {
    let kept = tempfile::tempdir().unwrap();
    let store = Directory::new(kept.path()).unwrap();
    let files = || std::fs::read_dir(kept.path()).unwrap().count();
    let hub = node(store.clone(), NEVER).await;
    for id in ["stays", "stopped", "done"] {
        let child = counter(id, 5).restart(Restart::Transient);
        hub.start_child(child).await.unwrap();
        hub.call::<Counter>(id, Ask::Add(1)).await.unwrap();
    }
    hub.leave(PATIENCE).await.unwrap();
    assert_eq!(files(), 3);

    let hub = node(store.clone(), SOON).await;
    for id in ["stays", "stopped", "done"] {
        let child = counter(id, 100).restart(Restart::Transient);
        hub.start_child(child).await.unwrap();
        assert_eq!(value(&hub, id).await, Told::Value(6));
    }
    hub.stop_child("stopped").await.unwrap();
    hub.call::<Counter>("done", Ask::Finish).await.unwrap();
    until("only one is left", || files() == 1).await;
    hub.call::<Counter>("stays", Ask::Add(1)).await.unwrap();
    tokio::time::sleep(SOON * 20).await;
    // Killed: what it saved last counts, though the hub is a new one.
    drop(hub);
    let hub = node(store, NEVER).await;
    for (id, expected) in [("stays", 7), ("stopped", 100), ("done", 100)] {
        hub.start_child(counter(id, 100)).await.unwrap();
        assert_eq!(value(&hub, id).await, Told::Value(expected), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_one_is_told_and_kept_aside() {
    let kept = tempfile::tempdir().unwrap();
    let store = Directory::new(kept.path()).unwrap();
    let hub = node(store.clone(), NEVER).await;
    hub.start_child(counter("one", 5)).await.unwrap();
    hub.leave(PATIENCE).await.unwrap();
    let file = std::fs::read_dir(kept.path()).unwrap().next().unwrap();
    let file = file.unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let hub = node(store, NEVER).await;
    let mut events = hub.events();
    hub.start_child(counter("one", 9)).await.unwrap();
    assert_eq!(value(&hub, "one").await, Told::Value(9));
    let said = failure(&mut events).await;
    assert!(said.starts_with("damaged, it begins without it"), "{said}");
    assert!(file.with_extension("damaged").exists());
}

/// A store that does not work at times.
#[derive(Clone)]
struct Moody {
    works: Arc<AtomicBool>,
    kept: Arc<Mutex<Option<Handed>>>,
}

impl Moody {
    fn new() -> Self {
        Self {
            works: Arc::new(AtomicBool::new(true)),
            kept: Arc::default(),
        }
    }

    fn set(&self, works: bool) {
        self.works.store(works, Ordering::SeqCst);
    }

    fn ask(&self) -> io::Result<()> {
        match self.works.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err(io::Error::other("it is not there now")),
        }
    }
}

impl Store for Moody {
    fn save(&self, _: &ProcessId, _: Epoch, state: &Handed) -> io::Result<()> {
        self.ask()?;
        *self.kept.lock().unwrap() = Some(state.clone());
        Ok(())
    }

    fn load(&self, _: &ProcessId, _: Epoch) -> io::Result<Option<Handed>> {
        self.ask()?;
        Ok(self.kept.lock().unwrap().clone())
    }

    fn remove(&self, _: &ProcessId, _: Epoch) -> io::Result<()> {
        self.ask()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_medium_that_fails_is_told_and_tried_again() {
    let store = Moody::new();
    let hub = node(store.clone(), SOON).await;
    let mut events = hub.events();
    hub.start_child(counter("one", 0)).await.unwrap();
    store.set(false);
    hub.call::<Counter>("one", Ask::Add(8)).await.unwrap();
    assert_eq!(
        failure(&mut events).await,
        "not written: it is not there now"
    );
    assert_eq!(value(&hub, "one").await, Told::Value(8));
    assert!(store.kept.lock().unwrap().is_none());
    store.set(true);
    until("it is written by itself", || {
        store.kept.lock().unwrap().is_some()
    })
    .await;
    drop(hub);

    // It does not begin without its state: it would be written over.
    let hub = node(store.clone(), SOON).await;
    let mut events = hub.events();
    store.set(false);
    let refused = hub.start_child(counter("one", 0)).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("its checkpoint: it is not there now"),
        "{refused}"
    );
    assert_eq!(failure(&mut events).await, "not read: it is not there now");
    store.set(true);
    hub.start_child(counter("one", 0)).await.unwrap();
    assert_eq!(value(&hub, "one").await, Told::Value(8));
}

/// Reads and writes one version only.
#[derive(Serialize, Deserialize)]
struct Versioned<const VERSION: u32>(u32);

impl<const VERSION: u32> Process for Versioned<VERSION> {
    type Argument = ();
    type Request = ();
    type Reply = u32;
    const SCHEMA: u32 = VERSION;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self(0))
    }

    async fn handle(&mut self, (): (), _: &mut Context) -> u32 {
        self.0 += 1;
        self.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_another_version_is_not_read_and_not_lost() {
    let kept = tempfile::tempdir().unwrap();
    let store = Directory::new(kept.path()).unwrap();
    let hub = node(store.clone(), NEVER).await;
    hub.start_child(ChildSpec::new("one", "it")).await.unwrap();
    assert_eq!(hub.call::<Versioned<1>>("it", ()).await, Ok(1));
    hub.leave(PATIENCE).await.unwrap();
    let hub = node(store, NEVER).await;
    let refused = hub.start_child(ChildSpec::new("two", "it")).await;
    let refused = refused.unwrap_err().to_string();
    let said = "its checkpoint: version 1, this node reads 2 to 2";
    assert!(refused.contains(said), "{refused}");
    hub.start_child(ChildSpec::new("one", "it")).await.unwrap();
    assert_eq!(hub.call::<Versioned<1>>("it", ()).await, Ok(2));
}
