//! Every decoder of bytes that others wrote, each as a function that must not panic and keeps its
//! promises whatever it is fed; and the seeds to start from.
//!
//! A target is a line in [`TARGETS`], a function here, and a file of the same name in
//! `fuzz_targets/`.
#![forbid(unsafe_code)]

pub mod beyond;
pub mod cluster;
pub mod container;
pub mod disk;
pub mod frames;
pub mod hub;
pub mod launch;
pub mod state;
pub mod takeover;
pub mod text;

use std::path::PathBuf;

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
    beyond::beyond_frames,
    beyond::beyond_machines,
    container::container_datagrams,
    frames::frames_from,
    frames::frames_to,
    hub::hub_checkpoints,
    hub::hub_frames,
    hub::hub_gossip,
    cluster::hub_messages,
    disk::journal,
    disk::lease,
    disk::recovery,
    launch::listen_fds,
    launch::notify,
    launch::preflight,
    state::assembly,
    state::state_frames,
    takeover::takeover_frames,
    text::answer,
    text::control,
    text::specs,
}

/// Where to write the seeds of the target that is started, instead of running it.
const SEEDS: &str = "HANDOVER_FUZZ_SEEDS";

/// To be called first by a target's program: writes its seeds and ends, if that is asked for.
pub fn begin(name: &str) {
    let Some(directory) = std::env::var_os(SEEDS).map(PathBuf::from) else {
        return;
    };
    let target = TARGETS.iter().find(|target| target.name == name);
    let seeds = (target.expect("a line in the table").seeds)();
    std::fs::create_dir_all(&directory).expect("a directory for seeds");
    for (number, seed) in seeds.iter().enumerate() {
        let file = directory.join(format!("seed-{number:02}"));
        std::fs::write(file, seed).expect("writes a seed");
    }
    std::process::exit(0);
}
