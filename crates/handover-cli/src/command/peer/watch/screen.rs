//! Where changes are shown: JSON lines, lines, or a table that is drawn again.

use crate::clock::unix_ms;
use crate::output::{Ink, Output, say};
use crate::view::peers;
use crossterm::cursor::MoveUp;
use crossterm::terminal::{Clear, ClearType};
use handover_proto::container::roster::{Change, Roster};
use handover_proto::moment::Moment;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::Instant;

/// How often the table is drawn again: it shows how long ago each was heard.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

/// Standard output, and how it is written.
#[derive(Debug)]
pub(super) struct Screen {
    output: Output<io::Stdout>,
    look: Look,
}

#[derive(Debug)]
enum Look {
    Json,
    Lines,
    /// So many lines are drawn, and when.
    Table {
        drawn: u16,
        at: Instant,
    },
}

impl Screen {
    /// A table on a terminal, unless a command writes there too.
    pub(super) fn new(json: bool, command: bool) -> Self {
        let terminal = io::stdout().is_terminal() && crate::output::stderr_is_terminal();
        let look = match (json, terminal && !command) {
            (true, _) => Look::Json,
            (false, false) => Look::Lines,
            (false, true) => Look::Table {
                drawn: 0,
                at: Instant::now(),
            },
        };
        Self {
            output: Output::stdout(),
            look,
        }
    }

    /// Nobody reads any more.
    pub(super) fn closed(&self) -> bool {
        self.output.closed()
    }

    /// When the table is to be drawn again, if there is one.
    pub(super) fn redraws_at(&self) -> Option<Instant> {
        match &self.look {
            Look::Json | Look::Lines => None,
            Look::Table { at, .. } => Some(*at + REDRAW_EVERY),
        }
    }

    /// Shows a change.
    pub(super) fn change(
        &mut self,
        change: &Change,
        roster: &Roster,
        now: Moment,
    ) -> io::Result<()> {
        let line = match self.look {
            Look::Json => peers::json_line(unix_ms(), change),
            Look::Lines => peers::line(unix_ms(), change, Ink::stdout()),
            Look::Table { .. } => return self.draw(roster, now),
        };
        self.output.line(&line)
    }

    /// Says something that is no change, above the table if there is one.
    pub(super) fn note(&mut self, text: &str) {
        if let Look::Table { drawn, .. } = &mut self.look {
            let up = erase(std::mem::take(drawn));
            // The next write to standard output says whether it is closed.
            let _ = self.output.write(&up);
        }
        say(text);
    }

    /// Draws the table, where there is one.
    pub(super) fn draw(&mut self, roster: &Roster, now: Moment) -> io::Result<()> {
        let Look::Table { drawn, at } = &mut self.look else {
            return Ok(());
        };
        *at = Instant::now();
        // A terminal may not know its size.
        let size = crossterm::terminal::size().ok();
        let (width, height) = size
            .filter(|size| size.0 > 0 && size.1 > 0)
            .unwrap_or((80, 24));
        let mut text = erase(*drawn);
        *drawn = 0;
        // A line that wraps or scrolls away could not be drawn over.
        let most = usize::from(height).saturating_sub(1);
        let table = peers::table(roster, now, usize::from(width), Ink::stdout());
        for line in table.iter().take(most) {
            text.push_str(line);
            text.push('\n');
            *drawn += 1;
        }
        self.output.write(&text)
    }
}

/// Moves to where the last table began and clears what is below.
fn erase(lines: u16) -> String {
    let mut text = String::new();
    if lines > 0 {
        let up = MoveUp(lines);
        let clear = Clear(ClearType::FromCursorDown);
        // Writing to a string does not fail.
        let _ = write!(text, "\r{up}{clear}");
    }
    text
}
