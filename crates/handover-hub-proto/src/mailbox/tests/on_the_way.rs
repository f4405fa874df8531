use alloc::vec;
use alloc::vec::Vec;

use proptest::collection::vec as many;
use proptest::prelude::*;

use super::{Box, Mail, call, few};
use crate::identity::{Epoch, NodeId, Term};
use crate::mailbox::{Arrival, Freeze, Limits, Phase, Released};

/// What happens to a process on its way between two nodes.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A letter of this number arrives at the first or the second.
    Arrive(bool, u64),
    Serve(bool),
    Take(bool),
    Finish(bool),
    /// The next step of a move: freeze, seal and restore, commit or give up, retire.
    Go(bool),
    Suspend(bool),
    Proceed(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let side = any::<bool>;
    prop_oneof![
        4 => (side(), 1u64..24).prop_map(|(side, number)| Step::Arrive(side, number)),
        3 => side().prop_map(Step::Serve),
        1 => side().prop_map(Step::Take),
        1 => side().prop_map(Step::Finish),
        3 => any::<bool>().prop_map(Step::Go),
        1 => side().prop_map(Step::Suspend),
        1 => side().prop_map(Step::Proceed),
    ]
}

/// A process that moves back and forth. Odd numbers are calls.
struct Pair {
    boxes: [Box; 2],
    at: usize,
    hands: [Option<Mail>; 2],
    frozen: bool,
    /// What was applied, by the state that moves along.
    log: Vec<u64>,
    /// Letters that were taken, once each if they are casts.
    taken: Vec<u64>,
    epoch: u64,
    most: usize,
}

impl Pair {
    fn apply(&mut self, side: usize) {
        if let Some(mail) = self.hands[side].take() {
            let reply = mail
                .is_call
                .then(|| (call(mail.number), vec![mail.number as u8]));
            self.log.push(mail.number);
            let finished = self.boxes[side].finished(reply);
            self.frozen |= finished.frozen;
        }
    }

    fn arrive(&mut self, side: usize, number: u64, limits: &Limits) {
        let is_call = number % 2 == 1;
        if !is_call && self.taken.contains(&number) {
            return;
        }
        let mut side = side;
        for _ in 0..2 {
            match self.boxes[side].arrive(Mail { number, is_call }, limits) {
                Arrival::Queued { .. } | Arrival::Held => return self.taken.push(number),
                Arrival::Known => return,
                Arrival::Answered(reply) => return assert_eq!(reply, [number as u8]),
                Arrival::Elsewhere { .. } => side = 1 - side,
                Arrival::Refused(..) => return,
                Arrival::Settled => panic!("nothing was settled"),
            }
        }
        panic!("both say that it is elsewhere");
    }

    /// It is not here after all, and its sender is told.
    fn not_taken(&mut self, number: u64) {
        let taken = self.taken.iter().rposition(|taken| *taken == number);
        self.taken.remove(taken.expect("it was taken"));
    }

    /// Only what goes beyond all bounds is refused after it was taken: many moves, and nothing served.
    fn released(&mut self, released: Released<Mail, Vec<u8>>) {
        assert!(released.elsewhere.is_empty());
        for (mail, _) in released.refused {
            assert!(self.boxes[self.at].waiting() >= 3 * self.most);
            self.not_taken(mail.number);
        }
    }

    /// What came too early to one that will not serve.
    fn give_up(&mut self, side: usize) {
        let serves = NodeId(self.at as u64);
        for early in self.boxes[side].retire(serves, epoch(self.epoch)) {
            self.not_taken(early.number);
        }
    }

    /// One step of a move; `well`: it does not fail.
    fn go(&mut self, well: bool, limits: &Limits) {
        let (from, to) = (self.at, 1 - self.at);
        match self.boxes[from].phase() {
            Phase::Open | Phase::Opening => {
                self.boxes[to] = Box::restoring();
                self.frozen = self.boxes[from].freeze() == Freeze::Frozen;
            }
            Phase::Freezing | Phase::Frozen if !well => {
                let released = self.boxes[from].resume(limits);
                self.released(released);
                self.give_up(to);
            }
            Phase::Freezing => {}
            Phase::Frozen => {
                let sealed = self.boxes[from].seal().expect("it is frozen");
                self.boxes[to].restore(sealed);
                self.at = to;
                let released = self.boxes[to].activate(true, limits);
                self.released(released);
                self.epoch += 1;
                let late = self.boxes[from].retire(NodeId(to as u64), epoch(self.epoch));
                let released = self.boxes[to].forwarded(late, true, limits);
                self.released(released);
            }
            Phase::Restoring | Phase::Retired => panic!("it serves elsewhere"),
        }
    }
}

const fn epoch(grant: u64) -> Epoch {
    Epoch {
        term: Term(1),
        grant,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn h4_h11_everything_taken_is_applied_once_by_one(
        steps in many(step(), 0..120),
        most in 1usize..12,
    ) {
        let limits = few(most);
        let mut elsewhere = Box::open();
        let _ = elsewhere.retire(NodeId(0), epoch(1));
        let mut pair = Pair {
            boxes: [Box::open(), elsewhere],
            at: 0,
            hands: [None, None],
            frozen: false,
            log: Vec::new(),
            taken: Vec::new(),
            epoch: 1,
            most,
        };
        for step in steps {
            match step {
                Step::Arrive(side, number) => pair.arrive(usize::from(side), number, &limits),
                Step::Take(side) | Step::Serve(side) => {
                    let side = usize::from(side);
                    if pair.hands[side].is_none() {
                        pair.hands[side] = pair.boxes[side].next();
                        // H2: only where the process is.
                        prop_assert!(pair.hands[side].is_none() || side == pair.at);
                    }
                    if let Step::Serve(_) = step {
                        pair.apply(side);
                    }
                }
                Step::Finish(side) => pair.apply(usize::from(side)),
                Step::Go(well) => pair.go(well, &limits),
                Step::Suspend(side) => pair.boxes[usize::from(side)].suspend(),
                Step::Proceed(side) => {
                    let _ = pair.boxes[usize::from(side)].proceed();
                }
            }
            prop_assert!(pair.boxes.iter().all(|each| each.waiting() <= 4 * most));
        }
        // In the end, everything is served where it is.
        pair.give_up(1 - pair.at);
        let released = pair.boxes[pair.at].resume(&limits);
        pair.released(released);
        let released = pair.boxes[pair.at].opened(&limits);
        pair.released(released);
        let _ = pair.boxes[pair.at].proceed();
        pair.apply(pair.at);
        while let Some(mail) = pair.boxes[pair.at].next() {
            pair.hands[pair.at] = Some(mail);
            pair.apply(pair.at);
        }
        let mut log = pair.log.clone();
        let casts: Vec<u64> = log.iter().copied().filter(|number| number % 2 == 0).collect();
        let mut taken = pair.taken.clone();
        let sent: Vec<u64> = taken.iter().copied().filter(|number| number % 2 == 0).collect();
        log.sort_unstable();
        taken.sort_unstable();
        taken.dedup();
        prop_assert_eq!(&log, &taken, "each once, and all of them");
        prop_assert_eq!(casts.len(), sent.len());
    }
}
