use alloc::format;
use alloc::string::String;

use super::*;
use crate::identity::{Epoch, NodeName, Term};
use crate::placement::homes;
use crate::view::{Load, Standing};

fn cluster(size: u64) -> Vec<Member> {
    (1..=size)
        .map(|n| Member {
            id: NodeId(n),
            name: NodeName::new(&format!("node-{n}")).unwrap(),
            address: String::new(),
            weight: 100,
            version: String::new(),
            joined_ms: n,
            standing: Standing::Serving,
            load: Load::default(),
        })
        .collect()
}

fn replicated(factor: Factor, model: Model) -> Redundancy {
    Redundancy::Replicated {
        factor,
        model,
        signal: Signal::Active,
        state: true,
    }
}

fn host(node: u64, grant: u64, role: Role) -> Host {
    Host {
        node: NodeId(node),
        epoch: Epoch {
            term: Term(1),
            grant,
        },
        role,
        filled: true,
    }
}

#[test]
fn the_home_comes_first_and_nobody_twice() {
    let members = cluster(5);
    let homes = homes(&members, 256);
    let redundancy = replicated(Factor::Nodes(3), Model::ActivePassive);
    for (shard, home) in (0..).map(ShardId).zip(&homes) {
        let mut hosts = redundancy.hosts(shard, *home, &members);
        assert_eq!(hosts[0], (*home, Role::Active));
        assert!(hosts[1..].iter().all(|(_, role)| *role == Role::Passive));
        hosts.sort_by_key(|(node, _)| *node);
        hosts.dedup_by_key(|(node, _)| *node);
        assert_eq!(hosts.len(), 3);
        assert_eq!(
            Redundancy::Single.hosts(shard, *home, &members),
            [(*home, Role::Active)]
        );
    }
}

#[test]
fn there_are_no_more_replicas_than_nodes() {
    let members = cluster(2);
    for (factor, count) in [
        (Factor::Nodes(3), 2),
        (Factor::Nodes(0), 1),
        (Factor::EveryNode, 2),
    ] {
        let hosts = replicated(factor, Model::ActiveActive).hosts(ShardId(1), NodeId(2), &members);
        assert_eq!(hosts.len(), count);
        assert!(hosts.iter().all(|(_, role)| *role == Role::Active));
    }
}

/// When a node dies, its shards fall to their second replicas where the bound allows it.
#[test]
fn most_heirs_run_a_replica_already() {
    let members = cluster(5);
    let before = homes(&members, 1024);
    let redundancy = replicated(Factor::Nodes(2), Model::ActivePassive);
    let left: Vec<Member> = members[1..].to_vec();
    let after = homes(&left, 1024);
    let (mut fallen, mut kept) = (0, 0);
    for (at, home) in before
        .iter()
        .enumerate()
        .filter(|(_, home)| **home == NodeId(1))
    {
        let shard = ShardId(u16::try_from(at).unwrap());
        let hosts = redundancy.hosts(shard, *home, &members);
        fallen += 1;
        kept += usize::from(hosts[1].0 == after[at]);
    }
    assert!(kept * 10 >= fallen * 8, "{kept} of {fallen}");
}

#[test]
fn a_join_changes_what_it_must() {
    let running = [host(1, 4, Role::Active), host(2, 3, Role::Passive)];
    let wanted = [(NodeId(3), Role::Active), (NodeId(1), Role::Passive)];
    let changes = changes(&running, &wanted);
    assert_eq!(changes.start, [(NodeId(3), Role::Active)]);
    assert_eq!(changes.turn, [(NodeId(1), Role::Passive)]);
    assert_eq!(changes.stop, [NodeId(2)]);
    let same = [(NodeId(2), Role::Passive), (NodeId(1), Role::Active)];
    assert!(super::changes(&running, &same).is_empty());
}

#[test]
fn the_heir_is_who_is_wanted_first() {
    let wanted = [(NodeId(1), Role::Active), (NodeId(3), Role::Passive)];
    let passive = [host(2, 9, Role::Passive), host(3, 2, Role::Passive)];
    let node = |hosts: &[Host], wanted: &[_]| heir(hosts, wanted).map(|host| host.node);
    assert_eq!(node(&passive, &wanted), Some(NodeId(3)));
    assert_eq!(node(&passive, &[]), Some(NodeId(2)));
    let unfilled = Host {
        filled: false,
        ..passive[1]
    };
    assert_eq!(node(&[passive[0], unfilled], &wanted), Some(NodeId(2)));
    assert_eq!(node(&[unfilled], &wanted), Some(NodeId(3)));
    assert_eq!(heir(&[], &wanted), None);
    assert_eq!(heir(&[host(2, 9, Role::Active)], &wanted), None);
}

#[test]
fn signals_go_to_whom_they_concern() {
    for (signal, active, passive) in [
        (Signal::None, false, false),
        (Signal::All, true, true),
        (Signal::Active, true, false),
        (Signal::Passive, false, true),
    ] {
        assert_eq!(signal.tells(Role::Active), active);
        assert_eq!(signal.tells(Role::Passive), passive);
    }
    assert!(!Redundancy::Single.tells(Role::Active));
    assert!(replicated(Factor::EveryNode, Model::ActivePassive).keeps_state());
    assert!(!replicated(Factor::EveryNode, Model::ActiveActive).keeps_state());
}
