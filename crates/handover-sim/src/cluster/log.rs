//! What happened, in words: kept only where a seed is repeated to be read.

use super::agenda::{MILLISECOND, Time};

/// Lines kept.
const KEPT: usize = 400_000;

/// Lines printed.
const PRINTED: usize = 400;

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
            let whole = [
                "===",
                "Announce(",
                "AbortEvacuation",
                "Fenced",
                "Unfenced",
                "engine Gone",
            ];
            whole.iter().any(|word| line.1.contains(word))
                || words.iter().any(|word| line.1.contains(&**word))
        };
        let lines: Vec<_> = self.lines.iter().filter(concerns).collect();
        let first = lines.len().saturating_sub(PRINTED);
        let shown = lines[first..].iter().map(|(time, line)| {
            let (millis, rest) = (time / MILLISECOND, time % MILLISECOND / 1_000);
            format!("{millis:>8}.{rest:03} {}\n", brief(line, words))
        });
        shown.collect()
    }
}

/// A line of many things, less what is usual, and those that concern nobody here.
fn brief(line: &str, words: &[String]) -> String {
    let usual = ", argument: [], metadata: Metadata { tag: None, fields: {} }, restart: Permanent, \
                 placing: Strategy, declared: false";
    let line = line.replace(usual, "");
    let Some((head, items)) = line.split_once("items: [") else {
        return cut(line, 600);
    };
    let concerns = |item: &&str| words.iter().any(|word| item.contains(&**word));
    let items = top_level(items);
    let kept: Vec<_> = items.into_iter().filter(concerns).collect();
    cut(format!("{head}{}", kept.join(", ")), 1_200)
}

fn cut(mut line: String, at: usize) -> String {
    if line.len() > at {
        line.truncate(line.floor_char_boundary(at));
        line.push('…');
    }
    line
}

/// The parts of a printed list.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0_i32, 0, Vec::new());
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            _ => {}
        }
        if depth < 0 || (depth == 0 && byte == b',') {
            parts.push(list[begin..at].trim());
            begin = at + 1;
        }
        if depth < 0 {
            break;
        }
    }
    parts
}
