//! Depth first through every interleaving: few worlds are held at once.

use std::collections::HashMap;
use std::time::Duration;

use handover_hub_proto::mailbox::Phase;
use handover_hub_proto::migration::{MovementInput, Outcome};

use super::fault::Fault;
use super::judge;
use super::world::{Action, Budget, Layout, World, limits};
use crate::broken::{Broken, Steps};
use crate::fingerprint::{self, Fingerprints};

/// Of so many states one goes on fairly to its end; so do all in which nothing else can happen.
const FAIRLY_ONE_OF: u128 = 16;

/// Quiet rounds of a second each, after which nothing more is expected: a move is given up earlier.
const QUIET_ROUNDS: u32 = 14;

/// Steps of fair delivery, after which it is taken to be without end.
const MOST_FAIR_STEPS: u32 = 2_000;

/// What an exploration found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// States from which it went on fairly.
    pub ends: usize,
    /// Ends in which the process had moved.
    pub moved: usize,
    /// Ends in which it had stayed.
    pub stayed: usize,
    /// Ends in which nobody had it.
    pub lost: usize,
    /// Ends under a home that was not the first.
    pub succeeded: usize,
}

impl World {
    /// Whether nobody disturbed anything.
    pub(super) fn is_undisturbed(&self) -> bool {
        !self.disturbed
    }

    pub(super) fn late_was_read(&self) -> bool {
        self.read_late
    }

    /// Goes on without anything going wrong until nothing happens any more.
    ///
    /// # Errors
    /// The rule that is broken on the way, or in the end.
    pub fn go_on_fairly(&mut self) -> Result<(), Broken> {
        self.network.late.clear();
        let mut quiet = 0;
        for _ in 0..MOST_FAIR_STEPS {
            // Pauses are over when nothing else goes on.
            let mut usual = self.usual().into_iter();
            if let Some(action) = usual.find(|action| !matches!(action, Action::Retry(_))) {
                self.apply(action)?;
                continue;
            }
            if quiet >= QUIET_ROUNDS {
                return judge::in_the_end(self);
            }
            quiet += 1;
            self.second_passes()?;
        }
        Err(Broken::new("H8", "it goes on without an end"))
    }

    fn second_passes(&mut self) -> Result<(), Broken> {
        self.now = self.now + Duration::from_secs(1);
        let now = self.now;
        for at in 0..self.layout.nodes {
            let node = self.node(at);
            if !node.alive {
                continue;
            }
            if let Some(cell) = &mut node.cell
                && cell.mailbox.phase() == Phase::Opening
            {
                let released = cell.mailbox.opened(&limits());
                self.released(at, released)?;
            }
            if self.fault != Fault::Silent {
                self.node(at).terminal.tick(now);
                self.obey(at)?;
            }
        }
        if self.fault != Fault::Silent && self.is_alive(self.home.at) {
            self.tell_movement(MovementInput::Tick)?;
        }
        for call in self.caller.pausing() {
            self.retry(call)?;
        }
        self.work_off()?;
        judge::always(self)
    }
}

fn count(report: &mut Report, end: &World) {
    report.ends += 1;
    match end.home.outcomes.first() {
        _ if end.home.lost => report.lost += 1,
        Some(Outcome::Moved(_)) => report.moved += 1,
        Some(Outcome::Stayed { .. }) => report.stayed += 1,
        Some(Outcome::Unmerged { .. } | Outcome::Apart { .. } | Outcome::Lost(_)) | None => {}
    }
    report.succeeded += usize::from(end.home.at != end.layout.home);
}

/// Every interleaving.
///
/// # Errors
/// The first rule that is broken, and a way there.
pub fn explore(
    layout: Layout,
    budget: Budget,
    letters: &[bool],
    fault: Fault,
) -> Result<Report, (Broken, Vec<Action>)> {
    let begin = World::new(layout, budget, letters, fault);
    let begin = begin.map_err(|broken| (broken, Vec::new()))?;
    let mut known: HashMap<u128, (), Fingerprints> = HashMap::default();
    let mut steps = Steps::new();
    let mut waiting = vec![(begin, 0)];
    let mut report = Report {
        states: 1,
        ..Report::default()
    };
    while let Some((world, at)) = waiting.pop() {
        let way = |last| steps.way(at, last);
        let possible = world.possible();
        let sample = fingerprint::of(&world).is_multiple_of(FAIRLY_ONE_OF);
        if sample || possible.is_empty() {
            let mut end = world.clone();
            end.go_on_fairly().map_err(|broken| (broken, way(None)))?;
            count(&mut report, &end);
        }
        let mut found = Vec::new();
        for action in possible {
            let mut next = world.clone();
            next.apply(action)
                .map_err(|broken| (broken, way(Some(action))))?;
            report.steps += 1;
            if known.insert(fingerprint::of(&next), ()).is_none() {
                found.push((next, action));
            }
        }
        for (next, action) in found {
            report.states += 1;
            waiting.push((next, steps.add(at, action)));
        }
    }
    Ok(report)
}
