//! `handover config check` and `handover config show`.

use crate::args::{ConfigCheckArgs, ConfigCommand, ConfigShowArgs, Format, ServiceArgs};
use crate::configuration::{self, Effective, Key, Setting};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say};
use std::path::Path;

pub(super) fn dispatch(
    runtime_dir: Option<&Path>,
    command: ConfigCommand,
) -> Result<ExitCode, CliError> {
    match command {
        ConfigCommand::Check(args) => check(runtime_dir, &args),
        ConfigCommand::Show(args) => show(runtime_dir, &args),
    }
}

fn check(runtime_dir: Option<&Path>, args: &ConfigCheckArgs) -> Result<ExitCode, CliError> {
    let effective = load(runtime_dir, &args.service)?;
    configuration::config(&effective)?;
    say("the configuration is right");
    Ok(ExitCode::Done)
}

/// The configuration that is in force, after warnings about variables that look like settings.
pub(super) fn load(runtime_dir: Option<&Path>, args: &ServiceArgs) -> Result<Effective, CliError> {
    for (name, suggestion) in configuration::strangers(environment()) {
        say(&match suggestion {
            Some(known) => format!("warning: {name} is not known; did you mean {known}?"),
            None => format!("warning: {name} is not known and has no effect"),
        });
    }
    Ok(configuration::load(args, runtime_dir, environment())?)
}

/// Variables that are text; others cannot be ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn show(runtime_dir: Option<&Path>, args: &ConfigShowArgs) -> Result<ExitCode, CliError> {
    let effective = load(runtime_dir, &args.service)?;
    let settings = match args.effective {
        true => effective.all(),
        false => effective.given(),
    };
    let text = match args.format.format {
        Format::Text => render(&settings, Ink::stdout()),
        Format::Json => json(&settings),
    };
    Output::stdout().write(&text).map_err(CliError::Stdout)?;
    Ok(ExitCode::Done)
}

/// As a file would have it, each line with a comment that says where the value comes from.
fn render(settings: &[(&'static Key, Setting)], ink: Ink) -> String {
    let lines: Vec<(String, String)> = settings
        .iter()
        .map(|(key, setting)| {
            let line = format!("{} = {}", key.name, setting.value);
            (line, format!("# {}", setting.origin))
        })
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max();
    let width = width.unwrap_or(0);
    lines
        .iter()
        .map(|(line, origin)| format!("{line:<width$}  {}\n", ink.dim(origin)))
        .collect()
}

fn json(settings: &[(&'static Key, Setting)]) -> String {
    settings
        .iter()
        .map(|(key, setting)| {
            let line = serde_json::json!({
                "key": key.name,
                "value": setting.value,
                "from": setting.origin.to_string(),
            });
            format!("{line}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(effective: bool) -> String {
        let args = ServiceArgs {
            listen: vec!["http=127.0.0.1:8080".to_owned()],
            ready_timeout: Some("1m".to_owned()),
            env: vec!["RUST_LOG=info".to_owned()],
            program: vec!["./server".to_owned(), "--fast".to_owned()],
            ..ServiceArgs::default()
        };
        let variables = [("HANDOVER_PROBATION".to_owned(), "10s".to_owned())];
        let settings = configuration::load(&args, None, variables).unwrap();
        let settings = match effective {
            true => settings.all(),
            false => settings.given(),
        };
        render(&settings, Ink::PLAIN)
    }

    #[test]
    fn every_value_says_where_it_comes_from() {
        insta::assert_snapshot!(shown(true));
    }

    #[test]
    fn what_is_shown_is_a_file_that_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("handover.toml");
        std::fs::write(&file, shown(false)).unwrap();
        let args = ServiceArgs {
            config: Some(file),
            ..ServiceArgs::default()
        };
        let again = configuration::load(&args, None, []).unwrap();
        let values = |text: &str| -> Vec<String> {
            let value = |line: &str| line.split("  #").next().unwrap_or("").trim_end().to_owned();
            text.lines().map(value).collect()
        };
        assert_eq!(
            values(&render(&again.given(), Ink::PLAIN)),
            values(&shown(false))
        );
    }
}
