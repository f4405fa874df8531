//! Standard output for data, standard error for words.

use std::io::{self, IsTerminal, Write};

/// Standard output. A reader that has seen enough and goes away is no fault: what is written after
/// that is dropped.
#[derive(Debug)]
pub(crate) struct Output<W> {
    to: W,
    closed: bool,
}

impl Output<io::Stdout> {
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, closed: false }
    }

    /// Whether the reader has gone: an endless command may end then.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }

    /// Writes all of `text` and flushes.
    ///
    /// # Errors
    /// Any but a broken pipe: a full disk, for example.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = self
            .to
            .write_all(text.as_bytes())
            .and_then(|()| self.to.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other,
        }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }
}

/// Words for people, on standard error. Nobody can be told when that fails, so nobody is.
pub(crate) fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Whether standard error is a terminal that may be drawn on.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Emphasis, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ink {
    on: bool,
}

impl Ink {
    /// No emphasis.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { on: false };

    /// Emphasis if `terminal`, and unless `NO_COLOR` is set (see no-color.org).
    pub(crate) fn for_terminal(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: terminal && !refused,
        }
    }

    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self::for_terminal(io::stdout().is_terminal())
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self::for_terminal(stderr_is_terminal())
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_fault_but_a_full_disk_is() {
        let mut left = Output::new(Fails(io::ErrorKind::BrokenPipe));
        left.line("a").unwrap();
        assert!(left.closed());
        left.line("b").unwrap();
        let mut full = Output::new(Fails(io::ErrorKind::StorageFull));
        assert!(full.line("a").is_err());
        assert!(!full.closed());
    }
}
