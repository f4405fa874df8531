//! One action is applied to a world: machines are fed, effects are executed.

mod coordinating;
mod inside;
mod instances;

use handover_proto::coordinator::{self, Coordinator, Signal};
use handover_proto::event::Readiness;
use handover_proto::identity::{CandidateId, InstanceId, RequestId};
use handover_proto::instance;
use handover_proto::journal;
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::Machine;
use handover_proto::outcome::Exit;
use handover_proto::phase::Phase;
use handover_proto::settings::{Stop, WhenBusy};

use crate::actions::{Action, Demand, due};
use crate::invariants::{self, Violation};
use crate::kept::Kept;
use crate::process::{End, Program};
use crate::scenario::Scenario;
use crate::seen::Seen;
use crate::world::{FIRST, Post, World};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Applies actions to one world.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The world; after an error it is of no use any more.
    pub world: &'a mut World,
    /// What is explored.
    pub scenario: &'a Scenario,
    /// What is seen on the way.
    pub seen: &'a mut Seen,
    /// The coordinator's state when it was fed last.
    pub(crate) during: &'static str,
}

impl<'a> Stage<'a> {
    /// A stage for one world.
    pub fn new(world: &'a mut World, scenario: &'a Scenario, seen: &'a mut Seen) -> Self {
        Self {
            world,
            scenario,
            seen,
            during: "",
        }
    }
    /// Fetches the first coordinator's first effect.
    ///
    /// # Errors
    /// The invariant that is broken at once.
    pub fn begin(&mut self) -> Result<(), Violation> {
        self.fetch()
    }

    /// Applies one action.
    ///
    /// # Errors
    /// The invariant that the action breaks.
    pub fn apply(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Coordinate => self.coordinate(),
            Action::Act(instance) => self.act(instance),
            Action::Hear(instance) => self.hear(instance),
            Action::Tell(instance) => self.tell(instance),
            Action::Done(instance) => self.done(instance),
            Action::Terminate(instance) => self.terminated(instance),
            Action::Kill(instance) => {
                self.world.end(instance, Exit::Signal(SIGKILL));
                Ok(())
            }
            Action::Observe(instance) => self.observe(instance),
            Action::Connect(instance) => self.connect(instance),
            Action::Warm(instance) => {
                self.foreign(instance, |ready, _, _| *ready = true);
                Ok(())
            }
            Action::Find(instance) => self.find(instance),
            Action::Drained(instance) => {
                self.world.end(instance, Exit::Signal(SIGTERM));
                Ok(())
            }
            Action::Restart => self.restart(),
            Action::Expire => self.expire(),
            Action::ExpireOf(instance) => self.expire_of(instance),
            Action::Crash
            | Action::CrashOf(_)
            | Action::Fail(_)
            | Action::Hang(_)
            | Action::Break(_)
            | Action::FailSpawn
            | Action::FailRecord
            | Action::Ask(_) => self.disturb(action),
        }
    }

    /// Applies one action that [`crate::actions::possible`] named, as what it named it.
    ///
    /// # Errors
    /// The invariant that the action breaks.
    pub fn take(&mut self, action: Action, disturbance: bool) -> Result<(), Violation> {
        if disturbance && matches!(action, Action::Expire | Action::ExpireOf(_)) {
            self.expired_early();
        } else {
            invariants::nobody_waits_in_vain(self.world, action)?;
        }
        self.apply(action)
    }

    /// Counts a deadline that expired although something else could have happened.
    fn expired_early(&mut self) {
        self.world.spent.expiries += 1;
        self.world.spent.total += 1;
    }

    fn disturb(&mut self, action: Action) -> Result<(), Violation> {
        self.world.spent.total += 1;
        let spent = &mut self.world.spent;
        match action {
            Action::Crash => {
                spent.crashes += 1;
                self.crash();
                Ok(())
            }
            Action::CrashOf(instance) => {
                spent.crashes += 1;
                self.crash_of(instance);
                Ok(())
            }
            Action::Fail(instance) => {
                spent.failures += 1;
                self.fail(instance)
            }
            Action::Hang(instance) => {
                spent.failures += 1;
                self.hang(instance);
                Ok(())
            }
            Action::Break(instance) => {
                spent.failures += 1;
                self.break_link(instance);
                Ok(())
            }
            Action::FailSpawn => {
                spent.failures += 1;
                self.fail_spawn()
            }
            Action::FailRecord => {
                spent.unrecorded += 1;
                self.fail_record()
            }
            Action::Ask(demand) => {
                spent.requests += 1;
                self.ask(demand)
            }
            _ => Ok(()),
        }
    }

    fn crash(&mut self) {
        if let Some(home) = self.world.home {
            return self.crash_of(home);
        }
        self.lose_coordinator();
    }

    fn lose_coordinator(&mut self) {
        self.world.leave_post(Post::Crashed);
        self.world.memory.waiting.clear();
        let told = self.world.journal.as_ref().is_some_and(|record| {
            // In the other phases the successor may have become ready, or be all there is.
            matches!(
                record.phase,
                Phase::Serving
                    | Phase::Warm
                    | Phase::Drain
                    | Phase::Seal
                    | Phase::Resume
                    | Phase::Probation
            ) && record.incumbent.map(|recorded| recorded.instance) == self.world.memory.committed
        });
        if !told || self.world.memory.unrecorded {
            self.world.memory.committed = None;
        }
        self.world.memory.stop = false;
        self.world.memory.stop_now = false;
        self.world.memory.unsaid = false;
        self.world.memory.abandoned = None;
        self.seen.note("crash", "coordinator", "");
    }

    fn crash_of(&mut self, instance: InstanceId) {
        let sealed = self
            .world
            .process(instance)
            .is_some_and(|process| process.state_name() == "Sealed" && process.next().is_none());
        let handing = self.world.coordinator().is_some_and(|coordinator| {
            coordinator
                .incumbent()
                .is_some_and(|member| member.instance == instance)
                && coordinator.successor().is_some()
        });
        self.world.memory.died_sealed |= sealed && handing;
        self.hurt(instance);
        if self.world.home == Some(instance) {
            self.world.memory.heir = self.heir();
            self.lose_coordinator();
        }
        self.world.end(instance, Exit::Signal(SIGKILL));
    }

    /// Something happened to an instance that no invariant promises it survives.
    fn hurt(&mut self, instance: InstanceId) {
        if self.world.memory.committed == Some(instance) {
            self.world.memory.committed = None;
        }
    }

    fn restart(&mut self) -> Result<(), Violation> {
        if self.scenario.place.is_inside() {
            self.cold_start();
            return Ok(());
        }
        let world = &mut *self.world;
        world.incarnation += 1;
        let settings = self.scenario.settings;
        let machine = match &world.journal {
            Some(record) => {
                let found = journal::recover(record, &world.observe());
                Coordinator::recovered(world.now, settings, world.incarnation, found)
            }
            None => Coordinator::new(world.now, settings, world.incarnation, FIRST),
        };
        world.post = Post::Held {
            machine: Kept::new(machine),
            next: None,
        };
        self.seen.note("restart", "coordinator", "");
        self.fetch()
    }

    fn expire(&mut self) -> Result<(), Violation> {
        let deadline = self.world.coordinator().and_then(Machine::next_deadline);
        if let Some(at) = deadline {
            self.world.now = self.world.now.max(at);
        }
        let state = self.world.coordinator().map(Coordinator::state_name);
        if state == Some("Recovering") {
            // Whoever did not report in all that time is replaced, since nobody else can serve.
            self.world.memory.committed = None;
        }
        self.feed(coordinator::Input::Tick)?;
        self.fetch()
    }

    fn expire_of(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let process = self.world.process(instance);
        let at = process.and_then(|process| due(self.world, process));
        if let Some(at) = at {
            self.world.now = self.world.now.max(at);
        }
        self.feed_instance(instance, instance::Input::Tick)
    }

    /// A request of the scenario itself, or of a disturbance.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub fn ask(&mut self, demand: Demand) -> Result<(), Violation> {
        self.abandon(demand);
        let input = match demand {
            Demand::Upgrade(when_busy) => {
                // The scenario's own is the first; a service that starts has none.
                let number = u32::from(self.world.spent.requests) + 1;
                return self.request(RequestId(number.into()), CandidateId(number + 1), when_busy);
            }
            Demand::Cancel => coordinator::Input::Cancel,
            Demand::Undo => return self.undo(),
            Demand::Stop(how) => {
                self.world.memory.stop = true;
                self.world.memory.stop_now |= how == Stop::Now;
                coordinator::Input::Stop { how }
            }
        };
        self.feed(input)?;
        self.fetch()
    }

    fn undo(&mut self) -> Result<(), Violation> {
        let request = RequestId(u64::from(self.world.spent.requests) + 1);
        self.take_back(request)
    }

    /// Asks for an undo. In probation that is a reason to stop the committed instance.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub fn take_back(&mut self, request: RequestId) -> Result<(), Violation> {
        let state = self.world.coordinator().map(Coordinator::state_name);
        if state == Some("Probation") {
            self.world.memory.committed = None;
        }
        self.world.memory.waiting.push(request);
        let request = Some(request);
        self.feed(coordinator::Input::Undo { request })?;
        self.fetch()
    }

    /// Some requests end the attempt that runs; it must not commit any more.
    fn abandon(&mut self, demand: Demand) {
        let ends = match demand {
            Demand::Upgrade(when_busy) => when_busy == WhenBusy::Supersede,
            Demand::Cancel | Demand::Stop(_) => true,
            Demand::Undo => false,
        };
        if let Some(coordinator) = self.world.coordinator()
            && ends
        {
            let attempt = coordinator.attempt().map(|(id, _)| id);
            self.world.memory.abandoned = attempt.or(self.world.memory.abandoned);
        }
    }

    fn break_link(&mut self, instance: InstanceId) {
        if let Some(process) = self.world.process_mut(instance)
            && let Some(link) = &mut process.link
        {
            link.snap();
        }
    }

    /// Asks for an upgrade.
    ///
    /// # Errors
    /// The invariant that it breaks.
    pub fn request(
        &mut self,
        request: RequestId,
        candidate: CandidateId,
        when_busy: WhenBusy,
    ) -> Result<(), Violation> {
        self.world.memory.waiting.push(request);
        self.feed(coordinator::Input::Upgrade {
            request: Some(request),
            candidate,
            when_busy,
        })?;
        self.fetch()
    }

    fn hear(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let Some(process) = self.world.process_mut(instance) else {
            return Ok(());
        };
        let said = process
            .link
            .as_mut()
            .and_then(|link| link.to_coordinator.pop_front());
        let input = match said {
            Some(message) => coordinator::Input::Said { instance, message },
            None => {
                if let Some(link) = &mut process.link {
                    link.coordinator_end = End::Closed;
                }
                process.link.take_if(|link| link.is_over());
                coordinator::Input::Closed { instance }
            }
        };
        self.feed(input)?;
        self.fetch()
    }

    fn observe(&mut self, instance: InstanceId) -> Result<(), Violation> {
        let Some(process) = self.world.process(instance) else {
            return Ok(());
        };
        let exit = process.ended.unwrap_or(Exit::Unknown);
        self.world
            .processes
            .retain(|process| process.instance != instance);
        self.feed(coordinator::Input::Exited { instance, exit })?;
        self.fetch()
    }

    fn find(&mut self, instance: InstanceId) -> Result<(), Violation> {
        self.foreign(instance, |_, found, _| *found = true);
        let how = Readiness::Notify;
        self.feed(coordinator::Input::BecameReady { instance, how })?;
        self.fetch()
    }

    fn foreign(
        &mut self,
        instance: InstanceId,
        change: impl FnOnce(&mut bool, &mut bool, &mut bool),
    ) {
        if let Some(process) = self.world.process_mut(instance)
            && let Program::Foreign {
                ready,
                found,
                draining,
                ..
            } = &mut process.program
        {
            change(ready, found, draining);
        }
    }

    fn send_to(&mut self, to: InstanceId, message: ToInstance) {
        self.seen.note("told", message.name(), "");
        if let Some(process) = self.world.process_mut(to)
            && let Some(link) = &mut process.link
            && link.instance_end == End::Open
        {
            link.to_instance.push_back(message);
        }
    }

    fn send_from(&mut self, from: InstanceId, message: FromInstance) {
        self.seen.note("said", message.name(), "");
        if let Some(process) = self.world.process_mut(from)
            && let Some(link) = &mut process.link
            && link.coordinator_end == End::Open
        {
            link.to_coordinator.push_back(message);
        }
    }

    fn signal(&mut self, to: InstanceId, signal: Signal) {
        if self.scenario.place.is_inside() {
            return self.dismiss(to, signal);
        }
        if let Some(process) = self.world.process_mut(to)
            && process.alive()
        {
            match signal {
                Signal::Term => process.term = true,
                Signal::Kill => process.kill = true,
            }
        }
    }
}
