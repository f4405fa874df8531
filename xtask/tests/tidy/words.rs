//! Names that say nothing, notes to oneself, and what belongs to one machine.

use crate::source::words;
use crate::tree::{self, File};
use crate::{Offence, require_none};

/// Drawers: files that take whatever has no place. Name the thing instead.
const DRAWERS: [&str; 8] = [
    "util", "utils", "helper", "helpers", "common", "manager", "misc", "shared",
];

/// Notes to oneself. Split here, so that this file does not offend.
const NOTES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Paths that exist only where somebody worked.
const PLACES: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/tar", "get-"),
    concat!("/Us", "ers/"),
    concat!("/ho", "me/"),
];

/// Places that are meant: `/home/app` and the like in an example are nobody's.
const NOBODYS: [&str; 2] = [concat!("/ho", "me/app"), concat!("/ho", "me/user")];

fn drawers(path: &str) -> Vec<Offence> {
    let parts = path
        .split('/')
        .map(|part| part.split('.').next().unwrap_or(part));
    let bad = parts.filter(|part| DRAWERS.contains(part));
    bad.map(|part| Offence::new(path, format!("`{part}` says nothing; name what is in it")))
        .collect()
}

fn notes(file: &File) -> Vec<Offence> {
    let found =
        numbered(file).filter(|(_, line)| words(line).any(|(_, word)| NOTES.contains(&word)));
    found
        .map(|(place, _)| Offence::new(&place, "do it, or say in the docs that it is missing"))
        .collect()
}

fn places(file: &File) -> Vec<Offence> {
    let found = numbered(file).filter(|(_, line)| {
        let line = NOBODYS
            .iter()
            .fold((*line).to_owned(), |line, fine| line.replace(fine, ""));
        PLACES.iter().any(|place| mentions(&line, place))
    });
    found
        .map(|(place, _)| Offence::new(&place, "a path of one machine"))
        .collect()
}

/// Does the path start here, and not inside another one, as in `/net/root/`?
fn mentions(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-})/>".contains(c))
    })
}

/// What comes before a line number in a pointer to it.
const POINTERS: [&str; 6] = [".rs:", ".md:", "#L", ".rs line ", ".rs, line ", ".md line "];

/// A file and a line in it move apart with the next edit.
fn anchors(file: &File) -> Vec<Offence> {
    let found = numbered(file).filter(|(_, line)| {
        let prose = file.path.ends_with(".md") || line.trim_start().starts_with("//");
        prose && POINTERS.iter().any(|mark| has_numbered(line, mark))
    });
    found
        .map(|(place, _)| Offence::new(&place, "points at a line number; name the item instead"))
        .collect()
}

fn has_numbered(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, mark)| {
        line[at + mark.len()..]
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_digit())
    })
}

fn numbered(file: &File) -> impl Iterator<Item = (String, &str)> {
    let lines = file.text.lines().enumerate();
    lines.map(|(index, line)| (format!("{}:{}", file.path, index + 1), line))
}

fn everything() -> Vec<File> {
    let written = [".rs", ".md", ".toml", ".txt", ".py", ".sh"];
    let mut files: Vec<File> = written
        .iter()
        .filter(|suffix| tree::paths().iter().any(|path| path.ends_with(*suffix)))
        .flat_map(|suffix| tree::ending(suffix))
        .collect();
    files.extend(tree::ending(".ci/run"));
    files
}

fn sample(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[test]
fn samples_offend() {
    assert_eq!(drawers("a/util.rs").len(), 1);
    assert_eq!(drawers("tests/common/mod.rs").len(), 1);
    assert_eq!(drawers("a/utility_room.rs").len(), 0);
    let note = format!("// {}: later\nlet todos = 1;\n", NOTES[0]);
    assert_eq!(notes(&sample("a.rs", &note)).len(), 1);
    assert_eq!(
        places(&sample("a.md", &format!("see {}x", PLACES[0]))).len(),
        1
    );
    assert_eq!(
        places(&sample("a.md", &format!("a/net{}x\n", PLACES[1]))).len(),
        0
    );
    assert_eq!(places(&sample("a.md", NOBODYS[0])).len(), 0);
    assert_eq!(anchors(&sample("a.md", "see b.rs:12")).len(), 1);
    assert_eq!(anchors(&sample("a.md", "see b.rs#L12")).len(), 1);
    assert_eq!(anchors(&sample("a.md", "see b.rs line 12")).len(), 1);
    assert_eq!(
        anchors(&sample("a.md", "a line 80 bytes long; b.rs: 12")).len(),
        0
    );
    assert_eq!(
        anchors(&sample("a.rs", "let place = \"b.rs:12\";")).len(),
        0
    );
}

#[test]
fn the_repository_has_no_drawers() {
    require_none(
        &tree::paths()
            .iter()
            .flat_map(|path| drawers(path))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_repository_has_no_notes_to_oneself() {
    require_none(&everything().iter().flat_map(notes).collect::<Vec<_>>());
}

#[test]
fn the_repository_names_no_machine() {
    require_none(&everything().iter().flat_map(places).collect::<Vec<_>>());
}

#[test]
fn the_repository_points_at_no_line() {
    require_none(&everything().iter().flat_map(anchors).collect::<Vec<_>>());
}
