//! Nodes that are late: hosts that carry out orders when they have time, machines that stand still for
//! a moment while their hosts, their lease and their connections go on.

use handover_hub_proto::identity::ProcessId;
use handover_hub_proto::node::Input;
use handover_hub_proto::view::EngineEvent;

use super::{Event, Message, World};
use crate::cluster::agenda::{MILLISECOND, Time};
use crate::cluster::network::{RunIndex, Seat};
use crate::cluster::plan::Lag;
use crate::cluster::random::Random;

/// What a driver takes first of all that waits.
const fn rank(input: &Input<Message>) -> u8 {
    match input {
        Input::Engine(_) => 0,
        Input::Host(_) => 1,
        Input::Disconnected(_) => 2,
        Input::Heard { .. } => 3,
        Input::Command { .. } => 4,
        Input::Load(_) => 5,
        Input::Tick => 6,
    }
}

impl World {
    fn is_late(&self, seat: Seat) -> bool {
        Random::new(self.plan.seed ^ (seat as u64 + 1)).chance(self.plan.lag.seats)
    }

    /// Mostly short, and sometimes as long as can be: each power of two is as likely.
    fn long(&mut self, most: Time) -> Time {
        let doublings = (most / MILLISECOND).max(1).ilog2();
        let doubled = self.apart.between(0, u64::from(doublings) + 1);
        let upto = (MILLISECOND << doubled) * 2;
        self.apart
            .between(upto / 2, upto.min(most.max(upto / 2 + 1)))
    }

    /// How late a host is with an order.
    pub(super) fn lateness(&mut self, run: RunIndex) -> Time {
        let lag = self.plan.lag;
        if lag.orders == 0 || self.quiet || !self.is_late(self.runs[run].seat) {
            return 0;
        }
        if self.apart.chance(lag.orders) {
            self.checker.counts.late += 1;
            self.long(lag.order)
        } else {
            0
        }
    }

    /// Keeps what a machine is told while it stands still; returns what it takes now.
    pub(super) fn keep_waiting(
        &mut self,
        run: RunIndex,
        input: Input<Message>,
    ) -> Option<Input<Message>> {
        if let Some(inbox) = &mut self.runs[run].inbox {
            inbox.push(input);
            return None;
        }
        let lag = self.plan.lag;
        let stalls = lag.stall > 0 && !self.quiet && self.is_late(self.runs[run].seat);
        if !stalls || !self.apart.chance(lag.stalls) {
            return Some(input);
        }
        self.checker.counts.stalled += 1;
        let pause = self.long(lag.stall);
        self.note(|| {
            format!(
                "run {run}: its machine stands still for {} ms",
                pause / MILLISECOND
            )
        });
        self.runs[run].inbox = Some(vec![input]);
        self.agenda.after(pause, Event::Awake(run));
        None
    }

    /// Until when a run may act: a new lease counts once its machine knows that the last one is over.
    pub(super) fn valid(&self, run: RunIndex) -> Time {
        let fenced = |input: &Input<Message>| matches!(input, Input::Engine(EngineEvent::Fenced));
        let mut inbox = self.runs[run].inbox.iter().flatten();
        match inbox.any(fenced) {
            true => 0,
            false => self.engine.valid(run),
        }
    }

    /// A machine goes on with all that it was told meanwhile.
    pub(super) fn awake(&mut self, run: RunIndex) {
        let Some(mut inbox) = self.runs[run].inbox.take() else {
            return;
        };
        inbox.sort_by_key(rank);
        for input in inbox {
            self.take(run, input);
        }
    }

    /// Nobody is late any more: what waits happens now. Calls that were under way may have waited for
    /// too long.
    pub(super) fn catch_up(&mut self) {
        if self.plan.lag != Lag::default() {
            let calls = self.calls.values_mut();
            calls.for_each(|under_way| under_way.may_fail = true);
        }
        for run in self.living() {
            self.agenda.after(0, Event::Awake(run));
            if self.plan.lag.orders > 0 {
                let waits: Vec<ProcessId> = self.runs[run].host.pending.keys().cloned().collect();
                for process in waits {
                    self.agenda.after(0, Event::Ordered(run, process));
                }
            }
        }
    }
}
