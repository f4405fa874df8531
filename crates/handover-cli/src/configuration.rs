//! The configuration of a service, put together: flags > `HANDOVER_*` > file > default.
//!
//! Each layer is turned into values of the same keys ([`keys::KEYS`]), so that
//! a value is checked once, and is known by where it came from.

mod file;
mod keys;
mod merge;

#[cfg(test)]
pub(crate) use keys::KEYS;
pub(crate) use keys::Key;
pub(crate) use merge::{BY_PROGRAM, Effective, Origin, Setting};

use crate::args::{ContainerArgs, ServiceArgs};
use crate::discovery::closest;
use crate::duration::DurationError;
use handover::supervisor::{Config, ListenerSpec};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not TOML: {reason}")]
    NotToml { path: PathBuf, reason: String },
    #[error("{origin}: unknown key `{key}`{}", suggested(.suggestion))]
    UnknownKey {
        key: String,
        origin: Origin,
        suggestion: Option<&'static str>,
    },
    #[error("{origin}: `{key}` is {found}, expected {expected}")]
    WrongKind {
        key: &'static str,
        origin: Origin,
        found: String,
        expected: &'static str,
    },
    #[error("{origin}: `{key}`: {source}")]
    BadDuration {
        key: &'static str,
        origin: Origin,
        #[source]
        source: DurationError,
    },
    #[error("{origin}: {reason}")]
    BadValue { origin: Origin, reason: String },
    #[error("the configuration is not understood: {reason}; please report this")]
    NotUnderstood { reason: String },
    #[error(
        "no program to run; write it after two dashes, `handover run -l http=127.0.0.1:8080 -- \
         ./server`, or as `program = [\"./server\"]` in a file given with --config"
    )]
    NoProgram,
    #[error("nobody to take over from is named; write `handover take --zero PATH -- PROGRAM`")]
    NoPath,
}

fn suggested(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `handover config show --effective` lists all keys".to_owned(),
    }
}

#[cfg(test)]
mod tests;

/// The known key most like `key`.
fn suggest(key: &str) -> Option<&'static str> {
    closest(key, keys::all().map(|known| known.name))
}

/// Puts all layers together.
///
/// # Errors
/// [`ConfigError`], the first that is met.
pub(crate) fn load(
    args: &ServiceArgs,
    runtime_dir: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Effective, ConfigError> {
    let mut effective = Effective::default();
    if let Some(path) = &args.config {
        file::read(path, &mut effective)?;
    }
    merge::environment(environment, &mut effective)?;
    merge::flags(args, runtime_dir, &mut effective)?;
    Ok(effective)
}

/// Puts the flags of `peer` above what is there.
///
/// # Errors
/// [`ConfigError`], the first that is met.
pub(crate) fn container(args: &ContainerArgs, into: &mut Effective) -> Result<(), ConfigError> {
    merge::container(args, into)
}

/// As the supervisor takes it.
///
/// # Errors
/// [`ConfigError::NoProgram`]; [`ConfigError::NotUnderstood`] where its reader disagrees with ours.
pub(crate) fn config(effective: &Effective) -> Result<Config, ConfigError> {
    if effective.get("program").is_none() {
        return Err(ConfigError::NoProgram);
    }
    let read = Config::deserialize(toml::Value::Table(effective.table()));
    read.map_err(|error| ConfigError::NotUnderstood {
        reason: error.to_string(),
    })
}

/// The listeners alone, for whoever needs them without a program.
///
/// # Errors
/// [`ConfigError::NotUnderstood`] where their reader disagrees with ours.
pub(crate) fn listeners(effective: &Effective) -> Result<Vec<ListenerSpec>, ConfigError> {
    let Some(setting) = effective.get("listeners") else {
        return Ok(Vec::new());
    };
    let read = Vec::deserialize(setting.value.clone());
    read.map_err(|error| ConfigError::NotUnderstood {
        reason: error.to_string(),
    })
}

/// Variables that look like settings and are none: probably misspelt. Not an error, because the
/// environment belongs to everybody.
pub(crate) fn strangers(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, Option<String>)> {
    merge::strangers(environment)
}
