//! What people want: upgrades, rollbacks, checks, by socket or by signal.

use std::io;

use handover_proto::coordinator::Input;
use handover_proto::event::EventKind;
use handover_proto::identity::{CandidateId, InstanceId, RequestId};
use handover_proto::outcome::{Outcome, Refusal};
use handover_proto::phase::Phase;
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::UpgradeRequest;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::candidate::{self, Candidate};
use super::config::ListenerSpec;
use super::driver::{Answer, Command, Driver};
use super::health::Watch;
use super::preflight::{self, CheckReport};
use super::readiness::Target;
use super::sockets::{self, Listeners};

/// A signal to the supervisor, by meaning.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signalled {
    Hangup,
    Upgrade,
    ReopenLogs,
    Stop,
    FastStop,
    ChildEnded,
}

/// The signals a supervisor handles.
pub(super) struct Signals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    child: Signal,
}

impl Signals {
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// The next signal. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.hangup.recv() => Signalled::Hangup,
            _ = self.user2.recv() => Signalled::Upgrade,
            _ = self.user1.recv() => Signalled::ReopenLogs,
            _ = self.terminate.recv() => Signalled::Stop,
            _ = self.quit.recv() => Signalled::Stop,
            _ = self.interrupt.recv() => Signalled::FastStop,
            _ = self.child.recv() => Signalled::ChildEnded,
        }
    }
}

impl Driver {
    pub(super) fn signalled(&mut self, signal: Signalled) {
        let again = self.machine.phase() == Phase::Stop;
        match signal {
            Signalled::Stop | Signalled::FastStop if self.config.stopped_by_request => {}
            Signalled::Stop | Signalled::FastStop if self.adopts() => self.give_up_adoption(),
            // Whoever is at the terminal wants it back; a terminal that is closed says SIGHUP.
            Signalled::Hangup | Signalled::Stop | Signalled::FastStop if self.config.attended => {
                let how = if again { Stop::Now } else { Stop::Fast };
                self.tell(Input::Stop { how });
            }
            Signalled::Hangup | Signalled::Upgrade => {
                self.upgrade_on_request(UpgradeRequest::default(), None);
            }
            Signalled::ReopenLogs => self.reopen_logs(),
            Signalled::Stop => {
                let how = if again { Stop::Now } else { Stop::Drain };
                self.tell(Input::Stop { how });
            }
            Signalled::FastStop => self.tell(Input::Stop { how: Stop::Fast }),
            Signalled::ChildEnded => self.reap(),
        }
    }

    /// As the first process of a container every orphan is ours to reap.
    fn reap(&self) {
        if std::process::id() == 1 {
            let own = |pid| self.processes.values().any(|process| process.pid == pid);
            handover_sys::reap::reap_orphans(own);
        }
    }

    /// Begins an upgrade that somebody asked for, or says why not.
    pub(super) fn upgrade_on_request(&mut self, request: UpgradeRequest, answer: Option<Answer>) {
        if self.adopts() {
            let phase = self.machine.phase();
            return self.answer_refused(Refusal::Busy { phase }, answer);
        }
        self.upgrade(request, answer);
    }

    /// Begins the upgrade that a take-over is to the machine. The driver is told how it ended.
    pub(super) fn upgrade_then(&mut self, over: fn(Outcome) -> Command) {
        let (answer, outcome) = oneshot::channel();
        let to = self.to_self.clone();
        tokio::spawn(async move {
            // Without an answer the supervisor ends, and nobody has to be told.
            if let Ok(outcome) = outcome.await {
                let _ = to.send(over(outcome));
            }
        });
        self.upgrade(UpgradeRequest::default(), Some(answer));
    }

    /// Begins an upgrade, or says why not.
    pub(super) fn upgrade(&mut self, request: UpgradeRequest, answer: Option<Answer>) {
        let when_busy = request.when_busy;
        let candidate = match self.prepare(request) {
            Ok(candidate) => candidate,
            Err(reason) => return self.refuse(&reason, answer),
        };
        if self.config.test_command.is_empty() {
            return self.submit(candidate, when_busy, answer);
        }
        let (to, command) = (self.to_self.clone(), self.config.test_command.clone());
        tokio::spawn(async move {
            let verdict = preflight::run_test(&command, &candidate.path).await;
            let candidate = Box::new(candidate);
            let _ = to.send(Command::Tested {
                candidate,
                when_busy,
                verdict,
                answer,
            });
        });
    }

    /// Finds the program and opens the listeners of a request.
    fn prepare(&mut self, request: UpgradeRequest) -> Result<Candidate, String> {
        let argv = self.argv(&request);
        let listeners = match self.wanted(&request)? {
            Some(specs) => self.open_listeners(&specs)?,
            None => self.listeners(),
        };
        self.last_candidate = self.last_candidate.next();
        let directory = self.config.directory.as_deref();
        Candidate::find(self.last_candidate, argv, directory, listeners)
            .map_err(|error| error.to_string())
    }

    fn argv(&self, request: &UpgradeRequest) -> Vec<String> {
        let mut configured = self.config.program.iter().cloned();
        let program = configured.next().unwrap_or_default();
        let args = request.args.clone().unwrap_or_else(|| configured.collect());
        let program = request.binary.clone().unwrap_or(program);
        std::iter::once(program).chain(args).collect()
    }

    fn wanted(&self, request: &UpgradeRequest) -> Result<Option<Vec<ListenerSpec>>, String> {
        let parsed = request.listeners.as_ref().map(|listeners| {
            listeners
                .iter()
                .map(|text| text.parse().map_err(|e| format!("{e}")))
                .collect()
        });
        parsed.transpose()
    }

    fn open_listeners(&self, specs: &[ListenerSpec]) -> Result<Listeners, String> {
        let open = self.listeners();
        let opened = sockets::open_all(specs, &open).map_err(|error| error.to_string())?;
        for new in &opened {
            if !open.iter().any(|known| known.entry == new.entry) {
                self.bus.publish(EventKind::ListenerOpened {
                    listener: new.entry.clone(),
                });
            }
        }
        Ok(opened)
    }

    /// Hands a candidate that passed to the machine.
    pub(super) fn submit(
        &mut self,
        candidate: Candidate,
        when_busy: WhenBusy,
        answer: Option<Answer>,
    ) {
        let current = self.candidates.get(&self.machine.current());
        if current.is_some_and(|current| current.is_same_version(&candidate)) {
            return self.hand_in(self.machine.current(), when_busy, answer);
        }
        let id = candidate.id;
        self.candidates.insert(id, candidate);
        self.hand_in(id, when_busy, answer);
    }

    fn hand_in(&mut self, candidate: CandidateId, when_busy: WhenBusy, answer: Option<Answer>) {
        let request = self.request(answer);
        self.tell(Input::Upgrade {
            request,
            candidate,
            when_busy,
        });
    }

    fn request(&mut self, answer: Option<Answer>) -> Option<RequestId> {
        self.last_request = self.last_request.next();
        self.answers.insert(self.last_request, answer?);
        Some(self.last_request)
    }

    /// Goes back to the previous version, by a handover like any other.
    pub(super) fn rollback(&mut self, when_busy: WhenBusy, answer: Option<Answer>) {
        if self.adopts() {
            let phase = self.machine.phase();
            return self.answer_refused(Refusal::Busy { phase }, answer);
        }
        let previous = self
            .machine
            .previous()
            .and_then(|id| self.candidates.get(&id));
        let verdict = match previous {
            Some(candidate) => candidate.is_startable().map(|()| candidate.id),
            None => Err("there has been no other version since the service was started".into()),
        };
        match verdict {
            Ok(id) => self.hand_in(id, when_busy, answer),
            Err(reason) => self.answer_refused(Refusal::NoPrevious { reason }, answer),
        }
    }

    /// Lets the parked instance take back.
    pub(super) fn undo(&mut self, answer: Option<Answer>) {
        let request = self.request(answer);
        self.tell(Input::Undo { request });
    }

    /// In probation the new instance does not answer: the parked one takes back by itself.
    pub(super) fn unhealthy(&mut self, instance: InstanceId, reason: String) {
        let serves = self.machine.incumbent().map(|member| member.instance);
        if self.machine.phase() == Phase::Probation && serves == Some(instance) {
            self.bus.warn(format!(
                "instance {instance} fails its probe in probation ({reason}): it is undone"
            ));
            self.unhealthy = Some(reason);
            self.undo(None);
        }
    }

    /// An attempt is over. One that was to undo an instance that does not answer leaves no other
    /// way than its end: then the parked one takes back.
    pub(super) fn undone(&mut self, outcome: &Outcome) {
        let unhealthy = self.unhealthy.take();
        let committed = matches!(outcome, Outcome::Committed { .. });
        let serving = self.machine.incumbent().map(|member| member.instance);
        let process = serving.and_then(|instance| self.processes.get(&instance));
        if let (Some(_), false, Some(process)) = (unhealthy, committed, process) {
            // ESRCH: it is gone already.
            let _ = process.pidfd.signal(handover_sys::Signal::KILL);
        }
    }

    pub(super) fn watch_probation(&mut self) {
        let Some(member) = self.machine.incumbent() else {
            return;
        };
        let instance = member.instance;
        let candidate = self.candidates.get(&member.candidate);
        let (Some(process), Some(candidate)) = (self.processes.get(&instance), candidate) else {
            return;
        };
        let pid = process.pid;
        let tcp = candidate.tcp_addresses();
        let target = Target { instance, pid, tcp };
        self.watch = Watch::begin(&self.config.ready, target, self.to_self.clone());
    }

    pub(super) fn refuse(&mut self, reason: &impl ToString, answer: Option<Answer>) {
        self.answer_refused(
            Refusal::Preflight {
                reason: reason.to_string(),
            },
            answer,
        );
    }

    fn answer_refused(&mut self, refusal: Refusal, answer: Option<Answer>) {
        let outcome = Outcome::Refused { refusal };
        self.bus.publish(EventKind::RequestRefused {
            outcome: outcome.clone(),
        });
        if let Some(answer) = answer {
            let _ = answer.send(outcome);
        }
    }

    /// Examines a candidate without starting it.
    pub(super) fn check(&mut self, request: UpgradeRequest, answer: oneshot::Sender<CheckReport>) {
        let argv = self.argv(&request);
        let name = argv.first().cloned().unwrap_or_default();
        let running: Vec<_> = self
            .listeners()
            .iter()
            .map(|open| open.entry.clone())
            .collect();
        let mut report = CheckReport {
            ok: true,
            findings: Vec::new(),
        };
        let path = match candidate::locate(&name, self.config.directory.as_deref()) {
            Ok(path) => path,
            Err(error) => {
                report.push("exists", false, error.to_string());
                let _ = answer.send(report);
                return;
            }
        };
        match self.wanted(&request) {
            Ok(wanted) => report = preflight::check(&path, &running, wanted.as_deref()),
            Err(reason) => report.push("listeners", false, reason),
        }
        let command = self.config.test_command.clone();
        tokio::spawn(async move {
            if report.ok && !command.is_empty() {
                match preflight::run_test(&command, &path).await {
                    Ok(()) => report.push("test command", true, command),
                    Err(error) => report.push("test command", false, error.to_string()),
                }
            }
            let _ = answer.send(report);
        });
    }
}
