//! What must hold before a change lands. `.ci/run` calls exactly this.

use crate::steps::{Failure, Steps, capture, cargo};
use crate::{deny, fuzz, peers, suite, tables};

/// Feature sets of the library that must each build without a warning: an item used only behind
/// one feature goes unseen when all are on.
const FEATURES: [(&str, &[&str]); 4] = [
    ("no features", &["--no-default-features"]),
    ("axum", &["--no-default-features", "--features", "axum"]),
    (
        "supervisor",
        &["--no-default-features", "--features", "supervisor"],
    ),
    ("all features", &["--all-features"]),
];

/// Runs every check, all of them even when one fails.
pub(crate) fn run(steps: &mut Steps) -> Result<(), Failure> {
    components()?;
    peers::install(steps)?;
    let format = steps.cargo("format", |cargo| cargo.args(["fmt", "--all", "--check"]));
    steps.keep_going(format);
    let lints = steps.cargo("lints", |cargo| {
        let targets = ["--workspace", "--all-targets", "--all-features"];
        cargo
            .arg("clippy")
            .args(targets)
            .args(["--", "-D", "warnings"])
    });
    steps.keep_going(lints);
    features(steps);
    docs(steps);
    let dependencies = deny::run(steps);
    steps.keep_going(dependencies);
    let tables = tables::run(steps, tables::Mode::Check);
    steps.keep_going(tables);
    fuzz::check(steps);
    let fuzz = fuzz::run(steps, &[]);
    steps.keep_going(fuzz);
    suite::run(steps, &[])
}

fn features(steps: &mut Steps) {
    for (name, flags) in FEATURES {
        let outcome = steps.cargo(&format!("library with {name}"), |cargo| {
            cargo
                .args(["clippy", "--package", "handover", "--all-targets"])
                .args(flags);
            cargo.args(["--", "-D", "warnings"])
        });
        steps.keep_going(outcome);
    }
    // `no_std` is the promise that the machines touch no clock, file, socket or thread. Alone,
    // so that no other crate's features lend it what it must not have.
    for package in ["handover-proto", "handover-hub-proto"] {
        let alone = steps.cargo(&format!("{package} alone"), |cargo| {
            let selection = ["clippy", "--package", package, "--lib"];
            cargo.args(selection).args(["--", "-D", "warnings"])
        });
        steps.keep_going(alone);
    }
}

/// The command and the library are both called `handover` and would write the same pages: apart,
/// and the library last, so that its pages are the ones that stay.
fn docs(steps: &mut Steps) {
    let selections: [(&str, &[&str]); 2] = [
        ("docs of the command", &["--package", "handover-cli"]),
        ("docs", &["--workspace", "--exclude", "handover-cli"]),
    ];
    for (name, selection) in selections {
        let outcome = steps.cargo(name, |cargo| {
            cargo.env("RUSTDOCFLAGS", "-D warnings");
            cargo
                .args(["doc", "--no-deps", "--all-features"])
                .args(selection)
        });
        steps.keep_going(outcome);
    }
}

/// A toolchain installed with the minimal profile lacks both, and says so less plainly.
fn components() -> Result<(), Failure> {
    for component in ["fmt", "clippy"] {
        let mut version = cargo();
        version.args([component, "--version"]);
        if !capture(version)?.status.success() {
            let advice = "is not installed; run `rustup component add rustfmt clippy`";
            return Err(Failure::new(format!("cargo {component}"), advice));
        }
    }
    Ok(())
}
