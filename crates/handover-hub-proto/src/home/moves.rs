//! Processes that a home moves from one node to another.

use super::Asker;
use crate::identity::{NodeId, ProcessId, ShardId};
use crate::message::Told;
use crate::node::{Failure, Node};
use crate::row::Rows;

impl<R: Rows> Node<R> {
    pub(crate) fn want_move(
        &mut self,
        _shard: ShardId,
        _process: &ProcessId,
        _from: NodeId,
        _to: NodeId,
    ) {
    }

    pub(crate) fn asked_to_move(
        &mut self,
        _shard: ShardId,
        asker: Asker,
        process: ProcessId,
        _to: NodeId,
    ) {
        self.tell(asker, process, Told::Failed(Failure::Nowhere));
    }

    pub(crate) fn ready_to_move(&mut self, _shard: ShardId, _process: &ProcessId) {}
}
