//! What befalls a cluster.

use std::time::Duration;

use handover_hub_proto::identity::ProcessId;
use handover_hub_proto::node::{Command, Evacuation, Settings};
use handover_hub_proto::spec::Placing;

use super::{Event, World};
use crate::cluster::agenda::{MILLISECOND, SECOND};
use crate::cluster::checker::Wanted;
use crate::cluster::engine::{Disturbance, Engine};
use crate::cluster::fault::Fault;
use crate::cluster::network::{RunIndex, Seat};
use crate::cluster::plan::Act;

/// So many nodes may be lost at once (H9) ...
const LOST_AT_ONCE: usize = 2;

/// ... and what they had is there again after this time.
const HEALS: u64 = 40 * SECOND;

/// After this time a node that joins knows all rows.
const LEARNS: u64 = 10 * SECOND;

/// Nodes that are there, at least.
const LEAST: usize = 2;

impl World {
    /// What the machines are set to.
    pub(super) fn settings(&self) -> Settings {
        let mut settings = Settings {
            shards: self.plan.shards,
            guarantees: self.engine.guarantees(),
            distribution: self.plan.distribution,
            redundancy: self.redundancy(),
            ..Settings::default()
        };
        if self.fault == Fault::Undying {
            settings.ends_kept = Duration::ZERO;
        }
        settings
    }

    /// Nodes that stand on their feet, and were not asked to go.
    pub(super) fn settled_runs(&self) -> Vec<RunIndex> {
        let living = self.living().into_iter();
        living
            .filter(|run| !self.runs[*run].paused && !self.runs[*run].leaving)
            .collect()
    }

    fn a_run(&mut self) -> Option<RunIndex> {
        let runs = self.settled_runs();
        self.random.one(&runs).copied()
    }

    fn a_child(&mut self) -> Option<ProcessId> {
        let children = self.checker.children.iter();
        let running = children.filter(|(_, child)| child.wanted == Wanted::Running);
        let running: Vec<_> = running.map(|(process, _)| process.clone()).collect();
        self.random.one(&running).cloned()
    }

    /// Something happens, and the next thing later.
    pub(super) fn act(&mut self) {
        if self.quiet {
            return;
        }
        let pause = self.random.between(0, self.plan.act_every * 2);
        self.agenda.after(pause, Event::Act);
        let act = Act::draw(self.plan.profile, self.plan.exclusive, &mut self.random);
        self.note(|| format!("=== {act:?}"));
        match act {
            Act::Start | Act::Stop | Act::Move | Act::Pin => self.act_on_children(act),
            Act::Join | Act::Leave | Act::Evacuate | Act::Refill => self.act_on_nodes(act),
            Act::Kill | Act::KillTwo | Act::Pause => self.harm(act),
            Act::Break | Act::Divide | Act::Heal | Act::CutOff => self.act_on_network(act),
            Act::Outage | Act::Slow | Act::Suspect => self.act_on_engine(act),
        }
    }

    fn act_on_children(&mut self, act: Act) {
        let (Some(run), Some(other), Some(process)) = (self.a_run(), self.a_run(), self.a_child())
        else {
            return;
        };
        let to = self.runs[other].me.name.clone();
        match act {
            Act::Start => {
                let count = self.random.below(8) + 1;
                self.start_children(count);
            }
            Act::Stop => {
                let processes = vec![process];
                let timeout = Duration::from_secs(10);
                self.command(run, Command::Stop { processes, timeout });
            }
            Act::Move => {
                let id = self.runs[other].id;
                let places = self.moved_to.entry(process.clone()).or_default();
                places.insert(id);
                self.command(run, Command::Move { process, to });
            }
            Act::Pin if self.is_guided() => {
                let placing = self.guide(&process, other);
                self.command(run, Command::Pin { process, placing });
            }
            Act::Pin => {
                // A node that stands still refuses: what is to be free may be pinned still.
                let seats = self.pinned.entry(process.clone()).or_default();
                let placing = if seats.is_empty() {
                    seats.push(self.runs[other].seat);
                    Placing::Pinned(vec![to])
                } else {
                    seats.clear();
                    Placing::Strategy
                };
                self.command(run, Command::Pin { process, placing });
            }
            _ => {}
        }
    }

    fn act_on_nodes(&mut self, act: Act) {
        if self.plan.replicas > 0 && self.random.chance(500) {
            let pause = self.random.between(0, SECOND);
            self.agenda.after(pause, Event::Strike);
        }
        match act {
            Act::Join => {
                let free =
                    |seat: &Seat| !self.runs.iter().any(|run| run.seat == *seat && run.alive);
                let free: Vec<_> = (0..self.plan.most).filter(free).collect();
                if let Some(seat) = self.random.one(&free).copied() {
                    self.start_node(seat);
                }
            }
            Act::Leave => {
                let mut runs = self.settled_runs();
                runs.retain(|run| !self.runs[*run].evacuated);
                let enough = runs.len() > LEAST;
                if let Some(run) = self.random.one(&runs).copied().filter(|_| enough) {
                    self.runs[run].leaving = true;
                    let timeout = Duration::from_secs(60);
                    self.command(run, Command::Leave { timeout });
                }
            }
            Act::Evacuate => {
                let runs = self.settled_runs();
                let serving = runs.iter().filter(|run| !self.runs[**run].evacuated);
                let enough = serving.count() > LEAST;
                if let (Some(run), Some(by), true) = (self.a_run(), self.a_run(), enough) {
                    self.runs[run].evacuated = true;
                    let node = self.runs[run].me.name.clone();
                    let rate = self.random.chance(300).then_some(50);
                    let evacuation = Evacuation {
                        rate,
                        ..Evacuation::of(node)
                    };
                    self.command(by, Command::Evacuate(evacuation));
                }
            }
            _ => self.refill(),
        }
    }

    /// All that were emptied take processes again.
    pub(super) fn refill(&mut self) {
        for run in self.settled_runs() {
            if std::mem::take(&mut self.runs[run].evacuated) {
                let node = self.runs[run].me.name.clone();
                self.command(run, Command::AbortEvacuation { node });
            }
        }
    }

    /// No child is pinned any more, and no node is emptied: one that is pinned waits for its node, however long that is gone.
    pub(super) fn unpin(&mut self) {
        let Some(run) = self.a_run() else {
            return;
        };
        for other in self.settled_runs() {
            let node = self.runs[other].me.name.clone();
            self.command(other, Command::AbortEvacuation { node });
        }
        let alive = self.living();
        for process in std::mem::take(&mut self.pinned).into_keys() {
            if self.waits_for_its_node(&process, &alive) {
                let calls = self.calls.values_mut();
                let its = calls.filter(|under_way| under_way.process == process);
                its.for_each(|under_way| under_way.may_fail = true);
            }
            let placing = Placing::Strategy;
            self.command(run, Command::Pin { process, placing });
        }
    }

    /// How many nodes may be lost now, within what H9 promises: some of those are left that know all
    /// rows, not only some that have just come.
    fn room_for_harm(&self) -> usize {
        let now = self.now();
        let known = now.saturating_sub(LEARNS) / MILLISECOND;
        let knows = |run: &&RunIndex| {
            let run = &self.runs[**run];
            run.me.joined_ms <= known && !run.leaving
        };
        let living = self.living();
        let knowing = living.iter().filter(knows).count();
        let recent = self.recent_harms();
        let most = LOST_AT_ONCE.min(knowing.saturating_sub(1));
        most.saturating_sub(recent)
    }

    /// How many nodes were lost of late.
    fn recent_harms(&self) -> usize {
        let now = self.now();
        let recent = self.harms.iter().filter(|then| **then + HEALS > now);
        recent.count()
    }

    /// Whether nodes were lost of late.
    pub(super) fn is_harmed(&self) -> bool {
        self.recent_harms() > 0
    }

    fn harm(&mut self, act: Act) {
        let runs = self.living();
        let room = self.room_for_harm();
        match act {
            _ if room == 0 => {}
            Act::Pause => {
                if let Some(run) = self.a_run() {
                    self.harms.push(self.now());
                    let lasts = self.random.between(SECOND / 10, self.plan.patience * 3);
                    self.pause(run, lasts);
                }
            }
            Act::Kill | Act::KillTwo if self.divided => {}
            _ => {
                let count = if act == Act::KillTwo { room } else { 1 };
                let mut left = runs;
                for _ in 0..count {
                    if left.len() <= LEAST {
                        return;
                    }
                    let run = left.swap_remove(self.random.below(left.len()));
                    let seat = self.runs[run].seat;
                    self.kill(run);
                    if self.random.chance(500) {
                        let pause = self.random.between(SECOND / 100, 20 * SECOND);
                        self.agenda.after(pause, Event::Return(seat));
                    }
                }
            }
        }
    }

    /// One of those that were there before is killed, if enough of them are left that know all rows.
    pub(super) fn strike(&mut self) {
        let known = self.now().saturating_sub(LEARNS) / MILLISECOND;
        let mut old = self.settled_runs();
        old.retain(|run| self.runs[*run].me.joined_ms < known);
        if self.quiet || self.divided || self.room_for_harm() == 0 || old.len() <= LEAST {
            return;
        }
        if let Some(run) = self.random.one(&old).copied() {
            let seat = self.runs[run].seat;
            self.kill(run);
            self.agenda.after(20 * SECOND, Event::Return(seat));
        }
    }

    fn pause(&mut self, run: RunIndex, lasts: u64) {
        self.note(|| format!("=== run {run} stands still for {} ms", lasts / MILLISECOND));
        self.runs[run].paused = true;
        self.diverged = true;
        // Those who talk to it take it for unreachable after a while.
        for peer in self.network.peers(run) {
            if self.random.chance(700) && lasts > 3 * SECOND {
                self.sever(run, peer, true);
            }
        }
        self.agenda.after(lasts, Event::Continue(run));
    }

    fn act_on_network(&mut self, act: Act) {
        match act {
            Act::Break => {
                let (Some(one), Some(other)) = (self.a_run(), self.a_run()) else {
                    return;
                };
                if one == other {
                    return;
                }
                self.note(|| format!("=== the connection of {one} and {other} breaks"));
                self.sever(one, other, false);
            }
            Act::Divide if !self.divided => self.divide(),
            Act::CutOff if self.room_for_harm() > 0 => {
                if let Some(run) = self.a_run() {
                    self.harms.push(self.now());
                    let seat = self.runs[run].seat;
                    self.note(|| format!("=== n{seat} does not reach the engine"));
                    self.network.cut_off(seat);
                    self.relief(self.plan.patience * 4);
                }
            }
            Act::Heal => self.relieve(),
            _ => {}
        }
    }

    /// The network falls into two or three parts, or one node does not reach another.
    fn divide(&mut self) {
        self.divided = true;
        self.diverged = true;
        let most = self.plan.most;
        let parts: Vec<_> = (0..most).map(|_| self.random.below(3)).collect();
        let kind = self.random.below(4);
        let mut cut = Vec::new();
        for from in 0..most {
            for to in 0..most {
                let apart = match kind {
                    0 => (parts[from] == 0) != (parts[to] == 0),
                    1 => parts[from] != parts[to],
                    2 => parts[from] == 0 && parts[to] == 1,
                    _ => (from == 0) != (to == 0),
                };
                if from != to && apart {
                    cut.push((from, to));
                    self.network.cut(from, to);
                }
            }
        }
        self.note(|| format!("=== cut {cut:?}"));
        if self.random.chance(600) && self.plan.exclusive {
            for (seat, part) in parts.iter().enumerate() {
                let lives = self.runs.iter().any(|run| run.alive && run.seat == seat);
                if *part == 0 && lives && self.room_for_harm() > 0 {
                    self.harms.push(self.now());
                    self.note(|| format!("=== n{seat} does not reach the engine"));
                    self.network.cut_off(seat);
                }
            }
        }
        for one in self.living() {
            for other in self.network.peers(one) {
                if one < other && !self.network.connects(one, other) {
                    self.sever(one, other, true);
                }
            }
        }
        self.relief(self.plan.patience * 4);
    }

    fn relief(&mut self, most: u64) {
        let lasts = self.random.between(SECOND / 2, most);
        self.agenda.after(lasts, Event::Relief);
    }

    /// All that was cut or disturbed is as it was.
    pub(super) fn relieve(&mut self) {
        self.note(|| "=== the network is whole, the engine answers".into());
        self.divided = false;
        self.network.heal();
        self.at_engine(|engine, around| {
            engine.disturb(around, Disturbance::Down(false));
            engine.disturb(around, Disturbance::Slow(0));
        });
    }

    fn act_on_engine(&mut self, act: Act) {
        let disturbance = match act {
            Act::Outage => Disturbance::Down(true),
            Act::Slow => Disturbance::Slow(self.random.between(1, 2_000) * MILLISECOND),
            _ => {
                let (Some(by), Some(whom)) = (self.a_run(), self.a_run()) else {
                    return;
                };
                let whom = self.runs[whom].id;
                self.diverged = true;
                Disturbance::Suspect { by, whom }
            }
        };
        self.note(|| format!("=== {disturbance:?}"));
        self.at_engine(|engine, around| engine.disturb(around, disturbance));
        if matches!(self.engine, Engine::Exclusive(_)) {
            self.relief(self.plan.patience * 6);
        }
    }
}
