//! `handover top`: feeds the live view from the supervisor and the keyboard, and draws it.

use super::connect;
use crate::args::TopArgs;
use crate::client::{Client, ClientError};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::top::{Input, State, draw};
use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let keyboard = Keyboard::start(inputs);
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

/// A thread that reads keys, because reading a terminal blocks. Ends when this is dropped.
struct Keyboard {
    stop: Arc<AtomicBool>,
}

impl Keyboard {
    fn start(inputs: Sender<Input>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let input = match next_key() {
                    Ok(Some(input)) => input,
                    Ok(None) => continue,
                    // The terminal is gone.
                    Err(_) => Input::Quit,
                };
                let quit = matches!(input, Input::Quit);
                if inputs.blocking_send(input).is_err() || quit {
                    return;
                }
            }
        });
        Self { stop }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn next_key() -> io::Result<Option<Input>> {
    if !crossterm::event::poll(ASK)? {
        return Ok(None);
    }
    Ok(match crossterm::event::read()? {
        TerminalEvent::Resize(..) => Some(Input::Resized),
        TerminalEvent::Key(key) if key.kind == KeyEventKind::Press => {
            let interrupt =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            let quit = interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
            quit.then_some(Input::Quit)
        }
        _ => None,
    })
}
