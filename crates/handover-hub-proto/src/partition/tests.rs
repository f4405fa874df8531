use alloc::format;

use proptest::prelude::*;

use super::*;

fn at(secs: u64) -> Moment {
    Moment::from_nanos(secs * 1_000_000_000)
}

fn name(node: u64) -> NodeName {
    NodeName::new(&format!("n{node}")).unwrap()
}

/// Node 1 of a hub.
fn judge(rule: Rule) -> Judge {
    Judge::new(rule, name(1))
}

fn join(judge: &mut Judge, node: u64) -> Verdict {
    judge.joined(at(0), NodeId(node), &name(node))
}

fn lose(judge: &mut Judge, secs: u64, node: u64) -> Verdict {
    judge.gone(at(secs), NodeId(node), Departure::Lost)
}

const fn divided(needed: u32, found: u32) -> Verdict {
    Verdict::Divided { needed, found }
}

const MAJORITY: Rule = Rule::Majority {
    initial: 1,
    track_max: true,
};

#[test]
fn divergence_never_stops() {
    let mut judge = judge(Rule::Diverge);
    join(&mut judge, 2);
    assert_eq!(lose(&mut judge, 1, 2), Verdict::Whole);
}

#[test]
fn a_static_quorum_counts_from_the_first_loss_or_from_the_start() {
    let rule = |startup_confirm| Rule::StaticQuorum {
        size: 2,
        startup_confirm,
    };
    let mut late = judge(rule(false));
    assert_eq!(late.judge(at(0)), Verdict::Whole);
    assert_eq!(join(&mut late, 2), Verdict::Whole);
    assert_eq!(lose(&mut late, 1, 2), divided(2, 1));
    assert_eq!(join(&mut late, 2), Verdict::Whole);

    let mut early = judge(rule(true));
    assert_eq!(early.judge(at(0)), divided(2, 1));
    assert_eq!(join(&mut early, 2), Verdict::Whole);
    // An orderly leave divides as well, if too few are left.
    assert_eq!(early.gone(at(1), NodeId(2), Departure::Left), divided(2, 1));
}

#[test]
fn a_dynamic_quorum_forgets_slow_losses_and_remembers_while_divided() {
    let rule = Rule::DynamicQuorum {
        percent: 60,
        threshold: Duration::from_secs(30),
    };
    let mut slow = judge(rule);
    let mut fast = slow.clone();
    for node in 2..=5 {
        join(&mut slow, node);
        join(&mut fast, node);
    }
    for (n, node) in (2..=4).enumerate() {
        assert_eq!(
            lose(&mut slow, n as u64 * 31, node),
            Verdict::Whole,
            "{node}"
        );
    }
    assert_eq!(lose(&mut fast, 0, 2), Verdict::Whole);
    assert_eq!(lose(&mut fast, 1, 3), Verdict::Whole);
    assert_eq!(lose(&mut fast, 2, 4), divided(3, 2));
    assert_eq!(fast.judge(at(999)), divided(3, 2));
    assert_eq!(fast.missing(), [name(2), name(3), name(4)]);
    // Who joins a divided part is told.
    let mut new = Judge::new(rule, name(9));
    join(&mut new, 1);
    join(&mut new, 5);
    assert_eq!(new.told(at(999), fast.memory(at(999))), divided(4, 3));
    assert_eq!(join(&mut fast, 3), Verdict::Whole);
    assert_eq!(new.reset(at(999)), Verdict::Whole);
}

#[test]
fn an_orderly_leave_is_no_loss() {
    for rule in [
        MAJORITY,
        Rule::DynamicQuorum {
            percent: 51,
            threshold: Duration::from_secs(30),
        },
    ] {
        let mut judge = judge(rule);
        for node in 2..=5 {
            join(&mut judge, node);
        }
        for node in 2..=5 {
            let verdict = judge.gone(at(0), NodeId(node), Departure::Left);
            assert_eq!(verdict, Verdict::Whole, "{rule:?} {node}");
        }
        assert_eq!(judge.missing(), []);
    }
}

#[test]
fn a_majority_is_of_all_that_were_let_in() {
    let mut judge = judge(MAJORITY);
    for node in 2..=5 {
        assert_eq!(join(&mut judge, node), Verdict::Whole);
    }
    assert_eq!(lose(&mut judge, 0, 5), Verdict::Whole);
    assert_eq!(lose(&mut judge, 1, 4), Verdict::Whole);
    // Strangers do not make up for those who are away.
    let before = judge.clone();
    assert_eq!(lose(&mut judge, 2, 3), divided(3, 2));
    for node in 10..20 {
        assert_eq!(join(&mut judge, node), divided(3, 2));
    }
    assert_eq!(join(&mut judge, 4), Verdict::Whole);
    // And a stranger who starts there judges as they do.
    let mut stranger = Judge::new(MAJORITY, name(10));
    for node in 11..20 {
        join(&mut stranger, node);
    }
    let mut memory = before.memory(at(3));
    memory.version += 100;
    assert_eq!(stranger.told(at(3), memory), divided(3, 0));
    assert_eq!(stranger.reset(at(4)), Verdict::Whole);
}

#[test]
fn a_restarted_node_is_no_new_one() {
    let mut judge = judge(MAJORITY);
    for node in 2..=3 {
        join(&mut judge, node);
    }
    for run in 100..120 {
        judge.joined(at(0), NodeId(run), &name(3));
    }
    assert_eq!(judge.memory(at(0)).names.len(), 3);
    // One of its runs is still there.
    lose(&mut judge, 0, 3);
    assert_eq!(lose(&mut judge, 0, 2), Verdict::Whole);
}

#[test]
fn a_fixed_number_stays() {
    let mut judge = judge(Rule::Majority {
        initial: 3,
        track_max: false,
    });
    assert_eq!(judge.judge(at(0)), divided(2, 1));
    for node in 2..=9 {
        assert_eq!(join(&mut judge, node), Verdict::Whole);
    }
    for node in 3..=9 {
        assert_eq!(lose(&mut judge, 0, node), Verdict::Whole);
    }
    assert_eq!(lose(&mut judge, 0, 2), divided(2, 1));
}

proptest! {
    /// Of a hub that was whole once, at most one part goes on, however the network is divided,
    /// and one does if it has more than half.
    #[test]
    fn at_most_one_part_goes_on(size in 2_u64..8, left in prop::collection::vec(any::<bool>(), 8)) {
        let mut judges: Vec<Judge> = (1..=size).map(|n| Judge::new(MAJORITY, name(n))).collect();
        for (judge, me) in judges.iter_mut().zip(1..) {
            for other in (1..=size).filter(|other| *other != me) {
                join(judge, other);
            }
        }
        let side = |node: u64| left[usize::try_from(node).unwrap() - 1];
        let mut on = [false, false];
        let mut many = [0, 0];
        for (judge, me) in judges.iter_mut().zip(1..) {
            many[usize::from(side(me))] += 1;
            for other in (1..=size).filter(|other| side(*other) != side(me)) {
                lose(judge, 1, other);
            }
            on[usize::from(side(me))] |= judge.judge(at(2)) == Verdict::Whole;
        }
        prop_assert!(!(on[0] && on[1]));
        for side in [0, 1] {
            prop_assert_eq!(on[side], many[side] * 2 > size);
        }
    }
}
