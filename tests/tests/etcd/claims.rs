//! At most one owner of a shard under a term, whoever asks how.

use handover_hub::engine::etcd::Etcd as Engine;
use handover_hub_proto::identity::{NodeId, ShardId, Term};
use handover_hub_proto::view::{Claim, Departure, EngineEvent, EngineOrder};
use handover_tests::etcd::{Etcd, Recipe};

use crate::seat::{Checker, SHARDS, Seat, member};

/// Changes of owners before three nodes stop.
const CHANGES: usize = 5000;

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_that_want_everything_never_own_a_shard_together() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let checker = Checker::default();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let seat = Seat::join(Engine::connect(etcd.endpoints()), id, &checker).await;
        nodes.push(tokio::spawn(want_everything(seat, checker.clone())));
    }
    for node in nodes {
        node.await.expect("no two owners");
    }
}

/// Claims what is not its own and gives away what is, to everybody in turn.
async fn want_everything(mut seat: Seat, checker: Checker) {
    let mut round = 0;
    while checker.changes() < CHANGES {
        round += 1;
        let mine = |shard: &u16| {
            let owner = seat.owners.get(&ShardId(*shard));
            owner.is_some_and(|owner| owner.node == seat.id)
        };
        let (mine, others): (Vec<u16>, Vec<u16>) = (0..SHARDS).partition(mine);
        if !others.is_empty() {
            seat.claim(others).await;
            answer(&mut seat).await;
        }
        if mine.is_empty() {
            continue;
        }
        // Over one's own: the term grows, the owner stays.
        seat.claim(mine.iter().copied().step_by(3)).await;
        answer(&mut seat).await;
        let to = NodeId(1 + (seat.id.0 + round) % 3);
        seat.give(mine, to).await;
        answer(&mut seat).await;
    }
    // Stays until the others are done with it: who is gone is given nothing.
    seat.listen(std::time::Duration::from_secs(1)).await;
}

async fn answer(seat: &mut Seat) {
    seat.until("an answer", |event| matches!(event, EngineEvent::Owners(_)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shard_that_is_lost_does_not_cost_the_others_of_its_batch() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let checker = Checker::default();
    let mut a = Seat::join(Engine::connect(etcd.endpoints()), 1, &checker).await;
    let mut b = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    a.take(7..8).await;
    b.until_owned(7, a.id).await;
    let over = |shard| Claim {
        shard: ShardId(shard),
        over: None,
    };
    b.order(EngineOrder::Claim((0..SHARDS).map(over).collect()))
        .await;
    for shard in (0..SHARDS).filter(|shard| *shard != 7) {
        b.until_owned(shard, b.id).await;
    }
    let kept = b.owners[&ShardId(7)];
    assert_eq!(kept.node, a.id);
    a.until_owned(0, b.id).await;
    assert!(kept.term > Term(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shards_of_who_leaves_are_free_and_those_of_who_is_there_are_not() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let checker = Checker::default();
    let mut a = Seat::join(Engine::connect(etcd.endpoints()), 1, &checker).await;
    let mut b = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    a.take(0..SHARDS).await;
    b.until_owned(SHARDS - 1, a.id).await;
    b.claim([0]).await;
    answer(&mut b).await;
    assert_eq!(b.owners[&ShardId(0)].node, a.id);
    a.order(EngineOrder::Leave).await;
    let gone = EngineEvent::Gone {
        node: a.id,
        cause: Departure::Left,
    };
    b.until("the first node has left", |event| *event == gone)
        .await;
    assert!(!a.session.valid.holds());
    b.take(0..SHARDS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_about_a_member_reaches_the_others() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let checker = Checker::default();
    let mut a = Seat::join(Engine::connect(etcd.endpoints()), 1, &checker).await;
    let mut b = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    let mut busy = member(1);
    busy.load.processes = 1000;
    a.order(EngineOrder::Announce(busy.clone())).await;
    let wanted = EngineEvent::Member(busy);
    b.until("the load of the first", |event| *event == wanted)
        .await;
}
