//! House rules as tests. A rule only reviewers remember is a rule that is lost.
//!
//! Each rule is a pure function from text to offences, proven on a sample that breaks it; the
//! tests named `the_repository_…` apply it to every file. What a rule must excuse stands in
//! `xtask/tidy-exceptions.txt`, each with a reason, and may only shrink.

#![forbid(unsafe_code)]

mod citations;
mod crates;
mod exceptions;
mod markdown;
mod size;
mod source;
mod tree;
mod words;

/// One breach of a rule, where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offence(pub(crate) String);

impl Offence {
    pub(crate) fn new(place: &str, what: impl std::fmt::Display) -> Self {
        Self(format!("{place}: {what}"))
    }
}

/// Fails the test, listing every offence.
#[track_caller]
pub(crate) fn require_none(offences: &[Offence]) {
    let lines: Vec<&str> = offences.iter().map(|offence| offence.0.as_str()).collect();
    assert!(
        lines.is_empty(),
        "{} offences:\n  {}",
        lines.len(),
        lines.join("\n  ")
    );
}
