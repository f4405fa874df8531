//! Feeds a node's machine and does what it says. Messages to processes and their states do not
//! pass here.

mod effects;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod inputs;
mod occasions;
mod rest;
mod wires;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::message::Message;
use handover_hub_proto::node::{Answer, Effect, HostReport, Input, Node};
use handover_hub_proto::view::{EngineEvent, EngineOrder, Load};
use handover_proto::moment::{Machine, Moment};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use self::occasions::Occasions;
pub(crate) use self::rest::Hold;
use self::wires::Wires;
use crate::crash;
use crate::handlers::{Gate, Handlers};
use crate::hub::{Order, Shared};
use crate::registry::Registry;
use crate::transport::{Frame, PeerEvent};

/// How long a node that left lets its last words reach their readers.
const FAREWELL: Duration = Duration::from_millis(500);

/// Inputs that are taken before what follows from them is done, and for how long: some dozen orders
/// to processes and a message or two.
const SLICE: usize = 32;
const SLICE_TIME: Duration = Duration::from_micros(300);

/// What a driver reads from.
pub(crate) struct Sources {
    pub(crate) engine: mpsc::Receiver<EngineEvent>,
    pub(crate) control: mpsc::Receiver<(handover_hub_proto::identity::NodeId, Frame)>,
    pub(crate) peers: mpsc::Receiver<PeerEvent>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) reports: mpsc::UnboundedReceiver<HostReport>,
    pub(crate) loads: mpsc::Receiver<Load>,
    pub(crate) holds: mpsc::Receiver<Hold>,
}

/// What goes to the engine, in order.
pub(crate) enum ToEngine {
    Order(EngineOrder),
    /// What follows waits for this.
    After(Gate),
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its engine has not said yet who else is there.
    Joining,
    /// It takes part.
    Ready,
    /// It has left.
    Left,
}

/// The task that has a node's machine.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    node: Node<Registry>,
    wires: Wires,
    engine: mpsc::UnboundedSender<ToEngine>,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    requests: u64,
    stage: watch::Sender<Stage>,
    occasions: Occasions,
    /// The machine was told last that the lease is over.
    fenced: bool,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        node: Node<Registry>,
        engine: mpsc::UnboundedSender<ToEngine>,
        stage: watch::Sender<Stage>,
        handlers: Arc<Handlers>,
    ) -> Self {
        Self {
            wires: Wires::new(Arc::clone(&shared)),
            shared,
            node,
            engine,
            answers: HashMap::new(),
            requests: 0,
            stage,
            occasions: Occasions::new(handlers),
            fenced: false,
        }
    }

    /// Runs until the node has left. One that `rests` does nothing before it is told to go on.
    pub(crate) async fn run(mut self, mut sources: Sources, rests: bool) {
        if rests {
            rest::await_go_on(&mut sources).await;
        }
        loop {
            let deadline = self.node.next_deadline().map(|at| self.instant(at));
            let input = tokio::select! {
                biased;
                event = sources.engine.recv(), if self.occasions.has_room() => match event {
                    Some(event) => self.engine_event(event),
                    None => break,
                },
                () = self.occasions.opened() => self.held_event(),
                Some(report) = sources.reports.recv() => {
                    self.occasions.host_says(&report);
                    Some(Input::Host(report))
                }
                Some(hold) = sources.holds.recv() => {
                    self.rest(&mut sources, hold).await;
                    None
                }
                Some(event) = sources.peers.recv() => self.peer(event),
                Some((from, frame)) = sources.control.recv() => self.heard(from, frame),
                Some(order) = sources.orders.recv() => Some(self.command(order)),
                Some(load) = sources.loads.recv() => Some(Input::Load(load)),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    Some(Input::Tick)
                }
            };
            if let Some(input) = input {
                self.handle(input);
            }
            let more = self.take_waiting(&mut sources);
            self.execute_all();
            if more {
                // Calls have their turn between two slices.
                tokio::task::yield_now().await;
            }
        }
        self.leave().await;
    }

    /// Takes what waits already, at most a slice of it, so that what follows from it is said to others
    /// together. Whether the slice was used up.
    fn take_waiting(&mut self, sources: &mut Sources) -> bool {
        let begun = Instant::now();
        for _ in 0..SLICE {
            // Who is a member and connected comes first, and after all that was said before.
            if !sources.engine.is_empty() || !sources.peers.is_empty() {
                return false;
            }
            let input = if let Ok(report) = sources.reports.try_recv() {
                self.occasions.host_says(&report);
                Some(Input::Host(report))
            } else if let Ok((from, frame)) = sources.control.try_recv() {
                self.heard(from, frame)
            } else {
                return false;
            };
            if let Some(input) = input {
                self.handle(input);
            }
            if begun.elapsed() >= SLICE_TIME {
                break;
            }
        }
        true
    }

    /// One input, whose effects may be executed with those of others; before it, that the lease is
    /// over, if it is: what waited while this node was stopped must not be acted on (H12).
    fn handle(&mut self, input: Input<Message>) {
        let fenced = matches!(input, Input::Engine(EngineEvent::Fenced));
        let ready = matches!(input, Input::Engine(EngineEvent::Ready));
        let validity = self.shared.validity.get();
        if validity.is_some_and(|validity| !validity.holds()) {
            if !fenced && !self.fenced {
                self.feed(Input::Engine(EngineEvent::Fenced));
                self.execute_all();
            }
            if matches!(input, Input::Engine(EngineEvent::Unfenced)) {
                // Of a lease that is over too: the engine fences, and says this again afterwards.
                return;
            }
        }
        self.feed(input);
        if fenced || ready {
            self.execute_all();
        }
        if fenced && let Some(validity) = self.shared.validity.get() {
            // Everything stands still by the effects above (H2).
            validity.acknowledge();
        }
        if ready {
            self.stage.send_replace(Stage::Ready);
        }
    }

    fn feed(&mut self, input: Input<Message>) {
        match input {
            Input::Engine(EngineEvent::Fenced) => self.fenced = true,
            Input::Engine(EngineEvent::Unfenced) => self.fenced = false,
            _ => {}
        }
        self.node.handle(self.shared.now(), input);
    }

    /// Does all that follows from what was heard, and says what was held back to be said with more.
    fn finish(&mut self) {
        self.node.speak_out();
        self.execute_all();
    }

    fn execute_all(&mut self) {
        while let Some(effect) = self.node.poll_effect() {
            self.execute(effect);
        }
        if let Some(loads) = self.node.changed_loads() {
            let mut view = self.shared.view_mut();
            for (node, load) in loads {
                if let Some(member) = view.members.get_mut(&node) {
                    member.load = load;
                }
            }
        }
    }

    fn execute(&mut self, effect: Effect<Message>) {
        crash::before(&effect);
        match effect {
            Effect::Send { to, message } => self.wires.say(to, &message),
            Effect::Engine(order) => {
                // An engine that has ended says so by its events.
                let _ = self.engine.send(ToEngine::Order(order));
            }
            Effect::Host(order) => self.host(order),
            Effect::Answer { request, answer } => {
                if let Some(waits) = self.answers.remove(&request.0) {
                    let _ = waits.send(answer);
                }
            }
            Effect::Report(event) => self.report(event),
        }
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.shared.began + moment.since(Moment::ZERO)
    }

    /// The engine has ended: this node is no member any more.
    async fn leave(mut self) {
        self.finish();
        self.shared.transport.close(FAREWELL).await;
        self.shared.end();
        self.stage.send_replace(Stage::Left);
    }
}
