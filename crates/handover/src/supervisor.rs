//! The supervisor behind `handover run`: holds the listeners, starts instances, hands over
//! between them, restarts what crashes.
//!
//! All decisions are [`handover_proto::coordinator::Coordinator`]'s; this module executes them.
//!
//! | file | what |
//! |---|---|
//! | `config` | everything a user can set |
//! | `driver` | the loop: inputs to the machine, effects from it |
//! | `opening` | what has to be there before the loop begins |
//! | `effects`, `report` | executing what the machine wants, telling what it reports |
//! | `process`, `kin` | starting, signalling and watching instances, and what they start |
//! | `readiness`, `health` | finding out that an instance is ready, and in probation that it stays well |
//! | `channel` | native frames to inputs and back |
//! | `hearing` | what instances say, held against what the kernel says of them |
//! | `verdict` | how an attempt ended, in words that help |
//! | `beyond` | instances that speak beyond-handoff |
//! | `notices` | `READY=1` and friends |
//! | `trigger`, `requests` | upgrades, rollbacks, checks, by socket, signal, or from beside it |
//! | `survey`, `account` | the status: who serves, and why |
//! | `nginx` | how an unmodified nginx takes listeners |
//! | `doctor` | what stands in the way on this machine |
//! | `deadline` | waiting for a machine's |
//! | `candidate`, `preflight` | what to run, and whether it can be |
//! | `sockets`, `duplicates` | the listeners, and duplicates of them for another supervisor |
//! | `stderr`, `shell` | what instances and commands print |
//! | `log` | the log file |
//! | `record`, `adoption` | the journal on disk, and taking over from a dead supervisor |
//! | `stranger` | a program that was started without us, put under handover |
//! | `unit` | systemd: what it passes, what it is told, what is left with it |
//! | `ptrace` | whether descriptors can be taken out of other processes |
//! | `keeper` | a process that holds the listeners for a later supervisor |
//! | `bus`, `history`, `telemetry` | one event type to everyone |
//! | `zero` | taking over, and being taken over from, by the exchange of zero-downtime |
//! | `control` | HTTP and JSON on a private Unix socket |

mod account;
mod adoption;
mod beyond;
mod bus;
mod candidate;
mod channel;
pub mod config;
mod control;
mod deadline;
pub mod doctor;
mod driver;
mod duplicates;
mod effects;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod health;
mod hearing;
mod history;
pub mod keeper;
mod kin;
mod log;
mod nginx;
mod notices;
mod opening;
pub mod preflight;
mod process;
mod ptrace;
mod readiness;
mod record;
mod report;
mod requests;
pub mod runtime;
mod shell;
mod sockets;
mod stderr;
pub mod stranger;
mod survey;
mod telemetry;
mod trigger;
mod unit;
mod verdict;
mod zero;

pub use bus::Subscription;
pub use config::{Config, ListenerSpec, ReadinessSpec, StderrPolicy, Wire};
pub use duplicates::SharedListener;
pub use error::{ListenError, StartError, SuperviseError};
pub use log::LogPolicy;
pub use preflight::{CheckReport, Finding};
pub use requests::Requests;
pub use unit::Unit;
pub use zero::ZeroError;

use driver::Driver;
use opening::Given;

/// How a supervisor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    code: u8,
}

impl Ended {
    /// The process's exit code: 0 when it was stopped, 13 when it gave up and nobody serves; 10, 11
    /// or 12 when it was to take over, and whoever served before serves on ([`Config::zero`],
    /// [`Supervisor::adopt`]).
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self.code
    }
}

/// Supervises one service. See the [module](self) and [`Config`].
pub struct Supervisor {
    driver: Driver,
}

impl Supervisor {
    /// Opens listeners and control socket, or takes them over from a supervisor that died; starts
    /// no process yet.
    ///
    /// # Errors
    /// What is in the way, and who serves. Nothing was started; listeners that were opened are
    /// closed again.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        Self::in_unit(config, Unit::default()).await
    }

    /// [`Supervisor::new`] as a service of systemd, with what [`Unit::take`] found: uses the
    /// listeners that were passed, and reports (`READY=1` and what follows).
    ///
    /// # Errors
    /// As [`Supervisor::new`].
    pub async fn in_unit(config: Config, unit: Unit) -> Result<Self, StartError> {
        Self::beside(config, unit, Vec::new()).await
    }

    /// [`Supervisor::in_unit`] with listeners of another supervisor, which holds them too
    /// ([`Requests::listeners`]). Those that are configured are used as they are, by name and
    /// address; the others are closed.
    ///
    /// # Errors
    /// As [`Supervisor::new`].
    pub async fn beside(
        config: Config,
        unit: Unit,
        shared: Vec<SharedListener>,
    ) -> Result<Self, StartError> {
        let given = Given {
            unit,
            shared,
            ..Given::default()
        };
        Ok(Self {
            driver: Driver::open(config, given).await?,
        })
    }

    /// Puts a program that serves under handover: opens a control socket, duplicates the program's
    /// listening sockets, and begins with it as the incumbent. [`Supervisor::run`] then hands over
    /// to the configured program; if that fails it returns at once with the outcome's exit code (10
    /// rolled back, 11 refused, 12 timed out), and the program serves on as it did before.
    ///
    /// `config.listeners` is replaced by those of the plan.
    ///
    /// # Errors
    /// What is in the way. The program serves on; nothing was started.
    pub async fn adopt(mut config: Config, plan: stranger::Plan) -> Result<Self, StartError> {
        let taken = stranger::take(plan)?;
        let listeners = taken.plan.listeners.iter();
        config.listeners = listeners.map(|one| one.listener.clone()).collect();
        let given = Given {
            adopt: Some(taken),
            ..Given::default()
        };
        Ok(Self {
            driver: Driver::open(config, given).await?,
        })
    }

    /// A view of everything that happens, from the first event on.
    #[must_use]
    pub fn events(&self) -> Subscription {
        self.driver.bus().subscribe(0)
    }

    /// Where to ask for upgrades while it runs.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests {
            to: self.driver.to_self.clone(),
        }
    }

    /// Runs until the service is stopped or given up. Handles SIGHUP and SIGUSR2 (upgrade),
    /// SIGTERM and SIGQUIT (drain and stop; a second one: now), SIGINT (fast stop); the last three
    /// only without [`Config::stopped_by_request`].
    ///
    /// Not cancel-safe: dropping the future leaves instances running, as if the supervisor had
    /// been killed; a new supervisor of the same service adopts them.
    ///
    /// # Errors
    /// The runtime directory became unusable.
    pub async fn run(self) -> Result<Ended, SuperviseError> {
        let code = self.driver.run().await?;
        Ok(Ended { code })
    }
}
