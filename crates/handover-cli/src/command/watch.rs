//! `handover top`: feeds the live view from the supervisor and the keyboard, and draws it.

use super::connect;
use super::live::{self, View};
use crate::args::TopArgs;
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::top::{Input, State, draw};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often the supervisor is asked: often enough for the eye, rarely enough for the processor.
const ASK: Duration = Duration::from_millis(500);

pub(super) async fn top(root: PathBuf, args: TopArgs) -> Result<ExitCode, CliError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(CliError::NotATerminal);
    }
    let (service, client) = connect(&root, &args.select)?;
    let view = View {
        state: State::new(service),
        apply: State::apply,
        draw,
    };
    live::show(view, |inputs| {
        tokio::spawn(ask(client.clone(), inputs.clone()));
        tokio::spawn(listen(client, inputs));
    })
    .await
}

/// Asks for the state, again and again. Ends when nobody draws.
async fn ask(client: Client, inputs: Sender<Input>) {
    loop {
        let input = match client.status().await {
            Ok(status) => Input::Status(Box::new(status)),
            Err(error) => lost(&error),
        };
        if inputs.send(input).await.is_err() {
            return;
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Follows the events, also of a supervisor that was restarted. Ends when nobody draws.
async fn listen(client: Client, inputs: Sender<Input>) {
    loop {
        if let Ok(mut stream) = client.events(0).await {
            while let Ok(Some(line)) = stream.next().await {
                if let Some(event) = line.event
                    && inputs.send(Input::Event(Box::new(event))).await.is_err()
                {
                    return;
                }
            }
        }
        if inputs.is_closed() {
            return;
        }
        tokio::time::sleep(ASK).await;
    }
}

fn lost(error: &ClientError) -> Input {
    Input::Lost(match error {
        ClientError::Connect { source, .. } => source.to_string(),
        other => other.to_string(),
    })
}
