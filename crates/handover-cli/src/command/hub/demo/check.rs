//! Every counter is read and compared with what its clients were told.

use super::counter::{Ask, Counter, id};
use super::load::Ledger;
use handover_hub::Hub;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use tokio::task::JoinSet;

/// Counters read at the same time.
const READERS: u32 = 64;

/// What counting found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Acknowledged increments that are in no counter.
    pub(super) lost: u64,
    /// The same, of counters whose only state was on a node that was killed.
    pub(super) excused: u64,
    /// Increments that were made twice.
    pub(super) doubled: u64,
    /// Counters that did not answer.
    pub(super) silent: u64,
    /// Why the first of them did not.
    pub(super) reason: Option<String>,
}

impl Count {
    /// A counter has `value`, of which `acknowledged` were promised and `unknown` may be.
    fn judge(&mut self, value: u64, acknowledged: u64, unknown: u64, excused: bool) {
        let lost = acknowledged.saturating_sub(value);
        match excused {
            true => self.excused += lost,
            false => self.lost += lost,
        }
        self.doubled += value.saturating_sub(acknowledged + unknown);
    }
}

/// Reads all counters while no client calls. What they have is what is expected from here on.
pub(super) async fn count(hub: &Hub, ledger: &Ledger, excused: &BTreeSet<u32>) -> Count {
    let mut set = JoinSet::new();
    let all = ledger.len();
    for reader in 0..READERS.min(all) {
        let hub = hub.clone();
        set.spawn(async move {
            let mut read = Vec::new();
            for number in (reader..all).step_by(READERS as usize) {
                let value = hub.call::<Counter>(&id(number), Ask::Read).await;
                read.push((number, value));
            }
            read
        });
    }
    let mut found = Count::default();
    for (number, value) in set.join_all().await.into_iter().flatten() {
        let entry = ledger.entry(number);
        match value {
            Ok(value) => {
                let acknowledged = entry.acknowledged.swap(value, Ordering::Relaxed);
                let unknown = entry.unknown.swap(0, Ordering::Relaxed);
                found.judge(value, acknowledged, unknown, excused.contains(&number));
            }
            Err(error) => {
                found.silent += 1;
                found.reason.get_or_insert_with(|| error.to_string());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(value: u64, acknowledged: u64, unknown: u64, excused: bool) -> (u64, u64, u64) {
        let mut count = Count::default();
        count.judge(value, acknowledged, unknown, excused);
        (count.lost, count.excused, count.doubled)
    }

    #[test]
    fn loss_and_doubling_are_told_apart_from_what_is_not_known() {
        assert_eq!(judged(5, 5, 0, false), (0, 0, 0));
        assert_eq!(judged(4, 5, 0, false), (1, 0, 0));
        assert_eq!(judged(6, 5, 0, false), (0, 0, 1));
        assert_eq!(judged(6, 5, 1, false), (0, 0, 0));
        assert_eq!(judged(7, 5, 1, false), (0, 0, 1));
        assert_eq!(judged(0, 5, 1, true), (0, 5, 0));
        // Nothing excuses doubling.
        assert_eq!(judged(9, 5, 1, true), (0, 0, 3));
    }
}
