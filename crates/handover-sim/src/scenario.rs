//! What is explored: settings, programs, where it begins, and how much may go wrong on the way.

use std::time::Duration;

use handover_proto::phase::Mode;
use handover_proto::settings::Settings;

use crate::seen::Arm;

/// What the instances of a scenario are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Programs {
    /// They speak the native protocol.
    Native,
    /// They know nothing of us: readiness by notification, retired by SIGTERM. Overlap only.
    Foreign,
    /// The first version is foreign, every later one native.
    ForeignFirst,
}

/// Where the coordinator is, and how it reaches a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a process of its own, the supervisor.
    Supervisor,
    /// In the incumbent, with which it dies; successors are its children.
    SelfUpgrade,
    /// In the incumbent; successors are strangers that cannot be signalled.
    Takeover,
}

impl Place {
    /// Whether coordinator and incumbent are one process.
    #[must_use]
    pub const fn is_inside(self) -> bool {
        match self {
            Self::Supervisor => false,
            Self::SelfUpgrade | Self::Takeover => true,
        }
    }
}

/// Where a scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Begin {
    /// With the first start of the service.
    Start,
    /// With a service that runs undisturbed, and a request to upgrade it.
    Upgrade,
    /// With a service that was upgraded and is in probation, and a request to undo that.
    Undo,
}

/// Disturbances, as an allowance or as what was used of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Roles killed between any two of their effects.
    pub crashes: u8,
    /// Deadlines that expire although something else could still have happened before.
    pub expiries: u8,
    /// Hooks, spawns and foreign starts that fail.
    pub failures: u8,
    /// Requests beyond the first.
    pub requests: u8,
    /// Journal records that cannot be written.
    pub unrecorded: u8,
    /// All of them together.
    pub total: u8,
}

impl Budget {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        crashes: 0,
        expiries: 0,
        failures: 0,
        requests: 0,
        unrecorded: 0,
        total: 0,
    };
}

/// One world to explore.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The coordinator's settings.
    pub settings: Settings,
    /// What runs.
    pub programs: Programs,
    /// Where the coordinator is.
    pub place: Place,
    /// Where it begins.
    pub begin: Begin,
    /// What may go wrong.
    pub budget: Budget,
    /// An arm the machines are deprived of, to see whether anybody would notice.
    pub without: Option<Arm>,
}

/// The depths a scenario is explored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Any one disturbance: enough to take every arm, cheap enough to repeat for each of them.
    One,
    /// Any two disturbances.
    Two,
    /// Any two disturbances; and any three of crashes, deadlines and failures.
    Full,
}

const MAX_DARK: Duration = Duration::from_secs(3);
const PROBATION: Duration = Duration::from_secs(30);

const ANY_ONE: Budget = Budget {
    crashes: 1,
    expiries: 1,
    failures: 1,
    requests: 1,
    unrecorded: 1,
    total: 1,
};
const ANY_TWO: Budget = Budget {
    crashes: 2,
    expiries: 2,
    failures: 2,
    requests: 2,
    unrecorded: 1,
    total: 2,
};
/// What the dark window's budget has to do with; the rest is the same without it.
const DEADLINES: Budget = Budget {
    crashes: 1,
    expiries: 2,
    failures: 1,
    requests: 0,
    unrecorded: 0,
    total: 2,
};
/// Any three of: two crashes of any roles, two deadlines, a failed hook.
const CRASHES_AND_DEADLINES: Budget = Budget {
    crashes: 2,
    expiries: 2,
    failures: 1,
    requests: 0,
    unrecorded: 0,
    total: 3,
};

struct Shape {
    mode: Mode,
    programs: Programs,
    place: Place,
    probation: bool,
    max_dark: bool,
}

impl Shape {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for probation in [false, true] {
            for place in [Place::SelfUpgrade, Place::Takeover] {
                all.extend([Mode::Overlap, Mode::Exclusive].map(|mode| Self {
                    mode,
                    programs: Programs::Native,
                    place,
                    probation,
                    max_dark: false,
                }));
            }
            for programs in [Programs::Native, Programs::Foreign, Programs::ForeignFirst] {
                all.push(Self {
                    mode: Mode::Overlap,
                    programs,
                    place: Place::Supervisor,
                    probation,
                    max_dark: false,
                });
            }
            for max_dark in [false, true] {
                all.push(Self {
                    mode: Mode::Exclusive,
                    programs: Programs::Native,
                    place: Place::Supervisor,
                    probation,
                    max_dark,
                });
            }
        }
        all
    }

    /// A start has no incumbent, so neither probation nor the dark window's budget exists. Without
    /// probation nothing can be undone.
    fn begins(&self) -> &'static [Begin] {
        match (self.probation, self.max_dark) {
            (false, false) => &[Begin::Upgrade, Begin::Start],
            (false, true) => &[Begin::Upgrade],
            (true, _) => &[Begin::Upgrade, Begin::Undo],
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings {
            mode: self.mode,
            max_dark: self.max_dark.then_some(MAX_DARK),
            ..Settings::default()
        };
        if self.probation {
            settings.probation = PROBATION;
        }
        settings
    }

    fn scenario(&self, begin: Begin, mut budget: Budget, suffix: &str) -> Scenario {
        let programs = match (self.place, self.programs) {
            (Place::Supervisor, Programs::Native) => "native",
            (Place::Supervisor, Programs::Foreign) => "foreign",
            (Place::Supervisor, Programs::ForeignFirst) => "foreign, then native",
            (Place::SelfUpgrade, _) => "self-upgrade",
            (Place::Takeover, _) => "takeover",
        };
        if self.place.is_inside() {
            // The lease and the socket are the truth there; nobody reads a journal.
            budget.unrecorded = 0;
        }
        let begins = match begin {
            Begin::Start => "start",
            Begin::Upgrade => "upgrade",
            Begin::Undo => "undo",
        };
        let probation = if self.probation { ", probation" } else { "" };
        let max_dark = if self.max_dark { ", max dark" } else { "" };
        Scenario {
            name: format!(
                "{}, {programs}{probation}{max_dark}: {begins}, {suffix}",
                self.mode
            ),
            settings: self.settings(),
            programs: self.programs,
            place: self.place,
            begin,
            budget,
            without: None,
        }
    }
}

/// Every scenario of a depth, in a fixed order.
#[must_use]
pub fn all(depth: Depth) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for shape in Shape::all() {
        for &begin in shape.begins() {
            let (budget, suffix) = match depth {
                Depth::One => (ANY_ONE, "any one disturbance"),
                Depth::Two | Depth::Full if shape.max_dark => {
                    (DEADLINES, "deadlines, a crash, a failure")
                }
                Depth::Two | Depth::Full => (ANY_TWO, "any two disturbances"),
            };
            scenarios.push(shape.scenario(begin, budget, suffix));
            if depth == Depth::Full && begin == Begin::Upgrade && !shape.max_dark {
                let budget = CRASHES_AND_DEADLINES;
                scenarios.push(shape.scenario(begin, budget, "crashes and deadlines"));
            }
        }
    }
    scenarios
}
