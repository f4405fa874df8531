//! Nodes start, stand still, end; machines are told things and say what they want.

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::call::Ledger;
use handover_hub_proto::event::Event as Told;
use handover_hub_proto::identity::{CallId, NodeId, NodeName, ProcessId};
use handover_hub_proto::mailbox::Phase;
use handover_hub_proto::node::{Effect, Input, Node};
use handover_hub_proto::view::{EngineEvent, EngineOrder, Load, Member, Standing};
use handover_proto::moment::{Machine, Moment};

use super::{Event, Message, Run, World};
use crate::cluster::agenda::{MILLISECOND, SECOND};
use crate::cluster::fault::Fault;
use crate::cluster::host::{Frame, Host};
use crate::cluster::network::{Class, Network, RunIndex, Seat};
use crate::cluster::registry::Registry;

/// Weight of a node, as usual.
const WEIGHT: u32 = 100;

impl World {
    /// A node starts, under a name that nobody alive has.
    pub(super) fn start_node(&mut self, seat: Seat) {
        if self.runs.iter().any(|run| run.seat == seat && run.alive) {
            return;
        }
        let index = self.runs.len();
        let id = NodeId(self.random.number());
        let Ok(name) = NodeName::new(&format!("n{seat}")) else {
            return;
        };
        let me = Member {
            id,
            name,
            address: format!("10.0.0.{seat}:7600"),
            weight: WEIGHT,
            version: "1".into(),
            joined_ms: self.now() / MILLISECOND,
            standing: Standing::Serving,
            load: Load::default(),
        };
        self.note(|| format!("=== run {index} of n{seat} starts as {id}"));
        let settings = self.settings();
        let moment = Moment::from_nanos(self.now());
        let registry = Registry::new(self.plan.shards);
        let seeds = self.living();
        self.runs.push(Run {
            seat,
            id,
            me: me.clone(),
            machine: Node::new(settings, me.clone(), registry, moment),
            host: Host::default(),
            alive: true,
            paused: false,
            fenced: false,
            leaving: false,
            left: BTreeSet::new(),
            evacuated: false,
            backlog: Vec::new(),
            inbox: None,
            tick: None,
            requests: BTreeMap::new(),
            request: 0,
            ledger: Ledger::new(id),
        });
        self.by_id.insert(id, index);
        self.network.begin(seat);
        self.at_engine(|engine, around| engine.join(around, me, &seeds));
        self.drain(index);
        self.measure_later(index);
    }

    /// Tells a machine something and does what it wants.
    pub(super) fn input(&mut self, run: RunIndex, input: Input<Message>) {
        if self.fault == Fault::Timeless && matches!(input, Input::Tick) {
            return;
        }
        if let Some(input) = self.keep_waiting(run, input) {
            self.take(run, input);
        }
    }

    /// A machine has time for something it was told.
    pub(super) fn take(&mut self, run: RunIndex, input: Input<Message>) {
        if self.engine.is_over(run, self.now()) && self.fault != Fault::NoFence {
            if !self.runs[run].fenced {
                self.note(|| format!("run {run} finds its lease over"));
                self.feed(run, Input::Engine(EngineEvent::Fenced));
            }
            if matches!(input, Input::Engine(EngineEvent::Unfenced)) {
                // Of a lease that is over too: the engine says it again.
                return;
            }
        }
        self.feed(run, input);
    }

    fn feed(&mut self, run: RunIndex, input: Input<Message>) {
        match input {
            Input::Engine(EngineEvent::Fenced) => self.runs[run].fenced = true,
            Input::Engine(EngineEvent::Unfenced) => self.runs[run].fenced = false,
            _ => {}
        }
        let moment = Moment::from_nanos(self.now());
        self.runs[run].machine.handle(moment, input);
        self.drain(run);
    }

    fn drain(&mut self, run: RunIndex) {
        while let Some(effect) = self.runs[run].machine.poll_effect() {
            self.effect(run, effect);
        }
        let deadline = self.runs[run].machine.next_deadline();
        let deadline = deadline.map(|at| at.as_nanos().max(self.now()));
        if deadline != self.runs[run].tick {
            self.runs[run].tick = deadline;
            if let Some(at) = deadline {
                self.agenda.at(at, Event::Tick(run, at));
            }
        }
    }

    fn effect(&mut self, run: RunIndex, effect: Effect<Message>) {
        match effect {
            Effect::Send { to, message } => {
                self.note(|| format!("run {run} -> {to} {message:?}"));
                self.control.0 += 1;
                self.control.1 += message.len() as u64;
                if let Some(to) = self.by_id.get(&to).copied() {
                    self.send(run, to, Class::Control, 0, Frame::Control(message));
                }
            }
            Effect::Engine(order) => {
                self.note(|| format!("run {run} asks {order:?}"));
                if order == EngineOrder::Leave {
                    self.agenda.after(SECOND / 2, Event::Exit(run));
                }
                self.at_engine(|engine, around| engine.order(around, run, order));
            }
            Effect::Host(order) => {
                self.note(|| format!("run {run} orders {order:?}"));
                self.order(run, order);
            }
            Effect::Answer { request, answer } => self.answer(run, request, answer),
            Effect::Report(event) => {
                self.note(|| format!("run {run} reports {event:?}"));
                if let Told::Registered { process, .. } | Told::Unregistered { process } = event {
                    self.row_changed(run, &process);
                } else if let Told::Scored { shifted, .. } = event
                    && shifted > 0
                {
                    self.shifted = self.now();
                    self.checker.counts.shifted += 1;
                }
            }
        }
    }

    /// A program is killed: all that it had is gone.
    pub(super) fn kill(&mut self, run: RunIndex) {
        let id = self.runs[run].id;
        self.note(|| format!("=== run {run} ({id}) is killed"));
        self.checker.counts.killed += 1;
        self.harms.push(self.agenda.now());
        self.excuse(run);
        self.end(run);
    }

    /// What only this node has may be lost.
    pub(super) fn excuse(&mut self, run: RunIndex) {
        let mut lost = Vec::new();
        for (process, cell) in &self.runs[run].host.cells {
            if self.is_promised(run, process) {
                continue;
            }
            let kept = self.kept_elsewhere(run, process, true);
            let state = self.runs[run].host.state(process).unwrap_or(&cell.state);
            let gone = state.applied.difference(&kept).copied();
            lost.push((process.clone(), gone.collect::<Vec<_>>()));
        }
        for (process, applied) in &self.runs[run].host.ended {
            lost.push((process.clone(), applied.iter().copied().collect()));
        }
        for (process, landings) in &self.runs[run].host.landings {
            let kept = self.kept_elsewhere(run, process, false);
            for (state, _) in landings
                .iter()
                .filter_map(|landing| landing.arrived.as_ref())
            {
                let gone = state.applied.difference(&kept).copied();
                lost.push((process.clone(), gone.collect()));
            }
        }
        for (process, calls) in lost {
            self.checker.excuse(&process, calls.into_iter());
        }
    }

    /// What another node has of a process: if it serves there, or, where that is enough, waits for
    /// the end of its move.
    fn kept_elsewhere(&self, run: RunIndex, process: &ProcessId, serves: bool) -> BTreeSet<CallId> {
        let others = self.living().into_iter().filter(|other| *other != run);
        let hosts = others.map(|other| &self.runs[other].host);
        let kept = hosts.filter(|host| {
            let cell = host.cells.get(process);
            cell.is_some_and(|cell| {
                !serves || cell.mailbox.phase() == Phase::Open && !cell.mailbox.is_suspended()
            })
        });
        kept.filter_map(|host| host.state(process))
            .flat_map(|state| state.applied.iter().copied())
            .collect()
    }

    /// A program is over, in whatever way.
    pub(super) fn end(&mut self, run: RunIndex) {
        for process in self.runs[run].requests.values() {
            super::commands::forget(&mut self.checker, process);
        }
        self.note_hostless(run);
        self.runs[run].alive = false;
        self.runs[run].backlog.clear();
        self.runs[run].inbox = None;
        self.checker.over(run);
        self.calls.retain(|_, call| call.run != run);
        self.network.end(run);
        for peer in self.network.peers(run) {
            self.sever(run, peer, !self.network.connects_if_alive(peer, run));
        }
        self.at_engine(|engine, around| engine.end(around, run));
    }

    /// The connection of two runs breaks; the ends notice soon, or only by silence.
    pub(super) fn sever(&mut self, one: RunIndex, other: RunIndex, silent: bool) {
        for (run, peer) in self.network.sever(one, other) {
            let pause = if silent {
                Network::silence(&mut self.random)
            } else {
                Network::reset(&mut self.random)
            };
            self.agenda.after(pause, Event::Notice(run, peer));
        }
    }

    pub(super) fn notice(&mut self, run: RunIndex, peer: RunIndex) {
        self.network.notice(run, peer);
        self.disconnected(run, peer);
    }

    /// A node goes on after it stood still: what happened at it meanwhile happens now.
    pub(super) fn go_on(&mut self, run: RunIndex) {
        if !self.runs[run].alive || !std::mem::replace(&mut self.runs[run].paused, false) {
            return;
        }
        self.note(|| format!("=== run {run} goes on"));
        let backlog = std::mem::take(&mut self.runs[run].backlog);
        for event in backlog {
            self.agenda.after(0, event);
        }
    }
}
