//! Rules that are broken on purpose.

/// A rule that is broken, to see whether somebody notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// None.
    No,
    /// The target serves as soon as it has the state.
    Uncommitted,
    /// The source goes on although it is told to let go.
    Undead,
    /// The source goes on by itself when it cannot reach the target.
    Impatient,
    /// The reply cache stays behind.
    Forgetful,
    /// The queue stays behind.
    Empty,
    /// The target takes what arrives directly before the latecomers.
    Overtaken,
    /// Latecomers are dropped.
    Dropped,
    /// Latecomers are sent twice.
    Doubled,
    /// Orders of a home that was replaced are obeyed.
    Unfenced,
    /// A process that goes on keeps its epoch, and every order finds it under the one it names.
    Unnamed,
    /// The source lets go before the target serves.
    Hasty,
    /// The target forgets the state before the source has gone on.
    Careless,
    /// A call that is sent again has another number.
    Renumbered,
    /// Lost orders and reports are not said again.
    Silent,
    /// The state is read before what is at hand is applied.
    Early,
    /// A new home decides on the first answer.
    Rash,
}

impl Fault {
    /// All but none, each with the rules of which one notices it first.
    pub const ALL: [(Self, &'static [&'static str]); 16] = [
        (Self::Uncommitted, &["H1", "H2"]),
        (Self::Undead, &["H1", "H2"]),
        (Self::Impatient, &["H1", "H2"]),
        (Self::Forgetful, &["H4"]),
        (Self::Empty, &["H11"]),
        (Self::Overtaken, &["H11"]),
        (Self::Dropped, &["H11"]),
        (Self::Doubled, &["H11"]),
        (Self::Unfenced, &["H1", "H2", "H5"]),
        (Self::Unnamed, &["H5", "H7", "H8"]),
        (Self::Hasty, &["H5"]),
        (Self::Careless, &["H5"]),
        (Self::Renumbered, &["H4"]),
        (Self::Silent, &["H8"]),
        (Self::Early, &["H3", "H11"]),
        (Self::Rash, &["H1", "H2", "H5"]),
    ];
}
