//! What every live view does: read keys, take in what happens, draw.

use super::keyboard::{Key, Keyboard};
use crate::error::CliError;
use crate::exit::ExitCode;
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Inputs that may wait to be drawn. More make whoever brings them wait, which costs nothing.
const WAITING: usize = 1_024;

/// What is shown, how it takes in what happens, and how it is drawn.
pub(super) struct View<S, I> {
    pub(super) state: S,
    pub(super) apply: fn(&mut S, I),
    pub(super) draw: fn(&mut Frame<'_>, &S),
}

/// Shows a view until a key ends it. `feed` is given where to bring what happens.
pub(super) async fn show<S, I>(
    view: View<S, I>,
    feed: impl FnOnce(Sender<I>),
) -> Result<ExitCode, CliError> {
    let (inputs, happened) = channel(WAITING);
    feed(inputs);
    let (keys, pressed) = channel(WAITING);
    let keyboard = Keyboard::start(keys);
    // Also puts the terminal back if we panic.
    let mut terminal = ratatui::try_init().map_err(CliError::Terminal)?;
    let result = follow(&mut terminal, view, pressed, happened).await;
    drop(keyboard);
    ratatui::try_restore().map_err(CliError::Terminal)?;
    result
}

async fn follow<S, I>(
    terminal: &mut DefaultTerminal,
    View {
        mut state,
        apply,
        draw,
    }: View<S, I>,
    mut pressed: Receiver<Key>,
    mut happened: Receiver<I>,
) -> Result<ExitCode, CliError> {
    loop {
        terminal
            .draw(|frame| draw(frame, &state))
            .map_err(CliError::Terminal)?;
        tokio::select! {
            key = pressed.recv() => match key {
                Some(Key::Resized) => {}
                Some(Key::Quit) | None => return Ok(ExitCode::Done),
            },
            Some(input) = happened.recv() => apply(&mut state, input),
        }
        // All that has come meanwhile is drawn at once.
        while let Ok(input) = happened.try_recv() {
            apply(&mut state, input);
        }
    }
}
