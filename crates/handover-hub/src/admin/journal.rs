//! The last events of a node, numbered, for those who watch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{NodeId, NodeName};
use handover_hub_proto::view::Member;
use tokio::sync::watch;

use super::tally::Tally;
use super::view::EventView;
use super::{describe, is_traffic, unix_ms};

/// Events kept of each sort: what happens to rows and shards comes by the hundred thousand and must
/// not push out what happens to nodes and moves.
const KEPT: usize = 2_048;

/// Names of nodes kept, also of those that are gone.
const NAMES: usize = 4_096;

/// Says that nothing more will come.
const ENDED: u64 = u64::MAX;

/// Told what happens on a node; asked by those who watch it.
#[derive(Debug)]
pub(crate) struct Observer {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Kept {
    seq: u64,
    notable: VecDeque<Recorded>,
    traffic: VecDeque<Recorded>,
    names: BTreeMap<NodeId, NodeName>,
    tally: Tally,
}

#[derive(Clone, Debug)]
struct Recorded {
    seq: u64,
    unix_ms: u64,
    event: Event,
}

impl Default for Observer {
    fn default() -> Self {
        let kept = Kept {
            seq: 0,
            notable: VecDeque::new(),
            traffic: VecDeque::new(),
            names: BTreeMap::new(),
            tally: Tally::new(Instant::now()),
        };
        Self {
            kept: Mutex::new(kept),
            newest: watch::Sender::new(0),
        }
    }
}

impl Observer {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event. Quick: nothing is put into words before somebody reads.
    pub(crate) fn tell(&self, event: &Event) {
        let seq = {
            let mut kept = self.kept();
            kept.seq += 1;
            kept.tally.count(event);
            let recorded = Recorded {
                seq: kept.seq,
                unix_ms: unix_ms(),
                event: event.clone(),
            };
            let ring = match is_traffic(event) {
                true => &mut kept.traffic,
                false => &mut kept.notable,
            };
            if ring.len() == KEPT {
                ring.pop_front();
            }
            ring.push_back(recorded);
            kept.seq
        };
        self.newest.send_if_modified(|newest| {
            let open = *newest != ENDED;
            if open {
                *newest = seq;
            }
            open
        });
    }

    /// Learns that events came faster than they were told.
    pub(crate) fn miss(&self, missed: u64) {
        self.kept().seq += missed;
    }

    /// Lets every reader end.
    pub(crate) fn end(&self) {
        self.newest.send_replace(ENDED);
    }

    /// Learns the names of members; those that are gone keep theirs.
    pub(crate) fn learn<'a>(&self, members: impl IntoIterator<Item = &'a Member>) {
        let mut kept = self.kept();
        for member in members {
            if kept.names.len() >= NAMES && !kept.names.contains_key(&member.id) {
                kept.names.clear();
            }
            kept.names.insert(member.id, member.name.clone());
        }
    }

    /// The name of a node, or its id if it was never a member while this node was.
    pub(crate) fn named(&self, node: NodeId) -> String {
        let kept = self.kept();
        let known = kept.names.get(&node);
        known.map_or_else(|| node.to_string(), ToString::to_string)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.kept().tally)
    }

    /// What happened after event `since`, at most `most`, oldest first.
    fn after(&self, since: u64, all: bool, most: usize) -> Vec<EventView> {
        let kept = self.kept();
        let fresh = |ring: &VecDeque<Recorded>| {
            let from = ring.partition_point(|recorded| recorded.seq <= since);
            let fresh = ring.range(from..).take(most);
            fresh.cloned().collect::<Vec<Recorded>>()
        };
        let mut found = fresh(&kept.notable);
        if all {
            found.extend(fresh(&kept.traffic));
            found.sort_by_key(|recorded| recorded.seq);
            found.truncate(most);
        }
        let name = |node: NodeId| {
            let known = kept.names.get(&node);
            known.map_or_else(|| node.to_string(), ToString::to_string)
        };
        let views = found.iter();
        let views = views.map(|r| describe::event(r.seq, r.unix_ms, &r.event, &name));
        views.collect()
    }
}

/// Somebody who reads events as they come.
#[derive(Debug)]
pub(crate) struct Reader {
    since: u64,
    all: bool,
    newest: watch::Receiver<u64>,
}

impl Reader {
    /// Begins after event `since`, or with the oldest that is kept. Without `all`, rows and shards
    /// are left out.
    pub(super) fn new(observer: &Observer, since: u64, all: bool) -> Self {
        Self {
            since,
            all,
            newest: observer.newest.subscribe(),
        }
    }

    /// At least one event, at most `most`; none when the node has ended. Cancel safe.
    pub(super) async fn next(
        &mut self,
        observer: &Observer,
        most: usize,
    ) -> Option<Vec<EventView>> {
        loop {
            let newest = *self.newest.borrow_and_update();
            let found = observer.after(self.since, self.all, most);
            if let Some(last) = found.last() {
                self.since = last.seq;
                return Some(found);
            }
            if newest == ENDED {
                return None;
            }
            self.newest.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_hub_proto::identity::ProcessId;

    fn unregistered(number: usize) -> Event {
        Event::Unregistered {
            process: ProcessId::new(&format!("p{number}")).unwrap(),
        }
    }

    #[tokio::test]
    async fn rows_by_the_thousand_do_not_push_out_what_happens_to_nodes() {
        let observer = Observer::default();
        observer.tell(&Event::Joined { node: NodeId(7) });
        for number in 0..3 * KEPT {
            observer.tell(&unregistered(number));
        }
        let mut reader = Reader::new(&observer, 0, false);
        let read = reader.next(&observer, 10).await.unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].text, "node 0000000000000007 joined");
        // With everything asked for the rows come too, the newest of them, in order.
        let mut reader = Reader::new(&observer, 0, true);
        let mut read = Vec::new();
        while read.len() < KEPT + 1 {
            read.extend(reader.next(&observer, 100).await.unwrap());
        }
        assert!(read.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        assert_eq!(read.last().unwrap().seq, 3 * KEPT as u64 + 1);
    }

    #[tokio::test]
    async fn a_reader_waits_for_what_comes_and_sees_each_once() {
        let observer = std::sync::Arc::new(Observer::default());
        let mut reader = Reader::new(&observer, 0, false);
        let teller = std::sync::Arc::clone(&observer);
        let task = tokio::spawn(async move {
            for number in 0..20 {
                teller.tell(&Event::Joined {
                    node: NodeId(number),
                });
                tokio::task::yield_now().await;
            }
        });
        let mut read = Vec::new();
        while read.len() < 20 {
            read.extend(reader.next(&observer, 3).await.unwrap());
        }
        task.await.unwrap();
        let numbers: Vec<u64> = read.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
    }
}
