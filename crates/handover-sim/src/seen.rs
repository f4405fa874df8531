//! What an exploration saw: transitions of the machines, and happenings in the world.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;

use handover_proto::outcome::{Cause, Outcome};

use crate::fingerprint::{self, Fingerprints};

/// Whom an input is about, from the coordinator's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Nobody in particular; also every input of an instance's machine.
    Nobody,
    /// The incumbent.
    Incumbent,
    /// The successor.
    Successor,
    /// The parked instance.
    Parked,
    /// A candidate for incumbent, after the coordinator was replaced.
    Candidate,
    /// An instance on its way out.
    Leaver,
    /// An instance the coordinator has forgotten.
    Stranger,
}

impl Party {
    /// How the party is called in tables; empty for nobody.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Incumbent => "incumbent",
            Self::Successor => "successor",
            Self::Parked => "parked",
            Self::Candidate => "candidate",
            Self::Leaver => "leaver",
            Self::Stranger => "stranger",
        }
    }
}

/// One input in one state of one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arm {
    /// Coordinator, Successor or Incumbent.
    pub machine: &'static str,
    /// The state's name.
    pub state: &'static str,
    /// Whom the input is about.
    pub party: Party,
    /// The input's name.
    pub input: &'static str,
}

impl std::fmt::Display for Arm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} × ", self.machine, self.state)?;
        if self.party != Party::Nobody {
            write!(f, "{} ", self.party.name())?;
        }
        f.write_str(self.input)
    }
}

/// Where an arm led, and what it asked for on the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// The next state.
    pub next: &'static str,
    /// The effects' names, in order.
    pub effects: Vec<&'static str>,
}

/// Something that happened, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Happening {
    /// Event, answer, record, message, signal or hook.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its cause or party, if it has one.
    pub detail: &'static str,
}

/// All that explorations saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Ways of each arm.
    pub transitions: BTreeMap<Arm, BTreeSet<Way>>,
    /// Arms that changed a state or asked for an effect.
    pub active: BTreeSet<Arm>,
    /// Happenings.
    pub happenings: BTreeSet<Happening>,
    /// Machines and inputs that were looked at already.
    looked: HashSet<u128, Fingerprints>,
}

impl Seen {
    /// Notes a happening.
    pub fn note(&mut self, kind: &'static str, name: &'static str, detail: &'static str) {
        self.happenings.insert(Happening { kind, name, detail });
    }

    /// Whether this pair of machine and input was not looked at yet.
    pub(crate) fn is_new(&mut self, pair: &impl Hash) -> bool {
        self.looked.insert(fingerprint::of(pair))
    }

    /// Notes a transition.
    pub fn transition(&mut self, arm: Arm, way: Way, active: bool) {
        let ways = self.transitions.entry(arm).or_default();
        if !ways.contains(&way) {
            ways.insert(way);
        }
        if active {
            self.active.insert(arm);
        }
    }

    /// Adds what another exploration saw.
    pub fn merge(&mut self, other: Self) {
        for (arm, ways) in other.transitions {
            self.transitions.entry(arm).or_default().extend(ways);
        }
        self.active.extend(other.active);
        self.happenings.extend(other.happenings);
    }
}

/// The cause of an outcome, by name.
#[must_use]
pub const fn reason(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed { .. } => "",
        Outcome::Refused { refusal } => {
            use handover_proto::outcome::Refusal;
            match refusal {
                Refusal::Busy { .. } => "busy",
                Refusal::Superseded => "superseded",
                Refusal::Stopping => "stopping",
                Refusal::Preflight { .. } => "preflight",
                Refusal::NoPrevious { .. } => "no previous",
                Refusal::NothingToUndo => "nothing to undo",
            }
        }
        Outcome::RolledBack { cause }
        | Outcome::TimedOut { cause }
        | Outcome::NobodyServes { cause } => cause_name(cause),
    }
}

/// A cause's name.
#[must_use]
pub const fn cause_name(cause: &Cause) -> &'static str {
    match cause {
        Cause::SpawnFailed { .. } => "spawn failed",
        Cause::ExitedBeforeReady { .. } => "exited before ready",
        Cause::TimedOut { .. } => "timed out",
        Cause::TooDark { .. } => "too dark",
        Cause::SuccessorFailed { .. } => "successor failed",
        Cause::SealFailed { .. } => "seal failed",
        Cause::ChannelClosed { .. } => "channel closed",
        Cause::Violation { .. } => "violation",
        Cause::NotNative => "not native",
        Cause::ProbeFailed { .. } => "probe failed",
        Cause::JournalFailed { .. } => "journal failed",
        Cause::Superseded => "superseded",
        Cause::Cancelled => "cancelled",
        Cause::Undone => "undone",
        Cause::Stopping => "stopping",
        Cause::Crashed { .. } => "crashed",
    }
}
