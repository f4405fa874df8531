//! Layers of settings, the later above the earlier.

use super::keys::{CONTAINER_KEYS, KEYS, Key, Kind, all, find};
use super::{ConfigError, closest};
use crate::args::{ContainerArgs, ServiceArgs};
use crate::duration;
use handover::supervisor::{ListenerSpec, ReadinessSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Value;

/// Variables of this product that are no settings: they tell instances and clients things.
const NOT_SETTINGS: &[&str] = &[
    "HANDOVER_CONFIG",
    "HANDOVER_SERVICE",
    "HANDOVER_INSTANCE",
    "HANDOVER_SOCKET_FD",
    "HANDOVER_NATIVE_SOCKET",
    "HANDOVER_SERVICE_DIR",
    // Of containers, read where they are used.
    "HANDOVER_PEER_PORT",
    "HANDOVER_STATUS_PORT",
    "HANDOVER_STATUS_BROADCAST_ADDRESS",
    // Of our own tests: where instances are to die.
    "HANDOVER_CRASH_DIR",
];

/// Where the name of a service comes from to which nobody gave one.
pub(crate) const BY_PROGRAM: &str = "the program's file name";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This flag.
    Flag(&'static str),
    /// This variable.
    Variable(&'static str),
    /// This line of this file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// The settings that somebody gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effective {
    settings: BTreeMap<&'static str, Setting>,
}

impl Effective {
    /// Sets a value above what is there.
    ///
    /// # Errors
    /// [`ConfigError`] when the value is not what the key needs; then nothing is changed.
    pub(super) fn set(
        &mut self,
        key: &'static Key,
        value: Value,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        check(key, &value, &origin)?;
        self.settings.insert(key.name, Setting { value, origin });
        Ok(())
    }

    /// What was given for a key.
    pub(crate) fn get(&self, path: &str) -> Option<&Setting> {
        self.settings.get(path)
    }

    /// Every key with its value, the defaults included; a key without value is left out.
    pub(crate) fn all(&self) -> Vec<(&'static Key, Setting)> {
        KEYS.iter()
            .filter_map(|key| Some((key, self.get(key.name).cloned().or_else(|| default(key))?)))
            .collect()
    }

    /// Only what was given.
    pub(crate) fn given(&self) -> Vec<(&'static Key, Setting)> {
        all()
            .filter_map(|key| Some((key, self.get(key.name).cloned()?)))
            .collect()
    }

    /// As one table, as [`Config`](handover::supervisor::Config) reads it.
    pub(super) fn table(&self) -> toml::Table {
        let value = |(name, setting): (&&'static str, &Setting)| {
            let duration = find(name).is_some_and(|key| key.kind == Kind::Duration);
            let text = setting.value.as_str().filter(|_| duration);
            // Its own reader knows fewer ways to write a time than ours does.
            let nanos = text.and_then(|text| duration::parse(text).ok());
            let value = match nanos {
                Some(time) => Value::String(format!("{}ns", time.as_nanos())),
                None => setting.value.clone(),
            };
            ((*name).to_owned(), value)
        };
        let run = self.settings.iter();
        run.filter(|(name, _)| CONTAINER_KEYS.iter().all(|key| key.name != **name))
            .map(value)
            .collect()
    }
}

fn default(key: &Key) -> Option<Setting> {
    // A table with the one key `v`, because TOML has no lone values.
    let table: toml::Table = format!("v = {}", key.default).parse().ok()?;
    Some(Setting {
        value: table.get("v")?.clone(),
        origin: Origin::Default,
    })
}

fn check(key: &'static Key, value: &Value, origin: &Origin) -> Result<(), ConfigError> {
    let texts = value.as_array().and_then(|list| {
        let texts = list.iter().map(|value| value.as_str());
        texts.collect::<Option<Vec<&str>>>()
    });
    let right = match (key.kind, value.as_str()) {
        (Kind::Text, text) => text.is_some(),
        (Kind::Readiness, Some(text)) => return readiness(text, origin),
        (Kind::Duration, Some(text)) => return time(key, text, origin),
        (Kind::OneOf(words), Some(word)) => return one_of(key, words, word, origin),
        (Kind::Readiness | Kind::Duration | Kind::OneOf(_), None) => false,
        (Kind::Listeners, _) => match texts {
            Some(texts) => return listeners(&texts, origin),
            None => false,
        },
        (Kind::Words, _) => texts.is_some_and(|words| !words.is_empty()),
        (Kind::Map, _) => value
            .as_table()
            .is_some_and(|map| map.values().all(Value::is_str)),
        (Kind::Switch, _) => value.is_bool(),
        (Kind::Count, _) => value.as_integer().is_some_and(|n| u32::try_from(n).is_ok()),
    };
    if right {
        return Ok(());
    }
    Err(ConfigError::WrongKind {
        key: key.name,
        origin: origin.clone(),
        found: value.to_string(),
        expected: key.kind.expected(),
    })
}

fn bad(origin: &Origin, reason: impl ToString) -> ConfigError {
    ConfigError::BadValue {
        origin: origin.clone(),
        reason: reason.to_string(),
    }
}

fn time(key: &'static Key, text: &str, origin: &Origin) -> Result<(), ConfigError> {
    match duration::parse(text) {
        Ok(_) => Ok(()),
        Err(source) => Err(ConfigError::BadDuration {
            key: key.name,
            origin: origin.clone(),
            source,
        }),
    }
}

fn one_of(
    key: &'static Key,
    words: &[&str],
    word: &str,
    origin: &Origin,
) -> Result<(), ConfigError> {
    if words.contains(&word) {
        return Ok(());
    }
    let known = words.join(", ");
    let reason = format!("`{}` is \"{word}\", expected one of: {known}", key.name);
    Err(bad(origin, reason))
}

fn readiness(text: &str, origin: &Origin) -> Result<(), ConfigError> {
    match text.parse::<ReadinessSpec>() {
        Ok(_) => Ok(()),
        Err(error) => Err(bad(origin, error)),
    }
}

fn listeners(texts: &[&str], origin: &Origin) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for text in texts {
        let spec: ListenerSpec = text.parse().map_err(|error| bad(origin, error))?;
        if !names.insert(spec.name.clone()) {
            let name = spec.name;
            let reason = format!("two listeners are called `{name}`; every one needs its own name");
            return Err(bad(origin, reason));
        }
    }
    Ok(())
}

/// The layer from the environment.
pub(super) fn environment(
    variables: impl IntoIterator<Item = (String, String)>,
    into: &mut Effective,
) -> Result<(), ConfigError> {
    for (name, text) in variables {
        let Some(key) = all().find(|key| key.variable == name) else {
            continue;
        };
        // An empty variable is an unset one: so can a wrapper take a setting back.
        if name.is_empty() || text.is_empty() {
            continue;
        }
        let value = match key.kind {
            Kind::Listeners => texts(text.split(',').map(str::trim)),
            Kind::Words => texts(text.split_whitespace()),
            Kind::Count => match text.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::String(text),
            },
            Kind::Switch => match text.parse() {
                Ok(switch) => Value::Boolean(switch),
                Err(_) => Value::String(text),
            },
            Kind::Text | Kind::Readiness | Kind::Duration | Kind::OneOf(_) | Kind::Map => {
                Value::String(text)
            }
        };
        into.set(key, value, Origin::Variable(key.variable))?;
    }
    Ok(())
}

/// See [`super::strangers`].
pub(super) fn strangers(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, Option<String>)> {
    let known = || {
        let settings = all().map(|key| key.variable);
        settings
            .chain(NOT_SETTINGS.iter().copied())
            .filter(|name| !name.is_empty())
    };
    variables
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("HANDOVER_") && !known().any(|known| known == name))
        .map(|name| {
            // Without what all have in common, or every name would be like every other.
            let bare = |name: &str| name.trim_start_matches("HANDOVER_").to_owned();
            let bares: Vec<String> = known().map(bare).collect();
            let suggestion = closest(&bare(&name), bares.iter().map(String::as_str));
            let suggestion = suggestion.map(|bare| format!("HANDOVER_{bare}"));
            (name, suggestion)
        })
        .collect()
}

/// The layer from the command line.
pub(super) fn flags(
    args: &ServiceArgs,
    runtime_dir: Option<&Path>,
    into: &mut Effective,
) -> Result<(), ConfigError> {
    let text = |value: &Option<String>| value.clone().map(Value::String);
    let list =
        |values: &[String]| (!values.is_empty()).then(|| texts(values.iter().map(String::as_str)));
    let count = |value: Option<u32>| value.map(|n| Value::Integer(n.into()));
    let runtime_dir = runtime_dir.map(|dir| Value::String(dir.to_string_lossy().into_owned()));
    let switch = |on: bool| on.then_some(Value::Boolean(true));
    let mode = || {
        args.exclusive
            .then(|| Value::String("exclusive".to_owned()))
    };
    let environment = match args.env.is_empty() {
        true => None,
        false => Some(Value::Table(merged_environment(args, into)?)),
    };
    let values = [
        ("service", text(&args.name)),
        ("program", list(&args.program)),
        ("directory", text(&args.directory)),
        ("env", environment),
        ("listeners", list(&args.listen)),
        ("mode", mode()),
        ("wire", text(&args.wire)),
        ("handoff-socket", text(&args.handoff_socket)),
        ("zero", text(&args.zero)),
        ("zero-listener", text(&args.zero_listener)),
        ("ready", text(&args.ready)),
        ("ready-timeout", text(&args.ready_timeout)),
        ("test-command", text(&args.test_command)),
        ("drain-announce", text(&args.drain_announce)),
        ("drain-notify", text(&args.drain_notify)),
        ("drain-grace", text(&args.drain_grace)),
        ("drain-timeout", text(&args.drain_timeout)),
        ("seal-timeout", text(&args.seal_timeout)),
        ("activate-timeout", text(&args.activate_timeout)),
        ("resume-timeout", text(&args.resume_timeout)),
        ("stop-signal", text(&args.stop_signal)),
        ("kill-after", text(&args.kill_after)),
        ("probation", text(&args.probation)),
        ("fall-back", text(&args.fall_back)),
        ("max-dark", text(&args.max_dark)),
        ("keeper", text(&args.keeper)),
        ("restart-limit", count(args.restart_limit)),
        ("restart-pause", text(&args.restart_pause)),
        ("stderr", text(&args.stderr)),
        ("log-file", text(&args.log_file)),
        ("log-at-handover", text(&args.log_at_handover)),
        ("stdout-to-stderr", switch(args.stdout_to_stderr)),
        ("runtime-dir", runtime_dir),
    ];
    for (name, value) in values {
        if let (Some(key), Some(value)) = (find(name), value) {
            into.set(key, value, Origin::Flag(key.flag))?;
        }
    }
    name_by_program(into)
}

/// See [`super::container`].
pub(super) fn container(args: &ContainerArgs, into: &mut Effective) -> Result<(), ConfigError> {
    let text = |value: &Option<String>| value.clone().map(Value::String);
    let switch = |on: bool| on.then_some(Value::Boolean(true));
    let values = [
        ("network-mode", text(&args.network_mode)),
        ("interface", text(&args.interface)),
        ("volume", text(&args.volume)),
        ("key-file", text(&args.key_file)),
        ("legacy", text(&args.legacy)),
        ("silence", text(&args.silence)),
        ("no-status", switch(args.no_status)),
        ("complete-file", text(&args.complete_file)),
        ("exit-when-done", switch(args.exit_when_done)),
    ];
    for (name, value) in values {
        if let (Some(key), Some(value)) = (find(name), value) {
            into.set(key, value, Origin::Flag(key.flag))?;
        }
    }
    Ok(())
}

/// Single variables are added to those of the file, not put in place of all of them.
fn merged_environment(args: &ServiceArgs, below: &Effective) -> Result<toml::Table, ConfigError> {
    let mut map = match below.get("env") {
        Some(setting) => setting.value.as_table().cloned().unwrap_or_default(),
        None => toml::Table::new(),
    };
    for assignment in &args.env {
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(ConfigError::BadValue {
                origin: Origin::Flag("--env"),
                reason: format!("`{assignment}` is no assignment; write {assignment}=VALUE"),
            });
        };
        map.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Ok(map)
}

/// A service without a name is called as its program is.
fn name_by_program(into: &mut Effective) -> Result<(), ConfigError> {
    if into.get("service").is_some() {
        return Ok(());
    }
    let program = into.get("program").and_then(|setting| {
        let words = setting.value.as_array()?;
        Some(words.first()?.as_str()?.to_owned())
    });
    let stem = program.as_deref().and_then(|program| {
        let stem = Path::new(program).file_stem()?;
        stem.to_str()
    });
    match (find("service"), stem) {
        (Some(key), Some(stem)) => into.set(
            key,
            Value::String(stem.to_owned()),
            Origin::Flag(BY_PROGRAM),
        ),
        _ => Ok(()),
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    Value::Array(values.map(|text| Value::String(text.to_owned())).collect())
}
