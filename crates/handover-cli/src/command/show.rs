//! Commands that ask the supervisor one thing and show the answer.

use super::connect;
use crate::args::{CandidateArgs, CheckArgs, Format, SelectArgs, ShowArgs, StopArgs};
use crate::client::{CheckReport, Client};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say};
use crate::view;
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::UpgradeRequest;
use serde::Serialize;
use std::path::PathBuf;

/// `handover status`: exit code 13 when nobody serves.
pub(super) async fn status(root: PathBuf, args: ShowArgs) -> Result<ExitCode, CliError> {
    let (_, client) = connect(&root, &args.select)?;
    let status = client.status().await?;
    print(&match args.format.format {
        Format::Text => view::status::render(&status, Ink::stdout()),
        Format::Json => json_line(&status),
    })?;
    Ok(match status.incumbent {
        Some(_) => ExitCode::Done,
        None => ExitCode::NobodyServes,
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

/// `handover check`.
pub(super) async fn check(root: PathBuf, args: CheckArgs) -> Result<ExitCode, CliError> {
    let (_, client) = connect(&root, &args.select)?;
    let report = ask(&client, &args.candidate).await?;
    print(&match args.format.format {
        Format::Text => view::check::render(&report, Ink::stdout()),
        Format::Json => json_line(&report),
    })?;
    Ok(match report.ok {
        true => ExitCode::Done,
        false => ExitCode::Refused,
    })
}

async fn ask(client: &Client, candidate: &CandidateArgs) -> Result<CheckReport, CliError> {
    Ok(client.check(&request(candidate, WhenBusy::Queue)).await?)
}

/// A request for this candidate.
pub(super) fn request(candidate: &CandidateArgs, when_busy: WhenBusy) -> UpgradeRequest {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    UpgradeRequest {
        binary: candidate.binary.as_deref().map(super::absolute),
        args: some(&candidate.args),
        listeners: some(&candidate.listen),
        when_busy,
    }
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
    client.abort().await?;
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
