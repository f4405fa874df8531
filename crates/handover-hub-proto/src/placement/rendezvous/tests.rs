use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use proptest::prelude::*;

use super::*;
use crate::identity::NodeName;
use crate::view::{Load, Standing};

fn member(name: &str, id: u64, weight: u32) -> Member {
    Member {
        id: NodeId(id),
        name: NodeName::new(name).unwrap(),
        address: String::new(),
        weight,
        version: String::new(),
        joined_ms: id,
        standing: Standing::Serving,
        load: Load::default(),
    }
}

fn cluster(size: u64) -> Vec<Member> {
    (1..=size)
        .map(|n| member(&format!("node-{n}"), n, 100))
        .collect()
}

fn shares(homes: &[NodeId]) -> BTreeMap<NodeId, usize> {
    let mut shares = BTreeMap::new();
    for home in homes {
        *shares.entry(*home).or_default() += 1;
    }
    shares
}

fn moved(before: &[NodeId], after: &[NodeId]) -> usize {
    before.iter().zip(after).filter(|(b, a)| b != a).count()
}

#[test]
fn nobody_owns_nothing() {
    assert_eq!(homes(&[], 1024), []);
    assert_eq!(homes(&cluster(3), 0), []);
}

#[test]
fn the_logarithm_is_right() {
    assert_eq!(minus_log2(1 << 63), 1 << 40);
    assert_eq!(minus_log2(1), 64 << 40);
    assert!(minus_log2(u64::MAX) <= 1);
    let third = minus_log2(u64::MAX / 3) as f64 / (1_u64 << 40) as f64;
    assert!((third - 3_f64.log2()).abs() < 1e-9, "{third}");
}

#[test]
fn who_takes_nothing_gets_nothing() {
    let mut members = cluster(4);
    members[0].standing = Standing::Evacuating;
    members[1].standing = Standing::Leaving;
    members[2].weight = 0;
    assert_eq!(
        shares(&homes(&members, 64)).into_iter().collect::<Vec<_>>(),
        [(NodeId(4), 64)]
    );
    members[3].standing = Standing::Leaving;
    assert_eq!(
        shares(&homes(&members, 64)).into_iter().collect::<Vec<_>>(),
        [(NodeId(1), 64)]
    );
    for member in &mut members {
        member.weight = 0;
    }
    assert_eq!(shares(&homes(&members, 64)).len(), 4);
}

#[test]
fn a_restarted_node_gets_its_shards_back() {
    let members = cluster(5);
    let before = homes(&members, 1024);
    let mut restarted = members.clone();
    restarted[2].id = NodeId(99);
    restarted[2].joined_ms = 99;
    let renamed: Vec<NodeId> = before
        .iter()
        .map(|home| {
            if *home == NodeId(3) {
                NodeId(99)
            } else {
                *home
            }
        })
        .collect();
    assert_eq!(homes(&restarted, 1024), renamed);
    // While its past is still a member it counts for nothing.
    restarted.push(members[2].clone());
    assert_eq!(homes(&restarted, 1024), renamed);
}

#[test]
fn shares_follow_weights() {
    let members = [member("a", 1, 100), member("b", 2, 200), member("c", 3, 50)];
    let shares = shares(&homes(&members, 1024));
    for (id, weight) in [(1, 100.0), (2, 200.0), (3, 50.0)] {
        let ideal = 1024.0 * weight / 350.0;
        let off = shares[&NodeId(id)] as f64 / ideal;
        assert!((0.85..=1.06).contains(&off), "{id}: {shares:?}");
    }
}

#[test]
fn a_join_moves_little_and_only_what_it_must() {
    let members = cluster(5);
    let small = homes(&members[..4], 1024);
    let large = homes(&members, 1024);
    let moved = moved(&small, &large);
    let ideal = 1024 / 5;
    assert!((ideal * 9 / 10..=ideal * 6 / 5).contains(&moved), "{moved}");
}

/// A thousand nodes, as `cargo xtask bench hub-placement` has them.
#[test]
fn a_thousand_nodes_are_even_and_move_little() {
    let shards = 16_384;
    let members = cluster(1_005);
    let mut before = homes(&members[..1_000], shards);
    let most = shares(&before).into_values().max().unwrap();
    assert!(most <= 22, "{most} shards, of 16.4 on average");
    let least = shares(&before).into_values().min().unwrap();
    assert!(least >= 4, "{least} shards, of 16.4 on average");
    let mut sum = 0;
    for size in 1_001..=1_005 {
        let after = homes(&members[..size], shards);
        let joined = after.iter().filter(|home| home.0 == size as u64).count();
        let moved = moved(&before, &after);
        assert!(joined > 0 && moved >= joined, "{joined} of {moved}");
        assert!(
            moved <= 5 * 17,
            "{moved}, with a thousandth of the shards 17"
        );
        sum += moved;
        before = after;
    }
    assert!(sum <= 5 * 17 * 2, "{sum}");
    let gone = homes(&members[1..1_005], shards);
    let orphans = before.iter().filter(|home| home.0 == 1).count();
    let moved = super::tests::moved(&before, &gone);
    assert!((orphans..=5 * 17).contains(&moved), "{moved} of {orphans}");
}

/// Nodes of two versions are in one hub during an upgrade: both must place alike, for ever.
#[test]
fn placement_does_not_change_with_the_version() {
    let members = [
        member("a", 1, 100),
        member("b", 2, 250),
        member("c", 3, 100),
    ];
    let homes: Vec<u64> = homes(&members, 24).iter().map(|home| home.0).collect();
    assert_eq!(
        homes,
        [
            1, 2, 3, 2, 1, 2, 1, 1, 2, 2, 2, 3, 1, 3, 3, 2, 1, 2, 3, 1, 2, 2, 3, 2
        ]
    );
    let ranks: Vec<u64> = (0..4)
        .flat_map(|shard| ranked(&members, ShardId(shard), 3))
        .map(|node| node.0)
        .collect();
    assert_eq!(ranks, [1, 2, 3, 2, 3, 1, 3, 2, 1, 2, 3, 1]);
    let shards = ["a", "session-1", "ü"].map(|id| {
        let id = crate::identity::ProcessId::new(id).unwrap();
        crate::placement::shard_of(&id, 1024).0
    });
    assert_eq!(shards, [543, 773, 878]);
}

proptest! {
    #[test]
    fn the_order_of_members_does_not_matter(
        weights in prop::collection::vec(1_u32..300, 1..12),
        turn in 0_usize..12,
        shards in 1_u16..300,
    ) {
        let mut members: Vec<Member> = weights
            .iter()
            .zip(1..)
            .map(|(weight, n)| member(&format!("n{n}"), n, *weight))
            .collect();
        let before = homes(&members, shards);
        let turn = turn % members.len();
        members.rotate_left(turn);
        prop_assert_eq!(&before, &homes(&members, shards));
        members.reverse();
        prop_assert_eq!(&before, &homes(&members, shards));
        prop_assert_eq!(before.len(), usize::from(shards));
    }

    #[test]
    fn nobody_exceeds_its_bound(
        weights in prop::collection::vec(1_u32..300, 1..12),
        shards in 1_u16..500,
    ) {
        let members: Vec<Member> = weights
            .iter()
            .zip(1..)
            .map(|(weight, n)| member(&format!("n{n}"), n, *weight))
            .collect();
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let shares = shares(&homes(&members, shards));
        for member in &members {
            let share = shares.get(&member.id).copied().unwrap_or(0);
            let hash = xxhash_rust::xxh3::xxh3_64(member.name.as_str().as_bytes());
            let bound = bound(shards, member.weight, total, hash);
            prop_assert!(share <= bound, "{share} over {bound}");
            let fair = f64::from(shards) * f64::from(member.weight) / total as f64;
            prop_assert!(bound as f64 >= fair - 0.01, "{bound} below {fair}");
        }
    }
}
