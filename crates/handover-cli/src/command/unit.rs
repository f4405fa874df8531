//! `handover unit`: the units of systemd for a service.

use super::config;
use crate::args::UnitArgs;
use crate::configuration::{self, ConfigError, Effective, Origin};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Output, say};
use crate::systemd::Version;
use crate::view::unit::{Plan, UnitFile, render};
use handover::supervisor::Config;
use handover_proto::manifest::ListenerKind;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

pub(super) fn dispatch(runtime_dir: Option<&Path>, args: &UnitArgs) -> Result<ExitCode, CliError> {
    let effective = config::load(runtime_dir, &args.service)?;
    let config = configuration::config(&effective)?;
    let version = match args.systemd.map(Version).or_else(Version::installed) {
        Some(version) => version,
        None => {
            say("systemctl is not installed here: this is for every systemd from 246 on");
            Version::OLDEST
        }
    };
    check(&config, args.socket)?;
    let own = std::env::current_exe().map_err(CliError::Stdout)?;
    let plan = Plan {
        config: &config,
        version,
        handover: own.to_string_lossy().into_owned(),
        words: words(&effective, &config),
        user: args.user.clone(),
        socket: args.socket,
    };
    let files = render(&plan);
    let Some(dir) = &args.dir else {
        let shown = files.iter().map(|file| {
            let UnitFile { name, text } = file;
            format!("# /etc/systemd/system/{name}\n{text}")
        });
        let text = shown.collect::<Vec<_>>().join("\n");
        Output::stdout().write(&text).map_err(CliError::Stdout)?;
        return Ok(ExitCode::Done);
    };
    for UnitFile { name, text } in &files {
        let path = dir.join(name);
        let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| CliError::Write {
            path: path.clone(),
            source,
        })?;
        say(&format!("{} written", path.display()));
    }
    Ok(ExitCode::Done)
}

/// What systemd cannot do, or would do otherwise.
fn check(config: &Config, socket: bool) -> Result<(), ConfigError> {
    let bad = |reason: String| {
        let origin = Origin::Flag("--listen");
        Err(ConfigError::BadValue { origin, reason })
    };
    for listener in config.listeners.iter().filter(|_| socket) {
        let inet = listener.kind != ListenerKind::Unix;
        let address = listener.address.parse::<SocketAddr>();
        if inet && address.is_ok_and(|address| address.port() == 0) {
            return bad(format!("{}: a socket unit needs a port", listener.name));
        }
        if inet && listener.address.parse::<SocketAddr>().is_err() {
            return bad(format!(
                "{}: a socket unit needs an address in numbers, not {:?}",
                listener.name, listener.address
            ));
        }
    }
    if socket && config.listeners.is_empty() {
        return bad("--socket needs at least one listener".into());
    }
    Ok(())
}

/// What stands after `handover run`: everything that was given by flag or variable, and the file.
fn words(effective: &Effective, config: &Config) -> Vec<String> {
    let mut words = vec!["--name".to_owned(), config.service_name()];
    let mut file = None;
    for (key, setting) in effective.given() {
        if let Origin::File { path, .. } = &setting.origin {
            file = Some(path.clone());
            continue;
        }
        match key.name {
            // The first and the last words, and the place, are the unit's matter.
            "service" | "program" | "runtime-dir" => {}
            "mode" => words.push("--exclusive".into()),
            _ => words.extend(flag(key.flag, &setting.value)),
        }
    }
    if let Some(path) = file {
        let path = std::path::absolute(&path).unwrap_or(path);
        words.extend(["--config".into(), path.to_string_lossy().into_owned()]);
    }
    let given = effective.get("program").map(|setting| &setting.origin);
    if !matches!(given, Some(Origin::File { .. })) {
        words.push("--".into());
        for (at, word) in config.program.iter().enumerate() {
            words.push(if at == 0 { program(word) } else { word.clone() });
        }
    }
    words
}

/// Where the program is now: systemd's `PATH` is another one.
fn program(word: &str) -> String {
    super::show::located(word).to_string_lossy().into_owned()
}

/// A flag with its value, or one for each of its values.
fn flag(flag: &str, value: &toml::Value) -> Vec<String> {
    let flag = flag.to_owned();
    match value {
        toml::Value::Array(values) => {
            let one = |value: &toml::Value| [flag.clone(), text(value)];
            values.iter().flat_map(one).collect()
        }
        toml::Value::Table(pairs) => {
            let one = |(name, value): (&String, &toml::Value)| {
                [flag.clone(), format!("{name}={}", text(value))]
            };
            pairs.iter().flat_map(one).collect()
        }
        toml::Value::Boolean(true) => vec![flag],
        toml::Value::Boolean(false) => Vec::new(),
        other => vec![flag, text(other)],
    }
}

fn text(value: &toml::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
