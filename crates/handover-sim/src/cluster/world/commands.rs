//! Commands given to nodes, and what is made of their answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use handover_hub_proto::identity::{KindName, ProcessId, RequestId};
use handover_hub_proto::node::{Answer, Command, Failure, Input, StartOptions};
use handover_hub_proto::row::Rows as _;
use handover_hub_proto::spec::ChildSpec;

use super::World;
use super::orders::REFUSES;
use crate::cluster::checker::{Checker, Violation, Wanted};
use crate::cluster::network::RunIndex;

/// Nobody will know what became of a command.
pub(super) fn forget(checker: &mut Checker, command: &Command) {
    for process in concerned(command) {
        let child = checker.child(&process);
        child.asked = child.asked.saturating_sub(1);
        child.wanted = Wanted::Either;
    }
}

/// The children that a command starts or stops.
fn concerned(command: &Command) -> Vec<ProcessId> {
    match command {
        Command::Start { children, .. } => children.iter().map(|child| child.id.clone()).collect(),
        Command::Stop { processes, .. } => processes.clone(),
        _ => Vec::new(),
    }
}

impl World {
    /// New children are started, asked of any node.
    pub(super) fn start_children(&mut self, count: usize) {
        let runs = self.settled_runs();
        let Some(run) = self.random.one(&runs).copied() else {
            return;
        };
        let mut children = Vec::new();
        for _ in 0..count {
            self.names += 1;
            let refuses = self.random.chance(10);
            let kind = if refuses { REFUSES } else { "child" };
            let name = format!("{kind}-{}.", self.names);
            let (Ok(id), Ok(kind)) = (ProcessId::new(&name), KindName::new("counter")) else {
                continue;
            };
            if self.random.chance(self.plan.stubborn) {
                self.stubborn.insert(id.clone());
            }
            let placing = self.placing(&id);
            let child = ChildSpec::new(kind, id);
            children.push(Arc::new(ChildSpec { placing, ..child }));
        }
        let options = StartOptions::default();
        self.command(run, Command::Start { children, options });
    }

    /// A command is given to a node.
    pub(super) fn command(&mut self, run: RunIndex, command: Command) {
        let runner = &mut self.runs[run];
        runner.request += 1;
        let request = RequestId(runner.request);
        runner.requests.insert(request, command.clone());
        for process in concerned(&command) {
            let child = self.checker.child(&process);
            child.asked += 1;
            child.wanted = Wanted::Either;
        }
        self.checker.asked(run, request);
        self.note(|| format!("run {run} is asked {request:?} {command:?}"));
        self.input(run, Input::Command { request, command });
    }

    pub(super) fn answer(&mut self, run: RunIndex, request: RequestId, answer: Answer) {
        self.note(|| format!("run {run} answers {request:?} {answer:?}"));
        let checked = self.checker.answered(run, request);
        self.judge(checked);
        let Some(command) = self.runs[run].requests.remove(&request) else {
            return;
        };
        for process in concerned(&command) {
            let child = self.checker.child(&process);
            child.asked = child.asked.saturating_sub(1);
        }
        if let Command::Pin { process, placing } = &command {
            self.guided(process, placing, matches!(answer, Answer::Done));
        }
        match (&command, answer) {
            (
                Command::Start { children, .. },
                Answer::Started {
                    started, failed, ..
                },
            ) => {
                let started: BTreeSet<_> = started.into_iter().map(|line| line.process).collect();
                let asked = children.iter().map(|child| child.id.clone()).collect();
                self.outcome(asked, started, failed, Wanted::Running);
            }
            (Command::Stop { processes, .. }, Answer::Stopped { stopped, failed }) => {
                let stopped: BTreeSet<_> = stopped.into_iter().map(|line| line.process).collect();
                let asked = processes.iter().cloned().collect();
                self.outcome(asked, stopped, failed, Wanted::Stopped);
            }
            (Command::Leave { .. }, Answer::Evacuated { left, .. }) => {
                for (process, _) in left {
                    self.left_behind(run, &process);
                    let cell = self.runs[run].host.cells.get(&process);
                    let calls = cell.map(|cell| cell.state.applied.clone());
                    let calls = calls.unwrap_or_default();
                    self.checker.excuse(&process, calls.into_iter());
                    self.runs[run].left.insert(process);
                }
            }
            (Command::Leave { .. }, Answer::Failed(_)) => {
                // It stays, and may be asked for something else.
                self.runs[run].leaving = false;
                self.checker.counts.failed += 1;
            }
            (_, Answer::Failed(_)) => self.checker.counts.failed += 1,
            _ => {}
        }
    }

    /// A node says that it leaves without a child. While nodes are out of reach, those that are left
    /// may not know that there is such a child; with gossip, then nobody starts it again.
    fn left_behind(&mut self, run: RunIndex, process: &ProcessId) {
        let mut others = self.living().into_iter().filter(|other| *other != run);
        let known = others.any(|other| self.runs[other].machine.rows().get(process).is_some());
        if !known && !self.plan.exclusive && self.diverged {
            self.checker.child(process).wanted = Wanted::Either;
        }
        if self.divided || self.is_harmed() {
            self.forgettable.insert(process.clone());
        }
    }

    /// What is known of each child that was asked for, if nothing else was asked of it meanwhile.
    fn outcome(
        &mut self,
        asked: BTreeSet<ProcessId>,
        done: BTreeSet<ProcessId>,
        failed: Vec<(ProcessId, Failure)>,
        wanted: Wanted,
    ) {
        self.checker.counts.failed += failed.len() as u64;
        for process in &asked {
            let reason = failed.iter().find(|(failed, _)| failed == process);
            if done.contains(process) == reason.is_some() {
                let words = format!("{process} has not one answer but none or two");
                self.judge(Err(Violation::new("answers", words, &[process])));
            }
        }
        for process in done {
            let child = self.checker.child(&process);
            if child.asked == 0 {
                child.wanted = wanted;
            }
            if wanted == Wanted::Stopped {
                let calls = child.acknowledged.clone();
                self.checker.excuse(&process, calls.into_iter());
            }
        }
        for (process, failure) in failed {
            let child = self.checker.child(&process);
            if child.asked == 0 {
                child.wanted = match failure {
                    Failure::Refused { .. } | Failure::Unknown(_) => Wanted::Stopped,
                    _ => Wanted::Either,
                };
            }
        }
    }

    /// A node that left ends: nothing may be left on it that was not said to be.
    pub(super) fn exit(&mut self, run: RunIndex) {
        self.note(|| format!("=== run {run} has left"));
        self.checker.counts.left += 1;
        for process in self.runs[run].left.clone() {
            let host = &self.runs[run].host;
            let cell = host.cells.get(&process);
            let mut lost = cell.map_or_else(BTreeSet::new, |cell| cell.state.applied.clone());
            lost.extend(host.ended.get(&process).into_iter().flatten());
            self.checker.excuse(&process, lost.into_iter());
        }
        self.end(run);
    }
}
