//! Rules that are broken on purpose, to see whether the checker notices.

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing.
    No,
    /// The engine gives a shard to another while its owner's lease is held.
    Robbery,
    /// Clients vouch for their nodes for ever, and never fence them.
    NoFence,
    /// Of two claims, gossip takes the one heard last.
    Fickle,
    /// Hosts run what they are granted under any epoch: the machine is not asked.
    Stale,
    /// A source sends its state and goes on answering.
    Unfrozen,
    /// What arrived for a frozen process is dropped, and counted as applied.
    Swallowed,
    /// A host applies what it applied before.
    Forgetful,
    /// A target starts from nothing instead of from what came.
    Empty,
    /// A census is answered with nothing: no host says what it runs.
    Uncounted,
    /// A node that goes on after it stood still answers before it looks at its lease.
    Hasty,
    /// Machines are never told the time.
    Timeless,
    /// Rows reach nobody but their home.
    Unregistered,
}
