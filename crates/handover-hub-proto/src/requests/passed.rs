//! Commands that another node answers as a whole.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Moment;

use super::{Form, Request};
use crate::identity::{NodeId, RequestId};
use crate::message::Item;
use crate::node::outbox::Outbox;
use crate::node::{Answer, Failure, Node};
use crate::row::Rows;

/// That node's answer is the answer.
pub(super) struct Passed {
    to: NodeId,
    /// What is said again, as long as nobody answers.
    order: Option<Item>,
    said: Moment,
}

impl Passed {
    /// The node that it was to empty.
    pub(super) const fn empties(&self) -> Option<NodeId> {
        match &self.order {
            Some(Item::Evacuate {
                emptying: Some(_), ..
            }) => Some(self.to),
            _ => None,
        }
    }

    /// Says it again if nothing was heard for so long.
    pub(super) fn say_again(&mut self, now: Moment, patience: Duration, outbox: &mut Outbox) {
        if let Some(order) = &self.order
            && now.since(self.said) >= patience
        {
            self.said = now;
            outbox.say(self.to, order.clone());
        }
    }
}

impl<R: Rows> Node<R> {
    /// Keeps a command open that another node answers, under this number.
    pub(crate) fn pass(&mut self, id: RequestId, to: NodeId, timeout: Duration) -> u64 {
        let form = Form::Passed(Passed {
            to,
            order: None,
            said: self.now,
        });
        self.open(id, form, BTreeMap::new(), Vec::new(), timeout);
        self.requests.last
    }

    /// Says what was passed on, and says it again until it is answered: it may get lost, and a node
    /// that stands still does not take it.
    pub(crate) fn say_passed(&mut self, number: u64, item: Item) {
        let request = self.requests.all.get_mut(&number);
        if let Some(Form::Passed(passed)) = request.map(|request| &mut request.form) {
            passed.order = Some(item.clone());
            self.outbox.say(passed.to, item);
        }
    }

    /// A node is gone that was to answer.
    pub(crate) fn passed_to_nobody(&mut self, node: NodeId) {
        let waits =
            |request: &Request| matches!(&request.form, Form::Passed(passed) if passed.to == node);
        let all = self.requests.all.iter();
        let numbers: Vec<u64> = all.filter(|(_, r)| waits(r)).map(|(n, _)| *n).collect();
        for number in numbers {
            self.passed_back(number, Answer::Failed(Failure::Gone));
        }
    }

    /// The other node's answer.
    pub(crate) fn passed_back(&mut self, number: u64, answer: Answer) {
        let request = self.requests.all.get(&number);
        if request.is_some_and(|request| matches!(request.form, Form::Passed(_)))
            && let Some(request) = self.close(number)
        {
            self.answer(request.id, answer);
        }
    }
}
