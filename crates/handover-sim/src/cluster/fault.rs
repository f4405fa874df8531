//! Rules that are broken on purpose, to see whether the checker notices.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    No,
    /// Clients vouch for their nodes for ever, and never fence them.
    NoFence,
    /// Of two claims, gossip takes the one heard last.
    Fickle,
    /// A source sends its state and goes on answering.
    Unfrozen,
    /// What arrived for a frozen process is dropped, and counted as applied.
    Swallowed,
    /// A host applies what it applied before.
    Forgetful,
    /// A target starts from nothing instead of from what came.
    Empty,
    /// A node that goes on after it stood still answers before it looks at its lease.
    Hasty,
    /// Machines are never told the time.
    Timeless,
    /// Nobody is told that a member is gone.
    Deaf,
    /// A passive replica says that it has the state of the active one before it has it.
    Unfilled,
    /// Machines forget at once which children were stopped.
    Undying,
}

impl Fault {
    /// All but none that an exclusive engine's cluster can show.
    pub const ALL: [Self; 10] = [
        Self::NoFence,
        Self::Unfrozen,
        Self::Swallowed,
        Self::Forgetful,
        Self::Empty,
        Self::Hasty,
        Self::Timeless,
        Self::Deaf,
        Self::Unfilled,
        Self::Undying,
    ];
}
