//! Moves, counted from events.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{MoveId, NodeId, ProcessId};

use super::view::Moves;

/// The window over which moves a second are counted.
const SECONDS: usize = 10;

/// Moves in flight that are remembered at most; far more than a hub's pace lets begin.
const IN_FLIGHT: usize = 16_384;

/// A move that has not been heard of for so long is over; its end was not told here.
const FORGOTTEN: Duration = Duration::from_secs(900);

/// A move in flight.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) process: ProcessId,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) since: Instant,
}

/// Counts since the node started.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    /// Moves that ended in each of the last seconds, by the second modulo their number.
    ended: [(u64, u64); SECONDS],
    in_flight: HashMap<MoveId, InFlight>,
    moved: u64,
    failed: u64,
    deferred: u64,
    crashed: u64,
    last_pause_ns: Option<u64>,
}

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            ended: [(0, 0); SECONDS],
            in_flight: HashMap::new(),
            moved: 0,
            failed: 0,
            deferred: 0,
            crashed: 0,
            last_pause_ns: None,
        }
    }

    pub(super) fn count(&mut self, now: Instant, event: &Event) {
        match event {
            Event::Moving {
                attempt,
                process,
                from,
                to,
            } => {
                if self.in_flight.len() >= IN_FLIGHT {
                    self.forget(now, FORGOTTEN);
                }
                if self.in_flight.len() < IN_FLIGHT {
                    let flight = InFlight {
                        process: process.clone(),
                        from: *from,
                        to: *to,
                        since: now,
                    };
                    self.in_flight.insert(*attempt, flight);
                }
            }
            Event::Moved {
                attempt, pause_ns, ..
            } => {
                self.in_flight.remove(attempt);
                self.moved += 1;
                self.last_pause_ns = Some(*pause_ns);
                let second = self.second(now);
                let slot = usize::try_from(second).unwrap_or(0) % SECONDS;
                if self.ended[slot].0 != second {
                    self.ended[slot] = (second, 0);
                }
                self.ended[slot].1 += 1;
            }
            Event::MoveFailed { attempt, .. } => {
                self.in_flight.remove(attempt);
                self.failed += 1;
            }
            Event::Deferred { process } => {
                self.in_flight
                    .retain(|_, flight| flight.process != *process);
                self.deferred += 1;
            }
            Event::Crashed { .. } => self.crashed += 1,
            Event::Settled => self.forget(now, FORGOTTEN),
            _ => {}
        }
    }

    /// Events were missed: moves whose end was among them would be in flight for ever.
    pub(super) fn lose_track(&mut self) {
        self.in_flight.clear();
    }

    /// From 1, so that no slot is taken for the first second's.
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs() + 1
    }

    fn forget(&mut self, now: Instant, age: Duration) {
        self.in_flight
            .retain(|_, flight| now.saturating_duration_since(flight.since) < age);
    }

    pub(super) fn moves(&self, now: Instant) -> Moves {
        let second = self.second(now);
        let window = SECONDS as u64;
        let recent = self.ended.iter();
        let recent = recent.filter(|(at, _)| *at + window > second && *at > 0);
        let ended: u64 = recent.map(|(_, count)| count).sum();
        Moves {
            in_flight: self.in_flight.len() as u64,
            deferred: self.deferred,
            per_second: ended as f64 / second.min(window) as f64,
            moved: self.moved,
            failed: self.failed,
            last_pause_ns: self.last_pause_ns,
        }
    }

    pub(super) fn crashed(&self) -> u64 {
        self.crashed
    }

    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// The longest first.
    pub(super) fn in_flight(&self, most: usize) -> Vec<InFlight> {
        let mut flights: Vec<InFlight> = self.in_flight.values().cloned().collect();
        flights.sort_by_key(|flight| flight.since);
        flights.truncate(most);
        flights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u64) -> MoveId {
        MoveId {
            home: NodeId(1),
            number,
        }
    }

    fn process() -> ProcessId {
        ProcessId::new("alice").unwrap()
    }

    fn moving(number: u64) -> Event {
        Event::Moving {
            attempt: attempt(number),
            process: process(),
            from: NodeId(1),
            to: NodeId(2),
        }
    }

    fn moved(number: u64) -> Event {
        Event::Moved {
            attempt: attempt(number),
            process: process(),
            to: NodeId(2),
            pause_ns: 900,
        }
    }

    #[test]
    fn a_move_is_in_flight_until_it_ends_either_way() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for number in 0..3 {
            tally.count(start, &moving(number));
        }
        assert_eq!(tally.moves(start).in_flight, 3);
        tally.count(start, &moved(0));
        tally.count(
            start,
            &Event::MoveFailed {
                attempt: attempt(1),
                process: process(),
                serves: NodeId(1),
                reason: "busy".to_owned(),
            },
        );
        let moves = tally.moves(start);
        assert_eq!((moves.in_flight, moves.moved, moves.failed), (1, 1, 1));
        assert_eq!(moves.last_pause_ns, Some(900));
    }

    #[test]
    fn moves_a_second_are_those_of_the_window_and_no_older() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for number in 0..50 {
            tally.count(start + Duration::from_secs(20), &moved(number));
        }
        let rate = |seconds| tally.moves(start + Duration::from_secs(seconds)).per_second;
        assert_eq!(rate(20), 5.0);
        assert_eq!(rate(29), 5.0);
        assert_eq!(rate(30), 0.0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for number in 0..2 * IN_FLIGHT as u64 {
            tally.count(start, &moving(number));
        }
        assert_eq!(tally.in_flight(usize::MAX).len(), IN_FLIGHT);
        // Those whose end was never told make room.
        tally.count(start + FORGOTTEN, &moving(u64::MAX));
        assert_eq!(tally.in_flight(usize::MAX).len(), 1);
    }
}
