//! Breadth first through every interleaving, so that the first trace to a violation is a
//! shortest one.

use std::collections::{HashMap, VecDeque};

use handover_proto::coordinator::Coordinator;
use handover_proto::settings::WhenBusy;

use crate::actions::{Action, Possible, possible};
use crate::fingerprint::{self, Fingerprints};
use crate::invariants::{self, Injected, Violation, broken};
use crate::scenario::{Begin, Budget, Scenario};
use crate::seen::Seen;
use crate::step::Stage;
use crate::world::{REQUEST, SECOND, World};

/// States after which a scenario is taken to be without end: ten times the largest there is.
const MOST_STATES: usize = 5_000_000;

/// What an exploration found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// States without progress.
    pub quiescent: usize,
    /// What was seen.
    pub seen: Seen,
}

/// A violation, and the shortest way there.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What does not hold.
    pub violation: Violation,
    /// The actions from the beginning of the scenario.
    pub actions: Vec<(Action, bool)>,
}

/// How a state was reached: from which, by what, and whether that was a disturbance.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: u32,
    action: Action,
    disturbance: bool,
}

/// Every interleaving of one scenario.
///
/// # Errors
/// The first violation, by the shortest trace.
pub fn explore(scenario: &Scenario) -> Result<Report, Box<Failure>> {
    let mut seen = Seen::default();
    let begin = beginning(scenario, &mut seen).map_err(|violation| {
        let actions = Vec::new();
        Box::new(Failure { violation, actions })
    })?;
    let mut search = Search::new(scenario, seen);
    search.visit(begin, None);
    while let Some((world, at)) = search.waiting.pop_front() {
        search
            .expand(&world, at)
            .map_err(|(violation, last)| search.failure(violation, at, last))?;
        if search.steps_to.len() > MOST_STATES {
            return Err(search.failure(broken("ends", "too many states"), at, None));
        }
    }
    search.every_state_has_a_way_on()?;
    Ok(Report {
        states: search.steps_to.len(),
        steps: search.steps,
        quiescent: search.quiet.len(),
        seen: search.seen,
    })
}

/// The world in which a scenario begins: at its start, or upgraded from steady service.
pub(crate) fn beginning(scenario: &Scenario, seen: &mut Seen) -> Result<World, Violation> {
    let mut world = World::new(scenario);
    let undisturbed = Scenario {
        budget: Budget::NONE,
        ..scenario.clone()
    };
    let mut stage = Stage::new(&mut world, &undisturbed, seen);
    stage.begin()?;
    if scenario.begin == Begin::Start {
        return Ok(world);
    }
    rest(&mut stage)?;
    invariants::started(stage.world)?;
    let when_busy = match scenario.place.is_inside() {
        true => WhenBusy::Fail,
        false => WhenBusy::Queue,
    };
    stage.request(REQUEST, SECOND, when_busy)?;
    if scenario.begin == Begin::Undo {
        rest(&mut stage)?;
        stage.world.memory.answer = None;
        stage.take_back(REQUEST)?;
    }
    Ok(world)
}

/// Goes on undisturbed until nothing happens, or nothing but that a probation is passed.
fn rest(stage: &mut Stage<'_>) -> Result<(), Violation> {
    while let Some(&action) = possible(stage.world, stage.scenario).progress.first() {
        let state = stage.world.coordinator().map(Coordinator::state_name);
        if action == Action::Expire && state == Some("Probation") {
            break;
        }
        stage.apply(action)?;
        invariants::safe(stage.world)?;
    }
    Ok(())
}

struct Search<'a> {
    scenario: &'a Scenario,
    seen: Seen,
    known: HashMap<u128, u32, Fingerprints>,
    steps_to: Vec<Option<Step>>,
    waiting: VecDeque<(World, u32)>,
    /// Steps of progress, by number of state.
    progress: Vec<(u32, u32)>,
    quiet: Vec<u32>,
    injected: Injected,
    again: HashMap<u128, (), Fingerprints>,
    steps: usize,
}

impl<'a> Search<'a> {
    fn new(scenario: &'a Scenario, seen: Seen) -> Self {
        Self {
            scenario,
            seen,
            known: HashMap::default(),
            steps_to: Vec::new(),
            waiting: VecDeque::new(),
            progress: Vec::new(),
            quiet: Vec::new(),
            injected: Injected::default(),
            again: HashMap::default(),
            steps: 0,
        }
    }

    fn visit(&mut self, world: World, step: Option<Step>) -> u32 {
        let number = u32::try_from(self.steps_to.len()).unwrap_or(u32::MAX);
        let known = *self.known.entry(fingerprint::of(&world)).or_insert(number);
        if known == number {
            self.steps_to.push(step);
            self.waiting.push_back((world, number));
        }
        known
    }

    fn expand(
        &mut self,
        world: &World,
        at: u32,
    ) -> Result<(), (Violation, Option<(Action, bool)>)> {
        invariants::safe(world).map_err(|violation| (violation, None))?;
        invariants::i13_late_frames_change_nothing(world, &mut self.injected)
            .map_err(|violation| (violation, None))?;
        let possible = possible(world, self.scenario);
        if possible.quiescent() {
            self.quiet.push(at);
            self.quiescent(world)
                .map_err(|violation| (violation, None))?;
        }
        let Possible {
            progress,
            disturbances,
        } = possible;
        let progress = progress.into_iter().map(|action| (action, false));
        let disturbances = disturbances.into_iter().map(|action| (action, true));
        for (action, disturbance) in progress.chain(disturbances) {
            let mut next = world.clone();
            let mut stage = Stage::new(&mut next, self.scenario, &mut self.seen);
            stage
                .take(action, disturbance)
                .map_err(|violation| (violation, Some((action, disturbance))))?;
            self.steps += 1;
            let step = Step {
                from: at,
                action,
                disturbance,
            };
            let to = self.visit(next, Some(step));
            if !disturbance {
                self.progress.push((at, to));
            }
        }
        Ok(())
    }

    fn quiescent(&mut self, world: &World) -> Result<(), Violation> {
        invariants::quiescent(world, self.scenario)?;
        let clean = World {
            spent: Budget::NONE,
            memory: crate::world::Memory {
                committed: world.memory.committed,
                ..crate::world::Memory::default()
            },
            ..world.clone()
        };
        match self.again.insert(fingerprint::of(&clean), ()) {
            Some(()) => Ok(()),
            None => invariants::hands_over_again(&clean, self.scenario),
        }
    }

    /// No transition without a way on: from every state, progress alone leads to rest.
    fn every_state_has_a_way_on(&self) -> Result<(), Box<Failure>> {
        let states = self.steps_to.len();
        let before = Before::new(states, &self.progress);
        let mut rests = vec![false; states];
        let mut waiting = self.quiet.clone();
        while let Some(at) = waiting.pop() {
            if !std::mem::replace(&mut rests[at as usize], true) {
                waiting.extend(before.of(at));
            }
        }
        match rests.iter().position(|rests| !rests) {
            Some(at) => {
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                let violation = broken("ends", "no progress leads to rest from here");
                Err(self.failure(violation, at, None))
            }
            None => Ok(()),
        }
    }

    fn failure(&self, violation: Violation, at: u32, last: Option<(Action, bool)>) -> Box<Failure> {
        let mut actions: Vec<(Action, bool)> = last.into_iter().collect();
        let mut at = at;
        while let Some(Some(step)) = self.steps_to.get(at as usize) {
            actions.push((step.action, step.disturbance));
            at = step.from;
        }
        actions.reverse();
        Box::new(Failure { violation, actions })
    }
}

/// For each state, those that lead there by progress; in one array, since there are millions.
struct Before {
    /// Where the states that lead to each begin in `from`.
    begins: Vec<usize>,
    from: Vec<u32>,
}

impl Before {
    fn new(states: usize, steps: &[(u32, u32)]) -> Self {
        let mut begins = vec![0; states + 1];
        for &(_, to) in steps {
            begins[to as usize + 1] += 1;
        }
        for at in 0..states {
            begins[at + 1] += begins[at];
        }
        let mut next = begins.clone();
        let mut from = vec![0; steps.len()];
        for &(source, to) in steps {
            from[next[to as usize]] = source;
            next[to as usize] += 1;
        }
        Self { begins, from }
    }

    fn of(&self, at: u32) -> &[u32] {
        let at = at as usize;
        &self.from[self.begins[at]..self.begins[at + 1]]
    }
}

/// Explores several scenarios on as many threads as there are cores, at most two: the machine is
/// somebody else's too. Results in the order of the scenarios.
pub fn explore_all(scenarios: &[Scenario]) -> Vec<Result<Report, Box<Failure>>> {
    const THREADS: usize = 2;
    crate::parallel::map(scenarios, THREADS, explore)
}
