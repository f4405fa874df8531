//! Some machines on one network, in virtual time. What they are told to do is done at once, unless
//! the scenario says otherwise.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use handover_proto::container::envelope::Envelope;
use handover_proto::container::event::{Event, Successor};
use handover_proto::container::order::Order;
use handover_proto::container::peer::{Effect, Identity, Input, Peer, Phase};
use handover_proto::container::settings::Settings;
use handover_proto::container::{BootId, PeerId};
use handover_proto::moment::{Machine, Moment};

pub(crate) const LATENCY: Duration = Duration::from_millis(1);

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The wall clock when virtual time begins.
pub(crate) const WALL: i64 = 1_000_000;

pub(crate) fn order(started_ns: u64) -> Order {
    Order {
        boot: BootId([0; 16]),
        started_ns,
        entry: None,
    }
}

pub(crate) fn name(number: u8) -> PeerId {
    PeerId([number; 16])
}

pub(crate) struct Seat {
    pub(crate) peer: Peer,
    pub(crate) alive: bool,
    /// What was asked for is done at once.
    pub(crate) obliging: bool,
    pub(crate) drains: Vec<Successor>,
    pub(crate) resumes: usize,
    pub(crate) completed: Vec<Successor>,
    pub(crate) left: bool,
    pub(crate) sent: Vec<(Moment, Envelope)>,
    pub(crate) sent_legacy: Vec<(Moment, i64)>,
    pub(crate) events: Vec<Event>,
}

enum Datagram {
    Own(Envelope),
    Legacy(i64),
}

pub(crate) struct Desk {
    pub(crate) now: Moment,
    pub(crate) seats: Vec<Seat>,
    /// Pairs of seats that do not hear each other.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) settings: Settings,
    /// Orders handed out so far.
    started: u64,
    on_the_way: VecDeque<(Moment, usize, Datagram)>,
}

impl Desk {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            now: Moment::ZERO,
            seats: Vec::new(),
            cut: BTreeSet::new(),
            settings,
            started: 0,
            on_the_way: VecDeque::new(),
        }
    }

    /// A desk with so many instances that are ready, the oldest first, at rest.
    pub(crate) fn serving(settings: Settings) -> Self {
        let mut desk = Self::new(settings);
        let first = desk.start();
        desk.input(first, Input::Ready);
        desk
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        WALL + i64::try_from(self.now.since(Moment::ZERO).as_millis()).unwrap()
    }

    /// Starts an instance, younger than all before.
    pub(crate) fn start(&mut self) -> usize {
        self.started += 1;
        let seat = self.seats.len();
        let number = u8::try_from(seat + 1).unwrap();
        let identity = Identity {
            service: "api".into(),
            peer: name(number),
            order: order(self.started),
            legacy_ms: self.wall_ms() - 100 + i64::try_from(self.started).unwrap(),
            seed: [number; 32],
        };
        self.seats.push(Seat {
            peer: Peer::new(self.settings, identity, self.now),
            alive: true,
            obliging: true,
            drains: Vec::new(),
            resumes: 0,
            completed: Vec::new(),
            left: false,
            sent: Vec::new(),
            sent_legacy: Vec::new(),
            events: Vec::new(),
        });
        seat
    }

    pub(crate) fn phase(&self, seat: usize) -> Phase {
        self.seats[seat].peer.phase()
    }

    /// Which seats serve.
    pub(crate) fn who_serves(&self) -> Vec<usize> {
        let all = self.seats.iter().enumerate();
        all.filter(|(_, seat)| seat.alive && seat.peer.phase().serves())
            .map(|(at, _)| at)
            .collect()
    }

    pub(crate) fn told(&self, seat: usize, event: &Event) -> bool {
        self.seats[seat].events.contains(event)
    }

    pub(crate) fn names_told(&self, seat: usize) -> Vec<&'static str> {
        self.seats[seat].events.iter().map(Event::name).collect()
    }

    pub(crate) fn input(&mut self, seat: usize, input: Input) {
        if !self.seats[seat].alive {
            return;
        }
        self.seats[seat].peer.handle(self.now, input);
        while let Some(effect) = self.seats[seat].peer.poll_effect() {
            self.carry_out(seat, effect);
        }
    }

    /// Answers that a program that ends and starts at once gives.
    fn carry_out(&mut self, at: usize, effect: Effect) {
        let now = self.now;
        let started = self.started + 1;
        let legacy_ms = self.wall_ms() + 1;
        let seat = &mut self.seats[at];
        assert!(!seat.left, "an effect after the last: {effect:?}");
        match effect {
            Effect::Send(envelope) => {
                seat.sent.push((now, envelope.clone()));
                self.post(at, || Datagram::Own(envelope.clone()));
            }
            Effect::SendLegacy { time_ms } => {
                seat.sent_legacy.push((now, time_ms));
                self.post(at, || Datagram::Legacy(time_ms));
            }
            Effect::Drain { by } => {
                seat.drains.push(by);
                if seat.obliging {
                    self.input(at, Input::Drained);
                }
            }
            Effect::Resume { .. } => {
                seat.resumes += 1;
                if seat.obliging {
                    self.started = started;
                    let order = order(started);
                    self.input(at, Input::Resumed { order, legacy_ms });
                }
            }
            Effect::Complete { by } => seat.completed.push(by),
            Effect::Leave => seat.left = true,
            Effect::Report(event) => seat.events.push(event),
        }
    }

    fn post(&mut self, from: usize, datagram: impl Fn() -> Datagram) {
        for to in 0..self.seats.len() {
            if !self.cut.contains(&(from, to)) {
                self.on_the_way
                    .push_back((self.now + LATENCY, to, datagram()));
            }
        }
    }

    pub(crate) fn cut_off(&mut self, seat: usize) {
        for other in 0..self.seats.len() {
            self.cut.extend([(seat, other), (other, seat)]);
        }
    }

    pub(crate) fn die(&mut self, seat: usize) {
        self.seats[seat].alive = false;
    }

    /// Somebody else says something to all.
    pub(crate) fn say(&mut self, envelope: &Envelope) {
        for seat in 0..self.seats.len() {
            self.input(seat, Input::Heard(envelope.clone()));
        }
    }

    pub(crate) fn say_legacy(&mut self, time_ms: i64) {
        let wall_ms = self.wall_ms();
        for seat in 0..self.seats.len() {
            self.input(seat, Input::Legacy { time_ms, wall_ms });
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, lasts: Duration) {
        let end = self.now + lasts;
        loop {
            // Latency is the same for all, so the queue is in order.
            let arrives = self.on_the_way.front().map(|(at, _, _)| *at);
            let seats = self.seats.iter().filter(|seat| seat.alive);
            let due = seats.filter_map(|seat| seat.peer.next_deadline()).min();
            let next = [arrives, due].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if arrives == Some(next)
                && let Some((_, to, datagram)) = self.on_the_way.pop_front()
            {
                let wall_ms = self.wall_ms();
                self.input(
                    to,
                    match datagram {
                        Datagram::Own(envelope) => Input::Heard(envelope),
                        Datagram::Legacy(time_ms) => Input::Legacy { time_ms, wall_ms },
                    },
                );
                continue;
            }
            for seat in 0..self.seats.len() {
                let due = self.seats[seat].peer.next_deadline();
                if due.is_some_and(|due| due <= self.now) {
                    self.input(seat, Input::Tick);
                    let next = self.seats[seat].peer.next_deadline();
                    let alive = self.seats[seat].alive;
                    assert!(
                        !alive || next.is_none_or(|next| next > self.now),
                        "a deadline that passes does not go away: {:?}",
                        self.seats[seat].peer
                    );
                }
            }
        }
        self.now = end;
    }
}
