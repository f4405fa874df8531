//! What instances say and do, as the machine hears it. What an instance says of itself is held
//! against what the kernel says of it; one that errs loses its channel, and the reason is kept for
//! whoever asks how the attempt ended.

use std::time::Duration;

use handover_proto::coordinator::Input;
use handover_proto::event::{EventKind, Readiness};
use handover_proto::identity::{InstanceId, InstancePid};
use handover_proto::message::FromInstance;
use handover_proto::phase::Mode;
use handover_sys::notify::Notification;
use tokio::net::UnixStream;

use super::channel::{self, ChannelId, Sender};
use super::config::ReadinessSpec;
use super::driver::{Command, Driver};
use super::verdict::Fault;

/// How long after its channel a process that is ending ends, at the most; how it ended says more
/// than that its channel closed.
const UNTIL_GONE: Duration = Duration::from_millis(20);

/// How long after it accepts connections a program that speaks the protocol greets, at the most.
const GREETS_WITHIN: Duration = Duration::from_secs(2);

impl Driver {
    pub(super) fn closed(&mut self, instance: InstanceId, id: ChannelId, fault: Option<String>) {
        let Some(process) = self.processes.get_mut(&instance) else {
            return;
        };
        if process.link.take_if(|link| link.id == id).is_none() {
            return;
        }
        match fault {
            Some(found) => self.blame(
                instance,
                Fault {
                    expected: "frames of its protocol".into(),
                    found,
                },
            ),
            // A program that never greeted has no channel to lose.
            None if self.machine.is_native(instance) => {
                process.closing = true;
                let to = self.to_self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(UNTIL_GONE).await;
                    let _ = to.send(Command::Lost { instance });
                });
            }
            None => {}
        }
    }

    /// A process outlived its channel.
    pub(super) fn lost(&mut self, instance: InstanceId) {
        let process = self.processes.get_mut(&instance);
        if process.is_some_and(|process| std::mem::take(&mut process.closing)) {
            self.tell(Input::Closed { instance });
        }
    }

    /// An instance broke the rules: its channel is closed, and why is told.
    pub(super) fn blame(&mut self, instance: InstanceId, fault: Fault) {
        if let Some(process) = self.processes.get_mut(&instance) {
            process.link = None;
        }
        self.bus.warn(format!(
            "the channel of instance {instance} was closed: expected {}, found {}",
            fault.expected, fault.found
        ));
        self.faults.insert(instance, fault);
        self.tell(Input::Closed { instance });
    }

    /// What an instance said over its channel. A channel that was given up may have left words.
    pub(super) fn heard(&mut self, instance: InstanceId, from: ChannelId, message: FromInstance) {
        let link = self.processes.get(&instance).and_then(|p| p.link.as_ref());
        if link.is_some_and(|link| link.id == from) {
            self.said(instance, message);
        }
    }

    fn said(&mut self, instance: InstanceId, mut message: FromInstance) {
        self.stand_in(instance, &mut message);
        let exclusive = self.config.mode == Mode::Exclusive;
        let spec = &self.config.ready;
        let Some(process) = self.processes.get_mut(&instance) else {
            return;
        };
        let held = process.lease;
        match &message {
            FromInstance::Hello {
                instance: named,
                pid,
                lease,
                ..
            } => {
                let pid = *pid;
                if (*named, pid) != (instance, InstancePid(process.pid)) {
                    let fault = Fault {
                        expected: format!("Hello of instance {instance}, process {}", process.pid),
                        found: format!("Hello of instance {named}, process {pid}"),
                    };
                    return self.blame(instance, fault);
                }
                process.lease = *lease;
                self.faults.remove(&instance);
                // It greets on the one channel or on the other.
                process.foreign.take_if(|theirs| !theirs.is_chosen());
                // It speaks the protocol, so it will say when it is ready.
                if exclusive || *spec == ReadinessSpec::Auto {
                    process.stop_probe();
                }
            }
            FromInstance::Connections { open } => process.connections = Some(*open),
            FromInstance::Status { text } => process.text = Some(text.clone()),
            FromInstance::Extend { millis } => {
                let by = std::time::Duration::from_millis(*millis);
                return self.tell(Input::Extend { instance, by });
            }
            FromInstance::Ready { claimed, lease } => {
                process.lease = *lease;
                let counts = exclusive || counts(spec, Readiness::Native);
                let claimed = claimed.clone();
                self.report_unclaimed(instance, &claimed);
                if !counts {
                    return;
                }
            }
            FromInstance::Resumed { lease, .. } => process.lease = *lease,
            FromInstance::Sealed { .. } => process.lease = None,
            FromInstance::Warmed
            | FromInstance::Drained { .. }
            | FromInstance::SealProgress { .. }
            | FromInstance::SealFailed { .. }
            | FromInstance::Failed { .. }
            | FromInstance::Retired { .. } => {}
        }
        let holds = self.processes.get(&instance).and_then(|p| p.lease);
        if let Some(epoch) = holds.filter(|_| holds != held) {
            self.bus.publish(EventKind::LeaseHeld { instance, epoch });
        }
        self.tell(Input::Said { instance, message });
    }

    /// A program that runs below the one that was started speaks for it, where that may be.
    fn stand_in(&self, instance: InstanceId, message: &mut FromInstance) {
        if let (true, FromInstance::Hello { pid, .. }) = (self.config.attended, message)
            && let Some(process) = self.processes.get(&instance)
            && pid.0 != process.pid
            && self.kin(instance, process.pid).includes(pid.0)
        {
            *pid = InstancePid(process.pid);
        }
    }

    fn report_unclaimed(&self, instance: InstanceId, claimed: &[String]) {
        let candidate = self
            .processes
            .get(&instance)
            .map(|process| process.candidate);
        let Some(candidate) = candidate.and_then(|id| self.candidates.get(&id)) else {
            return;
        };
        for open in &candidate.listeners {
            let name = &open.entry.name;
            if !claimed.contains(name) {
                self.bus.publish(EventKind::ListenerUnclaimed {
                    name: name.clone(),
                    instance,
                });
            }
        }
    }

    /// An instance was found ready without saying so on its channel. In exclusive mode that only
    /// tells that the program may not speak the protocol, if it was surely this one.
    pub(super) fn became_ready(&mut self, instance: InstanceId, how: Readiness) {
        if self.config.mode != Mode::Exclusive || how == Readiness::Notify {
            return self.found_ready(instance, how);
        }
        if how == Readiness::SharedProbe {
            return;
        }
        let to = self.to_self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GREETS_WITHIN).await;
            let _ = to.send(Command::FoundReady { instance, how });
        });
    }

    /// It was found ready, and has had the time to greet.
    pub(super) fn found_ready(&mut self, instance: InstanceId, how: Readiness) {
        if self.config.mode == Mode::Exclusive && self.machine.is_native(instance) {
            return;
        }
        self.tell(Input::BecameReady { instance, how });
    }

    /// An instance spoke another protocol first: the native channel it was offered is closed.
    pub(super) fn linked(&mut self, instance: InstanceId, link: Sender) {
        if let Some(process) = self.processes.get_mut(&instance) {
            process.link = Some(link);
        }
    }

    pub(super) fn attached(&mut self, pid: u32, stream: UnixStream) {
        let known = self
            .processes
            .iter_mut()
            .find(|(_, process)| process.pid == pid);
        match known {
            Some((&instance, process)) => {
                process.link = Some(channel::open(instance, stream, self.to_self.clone()));
                // What was sent in between did not arrive.
                self.lost(instance);
            }
            None => self.bus.warn(format!(
                "process {pid} connected to the native socket and is no instance of this service"
            )),
        }
    }

    pub(super) fn noticed(&mut self, pid: u32, notice: Notification) {
        let Some(instance) = self.instance_of(pid) else {
            return;
        };
        let exclusive = self.config.mode == Mode::Exclusive;
        match notice {
            Notification::Ready if exclusive || counts(&self.config.ready, Readiness::Notify) => {
                self.became_ready(instance, Readiness::Notify);
            }
            Notification::Status(text) => {
                let mut message = FromInstance::Status { text };
                channel::shorten(&mut message);
                self.said(instance, message);
            }
            Notification::ExtendTimeout(by) => self.tell(Input::Extend { instance, by }),
            Notification::Ready
            | Notification::Reloading { .. }
            | Notification::Stopping
            | Notification::MainPid(_)
            | Notification::Watchdog
            | Notification::Other(..)
            | Notification::Malformed(_) => {}
        }
    }

    /// The instance a process belongs to: its own, or its worker's.
    fn instance_of(&self, pid: u32) -> Option<InstanceId> {
        let itself = self
            .processes
            .iter()
            .find(|(_, process)| process.pid == pid);
        let (instance, _) = itself.or_else(|| {
            let mut processes = self.processes.iter();
            processes.find(|(instance, process)| self.kin(**instance, process.pid).includes(pid))
        })?;
        Some(*instance)
    }
}

/// Whether a way of becoming ready counts under the configured one.
fn counts(spec: &ReadinessSpec, how: Readiness) -> bool {
    match spec {
        ReadinessSpec::Auto => true,
        ReadinessSpec::Native => how == Readiness::Native,
        ReadinessSpec::Notify => how == Readiness::Notify,
        ReadinessSpec::Accepts
        | ReadinessSpec::HttpPath(_)
        | ReadinessSpec::HttpUrl { .. }
        | ReadinessSpec::Tcp(_)
        | ReadinessSpec::Command(_) => !matches!(how, Readiness::Native | Readiness::Notify),
    }
}
