//! Commands that ask the supervisor one thing and show the answer.

use super::{connect, incumbent};
use crate::args::{CandidateArgs, CheckArgs, Format, SelectArgs, ShowArgs, StatusArgs, StopArgs};
use crate::configuration::{ConfigError, Origin};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say};
use crate::view;
use handover::supervisor::config::ListenerSpecError;
use handover::supervisor::{CheckReport, ListenerSpec, preflight};
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::UpgradeRequest;
use serde::Serialize;
use std::path::PathBuf;

/// `handover status`: exit code 13 when nobody serves.
pub(super) async fn status(root: PathBuf, args: StatusArgs) -> Result<ExitCode, CliError> {
    if let Some(socket) = incumbent::asked(&args.incumbent)? {
        return incumbent::status(socket, args.show.format.format).await;
    }
    let args = args.show;
    let (_, client) = connect(&root, &args.select)?;
    let status = client.status().await?;
    print(&match args.format.format {
        Format::Text => view::status::render(&status, Ink::stdout()),
        Format::Json => json_line(&status),
    })?;
    Ok(match (status.incumbent, status.candidates.is_empty()) {
        (Some(_), _) | (None, false) => ExitCode::Done,
        (None, true) => ExitCode::NobodyServes,
    })
}

/// `handover history`.
pub(super) async fn history(root: PathBuf, args: ShowArgs) -> Result<ExitCode, CliError> {
    let (_, client) = connect(&root, &args.select)?;
    let entries = client.history().await?;
    print(&match args.format.format {
        Format::Text => view::history::render(&entries, Ink::stdout()),
        Format::Json => entries.iter().map(json_line).collect(),
    })?;
    Ok(ExitCode::Done)
}

/// `handover check`: by the supervisor if one runs, which also knows the listeners and its test
/// command; else, for a program that is named, here.
pub(super) async fn check(root: PathBuf, args: CheckArgs) -> Result<ExitCode, CliError> {
    let mut report = match (connect(&root, &args.select), &args.candidate.binary) {
        (Ok((_, client)), _) => {
            let request = request(&args.candidate, WhenBusy::Queue)?;
            client.check(&request).await?
        }
        (Err(CliError::Discovery(error)), Some(binary))
            if error.exit_code() == ExitCode::NobodyServes && args.select.service.is_none() =>
        {
            say("no supervisor runs: listeners and its test command are not looked at");
            alone(binary, &args.candidate.listen)?
        }
        (Err(error), _) => return Err(error),
    };
    if let (Some(command), Some(binary)) = (&args.test_command, &args.candidate.binary)
        && report.ok
    {
        test(&mut report, command, binary).await;
    }
    print(&match args.format.format {
        Format::Text => view::check::render(&report, Ink::stdout()),
        Format::Json => json_line(&report),
    })?;
    Ok(match report.ok {
        true => ExitCode::Done,
        false => ExitCode::Refused,
    })
}

/// Checked here too, so that a mistake is one of usage and not of the supervisor's.
fn listeners(texts: &[String]) -> Result<Vec<ListenerSpec>, ConfigError> {
    let read = |text: &String| {
        text.parse().map_err(|error| ConfigError::BadValue {
            origin: Origin::Flag("--listen"),
            reason: ListenerSpecError::to_string(&error),
        })
    };
    texts.iter().map(read).collect()
}

/// Without a supervisor: as it would start as the first version.
fn alone(binary: &str, listen: &[String]) -> Result<CheckReport, CliError> {
    let specs = listeners(listen)?;
    let wanted = (!specs.is_empty()).then_some(&specs[..]);
    Ok(preflight::check(&located(binary), &[], wanted))
}

async fn test(report: &mut CheckReport, command: &str, binary: &str) {
    let tested = preflight::run_test(command, &located(binary)).await;
    match tested {
        Ok(()) => report.push("test command", true, command),
        Err(error) => report.push("test command", false, error.to_string()),
    }
}

/// Where a program is: a bare name is looked up as a shell would.
pub(super) fn located(program: &str) -> PathBuf {
    let path = PathBuf::from(super::absolute(program));
    if path.is_absolute() {
        return path;
    }
    let on_path = std::env::var_os("PATH").and_then(|directories| {
        std::env::split_paths(&directories)
            .map(|directory| directory.join(&path))
            .find(|candidate| candidate.is_file())
    });
    on_path.unwrap_or(path)
}

/// A request for this candidate.
///
/// # Errors
/// [`ConfigError::BadValue`] for a listener that is none.
pub(super) fn request(
    candidate: &CandidateArgs,
    when_busy: WhenBusy,
) -> Result<UpgradeRequest, ConfigError> {
    listeners(&candidate.listen)?;
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    Ok(UpgradeRequest {
        binary: candidate.binary.as_deref().map(super::absolute),
        args: some(&candidate.args),
        listeners: some(&candidate.listen),
        when_busy,
    })
}

/// `handover stop`: returns when the stop was begun.
pub(super) async fn stop(root: PathBuf, args: StopArgs) -> Result<ExitCode, CliError> {
    let (service, client) = connect(&root, &args.select)?;
    let how = args.how();
    client.stop(how).await?;
    say(&match how {
        Stop::Drain => format!("{service} drains and stops; --fast or --now hurries it"),
        Stop::Fast => format!("{service} stops"),
        Stop::Now => format!("{service} is killed"),
    });
    Ok(ExitCode::Done)
}

/// `handover abort`.
pub(super) async fn abort(root: PathBuf, args: SelectArgs) -> Result<ExitCode, CliError> {
    let (service, client) = connect(&root, &args)?;
    let running = client.status().await?.handover.is_some();
    // Also asked for when none seems to run: one may just have begun.
    client.abort().await?;
    if !running {
        say(&format!(
            "no handover of {service} runs; nothing was cancelled"
        ));
        return Ok(ExitCode::Done);
    }
    say(&format!(
        "the running handover of {service} is cancelled; `handover history` tells how it ended"
    ));
    Ok(ExitCode::Done)
}

fn print(text: &str) -> Result<(), CliError> {
    Output::stdout().write(text).map_err(CliError::Stdout)
}

/// A value as one line of JSON.
pub(super) fn json_line<T: Serialize>(value: &T) -> String {
    // Fails only for maps with keys that are no strings; what is shown has none.
    let json = serde_json::to_string(value).unwrap_or_default();
    format!("{json}\n")
}
