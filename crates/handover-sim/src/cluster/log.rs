//! What happened, in words: kept only where a seed is repeated to be read.

use super::agenda::{MILLISECOND, Time};

/// Lines kept.
const KEPT: usize = 400_000;

/// Lines printed.
const PRINTED: usize = 160;

/// The log of one run.
#[derive(Debug, Default)]
pub struct Log {
    on: bool,
    lines: std::collections::VecDeque<(Time, String)>,
}

impl Log {
    /// Kept, or not.
    #[must_use]
    pub fn new(on: bool) -> Self {
        Self {
            on,
            ..Self::default()
        }
    }

    /// Notes a line; `words` is asked only if the log is kept.
    pub fn put(&mut self, now: Time, words: impl FnOnce() -> String) {
        if self.on {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back((now, words()));
        }
    }

    /// The last lines that concern one of these words, or the whole cluster.
    #[must_use]
    pub fn about(&self, words: &[String]) -> String {
        let concerns = |line: &&(Time, String)| {
            line.1.starts_with("===") || words.iter().any(|word| line.1.contains(&**word))
        };
        let lines: Vec<_> = self.lines.iter().filter(concerns).collect();
        let first = lines.len().saturating_sub(PRINTED);
        let shown = lines[first..].iter().map(|(time, line)| {
            let (millis, rest) = (time / MILLISECOND, time % MILLISECOND / 1_000);
            let mut line = line.clone();
            if line.len() > 600 {
                let end = line.floor_char_boundary(600);
                line.truncate(end);
                line.push('…');
            }
            format!("{millis:>8}.{rest:03} {line}\n")
        });
        shown.collect()
    }
}
