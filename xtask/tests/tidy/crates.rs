//! What every crate promises at its root.

use std::fs;

use crate::source::{code, words};
use crate::tree::{self, File};
use crate::{Offence, require_none};

/// The one crate that may be unsafe.
const UNSAFE_CRATE: &str = "crates/handover-sys/";
/// The one crate that the compiler keeps from clock, files, sockets and threads.
const PURE_CRATE: &str = "crates/handover-proto/";

const FORBID: &str = "#![forbid(unsafe_code)]";
const DENY_IN_UNSAFE_FN: &str = "#![deny(unsafe_op_in_unsafe_fn)]";

fn is_root(path: &str) -> bool {
    let Some((_, within)) = path.rsplit_once("src/") else {
        return false;
    };
    matches!(within, "lib.rs" | "main.rs") || within.starts_with("bin/")
}

fn attributes(file: &File) -> Vec<Offence> {
    let has = |attribute: &str| file.text.lines().any(|line| line.trim() == attribute);
    let wanted = if file.path.starts_with(UNSAFE_CRATE) {
        DENY_IN_UNSAFE_FN
    } else {
        FORBID
    };
    let mut offences = Vec::new();
    if is_root(&file.path) && !has(wanted) {
        offences.push(Offence::new(&file.path, format!("lacks {wanted}")));
    }
    if file.path.starts_with(PURE_CRATE) && file.path.ends_with("src/lib.rs") && !has("#![no_std]")
    {
        offences.push(Offence::new(&file.path, "lacks #![no_std]"));
    }
    offences
}

fn unsafe_code(file: &File) -> Vec<Offence> {
    let code = code(&file.text);
    let found = words(&code).filter(|(_, word)| *word == "unsafe").count();
    if found == 0 || file.path.starts_with(UNSAFE_CRATE) {
        return Vec::new();
    }
    vec![Offence::new(
        &file.path,
        format!("`unsafe` belongs into {UNSAFE_CRATE} only"),
    )]
}

/// `#![no_std]` alone does not keep `std` out: one `extern crate` brings it back.
fn std_in_pure_crate(file: &File) -> Vec<Offence> {
    let ours = file
        .path
        .strip_prefix(PURE_CRATE)
        .is_some_and(|path| path.starts_with("src/"));
    if !ours || file.is_test() {
        return Vec::new();
    }
    let code = code(&file.text);
    // A test module at the end of a file may use what it likes.
    let product = file.text.find("#[cfg(test)]").map_or(code.as_str(), |end| {
        let characters = file.text[..end].chars().count();
        let end = code
            .char_indices()
            .nth(characters)
            .map_or(code.len(), |(at, _)| at);
        &code[..end]
    });
    let found = words(product).filter(|(_, word)| *word == "std").count();
    if found == 0 {
        return Vec::new();
    }
    vec![Offence::new(
        &file.path,
        "names `std`; the machines do no I/O and ask no clock",
    )]
}

/// The folders of all members but the examples, which stand alone as a user's crate would.
fn manifests() -> Vec<File> {
    let all = tree::ending("Cargo.toml");
    all.into_iter()
        .filter(|file| file.text.contains("[package]"))
        .collect()
}

fn lints(file: &File) -> Vec<Offence> {
    let inherits = file
        .text
        .replace(' ', "")
        .contains("[lints]\nworkspace=true");
    if inherits || file.path.starts_with("examples/") || file.path.starts_with("fuzz/") {
        return Vec::new();
    }
    vec![Offence::new(
        &file.path,
        "does not inherit the workspace's lints",
    )]
}

fn sample(path: &str, text: &str) -> File {
    File {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

#[test]
fn samples_offend() {
    assert_eq!(
        attributes(&sample("crates/a/src/lib.rs", "//! A\n")).len(),
        1
    );
    assert_eq!(
        attributes(&sample("crates/a/src/bin/b.rs", FORBID)).len(),
        0
    );
    assert_eq!(
        attributes(&sample("crates/handover-sys/src/lib.rs", "")).len(),
        1
    );
    assert_eq!(
        attributes(&sample("crates/handover-proto/src/lib.rs", FORBID)).len(),
        1
    );
    assert_eq!(
        unsafe_code(&sample("a.rs", "// unsafe\nunsafe {}")).len(),
        1
    );
    assert_eq!(
        unsafe_code(&sample("a.rs", "#![forbid(unsafe_code)] \"unsafe\"")).len(),
        0
    );
    let pure = "crates/handover-proto/src/a.rs";
    assert_eq!(std_in_pure_crate(&sample(pure, "use std::fs;")).len(), 1);
    assert_eq!(
        std_in_pure_crate(&sample(pure, "// std\n#[cfg(test)]\nuse std::fs;")).len(),
        0
    );
    assert_eq!(
        lints(&sample("crates/a/Cargo.toml", "[package]\n")).len(),
        1
    );
}

#[test]
fn the_repository_forbids_unsafe_code_but_in_one_crate() {
    let files = tree::rust();
    assert!(
        files.iter().filter(|file| is_root(&file.path)).count() > 8,
        "roots are missed"
    );
    require_none(&files.iter().flat_map(attributes).collect::<Vec<_>>());
    require_none(&files.iter().flat_map(unsafe_code).collect::<Vec<_>>());
}

#[test]
fn the_repository_keeps_std_out_of_the_machines() {
    require_none(
        &tree::rust()
            .iter()
            .flat_map(std_in_pure_crate)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_repository_inherits_its_lints() {
    require_none(&manifests().iter().flat_map(lints).collect::<Vec<_>>());
}

/// The machines and the kernel do not know each other.
#[test]
fn the_repository_points_its_arrows_one_way() {
    let forbidden = [
        (
            "handover-proto",
            &["handover-sys", "handover =", "handover.", "tokio", "rustix"][..],
        ),
        (
            "handover-sys",
            &["handover-proto", "handover =", "handover.", "tokio"],
        ),
        (
            "handover",
            &["handover-cli", "handover-verify", "handover-hub"],
        ),
    ];
    let mut offences = Vec::new();
    for (name, banned) in forbidden {
        let path = format!("crates/{name}/Cargo.toml");
        let text = fs::read_to_string(tree::root().join(&path)).expect("the manifest");
        let dependencies = text.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            if banned.iter().any(|banned| line.starts_with(banned)) {
                offences.push(Offence::new(&path, format!("must not depend on `{line}`")));
            }
        }
    }
    require_none(&offences);
}
