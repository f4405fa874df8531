//! What a seed says will happen: how large the cluster is, and what befalls it.

use core::time::Duration;

use handover_hub_proto::balance::{Balancing, Shifting};
use handover_hub_proto::placement::Distribution;

use super::agenda::{MILLISECOND, SECOND, Time};
use super::network::Latency;
use super::random::Random;

/// What [`Plan::varied`] draws is drawn apart, so that all else is as the seed alone says.
const VARIED: u64 = 0x0001_a7e5;

/// What befalls a cluster, beside children that start, stop, move and are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Nothing: nodes join and leave in order, are evacuated, connections break now and then.
    Calm,
    /// Nodes are killed, one or two at once, and started again.
    Kills,
    /// The network is divided and heals.
    Partitions,
    /// Nodes stand still for longer than their lease, and go on.
    Pauses,
    /// The engine is down, slow, or wrong about who lives.
    Engine,
    /// All of it.
    All,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Calm,
        Self::Kills,
        Self::Partitions,
        Self::Pauses,
        Self::Engine,
        Self::All,
    ];
}

/// How late nodes do what they are told, until they are left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// So many names of a thousand have late nodes; the others do all at once.
    pub seats: u64,
    /// Orders to processes of a thousand that are carried out late, by hosts whose machines go on.
    pub orders: u64,
    /// How late at most.
    pub order: Time,
    /// Inputs of a thousand at which a machine stands still while its hosts go on.
    pub stalls: u64,
    /// For how long at most.
    pub stall: Time,
}

impl Lag {
    /// From a few milliseconds to longer than a move may take, is asked for again, or a lease lasts.
    fn drawn(random: &mut Random) -> Self {
        let orders = [
            50 * MILLISECOND,
            SECOND,
            8 * SECOND,
            15 * SECOND,
            40 * SECOND,
        ];
        let stalls = [
            0,
            20 * MILLISECOND,
            500 * MILLISECOND,
            3 * SECOND,
            15 * SECOND,
        ];
        Self {
            seats: *random.one(&[250, 500, 1_000]).unwrap_or(&500),
            orders: random.between(20, 500),
            order: *random.one(&orders).unwrap_or(&SECOND),
            stalls: random.between(1, 20),
            stall: *random.one(&stalls).unwrap_or(&0),
        }
    }
}

/// How load is balanced: boards come often, so that a run has many of them.
fn balanced(random: &mut Random) -> Distribution {
    let every = random.between(500, 2_000);
    let shifting = Shifting {
        tolerance: u16::try_from(random.between(60, 250)).unwrap_or(200),
        settle: u16::try_from(random.between(1, 4)).unwrap_or(3),
        limit: u32::try_from(random.between(1, 20)).unwrap_or(20),
    };
    Distribution::LoadBalanced(Balancing {
        every: Duration::from_millis(every),
        stale: Duration::from_millis(every * 3),
        queued: 10,
        shifting: random.chance(850).then_some(shifting),
    })
}

/// One run of the simulation, but for chance.
#[derive(Clone, Debug)]
pub struct Plan {
    /// All else follows from it.
    pub seed: u64,
    /// Which engine.
    pub exclusive: bool,
    /// Nodes at first.
    pub nodes: usize,
    /// Nodes at most.
    pub most: usize,
    /// Parts of all ids.
    pub shards: u16,
    /// Children at first.
    pub children: usize,
    /// How slow the network is.
    pub latency: Latency,
    /// Between two calls.
    pub call_every: Time,
    /// Between two things that happen to the cluster.
    pub act_every: Time,
    /// How long things happen.
    pub lasts: Time,
    /// What happens.
    pub profile: Profile,
    /// How long the engine's leases last, or its nodes wait for a sign of life.
    pub patience: Time,
    /// How many processes of a thousand do not want to move.
    pub stubborn: u64,
    /// Whether processes that run elsewhere than placement says must move.
    pub moves: bool,
    /// Whether copies that ran apart must be merged.
    pub merges: bool,
    /// Passive replicas of each child, which have its state.
    pub replicas: u16,
    /// How late nodes are.
    pub lag: Lag,
    /// Who says where a new child runs.
    pub distribution: Distribution,
}

impl Plan {
    /// What `seed` says.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let slow = random.chance(200);
        let latency = Latency {
            least: random.between(MILLISECOND / 20, MILLISECOND / 2),
            usual: random.between(MILLISECOND, if slow { 60 } else { 4 } * MILLISECOND),
            slow: random.between(0, 30),
            worst: random.between(10, 400) * MILLISECOND,
        };
        let nodes = usize::try_from(random.between(2, 7)).unwrap_or(3);
        Self {
            seed,
            exclusive: random.chance(600),
            nodes,
            most: nodes + random.below(4),
            shards: u16::try_from(random.between(4, 33)).unwrap_or(16),
            children: random.below(60) + 5,
            latency,
            call_every: random.between(5, 60) * MILLISECOND,
            act_every: random.between(400, 4_000) * MILLISECOND,
            lasts: random.between(15, 45) * SECOND,
            profile: *random.one(&Profile::ALL).unwrap_or(&Profile::All),
            patience: random.between(3, 11) * SECOND,
            stubborn: if random.chance(300) { 100 } else { 0 },
            moves: true,
            merges: false,
            replicas: 0,
            lag: Lag::default(),
            distribution: Distribution::Consistent,
        }
    }

    /// The same, with passive replicas, and a node that is killed soon after another has come or gone.
    #[must_use]
    pub const fn replicated(mut self) -> Self {
        self.replicas = 1;
        self
    }

    /// The same, with late nodes, another distribution, or both, as the seed says beside all else.
    #[must_use]
    pub fn varied(mut self) -> Self {
        let mut random = Random::new(self.seed ^ VARIED);
        let (lags, lag) = (random.chance(600), Lag::drawn(&mut random));
        let (strategy, balanced) = (random.between(0, 1_000), balanced(&mut random));
        self.distribution = match strategy {
            0..400 => balanced,
            // Each of them names one node.
            400..700 if self.replicas == 0 => Distribution::Guided,
            _ => Distribution::Consistent,
        };
        if lags || self.distribution == Distribution::Consistent {
            self.lag = lag;
        }
        self
    }

    /// The same, with this engine and what befalls it.
    #[must_use]
    pub const fn with(mut self, exclusive: bool, profile: Profile) -> Self {
        self.exclusive = exclusive;
        self.profile = profile;
        self
    }
}

/// Something that is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// New children start, asked of any node.
    Start,
    /// A few children stop.
    Stop,
    /// A child is moved by hand.
    Move,
    /// A child is pinned, or no longer.
    Pin,
    /// A node joins, or one that was killed comes back.
    Join,
    /// A node leaves in order.
    Leave,
    /// A node is emptied.
    Evacuate,
    /// Evacuations are taken back.
    Refill,
    /// One connection breaks.
    Break,
    /// A node is killed.
    Kill,
    /// Two nodes are killed at once.
    KillTwo,
    /// The network is divided.
    Divide,
    /// It heals.
    Heal,
    /// A node stands still for a while.
    Pause,
    /// The engine's servers are down for a while.
    Outage,
    /// They are slow for a while.
    Slow,
    /// Some nodes do not reach the engine's servers.
    CutOff,
    /// A node is held for dead that is not.
    Suspect,
}

impl Act {
    /// One of those that a profile allows.
    pub fn draw(profile: Profile, exclusive: bool, random: &mut Random) -> Self {
        let mut among = vec![
            Self::Start,
            Self::Start,
            Self::Stop,
            Self::Move,
            Self::Pin,
            Self::Join,
            Self::Leave,
            Self::Evacuate,
            Self::Refill,
            Self::Break,
            Self::Break,
        ];
        let all = profile == Profile::All;
        if all || profile == Profile::Kills {
            among.extend([
                Self::Kill,
                Self::Kill,
                Self::KillTwo,
                Self::Join,
                Self::Join,
            ]);
        }
        if all || profile == Profile::Partitions {
            among.extend([Self::Divide, Self::Divide, Self::Divide, Self::Heal]);
        }
        if all || profile == Profile::Pauses {
            among.extend([Self::Pause; 3]);
        }
        if all || profile == Profile::Engine {
            if exclusive {
                among.extend([Self::Outage, Self::Slow, Self::CutOff, Self::CutOff]);
            } else {
                among.extend([Self::Suspect, Self::Suspect]);
            }
        }
        *random.one(&among).unwrap_or(&Self::Start)
    }
}
