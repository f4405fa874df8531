//! What must never be, in every state; what must be in the end.

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::call::Outcome as Called;
use handover_hub_proto::identity::{Epoch, MoveId};
use handover_hub_proto::mailbox::Phase;
use handover_hub_proto::migration::Outcome;

use super::caller::Letter;
use super::world::{Cell, World, number, process};
use crate::broken::Broken;

/// What happened, as far as rules are about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// To whom each epoch was given.
    pub(super) granted: BTreeMap<Epoch, u8>,
    /// Who acted under each epoch.
    acted: BTreeMap<Epoch, u8>,
    /// Casts that went by a node that had let go, or to nobody.
    pub(super) strayed: BTreeSet<u64>,
    /// Casts that a row which was out of date sent to a node that had nothing.
    pub(super) unheard: BTreeSet<u64>,
    /// States that died with their nodes.
    died: BTreeSet<Vec<u64>>,
    /// A connection broke.
    pub(super) broken: bool,
    /// Somebody died.
    pub(super) dead: bool,
}

impl Ledger {
    pub(super) fn died_with(&mut self, cell: &Cell) {
        if cell.epoch.is_some() || cell.restored.is_some() {
            self.died.insert(cell.log.clone());
        }
    }

    /// H4: one call, one answer; another state may answer otherwise.
    pub(super) fn answered(
        &self,
        letter: &Letter,
        number: u64,
        reply: &[u8],
    ) -> Result<(), Broken> {
        match &letter.answer {
            Some(known) if known != reply && !self.dead => {
                let how = format!("call {number} was answered {known:?}, then {reply:?}");
                Err(Broken::new("H4", how))
            }
            _ => Ok(()),
        }
    }
}

/// H4, and H11 for what is no call: nothing is in a state twice. The last one was just applied.
pub(super) fn once(log: &[u64], is_call: bool) -> Result<(), Broken> {
    let last = log.last();
    if log.iter().filter(|number| Some(*number) == last).count() > 1 {
        let rule = if is_call { "H4" } else { "H11" };
        let how = format!("applied twice to one state: {log:?}");
        return Err(Broken::new(rule, how));
    }
    Ok(())
}

/// H7: what froze it is what its home is at.
pub(super) fn h7_may_freeze(world: &World, attempt: MoveId) -> Result<(), Broken> {
    let home = &world.home;
    if !world.is_alive(home.at) || home.census.is_some() {
        return Ok(());
    }
    let current = home.movement.as_ref().map(|m| m.plan().attempt);
    if current == Some(attempt) {
        return Ok(());
    }
    Err(Broken::new(
        "H7",
        "an order of an attempt that is over froze it",
    ))
}

/// H5: the source lets go only of what serves elsewhere.
pub(super) fn h5_may_retire(world: &World, epoch: Epoch) -> Result<(), Broken> {
    if world.ledger.acted.contains_key(&epoch) {
        return Ok(());
    }
    Err(Broken::new(
        "H5",
        "the source let go, and nobody served yet",
    ))
}

/// Whether what a node received is what was served last.
fn is_current(world: &World, cell: &Cell) -> bool {
    let last = world.ledger.acted.last_key_value();
    cell.restored.is_some() && cell.restored == last.map(|(epoch, _)| *epoch)
}

/// H5: the target forgets only what has gone on elsewhere, or what came after it had said that it has
/// nothing.
pub(super) fn h5_may_discard(world: &World, at: u8) -> Result<(), Broken> {
    let cell = world.nodes[usize::from(at)].cell.as_ref();
    if !world.home.lost && cell.is_some_and(|cell| is_current(world, cell)) {
        let how = "the target forgot a state that nobody had taken up";
        return Err(Broken::new("H5", how));
    }
    Ok(())
}

/// What is given up as lost is nowhere.
pub(super) fn nobody_has_it(world: &World) -> Result<(), Broken> {
    let cells = world.nodes.iter().filter(|node| node.alive);
    let mut cells = cells.filter_map(|node| node.cell.as_ref());
    if cells.any(|cell| cell.epoch.is_some() || is_current(world, cell)) {
        return Err(Broken::new("H5", "given up, and somebody has its state"));
    }
    if !world.ledger.dead {
        return Err(Broken::new("H5", "given up, and nobody died"));
    }
    Ok(())
}

/// H5, H6: whom the home says serves is whom it decided for.
pub(super) fn h5_h6_outcome(world: &World, outcome: &Outcome) -> Result<(), Broken> {
    let (Outcome::Moved(host) | Outcome::Stayed { host, .. }) = outcome else {
        return Ok(());
    };
    if world.home.row != Some(*host) {
        let how = format!("{outcome:?}, and the row says {:?}", world.home.row);
        return Err(Broken::new("H5", how));
    }
    Ok(())
}

/// H1, H2, H5, H6, in every state.
pub(super) fn always(world: &mut World) -> Result<(), Broken> {
    let acting = world.acting();
    if acting.len() > 1 {
        return Err(Broken::new("H2", format!("two act: {acting:?}")));
    }
    for (at, epoch) in acting {
        if world.ledger.granted.get(&epoch) != Some(&at) {
            let how = format!("node {at} acts under {epoch}, which it was not given");
            return Err(Broken::new("H1", how));
        }
        let before = *world.ledger.acted.entry(epoch).or_insert(at);
        if before != at {
            let how = format!("{at} and {before} both acted under {epoch}");
            return Err(Broken::new("H1", how));
        }
    }
    // Who served last has it until another one serves: nothing stops the target after the commit
    // (H6), nor does the source let go before (H5).
    if let Some((epoch, at)) = world.ledger.acted.last_key_value() {
        let node = &world.nodes[usize::from(*at)];
        if node.alive && node.here().is_none() {
            let how = format!("node {at} served last, under {epoch}, and has nothing");
            return Err(Broken::new("H6", how));
        }
    }
    Ok(())
}

/// After all that was disturbed could settle.
pub(super) fn in_the_end(world: &World) -> Result<(), Broken> {
    if world.home.lost || world.nodes.iter().all(|node| !node.alive) {
        return Ok(());
    }
    settled(world)?;
    let acting = world.acting();
    let row = world.home.row;
    let Some((at, log)) = row.and_then(|row| {
        let at = number(row.node);
        let acts = acting.get(&at) == Some(&row.epoch);
        let cell = world.nodes[usize::from(at)].cell.as_ref()?;
        acts.then_some((at, &cell.log))
    }) else {
        let how = format!("the row says {row:?}, and {acting:?} act");
        return Err(Broken::new("H8", how));
    };
    let cell = world.nodes[usize::from(at)].cell.as_ref();
    let phase = cell.map(|cell| cell.mailbox.phase());
    if phase != Some(Phase::Open) {
        return Err(Broken::new("H8", format!("its mailbox is {phase:?}")));
    }
    letters(world, log)?;
    in_order(world, log)?;
    let ledger = &world.ledger;
    let moved = matches!(world.home.outcomes.first(), Some(Outcome::Moved(_)));
    if !moved && world.is_undisturbed() && !ledger.dead && !ledger.broken {
        let how = format!("undisturbed, and {:?}", world.home.outcomes);
        return Err(Broken::new("H8", how));
    }
    Ok(())
}

fn settled(world: &World) -> Result<(), Broken> {
    if world.home.movement.is_some() || world.home.census.is_some() {
        return Err(Broken::new("H8", "its home does not come to an end"));
    }
    for (at, node) in world
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.alive)
    {
        if node.terminal.processes().next().is_some() {
            let holding = node.terminal.holding(&process().id, node.here());
            let how = format!("node {at} is left with {holding:?}");
            return Err(Broken::new("H8", how));
        }
    }
    Ok(())
}

/// H3, H4, H11: what became of what was said.
fn letters(world: &World, log: &[u64]) -> Result<(), Broken> {
    let ledger = &world.ledger;
    for (number, letter) in (1..).zip(&world.caller.letters) {
        let applied = log.contains(&number);
        if !letter.is_call {
            // A cast may be lost with a connection or a node, and in no other way.
            let excused = ledger.broken || ledger.dead || ledger.unheard.contains(&number);
            if !applied && !excused {
                return Err(Broken::new("H11", format!("cast {number} was lost")));
            }
            continue;
        }
        if letter.outcome != Some(Called::Answered) {
            let how = format!("call {number} ended as {:?}", letter.outcome);
            return Err(Broken::new("H3", how));
        }
        let died = ledger.died.iter().any(|log| log.contains(&number));
        if !applied && !died {
            let how = format!("call {number} was answered, and is in no state");
            return Err(Broken::new("H3", how));
        }
    }
    Ok(())
}

/// H11: what one sender said comes in its order, unless it went by one that had let go, or was said
/// again.
fn in_order(world: &World, log: &[u64]) -> Result<(), Broken> {
    let cast = |number: &u64| {
        let at = usize::try_from(*number - 1).unwrap_or(usize::MAX);
        let letter = world.caller.letters.get(at);
        letter.is_some_and(|letter| !letter.is_call)
    };
    let casts = log.iter().filter(|number| cast(number));
    let casts: Vec<_> = casts
        .filter(|number| !world.ledger.strayed.contains(number))
        .collect();
    if !casts.is_sorted() && !world.late_was_read() {
        return Err(Broken::new("H11", format!("out of order: {log:?}")));
    }
    Ok(())
}
