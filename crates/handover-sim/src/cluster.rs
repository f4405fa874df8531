//! Whole clusters of the hub's machines, simulated from a seed.
//!
//! | where | what |
//! |---|---|
//! | [`plan`] | what a seed says: how many nodes, which engine, what befalls them |
//! | [`world`] | the cluster: one queue of events, one source of chance |
//! | [`network`], [`engine`], [`host`] | what nodes are connected by, told by, and made of |
//! | [`checker`] | what must hold at any moment, and in the end |
//! | [`fault`] | rules that are broken on purpose, so that the checker is seen to notice |
//!
//! Everything but the machines under test is made up here: they are those that a hub runs.

pub mod agenda;
pub mod checker;
pub mod engine;
pub mod fault;
pub mod figures;
pub mod host;
pub mod log;
pub mod network;
pub mod plan;
pub mod random;
pub mod registry;
pub mod world;

use self::checker::{Counts, Violation};
use self::fault::Fault;
use self::log::Log;
use self::plan::Plan;
use self::world::World;
use super::parallel;

/// What a run found.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which rule is broken, and how.
    pub violation: Violation,
    /// What happened before, as far as it concerns that.
    pub trace: String,
}

/// Plays a plan. A failure is played again, and told.
///
/// # Errors
/// The first rule that is broken.
pub fn play(plan: &Plan, fault: Fault) -> Result<Counts, Box<Failure>> {
    let mut world = World::new(plan.clone(), fault, Log::new(false));
    let Err(violation) = world.play() else {
        return Ok(world.checker.counts);
    };
    let mut again = World::new(plan.clone(), fault, Log::new(true));
    let trace = match again.play() {
        Err(same) if same == violation => again.log.about(&violation.about),
        other => format!("played again, it ended otherwise: {other:?}"),
    };
    Err(Box::new(Failure { violation, trace }))
}

impl Failure {
    /// The failure in words, with the command that repeats it.
    #[must_use]
    pub fn tell(&self, plan: &Plan) -> String {
        let Violation { rule, words, about } = &self.violation;
        let Plan {
            seed,
            exclusive,
            nodes,
            profile,
            lag,
            distribution,
            ..
        } = plan;
        let engine = if *exclusive { "exclusive" } else { "gossip" };
        format!(
            "seed {seed} ({engine}, {nodes} nodes, {profile:?}, {distribution:?}, {lag:?}): \
             {rule}: {words}\n\
             about {about:?}\n{}\n\
             {rule}: {words}\n\
             repeat: HANDOVER_SIM_SEED={seed} cargo test -p handover-sim --test cluster -- \
             --nocapture one_seed",
            self.trace
        )
    }
}

/// Many seeds.
#[derive(Debug, Default)]
pub struct Campaign {
    /// What was seen in all of them.
    pub counts: Counts,
    /// Those that failed.
    pub failures: Vec<(Plan, Box<Failure>)>,
}

impl Campaign {
    /// Plays all of these.
    #[must_use]
    pub fn of(seeds: &[u64]) -> Self {
        let plans: Vec<Plan> = seeds.iter().map(|seed| Plan::drawn(*seed)).collect();
        Self::plans(&plans)
    }

    /// Plays all of these.
    #[must_use]
    pub fn plans(plans: &[Plan]) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let results = parallel::map(plans, threads, |plan| (plan.clone(), play(plan, Fault::No)));
        let mut campaign = Self::default();
        for (plan, result) in results {
            match result {
                Ok(counts) => campaign.counts.add(&counts),
                Err(failure) => campaign.failures.push((plan, failure)),
            }
        }
        campaign
    }
}
