//! `handover top`: feeds the live view from the supervisor and the keyboard, and draws it.

use super::connect;
use super::keyboard::{Key, Keyboard};
use crate::args::TopArgs;
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::top::{Input, State, draw};
use ratatui::DefaultTerminal;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How often the supervisor is asked: often enough for the eye, rarely enough for the processor.
const ASK: Duration = Duration::from_millis(500);

/// Inputs that may wait to be drawn. More make whoever brings them wait, which costs nothing.
const WAITING: usize = 1_024;

pub(super) async fn top(root: PathBuf, args: TopArgs) -> Result<ExitCode, CliError> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(CliError::NotATerminal);
    }
    let (service, client) = connect(&root, &args.select)?;
    let (inputs, drawn) = channel(WAITING);
    tokio::spawn(ask(client.clone(), inputs.clone()));
    tokio::spawn(listen(client, inputs.clone()));
    let keyboard = Keyboard::start(inputs, |key| match key {
        Key::Quit => Input::Quit,
        Key::Resized => Input::Resized,
    });
    // Also puts the terminal back if we panic.
    let mut terminal = ratatui::try_init().map_err(CliError::Terminal)?;
    let result = show(&mut terminal, State::new(service), drawn).await;
    drop(keyboard);
    ratatui::try_restore().map_err(CliError::Terminal)?;
    result
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut state: State,
    mut inputs: Receiver<Input>,
) -> Result<ExitCode, CliError> {
    while !state.quit {
        terminal
            .draw(|frame| draw(frame, &state))
            .map_err(CliError::Terminal)?;
        let Some(input) = inputs.recv().await else {
            break;
        };
        state.apply(input);
        // All that has come meanwhile is drawn at once.
        while let Ok(input) = inputs.try_recv() {
            state.apply(input);
        }
    }
    Ok(ExitCode::Done)
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
