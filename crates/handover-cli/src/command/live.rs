//! What every live view does: read keys, take in what happens, draw.

use super::keyboard::{Key, Keyboard};
use crate::error::CliError;
use crate::exit::ExitCode;
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Inputs that may wait to be drawn. More make whoever brings them wait, which costs nothing.
const WAITING: usize = 1_024;

/// A screen and what it knows.
pub(super) trait View {
    /// What it is told.
    type Input: Send + 'static;
    /// What a key tells it.
    fn pressed(key: Key) -> Self::Input;
    fn apply(&mut self, input: Self::Input);
    /// It was asked to end.
    fn is_over(&self) -> bool;
    fn draw(&self, frame: &mut Frame<'_>);
}

/// Shows a view until it is over. `feed` is given where to bring what happens.
pub(super) async fn show<V: View>(
    view: V,
    feed: impl FnOnce(Sender<V::Input>),
) -> Result<ExitCode, CliError> {
    let (inputs, drawn) = channel(WAITING);
    feed(inputs.clone());
    let keyboard = Keyboard::start(inputs, V::pressed);
    // Also puts the terminal back if we panic.
    let mut terminal = ratatui::try_init().map_err(CliError::Terminal)?;
    let result = follow(&mut terminal, view, drawn).await;
    drop(keyboard);
    ratatui::try_restore().map_err(CliError::Terminal)?;
    result
}

async fn follow<V: View>(
    terminal: &mut DefaultTerminal,
    mut view: V,
    mut inputs: Receiver<V::Input>,
) -> Result<ExitCode, CliError> {
    while !view.is_over() {
        terminal
            .draw(|frame| view.draw(frame))
            .map_err(CliError::Terminal)?;
        let Some(input) = inputs.recv().await else {
            break;
        };
        view.apply(input);
        // All that has come meanwhile is drawn at once.
        while let Ok(input) = inputs.try_recv() {
            view.apply(input);
        }
    }
    Ok(ExitCode::Done)
}
