use super::*;
use handover::supervisor::StderrPolicy;
use handover_proto::phase::Mode;
use std::time::Duration;

fn args(line: &[&str]) -> ServiceArgs {
    use crate::args::{Cli, Command};
    use clap::Parser;
    let line = ["handover", "run"].iter().chain(line);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Run(run) => run.service,
        other => panic!("{other:?}"),
    }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn shown(effective: &Effective, path: &str) -> String {
    let setting = effective.get(path).unwrap();
    format!("{} ({})", setting.value, setting.origin)
}

#[test]
fn flags_win_over_variables_and_those_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("h.toml");
    let text = "program = ['./a']\nready-timeout='1s'\nprobation='1s'\nkill-after='1s'\n";
    std::fs::write(&file, text).unwrap();
    let mut args = args(&["--ready-timeout", "3s"]);
    args.config = Some(file.clone());
    let given = variables(&[
        ("HANDOVER_READY_TIMEOUT", "2s"),
        ("HANDOVER_PROBATION", "2s"),
        ("HANDOVER_KILL_AFTER", ""),
    ]);
    let effective = load(&args, None, given).unwrap();
    assert_eq!(
        shown(&effective, "ready-timeout"),
        "\"3s\" (--ready-timeout)"
    );
    assert_eq!(
        shown(&effective, "probation"),
        "\"2s\" (HANDOVER_PROBATION)"
    );
    let from_file = format!("\"1s\" ({}, line 4)", file.display());
    assert_eq!(shown(&effective, "kill-after"), from_file);
    assert_eq!(
        shown(&effective, "service"),
        "\"a\" (the program's file name)"
    );
}

#[test]
fn variables_may_be_lists_and_numbers() {
    let given = variables(&[
        ("HANDOVER_LISTEN", "http=:80, admin=unix:/a"),
        ("HANDOVER_PROGRAM", "./a -v"),
        ("HANDOVER_RESTART_LIMIT", "3"),
    ]);
    let effective = load(&args(&[]), None, given).unwrap();
    let listeners = "[\"http=:80\", \"admin=unix:/a\"] (HANDOVER_LISTEN)";
    assert_eq!(shown(&effective, "listeners"), listeners);
    assert_eq!(
        shown(&effective, "program"),
        "[\"./a\", \"-v\"] (HANDOVER_PROGRAM)"
    );
    assert_eq!(
        shown(&effective, "restart-limit"),
        "3 (HANDOVER_RESTART_LIMIT)"
    );
    let given = variables(&[("HANDOVER_RESTART_LIMIT", "many")]);
    let error = load(&args(&[]), None, given).unwrap_err();
    assert!(matches!(error, ConfigError::WrongKind { .. }), "{error}");
}

#[test]
fn a_misspelt_variable_is_noticed() {
    let given = variables(&[
        ("HANDOVER_REDY_TIMEOUT", "1s"),
        ("HANDOVER_INSTANCE", "1"),
        ("HANDOVER_CRASH_DIR", "/tmp"),
        ("PATH", "/bin"),
    ]);
    let found = strangers(given);
    let suggestion = Some("HANDOVER_READY_TIMEOUT".to_owned());
    assert_eq!(found, [("HANDOVER_REDY_TIMEOUT".to_owned(), suggestion)]);
}

#[test]
fn the_supervisor_gets_what_was_given() {
    let line = [
        "-l",
        "http=127.0.0.1:80",
        "--ready",
        "http:/up",
        "--ready-timeout",
        "1.5s",
        "--max-dark",
        "20ms",
        "-e",
        "A=b=c",
        "--exclusive",
        "--stderr",
        "inherit",
        "--",
        "./srv",
        "-x",
    ];
    let mut args = args(&line);
    args.restart_limit = Some(2);
    let root = Path::new("/run/x");
    let config = config(&load(&args, Some(root), []).unwrap()).unwrap();
    assert_eq!(config.service, "srv");
    assert_eq!(config.program, ["./srv", "-x"]);
    assert_eq!(config.listeners[0].to_string(), "http=127.0.0.1:80");
    assert_eq!(config.ready.to_string(), "http:/up");
    assert_eq!(config.ready_timeout, Duration::from_millis(1_500));
    assert_eq!(config.settings().max_dark, Some(Duration::from_millis(20)));
    assert_eq!(config.env["A"], "b=c");
    assert_eq!(config.mode, Mode::Exclusive);
    assert_eq!(config.stderr, StderrPolicy::Inherit);
    assert_eq!(config.restart_limit, 2);
    assert_eq!(config.runtime_dir.as_deref(), Some(root));
}

/// The table of keys repeats the supervisor's keys and defaults for people to see: they must be the
/// same.
#[test]
fn keys_and_defaults_are_the_supervisors() {
    // Absent values have no key in TOML.
    let config = Config {
        directory: Some("x".into()),
        handoff_socket: Some("x".into()),
        log_file: Some("x".into()),
        runtime_dir: Some("x".into()),
        zero: Some("x".into()),
        zero_listener: Some("x".into()),
        ..Config::default()
    };
    let table = toml::Table::try_from(&config).unwrap();
    let mut theirs: Vec<&str> = table.keys().map(String::as_str).collect();
    let mut ours: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs);
    for (key, setting) in Effective::default().all() {
        let time = |value: &toml::Value| crate::duration::parse(value.as_str().unwrap());
        let theirs = &table[key.name];
        match key.kind {
            keys::Kind::Duration => assert_eq!(time(&setting.value), time(theirs), "{}", key.name),
            _ => assert_eq!(&setting.value, theirs, "{}", key.name),
        }
    }
}
