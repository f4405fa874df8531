//! What is different where coordinator and incumbent are one process.

use handover_proto::coordinator::{Coordinator, Signal};
use handover_proto::identity::{CandidateId, Generation, InstanceId};
use handover_proto::instance::{Identity, Incumbent, Instance, Successor};
use handover_proto::journal::{Recorded, Recovery, Stance};
use handover_proto::message::ToInstance;
use handover_proto::phase::Mode;

use super::Stage;
use crate::invariants::Violation;
use crate::kept::Kept;
use crate::process::{End, Process, Program, pid};
use crate::scenario::Place;
use crate::world::{FIRST, Post};

impl Stage<'_> {
    /// Nothing of the service is left: somebody starts it by hand, and nobody answers at its
    /// socket.
    pub(super) fn cold_start(&mut self) {
        let last = self.world.journal.as_ref();
        let instance = last
            .map_or(InstanceId(0), |record| record.last_instance)
            .next();
        let identity = Identity {
            instance,
            pid: pid(instance),
        };
        let overlap = self.scenario.settings.mode == Mode::Overlap;
        let mut program = Program::native(if overlap {
            Instance::Incumbent(Incumbent::alone(identity, None))
        } else {
            Instance::Successor(Successor::alone(identity))
        });
        if let Program::Native { reconnects, .. } = &mut program {
            *reconnects = overlap;
        }
        let process = Process::new(instance, program, None);
        self.world.processes.push(Kept::new(process));
        self.settle(instance);
        self.seen.note("restart", "by hand", "");
    }

    /// Whoever serves and has no coordinator becomes its own.
    pub(super) fn coordinate_itself(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let candidate = self.candidate(instance);
        let found = Recovery {
            stance: Stance::Serve(Recorded {
                instance,
                candidate,
                pid: Some(pid(instance)),
            }),
            retire: Vec::new(),
            kill: Vec::new(),
            generation: Generation(1),
            last_instance: instance,
            current: candidate,
            previous: None,
        };
        let world = &mut *self.world;
        world.incarnation += 1;
        let (settings, incarnation) = (self.scenario.settings, world.incarnation);
        let machine = Coordinator::recovered(world.now, settings, incarnation, found);
        world.home = Some(instance);
        world.post = Post::Held {
            machine: Kept::new(machine),
            next: None,
        };
        self.seen.note("restart", "inside", "");
        self.fetch()
    }

    /// What an instance runs, by the record of whoever started it.
    fn candidate(&self, instance: InstanceId) -> CandidateId {
        let named = self.world.journal.as_ref().and_then(|record| {
            let named = [record.incumbent, record.successor];
            let mut named = named.into_iter().flatten();
            named.find(|recorded| recorded.instance == instance)
        });
        named.map_or(FIRST, |recorded| recorded.candidate)
    }

    /// Tells an instance to go, the one it runs in among them: on the channel, so that it is heard
    /// before the channel closes. Silence would mean that the coordinator is dead.
    pub(super) fn dismiss(&mut self, to: InstanceId, signal: Signal) {
        let reason = String::new();
        self.send_to(to, ToInstance::Dismiss { reason });
        let child = self.scenario.place == Place::SelfUpgrade || self.world.home == Some(to);
        let Some(process) = self.world.process_mut(to) else {
            return;
        };
        match (signal, &mut process.link) {
            (Signal::Kill, _) if child => process.kill = process.alive(),
            (Signal::Kill, Some(link)) => link.say_no_more(),
            (Signal::Term, None) if child => process.term = process.alive(),
            (Signal::Term | Signal::Kill, _) => {}
        }
    }

    /// Another instance serves and coordinates itself from here; this one only drains.
    pub(super) fn leave_the_succeeded(&mut self) {
        let Post::Held {
            machine,
            next: None,
        } = &self.world.post
        else {
            return;
        };
        let succeeded = |home| machine.is_succeeded(home);
        if self.world.home.is_some_and(succeeded) {
            self.seen.note("coordinator", "succeeded", "");
            self.world.leave_post(Post::Crashed);
        }
    }

    /// Who can go on when the coordinator dies with the instance it is in: the other one of the
    /// attempt that runs, unless it was dismissed.
    pub(super) fn heir(&self) -> Option<InstanceId> {
        let coordinator = self.world.coordinator()?;
        let successor = coordinator.successor()?;
        let mut both = [Some(successor), coordinator.incumbent()]
            .into_iter()
            .flatten();
        let other = both.find(|member| Some(member.instance) != self.world.home)?;
        let process = self.world.process(other.instance)?;
        let link = process.link.as_ref()?;
        let dismissed = |message: &ToInstance| matches!(message, ToInstance::Dismiss { .. });
        let open = link.instance_end == End::Open && !link.to_instance.iter().any(dismissed);
        (process.alive() && open).then_some(other.instance)
    }
}
