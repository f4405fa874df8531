//! Links between documents lead somewhere.

use std::path::{Component, Path, PathBuf};

use crate::tree::{self, File};
use crate::{Offence, require_none};

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    outside.collect()
}

/// Targets of inline links, pictures, reference definitions and `src`/`href` attributes.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in prose(text) {
        for (opens, closes) in [
            ("](", &[')', ' '][..]),
            ("src=\"", &['"']),
            ("href=\"", &['"']),
        ] {
            for (at, _) in line
                .match_indices(opens)
                .filter(|(at, _)| !in_code(line, *at))
            {
                let target = &line[at + opens.len()..];
                found.push(target.split(closes).next().unwrap_or(target));
            }
        }
        let definition = line.split_once("]: ").filter(|_| line.starts_with('['));
        found.extend(definition.and_then(|(_, target)| target.split_whitespace().next()));
    }
    found
        .into_iter()
        .map(|link| link.trim_matches(['<', '>']))
        .collect()
}

fn in_code(line: &str, at: usize) -> bool {
    line[..at].matches('`').count() % 2 == 1
}

/// The anchors of a document's headings, as the usual renderers make them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    let mut found: Vec<String> = Vec::new();
    for heading in headings {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let earlier = found.iter().filter(|other| **other == anchor).count();
        found.push(if earlier == 0 {
            anchor
        } else {
            format!("{anchor}-{earlier}")
        });
    }
    found
}

fn resolve(folder: &str, target: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(folder).join(target).components() {
        match part {
            Component::ParentDir if !path.pop() => return None,
            Component::Normal(name) => path.push(name),
            _ => {}
        }
    }
    Some(path)
}

fn broken(file: &File, exists: &dyn Fn(&Path) -> bool, documents: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for link in links(&file.text) {
        let outside = link.contains("://") || link.starts_with("mailto:");
        if outside || link.is_empty() {
            continue;
        }
        let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
        let path = match target {
            "" => Some(PathBuf::from(&file.path)),
            _ => resolve(file.folder(), target),
        };
        let Some(path) = path.filter(|path| exists(path)) else {
            offences.push(Offence::new(&file.path, format!("`{link}` leads nowhere")));
            continue;
        };
        let document = documents
            .iter()
            .find(|other| Path::new(&other.path) == path);
        let Some(document) = document.filter(|_| !anchor.is_empty()) else {
            continue;
        };
        if !anchors(&document.text).iter().any(|other| other == anchor) {
            offences.push(Offence::new(
                &file.path,
                format!("`{link}`: no such heading"),
            ));
        }
    }
    offences
}

#[test]
fn samples_offend() {
    let text = "# One, `two`\n[a](#one-two) [b](#three) [c](../x.md) [d](gone.md \"t\")\n\
                `[e](no)` [f](https://example.org)\n```\n[g](no)\n```\n[h]: gone2.md\n\
                ![i](gone.svg)\n";
    let file = File {
        path: "docs/a.md".to_owned(),
        text: text.to_owned(),
    };
    let exists = |path: &Path| path == Path::new("x.md") || path == Path::new("docs/a.md");
    let found = broken(&file, &exists, std::slice::from_ref(&file));
    let names: Vec<&str> = found
        .iter()
        .filter_map(|offence| offence.0.split('`').nth(1))
        .collect();
    assert_eq!(names, ["#three", "gone.md", "gone2.md", "gone.svg"]);
}

#[test]
fn the_repository_links_to_what_is_there() {
    let documents = tree::ending(".md");
    let root = tree::root();
    let exists = |path: &Path| root.join(path).exists();
    let offences: Vec<_> = documents
        .iter()
        .flat_map(|file| broken(file, &exists, &documents))
        .collect();
    require_none(&offences);
}

#[test]
fn the_repository_has_its_documents() {
    let wanted = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "docs/invariants.md",
        "docs/what-moves.md",
        "docs/state-tables.md",
    ];
    let missing = wanted
        .iter()
        .filter(|path| !tree::root().join(path).is_file());
    require_none(
        &missing
            .map(|path| Offence::new(path, "is missing"))
            .collect::<Vec<_>>(),
    );
    let changelog = tree::ending("CHANGELOG.md");
    assert!(
        changelog[0].text.contains("## [Unreleased]"),
        "where do changes go?"
    );
}
