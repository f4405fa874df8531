//! What the partition rule makes of members that come and go.

use super::{Answer, Node};
use crate::identity::{NodeId, NodeName, RequestId};
use crate::message::Item;
use crate::partition::{Memory, Rule, Verdict};
use crate::row::Rows;
use crate::view::Departure;

impl<R: Rows> Node<R> {
    /// Another member is there.
    pub(crate) fn judge_joined(&mut self, node: NodeId, name: &NodeName) {
        if node != self.me.id {
            let verdict = self.judge.joined(self.now, node, name);
            self.judged(verdict);
            self.say_memory(node);
        }
    }

    pub(crate) fn judge_gone(&mut self, node: NodeId, cause: Departure) {
        let verdict = self.judge.gone(self.now, node, cause);
        self.judged(verdict);
    }

    /// The engine has said all it knew.
    pub(crate) fn judge_ready(&mut self) {
        let verdict = self.judge.judge(self.now);
        self.judged(verdict);
    }

    pub(crate) fn heard_memory(&mut self, memory: Memory) {
        let verdict = self.judge.told(self.now, memory);
        self.judged(verdict);
    }

    /// Somebody says that those who are here are all there are.
    pub(crate) fn command_reset_size(&mut self, request: RequestId) {
        let verdict = self.judge.reset(self.now);
        for node in self.members.others(self.me.id) {
            self.say_memory(node);
        }
        self.judged(verdict);
        self.answer(request, Answer::Done);
    }

    pub(crate) fn say_memory(&mut self, to: NodeId) {
        if self.settings.partition != Rule::Diverge {
            let memory = self.judge.memory(self.now);
            self.outbox.say(to, Item::Memory(memory));
        }
    }

    fn judged(&mut self, verdict: Verdict) {
        if self.ready {
            self.divided(matches!(verdict, Verdict::Divided { .. }));
        }
    }
}
