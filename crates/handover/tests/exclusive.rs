//! One owner of data: a coordinator played by the test, real instances, sockets, memory and locks.

mod world;

use handover::{LeaseError, OwnError};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::phase::Mode;
use world::coordinator::ATTEMPT;
use world::side::{Side, items, noise, noted};
use world::store::{Script, Store};
use world::within;

#[tokio::test]
async fn alone_it_warms_takes_the_lease_and_activates() {
    let dir = tempfile::tempdir().unwrap();
    let instance = world::instance().await;
    let (store, log) = Store::new(Script::default());
    let lease = within("owned", instance.own(dir.path(), store))
        .await
        .unwrap();
    assert_eq!(log.lines(), ["warm", "activate, sealed false"]);
    let permit = lease.enter().await.unwrap();
    assert_eq!(permit.epoch(), lease.epoch());
    drop(permit);

    let other = world::instance().await;
    let (store, _) = Store::new(Script::default());
    let error = within("refused", other.own(dir.path(), store))
        .await
        .unwrap_err();
    assert!(matches!(error, OwnError::Lease(_)), "{error}");
    let us = std::process::id().to_string();
    assert!(error.to_string().contains(&us), "it says who: {error}");

    instance.drain();
    within("retired", instance.retired()).await;
    log.until("dropped").await;
    assert_eq!(log.lines()[2..], ["seal", "dropped"]);
    assert_eq!(lease.enter().await.unwrap_err(), LeaseError::HandedOver);

    let third = world::instance().await;
    let (store, _) = Store::new(Script::default());
    let next = within("owned", third.own(dir.path(), store)).await.unwrap();
    assert!(next.epoch() > lease.epoch());
}

#[tokio::test]
async fn a_first_start_takes_the_lease_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let (first, lease) = Side::first(dir.path(), Script::default()).await;
    assert!(lease.is_held());
    assert_eq!(first.log.lines(), ["warm", "activate, sealed false"]);
    within("committed", first.instance.committed()).await;
}

/// Base while the old one serves, the rest after the seal; small, large, memory and streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_crosses_before_and_after_the_seal() {
    let dir = tempfile::tempdir().unwrap();
    let names = [
        "small",
        "large",
        "memfd",
        "stream",
        "stream-small",
        "memfd-base",
    ];
    let large = noise(1_000_000);
    let stream = noise(20_000_000);
    let script = Script {
        manifest: items(&names),
        base: vec![("memfd-base", noise(5_000_000)), ("small", noise(10))],
        items: vec![
            ("small", b"delta".to_vec()),
            ("large", large.clone()),
            ("memfd", noise(3_000_000)),
            ("stream", stream.clone()),
            ("stream-small", noise(100)),
        ],
        ..Script::default()
    };
    let (mut old, old_lease) = Side::first(dir.path(), script).await;
    let script = Script {
        manifest: items(&names),
        ..Script::default()
    };
    let mut new = Side::of(2, dir.path(), script).await;
    old.coordinator.introduce(&mut new.coordinator).await;
    assert_eq!(new.coordinator.hear().await, Some(FromInstance::Warmed));
    assert!(old_lease.try_enter().is_ok(), "it serves all the while");

    old.coordinator.drain().await;
    assert_eq!(old_lease.try_enter().unwrap_err(), LeaseError::Frozen);
    old.coordinator.seal().await;
    let (id, sealed) = (ATTEMPT, true);
    new.coordinator
        .say(ToInstance::Activate { id, sealed })
        .await;
    let epoch = new.coordinator.ready().await;
    let lease = new.owned().await.unwrap();
    assert_eq!(lease.epoch(), epoch);
    assert!(epoch > old_lease.epoch());
    let expected = [
        "warm".to_owned(),
        noted("memfd-base", &noise(5_000_000)),
        noted("small", &noise(10)),
        "activate, sealed true".to_owned(),
        noted("small", b"delta"),
        noted("large", &large),
        noted("memfd", &noise(3_000_000)),
        noted("stream", &stream),
        noted("stream-small", &noise(100)),
    ];
    assert_eq!(new.log.lines(), expected);
    assert_eq!(old.log.lines()[2..], ["base", "drain", "seal"]);
    old.coordinator.say(ToInstance::Commit { id }).await;
    let error = within("sent away", old_lease.enter()).await.unwrap_err();
    assert_eq!(error, LeaseError::HandedOver);
}

#[tokio::test]
async fn an_overlap_coordinator_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut side = Side::of(1, dir.path(), Script::default()).await;
    side.coordinator.hello().await;
    side.coordinator.welcome(Mode::Overlap, false, false).await;
    let error = side.owned().await.unwrap_err();
    assert!(matches!(error, OwnError::Overlap), "{error}");
    let reason = error.to_string();
    assert_eq!(
        side.coordinator.hear().await,
        Some(FromInstance::Failed { reason })
    );
    assert_eq!(side.log.lines(), ["dropped"]);
}

/// Parked after the commit, its writers sent away; then the new one is gone and it takes back.
#[tokio::test]
async fn a_parked_instance_takes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut old, lease) = Side::first(dir.path(), Script::default()).await;
    let mut new = old.next(dir.path(), Script::default()).await;
    old.coordinator.drain().await;
    old.coordinator.seal().await;
    let taken = new.activate().await;
    let id = ATTEMPT;
    old.coordinator.say(ToInstance::Commit { id }).await;
    let error = within("sent away", lease.enter()).await.unwrap_err();
    assert_eq!(error, LeaseError::HandedOver);

    let ladder = world::ladder(world::NEVER, world::NEVER);
    old.coordinator.say(ToInstance::Resume { id }).await;
    new.coordinator.say(ToInstance::Retire { ladder }).await;
    let epoch = old.coordinator.resumed().await;
    assert_eq!(epoch, taken.epoch().next());
    assert_eq!(lease.try_enter().unwrap().epoch(), epoch);
    assert_eq!(old.instance.stage(), handover::Stage::Serving);
}
