//! What the coordinator inside an incumbent does for each effect, strictly in order.

use std::io;
use std::sync::atomic::Ordering;

use handover_proto::coordinator::{Effect, Input, Signal};
use handover_proto::event::EventKind;
use handover_proto::identity::InstanceId;
use handover_proto::message::ToInstance;
use handover_proto::moment::Machine;
use handover_proto::outcome::Outcome;

use super::coordinator::Coordination;
use super::member::{Kind, Member};

impl Coordination {
    /// Does everything the machine wants done now, then sends what was said: to our own instance
    /// last, since it may end the process when it has heard it.
    pub(super) fn execute(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            crate::crash::coordinating(effect.name());
            match effect {
                // The sockets and the lock are the record: nobody comes after us to read another.
                Effect::Record(_) => {}
                Effect::Spawn {
                    instance,
                    candidate,
                } => self.spawn(instance, candidate),
                Effect::Send { to, message } => self.send(to, message),
                Effect::Signal { to, signal } => self.signal(to, signal),
                Effect::Report(kind) => self.report(kind),
                Effect::Finish { request, outcome } => self.answer(request, &outcome),
                // Only a service that is being stopped ends, and then the process does.
                Effect::Exit { .. } => {}
            }
        }
        self.dismiss();
        let own = self.own();
        for (instance, member) in &mut self.members {
            if *instance != own {
                member.post.flush();
            }
        }
        if let Some(local) = self.members.get_mut(&own)
            && !self.replaced
        {
            local.post.flush();
        }
    }

    /// Tells the machine before its next effect.
    pub(super) fn tell_next(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input);
    }

    fn send(&mut self, to: InstanceId, message: ToInstance) {
        let own = self.own();
        match &message {
            ToInstance::Commit { .. } if to != own => self.committed(to),
            ToInstance::Retire { .. } if to == own => self.retired(),
            _ => {}
        }
        let descriptor = match message {
            ToInstance::Introduce { id } => match self.introductions.end(id, to) {
                Ok(end) => Some(end),
                Err(error) => return self.cannot_introduce(to, &error),
            },
            _ => None,
        };
        if let Some(member) = self.members.get_mut(&to) {
            member.say(&message, descriptor);
        }
    }

    /// Without a channel no state can cross, so the attempt fails before anything was given up.
    fn cannot_introduce(&mut self, instance: InstanceId, error: &io::Error) {
        let reason = format!("the channel for its state could not be made: {error}");
        tracing::error!(%instance, reason);
        self.tell_next(Input::Closed { instance });
    }

    /// The successor is told that it serves. The pid file names it before we can be gone.
    fn committed(&mut self, instance: InstanceId) {
        let Some((pid, child)) = self.identity(instance) else {
            return;
        };
        if let (Some(file), Some(pid)) = (&self.host.pid_file, pid) {
            file.name(pid);
        }
        if self.machine.parked().is_none() {
            self.hand_over_to_main(pid, child);
        }
    }

    /// Our own instance is told to go.
    fn retired(&mut self) {
        let successor = self.machine.incumbent().map(|member| member.instance);
        let Some(successor) = successor.filter(|successor| *successor != self.own()) else {
            return;
        };
        self.replaced = true;
        if let Some((pid, child)) = self.identity(successor) {
            self.hand_over_to_main(pid, child);
        }
    }

    /// systemd listens to the main process of a service only: from here on that is the successor,
    /// if it is of the same service because we started it.
    fn hand_over_to_main(&self, pid: Option<u32>, child: bool) {
        let (Some(pid), true) = (pid, child) else {
            return;
        };
        if !self.host.replaced.swap(true, Ordering::AcqRel)
            && let Err(error) = self.host.notice.main_pid(pid)
        {
            tracing::warn!(%error, "NOTIFY_SOCKET could not be told the new main process");
        }
    }

    /// The process id of an instance as this process sees it, and whether we started it.
    fn identity(&self, instance: InstanceId) -> Option<(Option<u32>, bool)> {
        let member = self.members.get(&instance)?;
        let pid = member.watched().map(handover_sys::Pidfd::pid);
        Some((pid, member.kind == Kind::Child))
    }

    fn signal(&mut self, to: InstanceId, signal: Signal) {
        if to == self.own() {
            return self.signal_own(signal);
        }
        let Some(member) = self.members.get_mut(&to) else {
            return;
        };
        // We end: whoever came by itself goes on without us, and is not sent away for waiting.
        if self.terminated && member.kind == Kind::Taker {
            return;
        }
        match signal {
            // With the reason, which is told after it.
            Signal::Term => self.dismissed.push(to),
            Signal::Kill if member.signal(handover_sys::Signal::KILL) => {}
            Signal::Kill => {
                // Told before its channel closes: silence would mean that we are dead.
                let reason = self.reason.clone();
                member.say(&ToInstance::Dismiss { reason }, None);
                member.post.flush();
                member.forget();
            }
        }
    }

    fn signal_own(&mut self, signal: Signal) {
        if signal == Signal::Term {
            let ladder = self.host.ladder.unwrap_or_default();
            return self.send(self.own(), ToInstance::Retire { ladder });
        }
        // It was told to go by somebody else, and takes the time its own ladder gives it.
        if self.terminated {
            return;
        }
        tracing::error!(
            service = self.host.service,
            "this process can neither go on nor end by itself, and is killed: whoever started it \
             may start it again"
        );
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }

    /// Sends away whoever must go: before its channel closes it learns that we did not die.
    fn dismiss(&mut self) {
        for instance in std::mem::take(&mut self.dismissed) {
            if let Some(member) = self.members.get_mut(&instance) {
                member.dismiss(&self.reason);
            }
        }
        let own = self.own();
        let alone = self.members.keys().all(|instance| *instance == own);
        if alone && self.machine.attempt().is_none() && !self.replaced {
            self.host.estate.grant(false);
        }
    }

    fn report(&mut self, mut kind: EventKind) {
        if let EventKind::HandoverStarted { candidate, .. } = &mut kind {
            *candidate = match &self.arriving {
                Some(_) => "started by somebody".into(),
                None => self.host.program.shown(),
            };
        }
        let (kind, service) = (&kind, &self.host.service);
        match kind {
            EventKind::HandoverStarted { .. } => {
                tracing::info!(service, "{kind}");
                self.begun();
            }
            EventKind::HandoverFinished { id, outcome, .. } => {
                self.introductions.over(*id);
                match outcome {
                    Outcome::Committed { .. } => tracing::info!(service, "{kind}"),
                    _ => tracing::warn!(service, "{kind}"),
                }
                self.ended(outcome);
            }
            EventKind::RequestRefused { .. }
            | EventKind::TakenBack { .. }
            | EventKind::Warning { .. } => tracing::warn!(service, "{kind}"),
            _ => tracing::debug!(service, "{kind}"),
        }
        if let EventKind::TakenBack { .. } = kind {
            self.taken_back();
        }
        self.progress(&kind.to_string());
    }

    fn begun(&mut self) {
        self.reason = "the attempt was given up".into();
        if self.arriving.is_none()
            && let Err(error) = self.host.notice.reloading()
        {
            tracing::warn!(%error, "NOTIFY_SOCKET could not be told that an upgrade begins");
        }
    }

    fn ended(&mut self, outcome: &Outcome) {
        self.reason = match outcome {
            Outcome::RolledBack { cause }
            | Outcome::TimedOut { cause }
            | Outcome::NobodyServes { cause } => cause.to_string(),
            Outcome::Committed { .. } => "the older instance took back".into(),
            Outcome::Refused { refusal } => refusal.to_string(),
        };
        // Whoever is the main process ends the reload; after a commit the successor does.
        let main = !self.host.is_replaced();
        if main && let Err(error) = self.host.notice.ready(Some(&outcome.to_string())) {
            tracing::warn!(%error, "NOTIFY_SOCKET could not be told how the upgrade ended");
        }
    }

    /// The successor of a probation did not prove itself; this process serves again.
    fn taken_back(&self) {
        if let Some(file) = &self.host.pid_file {
            file.name(std::process::id());
        }
    }

    /// Another process is gone. One that was told so late that it served may have named itself in
    /// the pid file after this process took back.
    pub(super) fn still_serving(&self) {
        let serves = self.machine.incumbent().map(|member| member.instance);
        if serves == Some(self.own()) && !self.replaced {
            self.taken_back();
        }
    }

    /// Whether a process we started is part of an attempt, or of a probation.
    pub(super) fn has_child(&self) -> bool {
        let child = |member: &Member| member.kind == Kind::Child;
        self.members.values().any(child)
    }
}
