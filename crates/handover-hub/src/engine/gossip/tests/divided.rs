//! Death, silence and divided networks.

use std::collections::BTreeSet;
use std::time::Duration;

use handover_hub_proto::identity::{NodeId, ShardId};
use handover_hub_proto::view::Departure;

use super::super::Pace;
use super::{Node, SHARDS, owner, quick, seeded, slow, three};
use crate::transport::local::Network;

#[tokio::test]
async fn a_killed_node_is_gone_at_once_without_gossip() {
    let network = Network::new();
    let [a, b, c] = three(&network, &slow()).await;
    c.claim(&[5], None).await;
    a.owns(5, owner(&c, 1)).await;
    network.kill(c.id);
    a.gone(c.id, Departure::Lost).await;
    b.gone(c.id, Departure::Lost).await;
    a.claim(&[5], Some(1)).await;
    b.owns(5, owner(&a, 2)).await;
}

#[tokio::test]
async fn a_node_that_restarts_at_once_is_another_one() {
    let network = Network::new();
    let [a, b, c] = three(&network, &quick()).await;
    let old = c.id;
    network.kill(old);
    drop(c);
    // Under the same name, at another address: the port was given away meanwhile.
    let c = Node::named(&network, 4, "n3", seeded(quick()))
        .await
        .unwrap();
    for node in [&a, &b, &c] {
        node.knows(&[&a, &b, &c]).await;
    }
    for node in [&a, &b] {
        node.gone(old, Departure::Lost).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for node in [&a, &b, &c] {
        assert!(!node.view().members.contains_key(&old));
    }
}

#[tokio::test]
async fn silence_is_death_and_a_divided_network_heals() {
    let network = Network::new();
    let [a, b, c] = three(&network, &quick()).await;
    let all: Vec<u16> = (0..SHARDS).collect();
    a.claim(&all, None).await;
    c.owns(299, owner(&a, 1)).await;
    network.divide(&[&[a.id, b.id], &[c.id]]);
    a.gone(c.id, Departure::Lost).await;
    b.gone(c.id, Departure::Lost).await;
    c.gone(a.id, Departure::Lost).await;
    c.gone(b.id, Departure::Lost).await;
    a.knows(&[&a, &b]).await;
    c.knows(&[&c]).await;

    // The lone one takes all; the others change hands twice for some.
    c.claim(&all, Some(1)).await;
    a.claim(&[0, 1], Some(1)).await;
    a.claim(&[0, 1], Some(2)).await;
    assert_eq!(a.view().owners[&ShardId(0)], owner(&a, 3));
    assert_eq!(c.view().owners[&ShardId(0)], owner(&c, 2));

    network.heal();
    for node in [&a, &b, &c] {
        node.knows(&[&a, &b, &c]).await;
        node.owns(0, owner(&a, 3)).await;
        node.owns(1, owner(&a, 3)).await;
        node.owns(2, owner(&c, 2)).await;
        node.owns(299, owner(&c, 2)).await;
    }
}

#[tokio::test]
async fn two_that_claim_one_shard_at_once_agree_with_everybody() {
    let network = Network::new();
    let [a, b, c] = three(&network, &quick()).await;
    for shard in 0..20 {
        let shard = [shard];
        tokio::join!(
            a.claim(&shard, None),
            b.claim(&shard, None),
            c.claim(&shard, None)
        );
    }
    for node in [&a, &b, &c] {
        for shard in 0..20 {
            // Whoever heard of another claim before its own was refused; of those that were not,
            // the highest won.
            let agreed = a.view().owners.get(&ShardId(shard)).copied();
            node.until("agreed", |view| {
                let owner = view.owners.get(&ShardId(shard)).copied();
                owner.is_some() && owner == agreed
            })
            .await;
        }
    }
}

#[tokio::test]
async fn twenty_nodes_agree_through_joins_kills_and_cuts() {
    let network = Network::new();
    // Twenty on one thread: as quick as a few they hold each other for dead on a busy machine.
    let pace = || {
        seeded(Pace {
            interval: quick().interval * 2,
            ..quick()
        })
    };
    let mut nodes = Vec::new();
    for number in 1..=20 {
        nodes.push(Node::start(&network, number, pace()).await);
    }
    let everybody = |nodes: &[Node]| nodes.iter().map(|node| node.id).collect::<BTreeSet<_>>();
    let settle = async |nodes: &[Node]| {
        let ids = everybody(nodes);
        for node in nodes {
            node.until("knew all", |view| {
                view.members.keys().copied().collect::<BTreeSet<NodeId>>() == ids
            })
            .await;
        }
    };
    settle(&nodes).await;
    for (shard, node) in (0..).zip(&nodes) {
        node.claim(&[shard], None).await;
    }
    for round in 0..3_u64 {
        // The last three die together, three others are cut off and come back, three join.
        for node in nodes.split_off(17) {
            network.kill(node.id);
        }
        let cut: Vec<_> = nodes[8..11].iter().map(|node| node.id).collect();
        let rest: Vec<_> = nodes
            .iter()
            .map(|node| node.id)
            .filter(|id| !cut.contains(id))
            .collect();
        network.divide(&[&cut, &rest]);
        nodes[0].gone(cut[0], Departure::Lost).await;
        network.heal();
        for number in 0..3 {
            let number = 100 + round * 10 + number;
            nodes.push(Node::start(&network, number, pace()).await);
        }
        settle(&nodes).await;
    }
    let first = nodes[0].view().owners.clone();
    for node in &nodes {
        node.until("agreed on owners", |view| view.owners == first)
            .await;
    }
}
