//! `handover events`: what happens, line by line, until the supervisor ends or nobody reads.

use super::{connect, interruptible};
use crate::args::{EventsArgs, Format};
use crate::client::{EventLine, EventStream};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output};
use crate::view;
use handover_proto::event::EventKind;
use std::path::PathBuf;

pub(super) async fn follow(root: PathBuf, args: EventsArgs) -> Result<ExitCode, CliError> {
    let (_, client) = connect(&root, &args.select)?;
    let stream = client.events(args.since).await?;
    let end = interruptible(print(stream, args.format.format), "").await;
    match end {
        // There is no other way to end it.
        Err(CliError::Interrupted { .. }) => Ok(ExitCode::Done),
        other => other,
    }
}

async fn print(mut stream: EventStream, format: Format) -> Result<ExitCode, CliError> {
    let mut output = Output::stdout();
    let mut stopped = false;
    while let Some(line) = stream.next().await? {
        stopped |= matches!(
            line.event.as_ref().map(|event| &event.kind),
            Some(EventKind::Stopped)
        );
        let text = render(&line, format);
        output.line(&text).map_err(CliError::Stdout)?;
        if output.closed() {
            return Ok(ExitCode::Done);
        }
    }
    match stopped {
        true => Ok(ExitCode::Done),
        false => Err(CliError::SupervisorGone),
    }
}

fn render(line: &EventLine, format: Format) -> String {
    match (&line.event, format) {
        (Some(event), Format::Text) => view::event::render(event, Ink::stdout()),
        (None, Format::Text) | (_, Format::Json) => line.json.clone(),
    }
}
