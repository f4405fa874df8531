//! Instances are fed, and execute their effects.

use handover_proto::identity::InstanceId;
use handover_proto::instance::{Effect, Input, Instance};
use handover_proto::moment::Machine;
use handover_proto::outcome::Exit;

use super::Stage;
use crate::invariants::{self, Violation};
use crate::process::{End, Hook, Link, Program};
use crate::seen::{Arm, Party, Seen, Way};

impl Stage<'_> {
    /// Feeds a native instance, then fetches its next effect.
    pub(super) fn feed_instance(
        &mut self,
        instance: InstanceId,
        input: Input,
    ) -> Result<(), Violation> {
        let now = self.world.now;
        let Some(process) = self.world.process_mut(instance) else {
            return Ok(());
        };
        let Program::Native {
            machine,
            sealed,
            next,
            ..
        } = &mut process.program
        else {
            return Ok(());
        };
        let arm = Arm {
            machine: match **machine {
                Instance::Successor(_) => "Successor",
                Instance::Incumbent(_) => "Incumbent",
            },
            state: machine.state_name(),
            party: Party::Nobody,
            input: input.name(),
        };
        if self.scenario.without == Some(arm) {
            return Ok(());
        }
        match input {
            Input::Sealed => *sealed = true,
            Input::SealFailed { .. } => *sealed = false,
            _ => {}
        }
        let fresh = self.seen.is_new(&(&**machine, now, &input));
        let before = fresh.then(|| machine.clone());
        machine.handle(now, input);
        if let Some(before) = before {
            Self::see(self.seen, arm, &before, machine);
        }
        if next.is_none() {
            *next = machine.poll_effect().map(Box::new);
        }
        self.settle(instance);
        Ok(())
    }

    fn see(seen: &mut Seen, arm: Arm, before: &Instance, machine: &Instance) {
        // All of them are in the queue: an instance has none left when it is fed.
        let mut after = machine.clone();
        let effects: Vec<_> = std::iter::from_fn(|| after.poll_effect())
            .map(|effect| effect.name())
            .collect();
        let active = machine != before;
        let way = Way {
            next: machine.state_name(),
            effects,
        };
        seen.transition(arm, way, active);
    }

    /// Effects that concern nobody but the program are executed at once: a kill before them
    /// cannot be told from a kill after them.
    pub(super) fn settle(&mut self, instance: InstanceId) {
        let Some(process) = self.world.process_mut(instance) else {
            return;
        };
        let Program::Native {
            machine,
            next,
            hook,
            sealed,
            reconnects,
        } = &mut process.program
        else {
            return;
        };
        while let Some(effect) = next {
            match **effect {
                Effect::Reconnect => *reconnects = true,
                Effect::Warm => *hook = Some(Hook::Warm),
                Effect::Activate { .. } => *hook = Some(Hook::Activate),
                Effect::Drain { .. } => *hook = Some(Hook::Drain),
                Effect::Seal => {
                    *hook = Some(Hook::Seal);
                    *sealed = false;
                }
                Effect::Resume { .. } => *hook = Some(Hook::Resume),
                Effect::Retire { .. } => *hook = Some(Hook::Retire),
                Effect::Committed => self.seen.note("hook", "committed", machine.state_name()),
                Effect::Send(_) | Effect::Acquire | Effect::Release | Effect::Exit { .. } => {
                    return;
                }
            }
            *next = machine.poll_effect().map(Box::new);
        }
    }

    pub(super) fn act(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let Some(process) = self.world.process_mut(instance) else {
            return Ok(());
        };
        let Program::Native { next, .. } = &mut process.program else {
            return Ok(());
        };
        match next.take().map(|effect| *effect) {
            Some(Effect::Send(message)) => self.send_from(instance, message),
            Some(Effect::Acquire) => return self.acquire(instance),
            Some(Effect::Release) => {
                invariants::i3_release_follows_seal(self.world, instance)?;
                if self.world.lease.holder == Some(instance) {
                    self.world.lease.holder = None;
                }
                self.seen.note("lease", "released", "");
            }
            Some(Effect::Exit { code }) => {
                self.seen.note("exit", exit_name(code), "");
                self.world.end(instance, Exit::Code(code.into()));
                return Ok(());
            }
            _ => {}
        }
        self.advance(instance);
        Ok(())
    }

    fn advance(&mut self, instance: InstanceId) {
        if let Some(process) = self.world.process_mut(instance)
            && let Program::Native { machine, next, .. } = &mut process.program
            && next.is_none()
        {
            *next = machine.poll_effect().map(Box::new);
        }
        self.settle(instance);
    }

    /// Takes the lease with the next epoch, or finds it held; the answer comes at once.
    fn acquire(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let lease = &mut self.world.lease;
        let input = match lease.holder {
            Some(_) => {
                self.seen.note("lease", "busy", "");
                Input::LeaseBusy
            }
            None => {
                self.seen.note("lease", "acquired", "");
                lease.holder = Some(instance);
                lease.epoch = lease.epoch.next();
                let epoch = lease.epoch;
                Input::LeaseAcquired { epoch }
            }
        };
        self.feed_instance(instance, input)?;
        self.advance(instance);
        Ok(())
    }

    pub(super) fn tell(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let Some(process) = self.world.process_mut(instance) else {
            return Ok(());
        };
        let told = process
            .link
            .as_mut()
            .and_then(|link| link.to_instance.pop_front());
        let input = match told {
            Some(message) => Input::Said(message),
            None => {
                if let Some(link) = &mut process.link {
                    link.instance_end = End::Closed;
                }
                process.link.take_if(|link| link.is_over());
                Input::Closed
            }
        };
        self.feed_instance(instance, input)
    }

    pub(super) fn done(&mut self, instance: InstanceId) -> Result<(), Violation> {
        match self.take_hook(instance) {
            Some(hook) => {
                self.seen.note("hook", hook.name(), "done");
                self.feed_instance(instance, hook.done(self.scenario.settings.mode))
            }
            None => Ok(()),
        }
    }

    fn take_hook(&mut self, instance: InstanceId) -> Option<Hook> {
        match &mut self.world.process_mut(instance)?.program {
            Program::Native { hook, .. } => hook.take(),
            Program::Foreign { .. } => None,
        }
    }

    pub(super) fn fail(&mut self, instance: InstanceId) -> Result<(), Violation> {
        match self.take_hook(instance) {
            Some(hook) => {
                self.seen.note("hook", hook.name(), "failed");
                if hook == Hook::Resume {
                    self.hurt(instance);
                }
                match hook.failed() {
                    Some(input) => self.feed_instance(instance, input),
                    None => Ok(()),
                }
            }
            None => {
                self.world.end(instance, Exit::Code(1));
                Ok(())
            }
        }
    }

    /// What runs in a process never ends.
    pub(super) fn hang(&mut self, instance: InstanceId) {
        self.world.memory.hung = true;
        let hook = self.take_hook(instance);
        self.seen
            .note("hook", hook.map_or("program", Hook::name), "hangs");
        // Half a seal cannot be taken back, and a resume is what taking back is.
        if matches!(hook, Some(Hook::Seal | Hook::Resume)) {
            self.hurt(instance);
        }
        if let Some(process) = self.world.process_mut(instance)
            && let Program::Foreign { hung, .. } = &mut process.program
        {
            *hung = true;
        }
    }

    pub(super) fn terminated(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let Some(process) = self.world.process_mut(instance) else {
            return Ok(());
        };
        process.term = false;
        if let Program::Foreign {
            draining,
            ready,
            hung,
            ..
        } = &mut process.program
        {
            if *ready {
                *draining = true;
                *hung = false;
            } else {
                self.world.end(instance, Exit::Signal(super::SIGTERM));
            }
            return Ok(());
        }
        self.feed_instance(instance, Input::Terminate)
    }

    pub(super) fn connect(&mut self, instance: InstanceId) -> Result<(), Violation> {
        if self.scenario.place.is_inside() {
            self.coordinate_itself(instance)?;
        }
        if let Some(process) = self.world.process_mut(instance) {
            process.link = Some(Link::default());
            if let Program::Native { reconnects, .. } = &mut process.program {
                *reconnects = false;
            }
        }
        self.feed_instance(instance, Input::Connected)
    }
}

const fn exit_name(code: u8) -> &'static str {
    match code {
        0 => "as told",
        _ => "given up",
    }
}
