//! Moves depart in turn.
//!
//! A process serves while its target is prepared, and stands still from its departure until the
//! target serves. Those that stand still are few at once, so that each waits for little but its own
//! state; the others wait for their turn without having noticed anything.

use handover_proto::moment::Moment;

use super::work::Moving;
use crate::identity::{NodeId, ProcessId, ShardId};
use crate::migration::{Bid, MovementInput};
use crate::node::{Node, Timer};
use crate::pace::Pace;
use crate::row::Rows;

impl<R: Rows> Node<R> {
    /// The target of a move is prepared: it departs when it is its turn.
    pub(super) fn ready(&mut self, shard: ShardId, process: &ProcessId) {
        if let Some(moving) = self.moving(shard, process) {
            let way = moving.way();
            self.pace.ready(shard, process, way);
        }
    }

    /// The target of a move serves: another one may depart.
    pub(super) fn serves(&mut self, shard: ShardId, process: &ProcessId) {
        if let Some(moving) = self.moving(shard, process)
            && let Some(turn) = moving.turn.take()
        {
            let way = moving.way();
            self.pace.arrived(way, turn);
        }
    }

    /// Has those moves depart whose turn it is.
    pub(crate) fn depart_in_turn(&mut self) {
        if self.is_still() {
            return;
        }
        let now = self.now;
        while let Some((shard, process, way)) = self.pace.turn(now) {
            let moving = self.moving(shard, &process);
            let moving = moving.filter(|moving| moving.way() == way && moving.movement.is_ready());
            match moving {
                Some(moving) => {
                    moving.turn = Some(now);
                    self.drive_move(shard, &process, Some(MovementInput::Depart));
                }
                // It ended while it waited.
                None => self.pace.arrived(way, now),
            }
        }
        if let Some(at) = self.pace.next_turn() {
            self.timers.set_sooner(Timer::Pace, at);
        }
    }
}

impl Moving {
    /// From where to where.
    pub(crate) fn way(&self) -> (NodeId, NodeId) {
        let plan = self.movement.plan();
        (plan.source.node, plan.target)
    }

    /// It has ended, or is nobody's any more.
    pub(crate) fn leave(&self, pace: &mut Pace) {
        pace.ended(self.way());
        if let Some(turn) = self.turn {
            pace.arrived(self.way(), turn);
        }
    }

    /// Takes the time from the order to depart until the target serves.
    pub(super) fn measure(&mut self, now: Moment, bid: &Bid) {
        match bid {
            Bid::Depart { .. } => {
                self.departs.get_or_insert(now);
            }
            Bid::Retire { .. } if self.pause_ns == 0 => {
                let pause = self.departs.map(|departs| now.since(departs).as_nanos());
                self.pause_ns = pause.map_or(0, |ns| u64::try_from(ns).unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
}
