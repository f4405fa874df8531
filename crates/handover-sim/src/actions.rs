//! What can happen next in a world, and which of it is progress.
//!
//! A role that has effects left executes the next one before it takes any other input; between
//! any two of them it can be killed. An effect nobody else can race with (a record, a spawn, a
//! send) is the only thing explored at that point beside the kill: whatever the others might do
//! first, they can do next, to the same end.
//!
//! Time passes when nothing else can happen. A deadline that expires earlier is a disturbance.

use handover_proto::coordinator::Effect;
use handover_proto::identity::InstanceId;
use handover_proto::instance;
use handover_proto::message::ToInstance;
use handover_proto::moment::{Machine, Moment};
use handover_proto::settings::{Stop, WhenBusy};

use crate::process::{End, Hook, Link, Process, Program};
use crate::scenario::{Budget, Scenario};
use crate::world::{Post, World};

/// A request of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Demand {
    /// Another upgrade.
    Upgrade(WhenBusy),
    /// Abandon the attempt.
    Cancel,
    /// The parked instance is to take back.
    Undo,
    /// Stop the service.
    Stop(Stop),
}

/// One step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The coordinator executes its next effect.
    Coordinate,
    /// An instance executes its next effect.
    Act(InstanceId),
    /// What an instance said, or that its channel broke, reaches the coordinator.
    Hear(InstanceId),
    /// What the coordinator said, or that the channel broke, reaches an instance.
    Tell(InstanceId),
    /// A hook is done.
    Done(InstanceId),
    /// SIGTERM reaches a process.
    Terminate(InstanceId),
    /// SIGKILL reaches a process.
    Kill(InstanceId),
    /// The coordinator sees that a process ended.
    Observe(InstanceId),
    /// An instance that looks for a coordinator finds one.
    Connect(InstanceId),
    /// A foreign program is ready.
    Warm(InstanceId),
    /// The coordinator finds a foreign program ready.
    Find(InstanceId),
    /// A foreign program has drained and exits.
    Drained(InstanceId),
    /// A new coordinator is started.
    Restart,
    /// The coordinator's next deadline.
    Expire,
    /// An instance's next deadline.
    ExpireOf(InstanceId),
    /// The coordinator is killed.
    Crash,
    /// A process is killed from outside.
    CrashOf(InstanceId),
    /// A hook fails, or a foreign program exits before it is ready.
    Fail(InstanceId),
    /// A hook never ends, or a foreign program never becomes ready or never goes.
    Hang(InstanceId),
    /// A channel breaks although both ends live.
    Break(InstanceId),
    /// The next effect, a spawn, fails.
    FailSpawn,
    /// The next effect, a record, is not written.
    FailRecord,
    /// A user asks for something.
    Ask(Demand),
}

/// The actions possible in a world: progress first, then disturbances.
#[derive(Clone, Debug, Default)]
pub struct Possible {
    /// What happens by itself, sooner or later.
    pub progress: Vec<Action>,
    /// What may happen in its stead, within the allowance.
    pub disturbances: Vec<Action>,
}

impl Possible {
    /// Whether nothing happens any more unless somebody disturbs.
    #[must_use]
    pub fn quiescent(&self) -> bool {
        self.progress.is_empty()
    }
}

/// Everything that can happen next.
#[must_use]
pub fn possible(world: &World, scenario: &Scenario) -> Possible {
    let left = Left::of(world, scenario);
    let mut possible = Possible::default();
    if let Some(next) = world.next() {
        coordinate(&mut possible, next, &left);
        return possible;
    }
    if let Some(process) = world.alive().find(|process| introduced(process)) {
        possible.progress.push(Action::Tell(process.instance));
        return possible;
    }
    let busy = world.alive().find(|process| alone(world, process));
    if let Some(process) = busy {
        let instance = process.instance;
        possible.progress.push(Action::Act(instance));
        if process.kill {
            possible.progress.push(Action::Kill(instance));
        }
        if left.crashes {
            possible.disturbances.push(Action::CrashOf(instance));
        }
        return possible;
    }
    for process in &world.processes {
        progress(&mut possible.progress, world, process);
    }
    // Inside the incumbent nobody starts another one while anything is left of the service.
    let started = world.place.is_inside() && world.alive().next().is_some();
    if world.post == Post::Crashed && !started {
        possible.progress.push(Action::Restart);
    }
    deadlines(&mut possible, world, left.expiries);
    disturb(&mut possible.disturbances, world, &left);
    possible
}

/// What is left of the allowance.
struct Left {
    crashes: bool,
    expiries: bool,
    failures: bool,
    requests: bool,
    unrecorded: bool,
}

impl Left {
    fn of(world: &World, scenario: &Scenario) -> Self {
        let (spent, allowed): (&Budget, &Budget) = (&world.spent, &scenario.budget);
        let any = spent.total < allowed.total;
        // Of what hangs and lost its coordinator with the incumbent nobody but a person takes care.
        let watched = !(world.place.is_inside() && world.memory.hung);
        Self {
            crashes: any && spent.crashes < allowed.crashes && watched,
            expiries: any && spent.expiries < allowed.expiries,
            failures: any && spent.failures < allowed.failures,
            requests: any && spent.requests < allowed.requests,
            unrecorded: any && spent.unrecorded < allowed.unrecorded,
        }
    }
}

fn coordinate(possible: &mut Possible, next: &Effect, left: &Left) {
    possible.progress.push(Action::Coordinate);
    if left.crashes {
        possible.disturbances.push(Action::Crash);
    }
    if left.unrecorded && matches!(next, Effect::Record(_)) {
        possible.disturbances.push(Action::FailRecord);
    }
    if left.failures && matches!(next, Effect::Spawn { .. }) {
        possible.disturbances.push(Action::FailSpawn);
    }
}

/// Whether the next effect of a process concerns nobody but it and the far end of its channel.
fn alone(world: &World, process: &Process) -> bool {
    match process.next() {
        Some(instance::Effect::Send(_)) => true,
        Some(instance::Effect::Exit { .. }) => world.lease.holder != Some(process.instance),
        _ => false,
    }
}

/// Whether the next thing a process hears is an introduction. No machine does anything about it
/// (I13 has it among the frames that change nothing), so that it may as well hear it at once.
fn introduced(process: &Process) -> bool {
    let next = process.link.as_ref().and_then(Link::instance_hears_next);
    process.next().is_none() && matches!(next, Some(ToInstance::Introduce { .. }))
}

fn progress(actions: &mut Vec<Action>, world: &World, process: &Process) {
    let instance = process.instance;
    let mut push = |action| actions.push(action);
    if !process.alive() {
        if world.coordinator().is_some() {
            push(Action::Observe(instance));
        }
    } else if process.next().is_some() {
        push(Action::Act(instance));
        if process.kill {
            push(Action::Kill(instance));
        }
    } else if process.kill {
        // What else it might do before the signal arrives, it can do before the signal is sent.
        push(Action::Kill(instance));
    } else {
        if process.link.as_ref().is_some_and(Link::instance_hears) {
            push(Action::Tell(instance));
        }
        if process.hook().is_some() {
            push(Action::Done(instance));
        }
        if process.term {
            push(Action::Terminate(instance));
        }
        if let Program::Foreign {
            ready,
            draining,
            hung: false,
            ..
        } = process.program
        {
            if draining {
                push(Action::Drained(instance));
            } else if !ready {
                push(Action::Warm(instance));
            }
        }
    }
    let coordinated = world.coordinator().is_some();
    let seeks = process.reconnects() && process.link.is_none() && !process.kill;
    let found = match world.place.is_inside() {
        true => !coordinated && process.serves(),
        false => coordinated,
    };
    if seeks && found {
        push(Action::Connect(instance));
    }
    if !coordinated {
        return;
    }
    if process.link.as_ref().is_some_and(Link::coordinator_hears) {
        push(Action::Hear(instance));
    }
    if let Program::Foreign {
        ready: true,
        found: false,
        ..
    } = process.program
        && process.alive()
        && !process.kill
    {
        push(Action::Find(instance));
    }
}

/// When a deadline of a process would be said, if saying it could change anything.
pub(crate) fn due(world: &World, process: &Process) -> Option<Moment> {
    let deadline = process.deadline()?;
    if process.next().is_some() || process.kill {
        return None;
    }
    if !process.reclaims() || world.lease.holder.is_none() {
        return Some(deadline);
    }
    // Every try before the last would find the lease as it is now. Whoever waits for a
    // coordinator's word has no last try.
    let patience = match process.state_name() {
        "Acquiring" => instance::RECLAIM_WITHIN,
        _ => instance::STAND_BY_FOR,
    };
    let gives_up = process.unlinked();
    gives_up.then(|| deadline.max(world.now + patience))
}

fn deadlines(possible: &mut Possible, world: &World, early: bool) {
    let mut due_next: Vec<(Moment, Action)> = Vec::new();
    let coordinator = world.coordinator().and_then(Machine::next_deadline);
    due_next.extend(coordinator.map(|at| (at, Action::Expire)));
    for process in world.alive() {
        let Some(at) = due(world, process) else {
            continue;
        };
        let action = Action::ExpireOf(process.instance);
        if process.reclaims() && world.lease.holder.is_none() {
            // The next try at a lease that is free: no deadline, only a pause.
            possible.progress.push(action);
        } else {
            due_next.push((at, action));
        }
    }
    if possible.progress.is_empty() {
        let earliest = due_next.iter().min_by_key(|(at, _)| *at);
        possible
            .progress
            .extend(earliest.map(|(_, action)| *action));
    } else if early {
        let all = due_next.iter().map(|(_, action)| *action);
        possible.disturbances.extend(all);
    }
}

const OPEN: (End, End) = (End::Open, End::Open);

fn disturb(actions: &mut Vec<Action>, world: &World, left: &Left) {
    if left.crashes {
        if world.coordinator().is_some() && !world.place.is_inside() {
            actions.push(Action::Crash);
        }
        let victims = world.alive().filter(|process| !process.kill);
        actions.extend(victims.map(|process| Action::CrashOf(process.instance)));
    }
    if left.failures {
        for process in world.alive().filter(|process| !process.kill) {
            let fails = match process.program {
                Program::Native { .. } => process
                    .hook()
                    .is_some_and(|hook| process.next().is_none() && hook.failed().is_some()),
                Program::Foreign { ready, hung, .. } => !ready && !hung,
            };
            if fails {
                actions.push(Action::Fail(process.instance));
            }
            if process.next().is_none() && process.can_hang() && is_watched(world, process) {
                actions.push(Action::Hang(process.instance));
            }
            let whole = |link: &Link| (link.instance_end, link.coordinator_end) == OPEN;
            // A channel of one process with itself, or with whom it accepted, breaks by an end.
            let breaks = !world.place.is_inside();
            if breaks && process.link.as_ref().is_some_and(whole) {
                actions.push(Action::Break(process.instance));
            }
        }
    }
    if left.requests && world.coordinator().is_some() {
        // Inside the incumbent nothing waits: of two that want to take over one is refused.
        if !world.place.is_inside() {
            let waiting = [WhenBusy::Queue, WhenBusy::Supersede];
            actions.extend(waiting.map(Demand::Upgrade).map(Action::Ask));
        }
        let demands = [
            Demand::Upgrade(WhenBusy::Fail),
            Demand::Cancel,
            Demand::Undo,
            Demand::Stop(Stop::Drain),
            Demand::Stop(Stop::Fast),
            Demand::Stop(Stop::Now),
        ];
        actions.extend(demands.map(Action::Ask));
    }
}

/// Whether somebody ends what hangs. Inside the incumbent that is its coordinator, as long as it
/// lives; and the ladder of a retirement ends by itself.
fn is_watched(world: &World, process: &Process) -> bool {
    if !world.place.is_inside() {
        return true;
    }
    let known = world.coordinator().is_some_and(|coordinator| {
        let mut known = coordinator.known();
        known.any(|member| member.instance == process.instance)
    });
    known && world.spent.crashes == 0 && process.hook() != Some(Hook::Retire)
}
