//! A node is emptied: evacuated, or it leaves.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Evacuation, Failure, Node};
use crate::identity::{NodeId, NodeName, ProcessId, RequestId};
use crate::message::Emptying;
use crate::node::Answer;
use crate::row::Rows;

impl<R: Rows> Node<R> {
    pub(crate) fn command_evacuate(&mut self, request: RequestId, evacuation: Evacuation) {
        self.answer(
            request,
            Answer::Failed(Failure::UnknownNode(evacuation.node)),
        );
    }

    pub(crate) fn command_abort_evacuation(&mut self, request: RequestId, node: &NodeName) {
        self.answer(request, Answer::Failed(Failure::UnknownNode(node.clone())));
    }

    pub(crate) fn command_leave(&mut self, request: RequestId, _timeout: Duration) {
        self.answer(request, Answer::Failed(Failure::Nowhere));
    }

    pub(crate) fn heard_emptying(&mut self, _from: NodeId, _emptying: Option<Emptying>) {}

    pub(crate) fn heard_evacuate(
        &mut self,
        _from: NodeId,
        _request: u64,
        _emptying: Option<Emptying>,
    ) {
    }

    pub(crate) fn heard_evacuated(
        &mut self,
        request: u64,
        moved: u64,
        left: Vec<(ProcessId, Failure)>,
    ) {
        self.passed_back(request, Answer::Evacuated { moved, left });
    }
}
