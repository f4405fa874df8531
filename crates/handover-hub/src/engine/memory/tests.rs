use std::time::Duration;

use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId, Term};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::placement::Distribution;
use handover_hub_proto::view::{
    Claim, Departure, EngineEvent, EngineOrder, Load, Member, Owner, Standing, Transfer,
};

use super::{Authority, Charter, Engine, EngineError, Post, Session};

const PATIENCE: Duration = Duration::from_secs(60);
const SHARDS: u16 = 8;

fn hub() -> HubName {
    HubName::new("sessions").expect("a name")
}

fn member(id: u64) -> Member {
    Member {
        id: NodeId(id),
        name: NodeName::new(&format!("node-{id}")).expect("a name"),
        address: format!("127.0.0.1:{id}"),
        weight: 100,
        version: "1".to_owned(),
        joined_ms: id,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

fn charter(shards: u16) -> Charter {
    Charter {
        hub: hub(),
        shards,
        agreement: Agreement::default(),
    }
}

async fn join(authority: &Authority, id: u64) -> Session {
    let engine = Box::new(authority.engine());
    let joined = engine.start(member(id), charter(SHARDS), Post::new().0);
    let mut session = joined.await.expect("a free name");
    until(&mut session, |event| *event == EngineEvent::Ready).await;
    session
}

async fn until(session: &mut Session, wanted: impl Fn(&EngineEvent) -> bool) -> Vec<EngineEvent> {
    let mut heard = Vec::new();
    let wait = async {
        loop {
            let event = session.events.recv().await.expect("an engine that runs");
            let found = wanted(&event);
            heard.push(event);
            if found {
                return;
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, wait).await;
    assert!(outcome.is_ok(), "only heard {heard:?}");
    heard
}

async fn owners(session: &mut Session) -> Vec<(ShardId, Owner)> {
    let heard = until(session, |event| matches!(event, EngineEvent::Owners(_))).await;
    match heard.into_iter().next_back() {
        Some(EngineEvent::Owners(owners)) => owners,
        other => panic!("{other:?}"),
    }
}

async fn claim(session: &Session, shard: u16, over: Option<u64>) {
    let claim = Claim {
        shard: ShardId(shard),
        over: over.map(Term),
    };
    let order = EngineOrder::Claim(vec![claim]);
    session.orders.send(order).await.expect("an engine");
}

fn owned(shard: u16, node: u64, term: u64) -> Vec<(ShardId, Owner)> {
    let owner = Owner {
        node: NodeId(node),
        term: Term(term),
    };
    vec![(ShardId(shard), owner)]
}

#[tokio::test]
async fn the_first_claim_wins_and_the_second_hears_who_did() {
    let authority = Authority::new();
    let (mut a, mut b) = (join(&authority, 1).await, join(&authority, 2).await);
    claim(&a, 3, None).await;
    assert_eq!(owners(&mut a).await, owned(3, 1, 1));
    assert_eq!(owners(&mut b).await, owned(3, 1, 1));
    claim(&b, 3, None).await;
    assert_eq!(owners(&mut b).await, owned(3, 1, 1));
    claim(&b, 3, Some(1)).await;
    assert_eq!(owners(&mut b).await, owned(3, 1, 1), "its owner is there");
}

#[tokio::test]
async fn a_shard_goes_to_whom_its_owner_gives_it() {
    let authority = Authority::new();
    let (mut a, mut b) = (join(&authority, 1).await, join(&authority, 2).await);
    claim(&a, 0, None).await;
    owners(&mut a).await;
    owners(&mut b).await;
    let to = |term, node| {
        EngineOrder::Transfer(vec![Transfer {
            shard: ShardId(0),
            term: Term(term),
            to: NodeId(node),
        }])
    };
    a.orders.send(to(1, 9)).await.expect("an engine");
    assert_eq!(owners(&mut a).await, owned(0, 1, 1), "nobody is node 9");
    a.orders.send(to(1, 2)).await.expect("an engine");
    assert_eq!(owners(&mut a).await, owned(0, 2, 2));
    assert_eq!(owners(&mut b).await, owned(0, 2, 2));
}

#[tokio::test]
async fn a_node_whose_lease_ended_while_it_was_cut_off_learns_what_others_took() {
    let authority = Authority::new();
    let (mut a, mut b) = (join(&authority, 1).await, join(&authority, 2).await);
    claim(&a, 0, None).await;
    owners(&mut a).await;
    owners(&mut b).await;
    authority.cut(NodeId(1));
    assert!(a.valid.holds(), "being cut off ends no lease");
    authority.expire(NodeId(1));
    assert!(!a.valid.holds());
    until(&mut a, |event| *event == EngineEvent::Fenced).await;
    a.valid.acknowledge();
    let gone = EngineEvent::Gone {
        node: NodeId(1),
        cause: Departure::Lost,
    };
    until(&mut b, |event| *event == gone).await;
    claim(&b, 0, Some(1)).await;
    assert_eq!(owners(&mut b).await, owned(0, 2, 2));
    assert!(!a.valid.holds());
    authority.restore(NodeId(1));
    let heard = until(&mut a, |event| *event == EngineEvent::Unfenced).await;
    assert!(heard.contains(&EngineEvent::Owners(owned(0, 2, 2))));
    assert!(a.valid.holds());
    until(&mut b, |event| *event == EngineEvent::Member(member(1))).await;
}

#[tokio::test]
async fn who_leaves_has_left_and_who_is_dropped_is_lost() {
    let authority = Authority::new();
    let mut a = join(&authority, 1).await;
    let (b, c) = (join(&authority, 2).await, join(&authority, 3).await);
    let gone = |node, cause| EngineEvent::Gone {
        node: NodeId(node),
        cause,
    };
    b.orders.send(EngineOrder::Leave).await.expect("an engine");
    until(&mut a, |event| *event == gone(2, Departure::Left)).await;
    assert!(!b.valid.holds());
    drop(c);
    until(&mut a, |event| *event == gone(3, Departure::Lost)).await;
}

#[tokio::test]
async fn an_order_that_is_made_to_fail_changes_nothing_and_the_next_one_does() {
    let authority = Authority::new();
    let mut a = join(&authority, 1).await;
    authority.fail_orders(1);
    claim(&a, 0, None).await;
    assert_eq!(owners(&mut a).await, vec![]);
    claim(&a, 0, None).await;
    assert_eq!(owners(&mut a).await, owned(0, 1, 1));
    assert_eq!(authority.owners(&hub()), owned(0, 1, 1));
}

#[tokio::test]
async fn a_name_is_used_once_and_all_nodes_have_the_same_shards() {
    let authority = Authority::new();
    let _a = join(&authority, 1).await;
    let same = Member {
        id: NodeId(2),
        ..member(1)
    };
    let engine = Box::new(authority.engine());
    let refused = engine.start(same, charter(SHARDS), Post::new().0).await;
    assert!(matches!(refused, Err(EngineError::NameTaken { node, .. }) if node == NodeId(1)));
    let engine = Box::new(authority.engine());
    let refused = engine.start(member(2), charter(9), Post::new().0).await;
    let wrong = EngineError::Shards {
        hub: hub(),
        expected: SHARDS,
        found: 9,
    };
    assert_eq!(refused.map(|_| ()), Err(wrong));
}

#[tokio::test]
async fn all_nodes_that_run_have_the_same_settings() {
    let authority = Authority::new();
    let a = join(&authority, 1).await;
    let mut other = charter(SHARDS);
    other.agreement.distribution = Distribution::Guided;
    let engine = Box::new(authority.engine());
    let refused = engine.start(member(2), other.clone(), Post::new().0).await;
    let text = refused.map(|_| ()).expect_err("refused").to_string();
    assert!(
        text.contains("has Consistent as its distribution"),
        "{text}"
    );
    drop(a);
    let joins = async {
        let engine = || Box::new(authority.engine());
        while let Err(EngineError::Disagreement { .. }) = engine()
            .start(member(2), other.clone(), Post::new().0)
            .await
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), joins)
        .await
        .expect("nobody runs any more");
}
