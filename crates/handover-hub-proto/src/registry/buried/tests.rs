use alloc::format;
use core::time::Duration;

use handover_proto::moment::Moment;

use super::{Buried, MOST};
use crate::identity::{Epoch, ProcessId, ShardId, Term};

const SHARD: ShardId = ShardId(3);

fn id(number: usize) -> ProcessId {
    ProcessId::new(&format!("child-{number}")).expect("an id")
}

fn epoch(term: u64, grant: u64) -> Epoch {
    let term = Term(term);
    Epoch { term, grant }
}

#[test]
fn only_what_is_older_than_the_end_is_over() {
    let mut buried = Buried::default();
    buried.put(SHARD, (id(1), epoch(4, 7)), Moment::ZERO);
    assert!(buried.covers(SHARD, &id(1), epoch(4, 6)));
    assert!(buried.covers(SHARD, &id(1), epoch(3, 90)));
    assert!(!buried.covers(SHARD, &id(1), epoch(4, 7)));
    assert!(!buried.covers(SHARD, &id(1), epoch(5, 1)));
    assert!(!buried.covers(SHARD, &id(2), epoch(1, 1)));
    // An earlier end that is heard of later changes nothing.
    buried.put(SHARD, (id(1), epoch(2, 1)), Moment::ZERO);
    assert_eq!(buried.of(SHARD), [(id(1), epoch(4, 7))]);
}

#[test]
fn what_is_old_is_forgotten_unless_it_ended_again() {
    let (kept, mut buried) = (Duration::from_secs(10), Buried::default());
    buried.put(SHARD, (id(1), epoch(1, 1)), Moment::ZERO);
    buried.put(SHARD, (id(2), epoch(1, 2)), Moment::ZERO);
    let later = Moment::ZERO + Duration::from_secs(6);
    buried.put(SHARD, (id(2), epoch(2, 1)), later);
    buried.forget(later, kept);
    assert_eq!(buried.of(SHARD).len(), 2);
    buried.forget(Moment::ZERO + kept, kept);
    assert_eq!(buried.of(SHARD), [(id(2), epoch(2, 1))]);
    buried.forget(later + kept, kept);
    assert!(buried.of(SHARD).is_empty() && buried.shards.is_empty());
}

#[test]
fn their_number_is_bounded() {
    let mut buried = Buried::default();
    for number in 0..=MOST {
        buried.put(SHARD, (id(number), epoch(1, 1)), Moment::ZERO);
    }
    assert_eq!(buried.of(SHARD).len(), MOST);
    assert!(!buried.covers(SHARD, &id(0), epoch(0, 1)));
    assert!(buried.covers(SHARD, &id(MOST), epoch(0, 1)));
}
