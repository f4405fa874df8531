//! etcd is slow, full, led by another, or has forgotten what was missed.

use std::time::Duration;

use handover_hub::engine::EngineError;
use handover_hub::engine::etcd::Etcd as Engine;
use handover_hub_proto::view::EngineEvent;
use handover_tests::etcd::{Etcd, Recipe, Relay};

use crate::seat::{Checker, SHARDS, Seat, member, start};

const LEASE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_etcd_costs_time_and_no_lease() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let relay = Relay::to(etcd.address());
    let far = Engine::connect([relay.endpoint()]);
    let mut a = Seat::join(far, 1, &Checker::default()).await;
    relay.delay(Duration::from_millis(500));
    a.take(0..SHARDS).await;
    let heard = a.listen(Duration::from_secs(12)).await;
    assert!(!heard.contains(&EngineEvent::Fenced), "{heard:?}");
    assert!(a.session.valid.holds());
    // So slow that no answer comes in time.
    relay.delay(Duration::from_secs(20));
    a.until("it is fenced", |event| *event == EngineEvent::Fenced)
        .await;
    relay.delay(Duration::ZERO);
    a.until("it may act again", |event| *event == EngineEvent::Unfenced)
        .await;
    a.until_owned(0, a.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_takes_no_new_member_and_nothing_from_those_it_has() {
    let recipe = Recipe {
        quota: Some(8 * 1024 * 1024),
        ..Recipe::default()
    };
    let Some(etcd) = Etcd::start(recipe) else {
        return;
    };
    let engine = || Engine::connect(etcd.endpoints()).lease(LEASE);
    let checker = Checker::default();
    let mut a = Seat::join(engine(), 1, &checker).await;
    a.take(0..8).await;
    etcd.fill();
    // etcd does not count what a transaction within a transaction writes: whether it gives shards
    // is its own affair, but it answers.
    a.claim(8..16).await;
    a.until("an answer", |event| matches!(event, EngineEvent::Owners(_)))
        .await;
    let heard = a.listen(LEASE * 2).await;
    assert!(!heard.contains(&EngineEvent::Fenced), "{heard:?}");
    assert!(a.session.valid.holds());
    let refused = start(engine(), member(2)).await.map(drop);
    assert!(
        matches!(refused, Err(EngineError::Full { .. })),
        "{refused:?}"
    );
    etcd.make_room();
    a.take(8..16).await;
    let mut b = Seat::join(engine(), 2, &checker).await;
    b.until_owned(15, a.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_of_etcd_changes_and_nobody_is_fenced() {
    let recipe = Recipe {
        three: true,
        ..Recipe::default()
    };
    let Some(mut etcd) = Etcd::start(recipe) else {
        return;
    };
    let leader = etcd.leader();
    // The one that goes is asked first.
    let mut endpoints = etcd.endpoints();
    endpoints.rotate_left(leader);
    let checker = Checker::default();
    let lease = Duration::from_secs(20);
    let mut a = Seat::join(Engine::connect(endpoints.clone()).lease(lease), 1, &checker).await;
    let mut b = Seat::join(Engine::connect(endpoints).lease(lease), 2, &checker).await;
    a.take(0..8).await;
    b.until_owned(7, a.id).await;
    etcd.member(leader).kill();
    b.take(8..16).await;
    a.until_owned(15, b.id).await;
    etcd.member(leader).start();
    etcd.until_healthy();
    let leader = etcd.leader();
    etcd.member(leader).pause();
    a.take(16..24).await;
    b.until_owned(23, a.id).await;
    etcd.member(leader).resume();
    etcd.until_healthy();
    a.give(16..24, b.id).await;
    b.until_owned(23, b.id).await;
    for seat in [&mut a, &mut b] {
        let heard = seat.listen(Duration::from_millis(100)).await;
        assert!(!heard.contains(&EngineEvent::Fenced), "{heard:?}");
        assert!(seat.session.valid.holds());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_and_forgotten_is_read_again() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let relay = Relay::to(etcd.address());
    let checker = Checker::default();
    let lease = Duration::from_secs(30);
    let far = Engine::connect([relay.endpoint()]).lease(lease);
    let mut a = Seat::join(far, 1, &checker).await;
    let mut b = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    let mut c = Seat::join(Engine::connect(etcd.endpoints()), 3, &checker).await;
    c.take(0..4).await;
    a.until_owned(3, c.id).await;
    relay.cut();
    c.give(0..4, b.id).await;
    c.until_owned(3, b.id).await;
    let id = c.id;
    drop(c);
    let gone = |event: &EngineEvent| matches!(event, EngineEvent::Gone { node, .. } if *node == id);
    b.until("the third is gone", gone).await;
    b.take(4..8).await;
    etcd.ctl(&["compact", &etcd.revision().to_string()]);
    relay.mend();
    a.until("the third is gone", gone).await;
    a.until_owned(7, b.id).await;
    a.until_owned(3, b.id).await;
    b.take(8..12).await;
    a.until_owned(11, b.id).await;
    assert!(a.session.valid.holds());
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_restarts_within_the_lease_and_nobody_is_fenced() {
    let Some(mut etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let engine = Engine::connect(etcd.endpoints()).lease(Duration::from_secs(30));
    let mut a = Seat::join(engine, 1, &Checker::default()).await;
    a.take(0..4).await;
    etcd.member(0).kill();
    // Asked while nobody answers: done when somebody does.
    a.claim(4..8).await;
    etcd.member(0).start();
    a.until_owned(7, a.id).await;
    let heard = a.listen(Duration::from_millis(100)).await;
    assert!(!heard.contains(&EngineEvent::Fenced), "{heard:?}");
    assert!(a.session.valid.holds());
}
