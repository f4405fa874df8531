use super::*;
use handover_proto::phase::Mode;
use handover_proto::settings::Settings;
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
        ("PATH", "/bin"),
    ]);
    let found = strangers(given);
    let suggestion = Some("HANDOVER_READY_TIMEOUT".to_owned());
    assert_eq!(found, [("HANDOVER_REDY_TIMEOUT".to_owned(), suggestion)]);
}

/// The table of keys repeats the defaults for people to see; they must be those in force.
#[test]
fn shown_defaults_are_the_protocols() {
    let effective = Effective::default();
    let default = |path: &str| {
        let all = effective.all();
        all.into_iter()
            .find(|(key, _)| key.name == path)
            .unwrap()
            .1
            .value
    };
    let time = |path: &str| crate::duration::parse(default(path).as_str().unwrap()).unwrap();
    let settings = Settings::default();
    assert_eq!(time("ready-timeout"), settings.ready);
    assert_eq!(time("drain-announce"), settings.ladder.announce);
    assert_eq!(time("drain-notify"), settings.ladder.notify);
    assert_eq!(time("drain-grace"), settings.ladder.grace);
    assert_eq!(time("kill-after"), settings.kill_after);
    assert_eq!(time("probation"), settings.probation);
    assert_eq!(time("fall-back"), settings.fall_back);
    assert_eq!(time("restart-pause"), settings.backoff.first);
    let limit = default("restart-limit").as_integer();
    assert_eq!(limit, Some(settings.backoff.limit.into()));
    assert_eq!(default("mode").as_str(), Some("overlap"));
    assert_eq!(settings.mode, Mode::Overlap);
    assert_eq!(
        time("max-dark"),
        settings.max_dark.unwrap_or(Duration::ZERO)
    );
}
