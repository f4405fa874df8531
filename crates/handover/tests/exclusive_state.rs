//! Limits and lies on the state channel.

mod world;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use handover::{Inheritance, Instance, OwnError, StateBudget};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::phase::Mode;
use handover_proto::state::{Body, Frame, Manifest, VERSION_OLDEST, encode};
use handover_sys::passing;
use world::coordinator::{ATTEMPT, Coordinator};
use world::side::{Side, items, noise};
use world::store::{Log, Script, Store};
use world::within;

fn with_budget(inheritance: Inheritance, bytes: u64) -> impl Future<Output = Instance> {
    let budget = StateBudget {
        bytes,
        ..StateBudget::default()
    };
    async move {
        let builder = Instance::builder("test")
            .signals(false)
            .state_budget(budget);
        builder.inherit(inheritance).start().await.unwrap()
    }
}

fn script() -> Script {
    Script {
        manifest: items(&["one", "stream"]),
        ..Script::default()
    }
}

/// A successor, and the incumbent's end of its state channel, for a test that plays it.
async fn successor(
    dir: &std::path::Path,
    bytes: u64,
) -> (
    Coordinator,
    UnixStream,
    Log,
    tokio::task::JoinHandle<Result<handover::Lease, OwnError>>,
) {
    let (mut coordinator, inheritance) = Coordinator::with(2, None);
    let instance = with_budget(inheritance, bytes).await;
    let (store, log) = Store::new(script());
    let dir = dir.to_owned();
    let owning = tokio::spawn(async move { instance.own(dir, store).await });
    coordinator.hello().await;
    coordinator.welcome(Mode::Exclusive, true, true).await;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let introduce = ToInstance::Introduce { id: ATTEMPT };
    coordinator.say_with(introduce, &[theirs.as_fd()]).await;
    let manifest = Frame::Manifest(Manifest::new(items(&["one", "stream"])));
    send(&ours, &manifest);
    (coordinator, ours, log, owning)
}

fn send(channel: &UnixStream, frame: &Frame) {
    let bytes = encode(frame, VERSION_OLDEST);
    std::io::Write::write_all(&mut &*channel, &bytes).unwrap();
}

async fn refused(
    owning: tokio::task::JoinHandle<Result<handover::Lease, OwnError>>,
    coordinator: &mut Coordinator,
    what: &str,
) {
    let error = within("own returns", owning).await.unwrap().unwrap_err();
    let OwnError::State { reason } = &error else {
        panic!("another error: {error}");
    };
    assert!(reason.contains(what), "{reason}");
    let told = coordinator.hear().await;
    assert!(
        matches!(told, Some(FromInstance::Failed { .. })),
        "{told:?}"
    );
}

fn item(length: u64, checksum: Option<u64>, body: Body) -> Frame {
    Frame::Item {
        name: "one".into(),
        version: 1,
        length,
        checksum,
        body,
    }
}

#[tokio::test]
async fn more_state_than_allowed_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (coordinator, inheritance) = Coordinator::with(1, None);
    let instance = with_budget(inheritance, 1_000).await;
    let mut written = script();
    written.items = vec![("one", noise(600)), ("stream", noise(600))];
    let (store, log) = Store::new(written);
    let (owner, path) = (instance.clone(), dir.path().to_owned());
    let owning = tokio::spawn(async move { owner.own(path, store).await });
    let mut old = Side {
        coordinator,
        instance,
        log,
        owning,
    };
    old.coordinator.start().await;
    let lease = old.owned().await.unwrap();
    let _new = old.next(dir.path(), script()).await;
    old.coordinator.drain().await;
    old.coordinator.say(ToInstance::Seal { id: ATTEMPT }).await;
    let Some(FromInstance::SealFailed { reason, .. }) = old.coordinator.hear().await else {
        panic!("expected a failed seal");
    };
    assert!(
        reason.contains("1200 bytes") && reason.contains("1000"),
        "{reason}"
    );
    old.coordinator.resume().await;
    assert!(lease.try_enter().is_ok());
}

#[tokio::test]
async fn more_state_than_allowed_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut coordinator, channel, _, owning) = successor(dir.path(), 1_000).await;
    let bytes = noise(1_001);
    let checksum = Some(xxhash_rust::xxh3::xxh3_64(&bytes));
    send(&channel, &item(1_001, checksum, Body::Inline(bytes)));
    refused(owning, &mut coordinator, "1001").await;
}

#[tokio::test]
async fn a_damaged_item_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut coordinator, channel, _, owning) = successor(dir.path(), 1_000).await;
    send(&channel, &item(3, Some(1), Body::Inline(b"abc".to_vec())));
    refused(owning, &mut coordinator, "one").await;
}

/// Memory that its sender could still change is not mapped.
#[tokio::test]
async fn memory_that_is_not_sealed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut coordinator, channel, _, owning) = successor(dir.path(), 1_000).await;
    let file = tempfile::tempfile().unwrap();
    let bytes = encode(&item(3, None, Body::Descriptor), VERSION_OLDEST);
    passing::send(channel.as_fd(), &bytes, &[file.as_fd()]).unwrap();
    refused(owning, &mut coordinator, "memfd").await;
}

#[tokio::test]
async fn nonsense_on_the_channel_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut coordinator, channel, log, owning) = successor(dir.path(), 1_000).await;
    std::io::Write::write_all(&mut &channel, &[0xff; 64]).unwrap();
    refused(owning, &mut coordinator, "4294967295").await;
    assert_eq!(log.lines(), ["dropped"]);
}

/// An incumbent that writes items in an order of its own, all in one go.
#[tokio::test]
async fn frames_that_arrive_together_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut coordinator, channel, log, owning) = successor(dir.path(), 1_000).await;
    let mut bytes = Vec::new();
    let sum = xxhash_rust::xxh3::xxh3_64;
    let empty = sum(&[]);
    for frame in [
        Frame::BaseEnd,
        item(3, Some(sum(b"abc")), Body::Inline(b"abc".to_vec())),
        Frame::StreamEnd {
            name: "stream".into(),
            version: 1,
            length: 0,
            checksum: empty,
        },
        Frame::End { items: 2, bytes: 3 },
    ] {
        bytes.extend(encode(&frame, VERSION_OLDEST));
    }
    std::io::Write::write_all(&mut &channel, &bytes).unwrap();
    drop(channel);
    assert_eq!(coordinator.hear().await, Some(FromInstance::Warmed));
    let (id, sealed) = (ATTEMPT, true);
    coordinator.say(ToInstance::Activate { id, sealed }).await;
    coordinator.ready().await;
    within("own returns", owning).await.unwrap().unwrap();
    let lines = log.lines();
    assert!(lines[2].starts_with("  one v1 3 bytes"), "{lines:?}");
    assert!(lines[3].starts_with("  stream v1 0 bytes"), "{lines:?}");
}
