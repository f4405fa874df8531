//! The keys of a live view.

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEventKind, KeyModifiers};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often the thread looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(500);

/// What was pressed, or what became of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Leave.
    Quit,
    /// The terminal has another size.
    Resized,
}

/// A thread that reads keys, because reading a terminal blocks. Ends when this is dropped.
pub(super) struct Keyboard {
    stop: Arc<AtomicBool>,
}

impl Keyboard {
    /// What is pressed is sent.
    pub(super) fn start(keys: Sender<Key>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let key = match next_key() {
                    Ok(Some(key)) => key,
                    Ok(None) => continue,
                    // The terminal is gone.
                    Err(_) => Key::Quit,
                };
                if keys.blocking_send(key).is_err() || key == Key::Quit {
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

fn next_key() -> io::Result<Option<Key>> {
    if !crossterm::event::poll(LOOK)? {
        return Ok(None);
    }
    Ok(match crossterm::event::read()? {
        TerminalEvent::Resize(..) => Some(Key::Resized),
        TerminalEvent::Key(key) if key.kind == KeyEventKind::Press => {
            let interrupt =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            let quit = interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
            quit.then_some(Key::Quit)
        }
        _ => None,
    })
}
