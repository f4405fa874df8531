//! `docs/state-tables.md`, generated from the machines and never edited.

use std::fs;

use crate::steps::{Failure, Steps, capture, cargo, line, root};

const PATH: &str = "docs/state-tables.md";

/// What to do with the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write the file.
    Write,
    /// Fail when the file is not what would be written; the file stays as it is.
    Check,
}

/// Generates the tables.
pub(crate) fn run(steps: &mut Steps, mode: Mode) -> Result<(), Failure> {
    // Built as a step of its own, so that its progress is seen while the tables are captured.
    let package = ["--package", "handover-sim"];
    steps.cargo("tables", |cargo| cargo.arg("build").args(package))?;
    let mut command = cargo();
    command
        .args(["run", "--quiet"])
        .args(package)
        .args(["--", "tables"]);
    let tried = line(&command);
    let output = capture(command)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(
            tried,
            format!("{}\n{}", output.status, words.trim_end()),
        ));
    }
    let wanted = String::from_utf8(output.stdout)
        .map_err(|error| Failure::new(&tried, format!("printed no text: {error}")))?;
    if wanted.trim().is_empty() {
        return Err(Failure::new(tried, "printed no tables"));
    }
    let path = root().join(PATH);
    if mode == Mode::Write {
        fs::write(&path, wanted)
            .map_err(|error| Failure::new(PATH, format!("could not be written: {error}")))?;
        steps.note(&format!("wrote {PATH}"));
        return Ok(());
    }
    let found = fs::read_to_string(&path)
        .map_err(|error| Failure::new(PATH, format!("could not be read: {error}{ADVICE}")))?;
    match first_difference(&wanted, &found) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(PATH, format!("{difference}{ADVICE}"))),
    }
}

const ADVICE: &str = "; run `cargo xtask tables` and commit the result";

fn first_difference(wanted: &str, found: &str) -> Option<String> {
    if wanted == found {
        return None;
    }
    let (mut wanted, mut found) = (wanted.lines(), found.lines());
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some("the line ends differ".to_owned()),
            (wanted, found) if wanted == found => {}
            (wanted, found) => {
                let shown = |line: Option<&str>| line.unwrap_or("(end of file)").to_owned();
                return Some(format!(
                    "the machines say `{}`, the file says `{}`",
                    shown(wanted),
                    shown(found)
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        let changed = first_difference("a\nb\n", "a\nc\n").expect("they differ");
        assert!(
            changed.contains("`b`") && changed.contains("`c`"),
            "{changed}"
        );
        let shorter = first_difference("a\nb\n", "a\n").expect("they differ");
        assert!(shorter.contains("end of file"), "{shorter}");
        assert!(first_difference("a\n", "a").is_some());
    }
}
