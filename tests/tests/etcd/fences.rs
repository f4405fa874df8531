//! Who cannot vouch for its lease stands still, before anybody else acts.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover_hub::engine::Boottime;
use handover_hub::engine::etcd::Etcd as Engine;
use handover_hub_proto::identity::NodeId;
use handover_hub_proto::view::{Departure, EngineEvent};
use handover_tests::etcd::{Etcd, Recipe, Relay, mortal};
use handover_tests::patience::{eventually, until};
use handover_tests::process;
use rustix::process::Signal;

use crate::seat::{Checker, SHARDS, Seat, hub};

const SHORT: Duration = Duration::from_secs(2);

/// A node in a process of its own, and what it said.
struct Node {
    child: Child,
    said: Arc<Mutex<Vec<(u64, bool)>>>,
}

impl Node {
    fn start(etcd: &Etcd) -> Self {
        let mut command = mortal(env!("CARGO_BIN_EXE_etcd-node").as_ref());
        command.args([&etcd.endpoints()[0], hub().as_str(), "2"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setpriv is there");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let node = Self {
            child,
            said: Arc::clone(&said),
        };
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let (moment, holds) = line.split_once(' ').expect("two words");
                let line = (moment.parse().expect("a number"), holds == "true");
                said.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(line);
            }
        });
        node
    }

    /// What it said about moments after this one.
    fn after(&self, moment: Boottime) -> Vec<bool> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let later = said.iter().filter(|(when, _)| *when > moment.0);
        later.map(|(_, holds)| *holds).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_for_longer_than_its_lease_does_not_act() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let node = Node::start(&etcd);
    let beginning = Boottime(0);
    until("the node may act", || node.after(beginning).contains(&true));
    let checker = Checker::default();
    let mut other = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    other.until_owned(0, NodeId(1)).await;
    process::signal(node.child.id(), Signal::STOP);
    let gone = EngineEvent::Gone {
        node: NodeId(1),
        cause: Departure::Lost,
    };
    other
        .until("the stopped node is gone", |event| *event == gone)
        .await;
    other.take(0..1).await;
    let taken = Boottime::now();
    process::signal(node.child.id(), Signal::CONT);
    // It joins anew, under the same id, and may act again: what it said before that is all there.
    let back = |event: &EngineEvent| matches!(event, EngineEvent::Member(member) if member.id == NodeId(1));
    other.until("the node is back", back).await;
    let answers = eventually("the node may act again", || {
        let answers = node.after(taken);
        answers.contains(&true).then_some(answers)
    });
    assert!(!answers[0], "it acted before it knew");
    // It may act once it has read that the shard is not its own any more, and not before.
    let first = answers.iter().position(|holds| *holds).expect("it may act");
    assert!(answers[first..].iter().all(|holds| *holds), "it flickered");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_is_down_for_longer_than_all_leases_and_nobody_loses_anything() {
    let Some(mut etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let checker = Checker::default();
    // The lease as it is unless it is set.
    let mut a = Seat::join(Engine::connect(etcd.endpoints()), 1, &checker).await;
    let mut b = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    a.take(0..8).await;
    b.take(8..16).await;
    etcd.member(0).kill();
    let fenced = |event: &EngineEvent| *event == EngineEvent::Fenced;
    a.until("the first is fenced", fenced).await;
    b.until("the second is fenced", fenced).await;
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(!a.session.valid.holds() && !b.session.valid.holds());
    etcd.member(0).start();
    let unfenced = |event: &EngineEvent| *event == EngineEvent::Unfenced;
    a.until("the first goes on", unfenced).await;
    b.until("the second goes on", unfenced).await;
    assert!(a.session.valid.holds() && b.session.valid.holds());
    for shard in 0..8 {
        a.until_owned(shard, a.id).await;
        a.until_owned(shard + 8, b.id).await;
    }
    // And they are owners as before: they can give away.
    a.give(0..8, b.id).await;
    b.until_owned(7, b.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_took_from_a_node_that_was_cut_off_is_known_before_it_goes_on() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let relay = Relay::to(etcd.address());
    let checker = Checker::default();
    let cut_off = Engine::connect([relay.endpoint()]).lease(SHORT);
    let mut a = Seat::join(cut_off, 1, &checker).await;
    let mut b = Seat::join(Engine::connect(etcd.endpoints()), 2, &checker).await;
    a.take(0..SHARDS).await;
    b.until_owned(SHARDS - 1, a.id).await;
    relay.cut();
    let gone = EngineEvent::Gone {
        node: a.id,
        cause: Departure::Lost,
    };
    b.until("the first is gone", |event| *event == gone).await;
    assert!(!a.session.valid.holds(), "it stopped before");
    b.take(0..10).await;
    relay.mend();
    a.until_unfenced().await;
    for shard in 0..SHARDS {
        let owner = if shard < 10 { b.id } else { a.id };
        assert_eq!(
            a.owners[&handover_hub_proto::identity::ShardId(shard)].node,
            owner
        );
    }
    a.take(10..20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_key_somebody_deletes_stands_still_and_comes_back() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let mut a = Seat::join(Engine::connect(etcd.endpoints()), 1, &Checker::default()).await;
    a.take(0..1).await;
    etcd.ctl(&["del", &format!("/handover/sessions/member/{}", a.id)]);
    a.until_unfenced().await;
    a.take(1..2).await;
}
