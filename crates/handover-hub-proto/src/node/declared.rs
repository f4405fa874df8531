//! The list of declared children.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Answer, Node};
use crate::identity::{NodeId, ProcessId, RequestId};
use crate::row::Rows;
use crate::spec::ChildSpec;

impl<R: Rows> Node<R> {
    pub(crate) fn command_declare(&mut self, request: RequestId, _children: Vec<Arc<ChildSpec>>) {
        self.answer(request, Answer::Done);
    }

    pub(crate) fn command_reset_size(&mut self, request: RequestId, _size: u32) {
        self.answer(request, Answer::Done);
    }

    pub(crate) fn heard_declare(
        &mut self,
        _from: NodeId,
        _request: u64,
        _timeout: Duration,
        _children: Vec<Arc<ChildSpec>>,
    ) {
    }

    pub(crate) fn heard_declared(
        &mut self,
        _version: u64,
        _children: BTreeMap<ProcessId, Arc<ChildSpec>>,
    ) {
    }
}
