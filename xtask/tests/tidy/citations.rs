//! The invariants: each is explained, kept by code that names it, and tested by name.

use std::collections::BTreeSet;

use crate::tree::{self, File};
use crate::{Offence, require_none};

const INVARIANTS: std::ops::RangeInclusive<u32> = 1..=13;
const EXPLAINED: &str = "docs/invariants.md";

/// Numbers cited in a text: `I4`, or `i4` at the start of a name, as in `fn i4_survives`.
fn cited(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let number = |word: &str| word.strip_prefix(['I', 'i'])?.parse().ok();
    // `i8`, `i16`, `i32`, `i64` are types wherever they stand alone in lower case.
    let types = ["i8", "i16", "i32", "i64", "i128"];
    words
        .filter(|word| !types.contains(word))
        .filter_map(number)
        .collect()
}

/// The product without the tests inside its files.
fn product(file: &File) -> &str {
    file.text.split("#[cfg(test)]").next().unwrap_or(&file.text)
}

fn tests(file: &File) -> &str {
    if file.is_test() {
        return &file.text;
    }
    file.text
        .split_once("#[cfg(test)]")
        .map_or("", |(_, tests)| tests)
}

fn require_all(place: &str, cited: &BTreeSet<u32>) {
    let missing = INVARIANTS.filter(|number| !cited.contains(number));
    let offences: Vec<_> = missing
        .map(|number| Offence::new(place, format!("nothing cites I{number}")))
        .collect();
    require_none(&offences);
}

fn sources() -> Vec<File> {
    let files = tree::rust().into_iter();
    files
        .filter(|file| !file.path.starts_with("xtask/"))
        .collect()
}

#[test]
fn citations_are_found() {
    let found = cited("/// Keeps I4 and I11.\nfn i7_names_first(a: i32, b: i8, I: u8) {}");
    assert_eq!(found, BTreeSet::from([4, 7, 11]));
}

#[test]
fn the_repository_explains_every_invariant() {
    let files = tree::ending(".md");
    let file = files.iter().find(|file| file.path == EXPLAINED);
    let headings: String = file
        .map(|file| {
            file.text
                .lines()
                .filter(|line| line.starts_with(['#', '|']))
        })
        .map(|lines| lines.collect::<Vec<_>>().join("\n"))
        .unwrap_or_default();
    require_all(
        &format!("headings and tables of {EXPLAINED}"),
        &cited(&headings),
    );
}

#[test]
fn the_repository_keeps_every_invariant_in_code() {
    let files = sources();
    let crates = files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && !file.is_test());
    require_all(
        "the crates",
        &crates.flat_map(|file| cited(product(file))).collect(),
    );
}

#[test]
fn the_repository_tests_every_invariant() {
    let files = sources();
    require_all(
        "the tests",
        &files.iter().flat_map(|file| cited(tests(file))).collect(),
    );
}

#[test]
fn the_repository_cites_no_unknown_invariant() {
    let mut offences = Vec::new();
    for file in sources().into_iter().chain(tree::ending(".md")) {
        // Only as `I` and a number: lower case is also the name of a variable.
        let words = file.text.split(|c: char| !c.is_ascii_alphanumeric());
        let numbers = words.filter_map(|word| word.strip_prefix('I')?.parse::<u32>().ok());
        for unknown in numbers.filter(|number| !INVARIANTS.contains(number)) {
            offences.push(Offence::new(&file.path, format!("there is no I{unknown}")));
        }
    }
    require_none(&offences);
}
