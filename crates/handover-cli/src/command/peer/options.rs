//! What was asked for, as the library takes it.

use crate::configuration::{BY_PROGRAM, ConfigError, Effective, Origin};
use crate::duration;
use crate::error::CliError;
use handover::container::{
    Builder, CompleteFile, DEFAULT_INTERFACE, Environment, Legacy, Network, Peer, read_key,
};
use handover::supervisor::Config;
use std::time::Duration;

/// Everything that is not the supervisor's.
pub(super) struct Options {
    /// Of the instance that takes part.
    pub(super) builder: Builder,
    /// With the network that is used.
    pub(super) environment: Environment,
    pub(super) service: String,
    /// Whether load balancers are told.
    pub(super) status: bool,
    pub(super) complete: CompleteFile,
    pub(super) exit_when_done: bool,
    /// Whether there is a volume, through which listeners can cross.
    pub(super) volume: bool,
}

impl Options {
    /// From what is in force; `config` learns the service's name.
    ///
    /// # Errors
    /// A value or a file is not what it must be.
    pub(super) fn read(effective: &Effective, config: &mut Config) -> Result<Self, CliError> {
        let mut environment = Environment::read()?;
        environment.network = network(effective, environment.network)?;
        config.service = service(effective, &environment, config);
        let service = config.service_name();
        let given = |name| effective.get(name).and_then(|one| one.value.as_str());
        let switch = |name| effective.get(name).and_then(|one| one.value.as_bool());
        let time = |name| given(name).and_then(|text| duration::parse(text).ok());
        let mut builder = Peer::builder(&service).environment(environment.clone());
        if let Some(path) = given("key-file") {
            builder = builder.key(read_key(path)?);
        }
        if let Some(volume) = given("volume") {
            builder = builder.volume(volume);
        }
        if let Some(legacy) = given("legacy") {
            builder = builder.legacy(match legacy {
                "off" => Legacy::Off,
                "announce" => Legacy::Announce,
                _ => Legacy::Obey,
            });
        }
        if let Some(silence) = time("silence") {
            builder = builder.silence(enough(silence, effective)?);
        }
        if let Some(probation) = time("probation") {
            builder = builder.probation(probation);
        }
        let named = given("complete-file").map(Into::into);
        let complete = CompleteFile::named(named.or(environment.complete.clone()));
        Ok(Self {
            builder: builder.complete_file(complete.path()),
            environment,
            service,
            status: !switch("no-status").unwrap_or(false),
            complete,
            exit_when_done: switch("exit-when-done").unwrap_or(false),
            volume: given("volume").is_some(),
        })
    }
}

/// Instances speak every second: with less, one that is well would count as gone.
const LEAST_SILENCE: Duration = Duration::from_secs(2);

fn enough(silence: Duration, effective: &Effective) -> Result<Duration, ConfigError> {
    if silence >= LEAST_SILENCE {
        return Ok(silence);
    }
    let origin = effective.get("silence").map(|one| one.origin.clone());
    Err(ConfigError::BadValue {
        origin: origin.unwrap_or(Origin::Default),
        reason: format!(
            "`silence` is {silence:?}, expected at least {LEAST_SILENCE:?}: instances speak every \
             second, and a shorter silence is none"
        ),
    })
}

/// The service: as it was named, else as the platform names it, else as the program is called.
fn service(effective: &Effective, environment: &Environment, config: &Config) -> String {
    let given = effective.get("service");
    let by_program = given.is_none_or(|one| one.origin == Origin::Flag(BY_PROGRAM));
    match &environment.service {
        Some(name) if by_program => name.clone(),
        Some(_) | None => config.service_name(),
    }
}

/// Flags and the file win over the variables, which `environment` has.
fn network(effective: &Effective, environment: Network) -> Result<Network, ConfigError> {
    let given = |name| effective.get(name).and_then(|one| one.value.as_str());
    let host = match given("network-mode") {
        Some(mode) => mode == "host",
        None => matches!(environment, Network::Host { .. }),
    };
    let interface = effective.get("interface");
    match (host, interface) {
        (true, interface) => Ok(Network::Host {
            interface: interface
                .and_then(|one| one.value.as_str())
                .unwrap_or(DEFAULT_INTERFACE)
                .to_owned(),
        }),
        // The variable may be there for others.
        (false, None) => Ok(Network::Bridge),
        (false, Some(one)) if matches!(one.origin, Origin::Variable(_)) => Ok(Network::Bridge),
        (false, Some(one)) => Err(ConfigError::BadValue {
            origin: one.origin.clone(),
            reason: "`interface` is for --network-mode host; in bridge mode every interface but \
                     loopback is used"
                .into(),
        }),
    }
}
