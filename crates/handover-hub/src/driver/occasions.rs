//! When handlers are called for what happens on a node, and what waits for them.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use handover_hub_proto::event::Event;
use handover_hub_proto::hook::Hook;
use handover_hub_proto::identity::{NodeId, ProcessId};
use handover_hub_proto::node::{HostOrder, HostReport, Origin};
use handover_hub_proto::view::EngineEvent;

use crate::handlers::{Gate, Handlers, Occasion};

/// Events of the engine that are held; more wait in its own queue.
const HELD: usize = 1024;

pub(super) struct Occasions {
    handlers: Arc<Handlers>,
    /// What the engine said, while the first of it waits.
    held: VecDeque<EngineEvent>,
    /// The handlers that are called before the first of it.
    gate: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// They have returned.
    called: bool,
    /// Members that came or went since homes were last worked out.
    changed: Vec<Event>,
    /// Children that are being started here and that no row names yet.
    starting: HashSet<ProcessId>,
}

impl Occasions {
    pub(super) fn new(handlers: Arc<Handlers>) -> Self {
        Self {
            handlers,
            held: VecDeque::new(),
            gate: None,
            called: false,
            changed: Vec::new(),
            starting: HashSet::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.held.len() < HELD
    }

    pub(super) fn hold(&mut self, event: EngineEvent) {
        self.held.push_back(event);
    }

    /// Ready when what is held may be looked at; never while nothing is. May be cancelled.
    pub(super) async fn opened(&mut self) {
        poll_fn(|context| match &mut self.gate {
            Some(gate) => gate.as_mut().poll(context),
            None if self.held.is_empty() => Poll::Pending,
            None => Poll::Ready(()),
        })
        .await;
        if self.gate.take().is_some() {
            self.called = true;
        }
    }

    /// The first thing held, unless handlers are called before it that have not returned.
    pub(super) fn next(
        &mut self,
        me: NodeId,
        is_member: impl Fn(NodeId) -> bool,
    ) -> Option<EngineEvent> {
        if self.gate.is_some() {
            return None;
        }
        if !std::mem::take(&mut self.called) {
            let first = self.held.front()?;
            if let Some(gate) = self.before(first, me, is_member) {
                self.gate = Some(Box::pin(gate.wait()));
                return None;
            }
        }
        self.held.pop_front()
    }

    fn before(
        &self,
        event: &EngineEvent,
        me: NodeId,
        is_member: impl Fn(NodeId) -> bool,
    ) -> Option<Gate> {
        match event {
            EngineEvent::Member(member) if !is_member(member.id) => {
                let joining = || Occasion::Joining(member.clone());
                self.handlers.ask(Hook::BeforeJoin, joining)
            }
            EngineEvent::Gone { node, cause } if *node != me && is_member(*node) => {
                let (node, cause) = (*node, *cause);
                let leaving = || Occasion::Leaving { node, cause };
                self.handlers.ask(Hook::BeforeLeave, leaving)
            }
            _ => None,
        }
    }

    /// A process on this node is ordered to do something.
    pub(super) fn host_is_told(&mut self, order: &HostOrder) {
        if let HostOrder::Activate {
            spec,
            origin: Origin::Fresh | Origin::Replica,
            ..
        } = order
            && self.handlers.has(Hook::Started)
        {
            self.starting.insert(spec.id.clone());
        }
    }

    /// A process on this node did something.
    pub(super) fn host_says(&mut self, report: &HostReport) {
        if let HostReport::Ended { process, .. }
        | HostReport::Activated {
            process,
            result: Err(_),
            ..
        } = report
        {
            self.starting.remove(process);
        }
    }

    /// Has handlers called for what happened. What the engine is asked from here on waits for the
    /// gate, if there is one.
    pub(super) fn happened(&mut self, event: &Event, me: NodeId) -> Option<Gate> {
        let told = || Occasion::Event(event.clone());
        match event {
            Event::Joined { .. } if self.handlers.has(Hook::AfterJoin) => {
                self.changed.push(event.clone());
            }
            Event::Gone { .. } if self.handlers.has(Hook::AfterLeave) => {
                self.changed.push(event.clone());
            }
            Event::Redistributing => {
                let gate = self.handlers.ask(Hook::BeforeRedistribution, told);
                for event in std::mem::take(&mut self.changed) {
                    let hook = match event {
                        Event::Joined { .. } => Hook::AfterJoin,
                        _ => Hook::AfterLeave,
                    };
                    self.handlers.tell(hook, || Occasion::Event(event));
                }
                return gate;
            }
            Event::Registered { process, node, .. } => {
                self.handlers.event(event);
                if *node == me && self.starting.remove(process) {
                    self.handlers.tell(Hook::Started, told);
                }
            }
            _ => self.handlers.event(event),
        }
        None
    }
}
