use alloc::format;
use alloc::string::String;

use proptest::prelude::*;

use super::*;
use crate::identity::NodeName;

fn member(n: u64, processor: u16, processes: u32) -> Member {
    Member {
        id: NodeId(n),
        name: NodeName::new(&format!("n{n}")).unwrap(),
        address: String::new(),
        weight: 100,
        version: String::new(),
        joined_ms: n,
        standing: Standing::Serving,
        load: Load {
            processor,
            memory: 0,
            queued: 0,
            processes,
        },
    }
}

fn at(secs: u64) -> Moment {
    Moment::from_nanos(secs * 1_000_000_000)
}

fn board(scores: &[(u64, Score)]) -> Board {
    Board {
        round: 1,
        scores: scores
            .iter()
            .map(|(n, score)| (NodeId(*n), *score))
            .collect(),
        shifts: Vec::new(),
    }
}

fn ids(count: usize) -> Vec<ProcessId> {
    (0..count)
        .map(|n| ProcessId::new(&format!("child-{n}")).unwrap())
        .collect()
}

#[test]
fn the_oldest_that_stays_leads() {
    let mut members = [member(2, 0, 0), member(1, 0, 0), member(3, 0, 0)];
    assert_eq!(leader(&members), Some(NodeId(1)));
    members[1].standing = Standing::Leaving;
    assert_eq!(leader(&members), Some(NodeId(2)));
    assert_eq!(leader(&members[1..2]), Some(NodeId(1)));
    assert_eq!(leader(&[]), None);
}

#[test]
fn a_score_is_made_of_four_parts() {
    let settings = Balancing::default();
    let score = |processor, queued, processes, memory| {
        let load = Load {
            processor,
            memory,
            queued,
            processes: 0,
        };
        super::score(&load, processes, 200, &settings)
    };
    assert_eq!(score(0, 0, 0, 0), 0);
    assert_eq!(score(1000, 0, 0, 0), 400);
    assert_eq!(score(0, 500, 0, 0), 150);
    assert_eq!(score(0, 0, 100, 0), 100);
    assert_eq!(score(0, 0, 0, 1000), 100);
    assert_eq!(
        score(u16::MAX, u32::MAX, u64::from(u32::MAX), u16::MAX),
        1000
    );
}

#[test]
fn each_member_has_its_own_history() {
    let mut members = [member(1, 900, 0), member(2, 0, 0)];
    let mut balancer = Balancer::new(NodeId(1), Balancing::default());
    let first = balancer.tick(at(0), &members).unwrap();
    assert_eq!(first.scores[&NodeId(1)], 360);
    assert_eq!(first.scores[&NodeId(2)], 0);
    assert_eq!(balancer.tick(at(9), &members), None);
    members[1].load.processor = 900;
    let second = balancer.tick(at(10), &members).unwrap();
    assert_eq!(second.scores[&NodeId(1)], 360);
    assert_eq!(second.scores[&NodeId(2)], 189);
    // Who does not lead makes none.
    assert_eq!(
        Balancer::new(NodeId(2), Balancing::default()).tick(at(0), &members),
        None
    );
}

#[test]
fn children_go_where_there_is_room() {
    let members = [member(1, 0, 0), member(2, 0, 0), member(3, 0, 0)];
    let board = board(&[(1, 1000), (2, 100), (3, 0)]);
    let split = split(2_000, 7, Some(&board), &members);
    for ((node, count), (wanted, share)) in split.iter().zip([(1, 100), (2, 900), (3, 1000)]) {
        assert_eq!(*node, NodeId(wanted));
        assert!(count.abs_diff(share) <= 1, "{split:?}");
    }
}

#[test]
fn children_started_one_by_one_are_spread_as_well() {
    let members = [member(1, 0, 0), member(2, 0, 0), member(3, 0, 0)];
    let board = board(&[(1, 900), (2, 500), (3, 0)]);
    let mut balancer = Balancer::new(NodeId(2), Balancing::default());
    assert!(balancer.hear(at(0), NodeId(1), board, &members));
    let shares = balancer.shares(at(1), &members);
    let mut counts = BTreeMap::new();
    for id in ids(16_000) {
        let taker = shares.taker(&id).unwrap();
        *counts.entry(taker).or_insert(0_u32) += 1;
    }
    for (node, share) in [(1, 1_000), (2, 5_000), (3, 10_000)] {
        let count = counts[&NodeId(node)];
        assert!(count.abs_diff(share) < 300, "{counts:?}");
    }
}

#[test]
fn without_a_fresh_board_weights_decide() {
    let mut members = [member(1, 0, 0), member(2, 0, 0)];
    members[1].weight = 300;
    let second = |split: &[(NodeId, usize)]| split[1].1;
    let split = |balancer: &Balancer, now| split(400, 7, balancer.scores(now), &members);
    let mut balancer = Balancer::new(NodeId(2), Balancing::default());
    assert_eq!(second(&split(&balancer, at(0))), 300);
    balancer.hear(at(0), NodeId(1), board(&[(1, 0), (2, 900)]), &members);
    assert_eq!(second(&split(&balancer, at(30))), 92);
    // The leader is gone: its board counts until it is stale.
    assert_eq!(second(&split(&balancer, at(31))), 300);
    assert_eq!(balancer.shares(at(31), &[]).taker(&ids(1)[0]), None);
}

#[test]
fn only_the_leaders_latest_board_counts() {
    let members = [member(1, 0, 0), member(2, 0, 0), member(3, 0, 0)];
    let mut balancer = Balancer::new(NodeId(2), Balancing::default());
    assert!(!balancer.hear(at(0), NodeId(3), board(&[(1, 5)]), &members));
    assert!(balancer.hear(at(0), NodeId(1), board(&[(1, 5)]), &members));
    assert!(!balancer.hear(at(0), NodeId(1), board(&[(1, 5)]), &members));
    assert!(balancer.hear(at(0), NodeId(3), board(&[(1, 6)]), &members[1..][1..]));
    assert_eq!(balancer.scores(at(1)).unwrap().scores[&NodeId(1)], 6);
}

#[test]
fn who_has_too_much_gives_away_some_of_it_after_a_while() {
    let members = [member(1, 900, 1_000), member(2, 0, 0), member(3, 450, 500)];
    let mut balancer = Balancer::new(NodeId(1), Balancing::default());
    let mut shifts = Vec::new();
    for round in 0..6 {
        let board = balancer.tick(at(round * 10), &members).unwrap();
        shifts.push(board.shifts);
    }
    let shift = Shift {
        from: NodeId(1),
        to: NodeId(2),
        count: 100,
        of: 1_000,
    };
    let wanted: [&[Shift]; 6] = [&[], &[], &[shift], &[], &[], &[shift]];
    assert_eq!(shifts, wanted);
    // Near enough to each other: nothing moves, ever.
    let close = [member(1, 500, 1_000), member(2, 300, 800)];
    let mut balancer = Balancer::new(NodeId(1), Balancing::default());
    for round in 0..9 {
        assert_eq!(balancer.tick(at(round * 10), &close).unwrap().shifts, []);
    }
}

/// A node joins an even hub: shifts go on until it is even again, and then stop.
#[test]
fn shifting_settles() {
    let mut members: Vec<Member> = (1..=4).map(|n| member(n, 0, 1_000)).collect();
    members[3].load.processes = 0;
    let mut balancer = Balancer::new(NodeId(1), Balancing::default());
    let (mut moved, mut last) = (0, 0);
    for round in 0..500 {
        for member in &mut members {
            let busy = (member.load.processes * 9 / 10).min(1_000);
            member.load.processor = u16::try_from(busy).unwrap();
        }
        for shift in balancer.tick(at(round * 10), &members).unwrap().shifts {
            for member in &mut members {
                if member.id == shift.from {
                    member.load.processes -= shift.count;
                } else if member.id == shift.to {
                    member.load.processes += shift.count;
                }
            }
            moved += shift.count;
            last = round;
        }
    }
    assert!((300..1_500).contains(&moved), "{moved}");
    assert!(last < 200, "{last}");
    assert!(
        members
            .iter()
            .all(|m| (450..1_000).contains(&m.load.processes))
    );
}

proptest! {
    #[test]
    fn a_split_is_whole_and_fair(
        scores in prop::collection::vec(0_u16..1_200, 1..20),
        count in 0_usize..5_000,
        seed: u64,
    ) {
        let members: Vec<Member> = (1..=scores.len() as u64).map(|n| member(n, 0, 0)).collect();
        let board = board(&(1..).zip(scores.iter().copied()).collect::<Vec<_>>());
        let split = split(count, seed, Some(&board), &members);
        prop_assert_eq!(split.iter().map(|(_, count)| count).sum::<usize>(), count);
        let left = |score: u16| f64::from(1_000_u16.saturating_sub(score).max(100));
        let total: f64 = scores.iter().map(|score| left(*score)).sum();
        let shares = Shares::new(Some(&board), &members);
        let child = ProcessId::new(&format!("c{seed}")).unwrap();
        let hash = xxhash_rust::xxh3::xxh3_64(child.as_str().as_bytes());
        let one = super::split(1, hash ^ shares.salt, Some(&board), &members);
        prop_assert_eq!(shares.taker(&child), one.first().map(|(node, _)| *node));
        for (node, given) in split {
            let exact = count as f64 * left(board.scores[&node]) / total;
            prop_assert!((given as f64 - exact).abs() <= 1.0, "{} for {}", given, exact);
        }
    }

    #[test]
    fn the_parts_of_a_shift_add_up(homes in prop::collection::vec(0_u32..100, 1..50), round: u64) {
        let of: u32 = homes.iter().sum();
        let shift = Shift { from: NodeId(1), to: NodeId(2), count: of / 3, of };
        let parts = homes.iter().zip(1..);
        let sum: u32 = parts.map(|(mine, home)| shift.part(*mine, NodeId(home), round)).sum();
        prop_assert!(sum.abs_diff(of / 3) as usize <= homes.len());
    }
}
