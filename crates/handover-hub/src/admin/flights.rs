//! The moves of the whole hub: each home orders those of its shards, and is asked for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_hub_proto::identity::NodeId;
use handover_hub_proto::node::{Answer, Command, Ordered};
use tokio::sync::Mutex;

use super::Desk;
use super::view::{MoveList, MoveView, Moves};

/// How old an answer may be: many who watch ask no more than one.
const FRESH: Duration = Duration::from_millis(500);

/// How long this node's machine is waited for, which itself waits half as long for the others. It
/// stands still while its program is replaced.
const PATIENCE: Duration = Duration::from_secs(2);

/// Moves in flight that are listed at most.
const MOST_MOVES: usize = 200;

/// The last answer.
#[derive(Debug, Default)]
pub(crate) struct Glass {
    last: Mutex<Option<(Instant, Arc<Flights>)>>,
}

/// What nodes order; absent where that is not known.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    nodes: Vec<(NodeId, Option<Ordered>)>,
}

impl Desk {
    /// The moves of all members, not older than half a second. Those that do not answer are not known
    /// after a second at most. Cancel safe.
    pub(crate) async fn flights(&self) -> Arc<Flights> {
        let mut last = self.glass.last.lock().await;
        if let Some((at, flights)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(flights);
        }
        let flights = match self.asked(true).await {
            Some(nodes) => nodes,
            None => {
                let members = self.members().into_iter();
                members.map(|member| (member.id, None)).collect()
            }
        };
        let flights = Arc::new(Flights { nodes: flights });
        *last = Some((Instant::now(), Arc::clone(&flights)));
        flights
    }

    /// Those that this node orders; no other one is asked.
    pub(super) async fn own_flights(&self) -> Flights {
        let nodes = self.asked(false).await;
        Flights {
            nodes: nodes.unwrap_or_else(|| vec![(self.hub.id(), None)]),
        }
    }

    async fn asked(&self, others: bool) -> Option<Vec<(NodeId, Option<Ordered>)>> {
        let answer = self.hub.execute(Command::Moves { others });
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Answer::Moves(nodes)) => Some(nodes),
            // It ends, or stands still.
            Ok(_) | Err(_) => None,
        }
    }

    /// All of them, counted.
    pub(super) fn moves(&self, flights: &Flights) -> Moves {
        let known = flights.nodes.iter().filter_map(|(_, told)| told.as_ref());
        let mut moves = Moves::default();
        let (mut rate, mut last) = (0_u64, None);
        for told in known {
            moves.in_flight = moves.in_flight.saturating_add(told.in_flight);
            moves.deferred = moves.deferred.saturating_add(told.deferred);
            moves.moved = moves.moved.saturating_add(told.moved);
            moves.failed = moves.failed.saturating_add(told.failed);
            rate = rate.saturating_add(told.rate);
            let pause = told.last.map(|last| (last.ago_ms, last.pause_ns));
            last = [last, pause].into_iter().flatten().min();
        }
        moves.per_second = rate as f64 / 1e3;
        moves.last_pause_ns = last.map(|(_, pause_ns)| pause_ns);
        moves.unknown = self.unknown(flights);
        moves
    }

    /// The longest of them.
    pub(crate) fn move_list(&self, flights: &Flights) -> MoveList {
        let mut moves = Vec::new();
        for (home, told) in &flights.nodes {
            let home = self.named(*home);
            let flights = told.iter().flat_map(|told| &told.flights);
            moves.extend(flights.map(|flight| MoveView {
                process: flight.process.clone(),
                from: self.named(flight.from),
                to: self.named(flight.to),
                home: home.clone(),
                elapsed_ms: flight.elapsed_ms,
            }));
        }
        moves.sort_by(|a, b| {
            let longest = b.elapsed_ms.cmp(&a.elapsed_ms);
            longest.then_with(|| a.process.cmp(&b.process))
        });
        moves.truncate(MOST_MOVES);
        let Moves {
            in_flight, unknown, ..
        } = self.moves(flights);
        MoveList {
            in_flight,
            moves,
            unknown,
        }
    }

    fn unknown(&self, flights: &Flights) -> Vec<String> {
        let nodes = flights.nodes.iter().filter(|(_, told)| told.is_none());
        let mut unknown: Vec<String> = nodes.map(|(node, _)| self.named(*node)).collect();
        unknown.sort();
        unknown
    }
}
