//! Names for attempts, processes, generations and owners. Distinct types, so that one cannot be
//! recorded as another.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// One process the coordinator spawned, numbered from 1 for as long as the service lives,
    /// across restarts of the supervisor.
    InstanceId(u64),
    "#"
);
number!(
    /// How many times a new instance has been committed.
    Generation(u64),
    "generation "
);
number!(
    /// Fencing number of a lease; grows with each change of owner.
    Epoch(u64),
    "epoch "
);
number!(
    /// A candidate: what to run (program, arguments, environment). The driver keeps the table.
    CandidateId(u32),
    "candidate "
);
number!(
    /// One request to hand over, so that its answer finds whoever asked.
    RequestId(u64),
    "request "
);
number!(
    /// Process id of an instance, never of a coordinator.
    InstancePid(u32),
    ""
);
number!(
    /// Process id of a coordinator, never of an instance.
    CoordinatorPid(u32),
    ""
);

/// One attempt at a handover. The upper half is the coordinator's incarnation, so that a frame
/// addressed to an attempt of a dead coordinator names no attempt of this one (I13).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct HandoverId(pub u64);

impl HandoverId {
    /// Attempt `number` of the coordinator incarnation `incarnation`.
    #[must_use]
    pub const fn new(incarnation: u32, number: u32) -> Self {
        Self((incarnation as u64) << 32 | number as u64)
    }

    /// The attempt's number within its incarnation, from 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32
    }

    /// The following attempt of the same incarnation.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new((self.0 >> 32) as u32, self.number().wrapping_add(1))
    }
}

impl fmt::Display for HandoverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.0 >> 32, self.number())
    }
}
