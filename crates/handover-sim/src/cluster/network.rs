//! Connections between nodes: they delay, keep the order, break, and lose what was in flight.
//!
//! A break is noticed by each end in its own time. Until then what it sends goes into the old
//! connection and is lost; whoever lost a frame is told that a connection broke.

use std::collections::{BTreeMap, BTreeSet};

use super::agenda::{MILLISECOND, Time};
use super::random::Random;

/// One run of a node, counted from 0 in the order of their starts.
pub type RunIndex = usize;

/// One name of a node, counted from 0.
pub type Seat = usize;

/// What must keep its order among its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What the machines say.
    Control,
    /// Calls, replies, and what is forwarded.
    Calls,
    /// States.
    States,
}

const CLASSES: usize = 3;

/// What becomes of something sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then, if the connection is still the same.
    Arrives {
        /// When.
        at: Time,
        /// Which connection it is in.
        connection: u64,
    },
    /// It is lost. If `notice` is set, nobody has yet been asked to tell the sender.
    Lost {
        /// Whether the sender must be told.
        notice: bool,
    },
}

#[derive(Clone, Debug, Default)]
struct Link {
    connection: u64,
    /// The connection each end believes in: the lower run first.
    known: [u64; 2],
    /// Whether each end will be told.
    noticing: [bool; 2],
    last: [[Time; CLASSES]; 2],
}

/// How slow connections are, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// At least.
    pub least: Time,
    /// Usually at most.
    pub usual: Time,
    /// How many frames of a thousand take up to `worst`.
    pub slow: u64,
    /// At most.
    pub worst: Time,
}

impl Latency {
    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> Time {
        let most = if random.chance(self.slow) {
            self.worst
        } else {
            self.usual
        };
        random.between(self.least, most.max(self.least + 1))
    }
}

/// All connections.
#[derive(Debug)]
pub struct Network {
    latency: Latency,
    seats: Vec<Seat>,
    ended: BTreeSet<RunIndex>,
    links: BTreeMap<(RunIndex, RunIndex), Link>,
    /// From which seat nothing reaches which.
    cut: BTreeSet<(Seat, Seat)>,
    /// Seats that the engine's servers cannot be reached from.
    cut_off: BTreeSet<Seat>,
    /// Frames sent, by class.
    pub sent: [u64; CLASSES],
}

impl Network {
    /// No connection yet.
    #[must_use]
    pub const fn new(latency: Latency) -> Self {
        Self {
            latency,
            seats: Vec::new(),
            ended: BTreeSet::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            sent: [0; CLASSES],
        }
    }

    /// How slow it is.
    #[must_use]
    pub const fn latency(&self) -> Latency {
        self.latency
    }

    /// The next run begins, on this seat.
    pub fn begin(&mut self, seat: Seat) {
        self.seats.push(seat);
    }

    /// A run is over; what is sent to it is lost.
    pub fn end(&mut self, run: RunIndex) {
        self.ended.insert(run);
    }

    /// Nothing gets from one seat to another any more.
    pub fn cut(&mut self, from: Seat, to: Seat) {
        self.cut.insert((from, to));
    }

    /// The engine's servers are out of reach for a seat.
    pub fn cut_off(&mut self, seat: Seat) {
        self.cut_off.insert(seat);
    }

    /// All is reachable again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.cut_off.clear();
    }

    /// Whether the engine's servers hear a run.
    #[must_use]
    pub fn reaches_servers(&self, run: RunIndex) -> bool {
        let seat = self.seats.get(run);
        seat.is_some_and(|seat| !self.cut_off.contains(seat)) && !self.ended.contains(&run)
    }

    /// Whether a connection is possible.
    #[must_use]
    pub fn connects(&self, one: RunIndex, other: RunIndex) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    /// Whether a node can find out that the program of another is gone.
    #[must_use]
    pub fn connects_if_alive(&self, one: RunIndex, other: RunIndex) -> bool {
        let pair = self.seats.get(one).zip(self.seats.get(other));
        pair.is_some_and(|(one, other)| {
            !self.cut.contains(&(*one, *other)) && !self.cut.contains(&(*other, *one))
        }) && one != other
            && !self.ended.contains(&one)
    }

    fn passes(&self, from: RunIndex, to: RunIndex) -> bool {
        let pair = self.seats.get(from).zip(self.seats.get(to));
        pair.is_some_and(|(from, to)| !self.cut.contains(&(*from, *to)))
            && !self.ended.contains(&from)
            && !self.ended.contains(&to)
    }

    /// Sends a frame of a class; `size` is the time it takes to write all of it.
    pub fn send(
        &mut self,
        (from, to): (RunIndex, RunIndex),
        class: Class,
        size: Time,
        now: Time,
        random: &mut Random,
    ) -> Fate {
        self.sent[class as usize] += 1;
        let delay = self.latency.draw(random) + size;
        let passes = self.passes(from, to);
        let connects = self.connects(from, to);
        let link = self.links.entry((from.min(to), from.max(to))).or_default();
        let side = usize::from(from > to);
        if from == to {
            return Fate::Arrives {
                at: now,
                connection: link.connection,
            };
        }
        // One direction of a broken connection still works until the break is noticed.
        let open = link.known[side] == link.connection;
        if !open || !passes || (!connects && link.connection == 0) {
            let notice = !link.noticing[side];
            link.noticing[side] = true;
            return Fate::Lost { notice };
        }
        let at = link.last[side][class as usize].max(now + delay);
        link.last[side][class as usize] = at;
        Fate::Arrives {
            at,
            connection: link.connection,
        }
    }

    /// Whether a frame still arrives.
    #[must_use]
    pub fn holds(&self, from: RunIndex, to: RunIndex, connection: u64) -> bool {
        let link = self.links.get(&(from.min(to), from.max(to)));
        link.is_some_and(|link| link.connection == connection) && self.passes(from, to)
            || from == to
    }

    /// Whether `to` takes the connection of what arrives now for one that it knows; otherwise it
    /// must be told that the one before broke.
    pub fn greet(&mut self, from: RunIndex, to: RunIndex) -> bool {
        let link = self.links.entry((from.min(to), from.max(to))).or_default();
        let side = usize::from(to > from);
        let knew = link.known[side] == link.connection || from == to;
        link.known[side] = link.connection;
        knew
    }

    /// The connection of two runs breaks. Who must be told.
    pub fn sever(&mut self, one: RunIndex, other: RunIndex) -> Vec<(RunIndex, RunIndex)> {
        let (low, high) = (one.min(other), one.max(other));
        let Some(link) = self.links.get_mut(&(low, high)) else {
            return Vec::new();
        };
        link.connection += 1;
        let mut told = Vec::new();
        for (side, pair) in [(0, (low, high)), (1, (high, low))] {
            if !std::mem::replace(&mut link.noticing[side], true) {
                told.push(pair);
            }
        }
        told
    }

    /// `run` notices that its connection to `peer` broke, and will use a new one.
    pub fn notice(&mut self, run: RunIndex, peer: RunIndex) {
        let connects = self.connects(run, peer);
        if let Some(link) = self.links.get_mut(&(run.min(peer), run.max(peer))) {
            let side = usize::from(run > peer);
            link.noticing[side] = false;
            if connects {
                link.known[side] = link.connection;
            }
        }
    }

    /// Runs with a connection to this one.
    #[must_use]
    pub fn peers(&self, run: RunIndex) -> Vec<RunIndex> {
        let with = |(low, high): &(RunIndex, RunIndex)| match run {
            run if run == *low => Some(*high),
            run if run == *high => Some(*low),
            _ => None,
        };
        self.links.keys().filter_map(with).collect()
    }

    /// How long until an end notices that the other is out of reach.
    pub fn silence(random: &mut Random) -> Time {
        random.between(20 * MILLISECOND, 4_000 * MILLISECOND)
    }

    /// How long until an end notices that the other's program is gone.
    pub fn reset(random: &mut Random) -> Time {
        random.between(MILLISECOND / 10, 50 * MILLISECOND)
    }
}
