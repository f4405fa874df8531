//! `handover hub`: asks a node, and shows what it says.

mod demo;
mod evacuate;
mod watch;

use super::interruptible;
use super::show::json_line;
pub(crate) use demo::HubDemoError;

use crate::args::{
    Format, FormatArgs, HubArgs, HubCommand, HubEventsArgs, MoveArgs, PinArgs, PsArgs, WhereisArgs,
};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::hub::client::Wanted;
use crate::hub::{HubClient, HubError, discovery, view};
use crate::output::{Ink, Output, say};
use handover_hub::admin::view::{MoveRequest, Outcome, PinRequest};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs what was asked for.
///
/// # Errors
/// [`CliError`], with its exit code.
pub(super) fn dispatch(root: PathBuf, args: HubArgs) -> Result<ExitCode, CliError> {
    let HubArgs { command, socket } = args;
    let client = || connect(&root, socket.as_deref());
    match command {
        HubCommand::Nodes(args) => super::block_on(nodes(client()?, args)),
        HubCommand::Ps(args) => super::block_on(ps(client()?, args)),
        HubCommand::Whereis(args) => super::block_on(whereis(client()?, args)),
        HubCommand::Move(args) => super::block_on(move_child(client()?, args)),
        HubCommand::Pin(args) => super::block_on(pin(client()?, args)),
        HubCommand::Evacuate(args) => super::block_on(evacuate::run(client()?, args)),
        HubCommand::Top => super::block_on(watch::top(client()?)),
        HubCommand::Events(args) => super::block_on(events(client()?, args)),
        HubCommand::Demo(args) => on_all_cores(demo::run(args)),
        HubCommand::DemoNode(args) => on_all_cores(demo::node(root, args)),
    }
}

/// A node serves many at the same time.
fn on_all_cores(
    command: impl Future<Output = Result<ExitCode, CliError>>,
) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    let ended = runtime.block_on(command);
    // A read of standard input that waits would be waited for.
    runtime.shutdown_background();
    ended
}

fn connect(root: &Path, socket: Option<&Path>) -> Result<HubClient, HubError> {
    let socket = match socket {
        Some(socket) => socket.to_owned(),
        None => discovery::find(root)?,
    };
    Ok(HubClient::new(socket))
}

fn print(text: &str) -> Result<(), CliError> {
    Output::stdout().write(text).map_err(CliError::Stdout)
}

async fn nodes(client: HubClient, args: FormatArgs) -> Result<ExitCode, CliError> {
    let nodes = client.nodes().await?;
    print(&match args.format {
        Format::Text => view::nodes(&client.status().await?, &nodes, Ink::stdout()),
        Format::Json => nodes.iter().map(json_line).collect(),
    })?;
    Ok(ExitCode::Done)
}

/// As JSON each is passed on when it comes; as a table all are held, to be put in order.
async fn ps(client: HubClient, args: PsArgs) -> Result<ExitCode, CliError> {
    let wanted = Wanted {
        prefix: args.prefix,
        node: args.node.map(|name| name.to_string()),
        kind: args.kind.map(|name| name.to_string()),
        tag: args.tag,
        limit: args.limit,
    };
    let mut stream = client.processes(&wanted).await?;
    let mut output = Output::stdout();
    let mut found = Vec::new();
    while let Some(line) = stream.next().await? {
        match (args.format.format, line.value) {
            (Format::Text, Some(process)) => found.push(process),
            (Format::Text, None) => say(&format!("not understood: {}", line.json)),
            (Format::Json, _) => output.line(&line.json).map_err(CliError::Stdout)?,
        }
        if output.closed() {
            return Ok(ExitCode::Done);
        }
    }
    if args.format.format == Format::Text {
        print(&view::processes(&mut found))?;
    }
    Ok(ExitCode::Done)
}

async fn whereis(client: HubClient, args: WhereisArgs) -> Result<ExitCode, CliError> {
    let process = client.process(args.id.as_str()).await?;
    print(&match args.format.format {
        Format::Text => view::process(&process, Ink::stdout()),
        Format::Json => json_line(&process),
    })?;
    Ok(ExitCode::Done)
}

async fn move_child(client: HubClient, args: MoveArgs) -> Result<ExitCode, CliError> {
    let request = MoveRequest {
        process: args.id,
        to: args.node,
    };
    let begun = Instant::now();
    let moved = async { Ok(client.move_child(&request).await?) };
    let outcome = interruptible(
        moved,
        "the move goes on: `handover hub events` shows its end",
    );
    let outcome = outcome.await?;
    print(&match args.format.format {
        Format::Text => view::outcome(&outcome, begun.elapsed(), Ink::stdout()),
        Format::Json => json_line(&outcome),
    })?;
    Ok(ExitCode::Done)
}

async fn pin(client: HubClient, args: PinArgs) -> Result<ExitCode, CliError> {
    let names: Vec<String> = args.nodes.iter().map(ToString::to_string).collect();
    let request = PinRequest {
        process: args.id,
        nodes: args.nodes,
    };
    let outcome = client.pin(&request).await?;
    match args.format.format {
        Format::Text if names.is_empty() => say(&format!(
            "{} is left to the hub's strategy again",
            request.process
        )),
        Format::Text => say(&format!(
            "{} is pinned to {} and moves there by itself",
            request.process,
            names.join(", ")
        )),
        Format::Json => print(&json_line(&outcome))?,
    }
    Ok(ExitCode::Done)
}

async fn events(client: HubClient, args: HubEventsArgs) -> Result<ExitCode, CliError> {
    let followed = interruptible(follow(&client, &args), "").await;
    match followed {
        // There is no other way to end it.
        Err(CliError::Interrupted { .. }) => Ok(ExitCode::Done),
        other => other,
    }
}

async fn follow(client: &HubClient, args: &HubEventsArgs) -> Result<ExitCode, CliError> {
    let mut stream = client.events(args.since, args.all).await?;
    let mut output = Output::stdout();
    while let Some(line) = stream.next().await? {
        let text = match (&line.value, args.format.format) {
            (Some(event), Format::Text) => view::event(event, Ink::stdout()),
            (None, Format::Text) | (_, Format::Json) => line.json,
        };
        output.line(&text).map_err(CliError::Stdout)?;
        if output.closed() {
            return Ok(ExitCode::Done);
        }
    }
    Err(HubError::Ended.into())
}

/// The exit code of an order that ended.
fn code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Evacuated { left, .. } if !left.is_empty() => ExitCode::RolledBack,
        Outcome::Evacuating { .. } => ExitCode::TimedOut,
        _ => ExitCode::Done,
    }
}
