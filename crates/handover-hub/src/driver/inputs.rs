//! What happens, put in the machine's terms.

use handover_hub_proto::identity::{NodeId, RequestId};
use handover_hub_proto::message::Message;
use handover_hub_proto::node::Input;
use handover_hub_proto::view::{EngineEvent, Member};

use super::Driver;
use super::wires::Control;
use crate::hub::Order;
use crate::transport::{Frame, PeerEvent};

impl Driver {
    /// What an engine says of members waits until the handlers that are called before it have
    /// returned, and what it says after that waits behind it, as if the engine had been slower. That
    /// it cannot vouch for this node never waits.
    pub(super) fn engine_event(&mut self, event: EngineEvent) -> Option<Input<Message>> {
        if matches!(event, EngineEvent::Fenced) {
            return self.engine_says(event);
        }
        self.occasions.hold(event);
        self.held_event()
    }

    /// The first thing that was held, unless it must wait still.
    pub(super) fn held_event(&mut self) -> Option<Input<Message>> {
        let (me, view) = (self.shared.me, self.shared.view());
        let event = self
            .occasions
            .next(me, |node| view.members.contains_key(&node));
        drop(view);
        event.and_then(|event| self.engine_says(event))
    }

    /// What an engine says also makes the view that queries see, and the connections.
    pub(super) fn engine_says(&mut self, event: EngineEvent) -> Option<Input<Message>> {
        let me = self.shared.me;
        match &event {
            EngineEvent::Member(member) => {
                let mut view = self.shared.view_mut();
                let load = view.members.get(&member.id).map(|known| known.load);
                let load = load.unwrap_or(member.load);
                let known = Member {
                    load,
                    ..member.clone()
                };
                view.members.insert(member.id, known);
                drop(view);
                if member.id != me {
                    self.shared.transport.learn(member.id, &member.address);
                }
            }
            EngineEvent::Gone { node, .. } => {
                let mut view = self.shared.view_mut();
                view.members.remove(node);
                view.schemas.remove(node);
                drop(view);
                if *node != me {
                    self.shared.transport.forget(*node);
                    self.wires.forget(*node);
                    self.shared.calls.disconnected(*node);
                }
            }
            EngineEvent::Owners(owners) => {
                let mut view = self.shared.view_mut();
                view.owners.extend(owners.iter().copied());
            }
            EngineEvent::Ready | EngineEvent::Fenced | EngineEvent::Unfenced => {}
        }
        Some(Input::Engine(event))
    }

    pub(super) fn peer(&mut self, event: PeerEvent) -> Option<Input<Message>> {
        match event {
            PeerEvent::Connected(introduction) => {
                self.wires.introduce(introduction.node);
                None
            }
            PeerEvent::Disconnected(node) | PeerEvent::Refused { node, .. } => {
                self.shared.calls.disconnected(node);
                Some(Input::Disconnected(node))
            }
            PeerEvent::Replaced { node, .. } => {
                self.shared.calls.disconnected(node);
                Some(Input::Disconnected(node))
            }
            PeerEvent::Rejected {
                address, rejection, ..
            } => {
                tracing::warn!(%address, %rejection, "a node was rejected");
                None
            }
        }
    }

    pub(super) fn heard(&mut self, from: NodeId, frame: Frame) -> Option<Input<Message>> {
        let Frame::Control(bytes) = frame else {
            tracing::warn!(%from, "a frame came on the wrong stream");
            return None;
        };
        match postcard::from_bytes(&bytes) {
            Ok(Control::Machine(message)) => Some(Input::Heard { from, message }),
            Ok(Control::Kinds(kinds)) => {
                let mut view = self.shared.view_mut();
                view.schemas.insert(from, kinds);
                None
            }
            // Of a newer version; what it says is repaired by digests, or asked again.
            Err(error) => {
                tracing::warn!(%from, %error, "a message cannot be read");
                None
            }
        }
    }

    pub(super) fn command(&mut self, order: Order) -> Input<Message> {
        self.requests += 1;
        self.answers.insert(self.requests, order.answer);
        Input::Command {
            request: RequestId(self.requests),
            command: order.command,
        }
    }
}
