//! Executes what the machine wants, strictly in order.

use handover_proto::beyond::Birth;
use handover_proto::coordinator::{Effect, Input, Signal};
use handover_proto::event::EventKind;
use handover_proto::identity::{CandidateId, InstanceId, InstancePid};
use handover_proto::journal::Record;
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::Machine;
use handover_proto::phase::{Mode, Phase};
use handover_sys::Pidfd;
use tokio::net::UnixStream;

use super::channel;
use super::config::ReadinessSpec;
use super::driver::Driver;
use super::process::{self, Process, Surroundings};
use super::readiness::{self, Target};
use super::record::RecordedListener;
use super::stderr::Capture;
use super::verdict::Fault;

impl Driver {
    /// Does everything the machine wants done now.
    pub(super) fn execute(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            crate::crash::before(effect.name());
            match effect {
                Effect::Record(record) => self.record(record),
                Effect::Spawn {
                    instance,
                    candidate,
                } => self.spawn(instance, candidate),
                Effect::Send { to, message } => self.send(to, message),
                Effect::Signal { to, signal } => self.signal(to, signal),
                Effect::Report(kind) => self.report(kind),
                Effect::Finish { request, outcome } => {
                    if let Some(answer) = self.answers.remove(&request) {
                        // Whoever asked may have gone.
                        let _ = answer.send(self.explained(self.latest, outcome));
                    }
                }
                Effect::Exit { code } => self.exit = Some(self.exchange_code(code)),
            }
        }
        if self.machine.phase() != Phase::Probation {
            self.watch = None;
        }
        self.tell_logs();
        self.forget_candidates();
        self.keep_listeners();
        self.report_standing();
    }

    fn send(&mut self, to: InstanceId, message: ToInstance) {
        let Some(message) = self.adapted(to, message) else {
            return;
        };
        let Some(link) = self.processes.get(&to).and_then(|p| p.link.as_ref()) else {
            return;
        };
        let descriptor = match message {
            ToInstance::Introduce { id } => match self.introductions.end(id, to) {
                Ok(end) => Some(end),
                Err(error) => return self.cannot_introduce(to, &error),
            },
            _ => None,
        };
        if !link.send(message, descriptor) {
            let fault = Fault {
                expected: "an instance that reads its messages".into(),
                found: "one that has left dozens unread".into(),
            };
            self.blame(to, fault);
        }
    }

    /// Without a channel no state can cross, so the attempt fails before anything was given up.
    fn cannot_introduce(&mut self, instance: InstanceId, error: &std::io::Error) {
        let reason = format!(
            "the channel for its state could not be made: {error}; raise the supervisor's limit of \
             open files (ulimit -n)"
        );
        let instance = self.latest.unwrap_or(instance);
        let message = FromInstance::Failed { reason };
        self.tell(Input::Said { instance, message });
    }

    fn record(&mut self, record: Record) {
        // A new version may have brought new ones, and is started next.
        self.keep_listeners();
        let candidates = self.candidates.values().map(|c| c.recorded()).collect();
        let mut listeners: Vec<RecordedListener> = Vec::new();
        for open in self
            .candidates
            .values()
            .flat_map(|candidate| &candidate.listeners)
        {
            if !listeners.iter().any(|known| known.entry == open.entry) {
                let (spec, entry) = (open.spec.clone(), open.entry.clone());
                listeners.push(RecordedListener { spec, entry });
            }
        }
        let stranger = self.adopted.as_ref().map(|it| it.record.clone());
        let written = self.journal.write(record, candidates, listeners, stranger);
        if let Err(error) = written {
            self.tell(Input::RecordFailed {
                reason: error.to_string(),
            });
        }
    }

    fn spawn(&mut self, instance: InstanceId, candidate: CandidateId) {
        let input = match self.try_spawn(instance, candidate) {
            Ok(pid) => Input::Spawned {
                instance,
                pid: InstancePid(pid),
            },
            Err(reason) => Input::SpawnFailed { instance, reason },
        };
        self.tell(input);
    }

    fn try_spawn(&mut self, instance: InstanceId, id: CandidateId) -> Result<u32, String> {
        let candidate = self
            .candidates
            .get(&id)
            .ok_or("its program is no longer known")?;
        let foreign = self.foreign_channel()?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|e| e.to_string())?;
        ours.set_nonblocking(true).map_err(|e| e.to_string())?;
        let ours = UnixStream::from_std(ours).map_err(|e| e.to_string())?;
        let around = Surroundings {
            config: &self.config,
            service: &self.service,
            dir: &self.dir,
            null: std::os::fd::AsFd::as_fd(&self.null),
            channel: std::os::fd::AsFd::as_fd(&theirs),
            foreign: foreign.as_ref(),
            logs: self.logs.as_ref(),
        };
        let mut process = process::spawn(&around, instance, candidate)?;
        let birth = match foreign {
            Some(_) => Birth::Successor,
            None => Birth::Cold,
        };
        self.listen_foreign(instance, &mut process, foreign, birth);
        let pid = process.pid;
        process::watch(instance, process.pidfd.clone(), self.to_self.clone());
        process.link = Some(channel::open(instance, ours, self.to_self.clone()));
        let tcp = candidate.tcp_addresses();
        let target = Target { instance, pid, tcp };
        // An owner says itself when it is ready; all that a probe could tell is that a program is
        // none.
        let spec = match self.config.mode {
            Mode::Overlap => &self.config.ready,
            Mode::Exclusive => &ReadinessSpec::Auto,
        };
        // An instance of theirs may accept before it is known to be one.
        if self.foreign.is_none() {
            process.probe = readiness::begin(spec, target, self.to_self.clone());
        }
        self.processes.insert(instance, process);
        Ok(pid)
    }

    pub(super) fn watch_survivor(
        &mut self,
        instance: InstanceId,
        candidate: CandidateId,
        pid: u32,
    ) {
        let Ok(pidfd) = Pidfd::open(pid) else { return };
        let stderr = Capture::found(&self.dir, instance, pid, self.logs.as_ref()).ok();
        let mut process = Process::new(candidate, pidfd, stderr);
        self.listen_foreign(instance, &mut process, None, Birth::Found);
        process::watch(instance, process.pidfd.clone(), self.to_self.clone());
        self.processes.insert(instance, process);
    }

    fn signal(&mut self, to: InstanceId, signal: Signal) {
        if self.relieve(to, signal) || self.signal_adopted(to, signal) {
            return;
        }
        let Some(process) = self.processes.get_mut(&to) else {
            return;
        };
        process.stop_probe();
        process.killed |= signal == Signal::Kill;
        let number = match signal {
            Signal::Term => handover_sys::Signal::from_name(&self.config.stop_signal)
                .unwrap_or(handover_sys::Signal::TERM),
            Signal::Kill => handover_sys::Signal::KILL,
        };
        let pid = process.pid;
        // ESRCH: it is gone already, and its exit is on its way to us.
        let _ = process.pidfd.signal(number);
        if signal == Signal::Kill || self.config.attended {
            self.kin(to, pid).signal(number);
        }
    }

    /// Closes programs and listeners that no instance and no rollback needs any more.
    fn forget_candidates(&mut self) {
        let machine = &self.machine;
        let processes = &self.processes;
        let needed = |id: &CandidateId| {
            *id == machine.current()
                || Some(*id) == machine.previous()
                || machine.known().any(|member| member.candidate == *id)
                || machine.waiting() == Some(*id)
                || processes.values().any(|process| process.candidate == *id)
        };
        if self.candidates.keys().all(needed) {
            return;
        }
        let names =
            |candidates: &std::collections::BTreeMap<CandidateId, super::candidate::Candidate>| {
                let all = candidates.values().flat_map(|c| &c.listeners);
                all.map(|open| open.entry.name.clone())
                    .collect::<std::collections::BTreeSet<_>>()
            };
        let before = names(&self.candidates);
        self.candidates.retain(|id, _| needed(id));
        for name in before.difference(&names(&self.candidates)) {
            self.bus
                .publish(EventKind::ListenerClosed { name: name.clone() });
        }
    }
}
