//! How busy the members are, and what the balancer makes of it.
//!
//! Every node tells the leader how busy it is when that has changed, and the leader tells all of
//! all: two messages for each node and measurement at most, none on a cluster that is idle.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Effect, Node, Settings, Timer};
use crate::balance::{Balancer, Board, Shares, leader};
use crate::event::Event;
use crate::identity::{NodeId, ProcessId};
use crate::message::Item;
use crate::placement::Distribution;
use crate::row::Rows;
use crate::view::Load;

/// After so many measurements all is said again: what was told may have been lost.
const AGAIN: u16 = 30;

/// What was told of loads, and the balancer if there is one.
pub(crate) struct Loads {
    /// What this node told last, to the leader of itself or as the leader of all.
    told: BTreeMap<NodeId, Load>,
    /// Who led then.
    led: Option<NodeId>,
    measured: u16,
    /// Somebody's load changed since it was last asked for.
    changed: bool,
    balancer: Option<Balancer>,
    /// Who is given new children, by the board that counted when it was worked out.
    shares: Shares,
}

impl Loads {
    pub(crate) fn new(me: NodeId, settings: &Settings) -> Self {
        let balancer = match settings.distribution {
            Distribution::LoadBalanced(balancing) => Some(Balancer::new(me, balancing)),
            Distribution::Consistent | Distribution::Guided => None,
        };
        Self {
            told: BTreeMap::new(),
            led: None,
            measured: 0,
            changed: false,
            balancer,
            shares: Shares::default(),
        }
    }

    /// Whether children run where there is least to do.
    pub(crate) const fn balances(&self) -> bool {
        self.balancer.is_some()
    }

    pub(crate) const fn balancer(&self) -> Option<&Balancer> {
        self.balancer.as_ref()
    }

    /// What was told may not have arrived.
    pub(crate) fn forget_told(&mut self) {
        self.told.clear();
    }
}

impl<R: Rows> Node<R> {
    /// How busy the members say they are, if that has changed since this was last called.
    pub fn changed_loads(&mut self) -> Option<Vec<(NodeId, Load)>> {
        core::mem::take(&mut self.loads.changed).then(|| self.members.loads().collect())
    }

    /// How busy this node said it is.
    pub(crate) fn load(&self) -> Load {
        let me = self.members.get(self.me.id);
        me.map_or(self.me.load, |me| me.load)
    }

    /// How busy this node is, as was measured just now.
    pub(crate) fn measured(&mut self, load: Load) {
        let me = self.me.id;
        self.loads.changed |= self.members.busy(me, load);
        let Some(leader) = leader(&self.members.list()) else {
            return;
        };
        self.loads.measured += 1;
        if self.loads.led.replace(leader) != Some(leader) || self.loads.measured >= AGAIN {
            self.loads.measured = 0;
            self.loads.told.clear();
        }
        let all = self.members.loads();
        let told = &self.loads.told;
        let news = |(node, load): &(NodeId, Load)| {
            (leader == me || *node == me)
                && told.get(node).is_none_or(|before| load.is_news(before))
        };
        let news: Vec<(NodeId, Load)> = all.filter(news).collect();
        if news.is_empty() {
            return;
        }
        self.loads.told.extend(news.iter().copied());
        let to = match leader == me {
            true => self.members.others(me),
            false => Vec::from([leader]),
        };
        for node in to {
            self.outbox.say(node, Item::Loads(news.clone()));
        }
    }

    pub(crate) fn heard_loads(&mut self, loads: Vec<(NodeId, Load)>) {
        for (node, load) in loads {
            if node != self.me.id {
                self.loads.changed |= self.members.busy(node, load);
            }
        }
    }

    /// The balancer looks at the loads: a leader makes a board.
    pub(crate) fn board_due(&mut self) {
        let (still, soon) = (self.is_still(), self.now + self.settings.debounce);
        let Some(balancer) = &mut self.loads.balancer else {
            return;
        };
        if still || self.settling {
            let later = self.now + balancer.settings().every;
            self.timers
                .set(Timer::Board, if still { later } else { soon });
            return;
        }
        let board = balancer.tick(self.now, &self.members.list());
        self.timers.set(Timer::Board, balancer.due());
        match board {
            Some(board) => {
                for node in self.members.others(self.me.id) {
                    self.outbox.say(node, Item::Board(board.clone()));
                }
                self.take_board(&board);
            }
            // The last one may be stale by now.
            None => self.share_anew(),
        }
    }

    pub(crate) fn heard_board(&mut self, from: NodeId, board: Board) {
        let (now, members) = (self.now, self.members.list());
        let Some(balancer) = &mut self.loads.balancer else {
            return;
        };
        if balancer.hear(now, from, board.clone(), &members) {
            self.take_board(&board);
        }
    }

    fn take_board(&mut self, board: &Board) {
        self.share_anew();
        self.effects.push_back(Effect::Report(Event::Scored {
            scores: board.scores.iter().map(|(n, score)| (*n, *score)).collect(),
            shifted: board.shifts.iter().map(|shift| shift.count).sum(),
        }));
        self.shift(board);
    }

    /// Members changed, or there is another board.
    pub(crate) fn share_anew(&mut self) {
        if let Some(balancer) = &self.loads.balancer {
            self.loads.shares = match balancer.scores(self.now) {
                Some(_) => balancer.shares(self.now, &self.members.list()),
                None => Shares::default(),
            };
        }
    }

    /// Who has least to do, in proportion; nobody is named without a board.
    pub(crate) fn least_busy(&self, process: &ProcessId) -> Option<NodeId> {
        self.loads.balancer.as_ref()?.scores(self.now)?;
        let taker = self.loads.shares.taker(process);
        taker.filter(|node| self.members.serves(*node))
    }
}
