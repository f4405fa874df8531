//! A container, from inside: whether the instances of a service can find each other, and whether
//! the platform learns when one of them is done.

mod echo;
mod environment;
mod network;
mod platform;
mod volume;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::Finding;
use super::told::Told;

/// What runs in a container, or is to run there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contained {
    /// The words of its command, `handover peer …`; empty if it is not known.
    pub command: Vec<String>,
    /// Its variables.
    pub environment: BTreeMap<String, String>,
}

impl Contained {
    /// The command of process 1 if that is `handover peer`, else none; the variables of this
    /// process.
    #[must_use]
    pub fn here() -> Self {
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self {
            command: first_process().unwrap_or_default(),
            environment: variables.collect(),
        }
    }
}

/// Its words, if it is `handover peer`.
fn first_process() -> Option<Vec<String>> {
    let line = std::fs::read("/proc/1/cmdline").ok()?;
    let words = line.split(|byte| *byte == 0);
    let words: Vec<_> = words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let program = words.first()?.rsplit('/').next()?;
    let is_ours = program == "handover" && words.get(1)? == "peer";
    is_ours.then_some(words)
}

/// Looks at this container. Sends to the group on ports of its own, and makes and removes two files
/// in the volume.
pub(super) fn examine(contained: &Contained) -> Vec<Finding> {
    let told = Told {
        command: &contained.command,
        environment: &contained.environment,
    };
    let (read, mut findings) = environment::examine(told);
    let shared = told.value("--volume").map(Path::new);
    findings.extend(network::examine(&read, shared.is_some()));
    findings.extend(shared.map(volume::examine));
    let key = told.value("--key-file").map(Path::new);
    findings.extend(volume::keys(shared, key));
    findings.extend(platform::examine(told, read.complete));
    findings
}
