//! Moves in flight, for whoever looks: those that this node orders as a home, and what the other
//! members say of theirs.
//!
//! Others are asked only while somebody looks, each at most once in [`EVERY`]; a hub that nobody looks
//! at says nothing of this. What they said is kept for [`KNOWN`].

mod counts;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use handover_proto::moment::Moment;
use serde::{Deserialize, Serialize};

use self::counts::Counts;
use super::{Answer, Node, Timer};
use crate::home::Doing;
use crate::identity::{NodeId, ProcessId, RequestId};
use crate::message::Item;
use crate::row::Rows;

/// Moves that a node tells of, at most; all are counted.
pub const FLIGHTS: usize = 50;

/// A member that answers is asked no more often than this.
const EVERY: Duration = Duration::from_millis(500);

/// One that does not is asked again after this.
const AGAIN: Duration = Duration::from_secs(2);

/// How long somebody who looks waits for those that are asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was said longer ago is not known any more, and is forgotten when nobody looks.
const KNOWN: Duration = Duration::from_secs(3);

/// What this node orders is looked through no more often than this, however many ask.
const FRESH: Duration = Duration::from_millis(100);

/// A move under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// Which child.
    pub process: ProcessId,
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
}

/// The last move that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// How long the process answered nothing, in nanoseconds.
    pub pause_ns: u64,
    /// Milliseconds since then.
    pub ago_ms: u64,
}

/// The moves that one node orders, as the home of their shards. It counts from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// Under way.
    pub in_flight: u64,
    /// That came to their end.
    pub moved: u64,
    /// That did not: those processes serve where they were.
    pub failed: u64,
    /// Put off by the wish of a process, each time it wished so.
    pub deferred: u64,
    /// That came to their end in a thousand seconds, as over the last ten.
    pub rate: u64,
    /// The last one that came to its end.
    pub last: Option<Pause>,
    /// The longest of those under way, at most [`FLIGHTS`], the longest first.
    pub flights: Vec<Flight>,
}

impl Ordered {
    /// What was said this long ago, as of now.
    fn aged(mut self, by: Duration) -> Self {
        let by = millis(by);
        for flight in &mut self.flights {
            flight.elapsed_ms = flight.elapsed_ms.saturating_add(by);
        }
        if let Some(last) = &mut self.last {
            last.ago_ms = last.ago_ms.saturating_add(by);
        }
        self
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A member that was asked.
struct Asked {
    /// Answers to other questions are not taken.
    question: u64,
    at: Moment,
    answered: bool,
    /// It did not answer in time; nobody waits for it until it does.
    silent: bool,
    told: Option<(Moment, Ordered)>,
}

impl Asked {
    fn is_due(&self, now: Moment) -> bool {
        now.since(self.at) >= if self.answered { EVERY } else { AGAIN }
    }
}

/// What is counted here, and what others said.
pub(crate) struct Flights {
    pub(crate) counts: Counts,
    /// What this node ordered when that was last looked through.
    own: Option<(Moment, Ordered)>,
    /// Members only, and none when nobody looks.
    asked: BTreeMap<NodeId, Asked>,
    questions: u64,
    /// When somebody looked last.
    looked: Moment,
    /// Who waits for an answer, and until when.
    looks: Vec<(RequestId, Moment)>,
}

impl Flights {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            counts: Counts::new(now),
            own: None,
            asked: BTreeMap::new(),
            questions: 0,
            looked: now,
            looks: Vec::new(),
        }
    }
}

impl<R: Rows> Node<R> {
    /// Somebody looks at the moves: of this node, or of all members.
    pub(crate) fn look(&mut self, request: RequestId, others: bool) {
        let me = self.me.id;
        if !others {
            let own = Vec::from([(me, Some(self.ordered()))]);
            return self.answer(request, Answer::Moves(own));
        }
        let now = self.now;
        for node in self.members.others(me) {
            let asked = self.flights.asked.get(&node);
            if asked.is_some_and(|asked| !asked.is_due(now)) {
                continue;
            }
            self.flights.questions += 1;
            let question = self.flights.questions;
            let asked = self.flights.asked.entry(node).or_insert(Asked {
                question,
                at: now,
                answered: false,
                silent: false,
                told: None,
            });
            (asked.question, asked.at, asked.answered) = (question, now, false);
            // Whoever is too old to read it must not drop with it what it can read.
            self.outbox.say_alone(node, Item::AskMoves { question });
        }
        self.flights.looked = now;
        self.flights.looks.push((request, now + PATIENCE));
        self.answer_looks();
    }

    /// Another member looks.
    pub(crate) fn asked_moves(&mut self, from: NodeId, question: u64) {
        let ordered = self.ordered();
        self.outbox.say(from, Item::ToldMoves { question, ordered });
    }

    /// A member that was asked answers. What nobody asked for is not kept.
    pub(crate) fn told_moves(&mut self, from: NodeId, question: u64, mut ordered: Ordered) {
        let asked = self.flights.asked.get_mut(&from);
        let Some(asked) = asked.filter(|asked| !asked.answered && asked.question == question)
        else {
            return;
        };
        ordered.flights.truncate(FLIGHTS);
        ordered.flights.shrink_to_fit();
        asked.told = Some((self.now, ordered));
        (asked.answered, asked.silent) = (true, false);
        self.answer_looks();
    }

    /// A member is gone, and nothing that it said counts.
    pub(crate) fn flights_without(&mut self, node: NodeId) {
        if self.flights.asked.remove(&node).is_some() {
            self.answer_looks();
        }
    }

    /// Time is over for those that were asked, or nobody has looked for a while.
    pub(crate) fn flights_due(&mut self) {
        let now = self.now;
        for asked in self.flights.asked.values_mut() {
            asked.silent |= !asked.answered && now.since(asked.at) >= PATIENCE;
        }
        self.answer_looks();
        if self.flights.looks.is_empty() && now.since(self.flights.looked) >= KNOWN {
            self.flights.asked.clear();
            self.timers.clear(&Timer::Flights);
        }
    }

    /// Answers those who look, once everybody has said what can be waited for.
    fn answer_looks(&mut self) {
        let now = self.now;
        let mut asked = self.flights.asked.values();
        let complete = asked.all(|asked| asked.answered || asked.silent);
        let looks = &mut self.flights.looks;
        let (over, wait) = mem::take(looks)
            .into_iter()
            .partition(|(_, until)| complete || *until <= now);
        *looks = wait;
        let due = looks.first().map(|(_, until)| *until);
        let due = due.unwrap_or(self.flights.looked + KNOWN);
        self.timers.set(Timer::Flights, due);
        let over: Vec<(RequestId, Moment)> = over;
        if over.is_empty() {
            return;
        }
        let all = self.all_ordered();
        for (request, _) in over {
            self.answer(request, Answer::Moves(all.clone()));
        }
    }

    /// What all members order, as of now, as far as that is known.
    fn all_ordered(&mut self) -> Vec<(NodeId, Option<Ordered>)> {
        let (me, now) = (self.me.id, self.now);
        let mut all = Vec::from([(me, Some(self.ordered()))]);
        for node in self.members.others(me) {
            let asked = self.flights.asked.get(&node);
            let told = asked.and_then(|asked| asked.told.as_ref());
            let known = told.filter(|(at, _)| now.since(*at) < KNOWN);
            let aged = known.map(|(at, ordered)| ordered.clone().aged(now.since(*at)));
            all.push((node, aged));
        }
        all
    }

    /// The moves that this node orders.
    fn ordered(&mut self) -> Ordered {
        let now = self.now;
        if let Some((at, own)) = &self.flights.own
            && now.since(*at) < FRESH
        {
            return own.clone().aged(now.since(*at));
        }
        let ordered = self.look_through();
        self.flights.own = Some((now, ordered.clone()));
        ordered
    }

    fn look_through(&self) -> Ordered {
        let now = self.now;
        let works = self.homes.values().flat_map(|home| &home.work);
        let moving = works.filter_map(|(process, work)| match &work.doing {
            Doing::Moving(moving) => Some((moving.began, process, moving)),
            Doing::Starting(_) | Doing::Stopping(_) => None,
        });
        let mut all: Vec<_> = moving.collect();
        let in_flight = all.len() as u64;
        if all.len() > FLIGHTS {
            all.select_nth_unstable_by_key(FLIGHTS, |(began, ..)| *began);
            all.truncate(FLIGHTS);
        }
        all.sort_by_key(|(began, ..)| *began);
        let flights = all.into_iter().map(|(began, process, moving)| {
            let (from, to) = moving.way();
            Flight {
                process: process.clone(),
                from,
                to,
                elapsed_ms: millis(now.since(began)),
            }
        });
        Ordered {
            in_flight,
            flights: flights.collect(),
            ..self.flights.counts.at(now)
        }
    }
}
