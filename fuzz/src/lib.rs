//! Every decoder of bytes that others wrote, each as a function that must not panic and keeps its
//! promises whatever it is fed; and the seeds to start from.
//!
//! A target is a line in [`TARGETS`], a function here, and a file of the same name in
//! `fuzz_targets/`.
#![forbid(unsafe_code)]

pub mod frames;
pub mod journal;
pub mod launch;
pub mod text;

use std::collections::BTreeMap;

/// A decoder under test.
pub struct Target {
    /// Its name, and its program's.
    pub name: &'static str,
    /// Feeds it; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Valid input, made by our own encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! targets {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            run: $module::$name,
            seeds: $module::seeds::$name,
        }),*];
    };
}

targets! {
    frames::frames_from,
    frames::frames_to,
    journal::journal,
    journal::recovery,
    launch::listen_fds,
    launch::notify,
    launch::preflight,
    text::answer,
    text::control,
    text::specs,
}

/// All seeds, by target.
#[must_use]
pub fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let seeds = TARGETS.iter().map(|target| (target.name, (target.seeds)()));
    seeds.collect()
}
