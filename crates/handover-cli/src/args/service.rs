//! Arguments that describe a service: of `run` and of `config`.

use super::FormatArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to run and how. Every flag is optional, because the file or the environment may give it;
/// values stay text until they are merged, so that each is checked in one place.
#[derive(Args, Debug, Default)]
pub(crate) struct ServiceArgs {
    /// Listeners, held open across all versions.
    #[arg(
        long,
        short,
        value_name = "NAME=ADDR",
        help = "A listener, held open across all versions: http=127.0.0.1:8080, web=[::]:80, \
                dns=udp:0.0.0.0:53, app=unix:/run/app.sock; may be repeated"
    )]
    pub(crate) listen: Vec<String>,
    /// The service's name [default: the program's file name without its extension]
    #[arg(long, value_name = "SERVICE")]
    pub(crate) name: Option<String>,
    /// Read the configuration from this TOML file; flags and HANDOVER_* variables win over it
    #[arg(long, short, value_name = "FILE", env = "HANDOVER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// How to see that a new version is ready: auto, native, notify, accepts, http:/PATH,
    /// http://HOST:PORT/PATH, tcp:HOST:PORT, command:CMD
    #[arg(long, value_name = "HOW")]
    pub(crate) ready: Option<String>,
    /// How long a new version may take until it is ready: 30s, 500ms, 2m
    #[arg(long, value_name = "TIME")]
    pub(crate) ready_timeout: Option<String>,
    /// How long a leaving version keeps accepting after it was announced that it will stop
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_announce: Option<String>,
    /// Then, how long it answers with "please reconnect" and lets idle connections be
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_notify: Option<String>,
    /// Then, how long requests in flight may take; what is left is cut
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_grace: Option<String>,
    /// Exclusive mode: how long writes under way may take to finish once new ones wait
    #[arg(long, value_name = "TIME")]
    pub(crate) drain_timeout: Option<String>,
    /// Exclusive mode: how long the old version may take to flush and hand over its state
    #[arg(long, value_name = "TIME")]
    pub(crate) seal_timeout: Option<String>,
    /// Exclusive mode: how long the new version may take to open the data and serve
    #[arg(long, value_name = "TIME")]
    pub(crate) activate_timeout: Option<String>,
    /// How long the old version may take to serve again after a handover failed
    #[arg(long, value_name = "TIME")]
    pub(crate) resume_timeout: Option<String>,
    /// The signal that asks a program without the library to stop gracefully: TERM, QUIT
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// How long after that signal a process that must go is killed
    #[arg(long, value_name = "TIME")]
    pub(crate) kill_after: Option<String>,
    /// How long the old version is kept able to take back after the new one serves: by itself if the
    /// new one crashes, or with `handover undo`
    #[arg(long, value_name = "TIME")]
    pub(crate) probation: Option<String>,
    /// A new version that crashes within this time is replaced by the previous one
    #[arg(long, value_name = "TIME")]
    pub(crate) fall_back: Option<String>,
    /// Exclusive mode: the longest time nobody may write; a handover that needs more is aborted and
    /// the old version goes on
    #[arg(long, value_name = "TIME")]
    pub(crate) max_dark: Option<String>,
    /// Only one version at a time owns the data: the old one seals it and gives up its lease before
    /// the new one takes it; needs the library
    #[arg(long)]
    pub(crate) exclusive: bool,
    /// What programs speak besides our own protocol: native (nothing), or beyond-handoff for those
    /// built on that crate; needs --exclusive and --handoff-socket
    #[arg(long, value_name = "WIRE")]
    pub(crate) wire: Option<String>,
    /// With --wire beyond-handoff: the control socket that such a program binds
    #[arg(long, value_name = "PATH")]
    pub(crate) handoff_socket: Option<String>,
    /// Take over from whoever serves at this path by the exchange of Go's zero-downtime, and let others
    /// take over there; without anybody, bind the listener
    #[arg(long, value_name = "PATH")]
    pub(crate) zero: Option<String>,
    /// Which listener the exchange passes [default: the only one, else http]
    #[arg(long, visible_alias = "listener", value_name = "NAME")]
    pub(crate) zero_listener: Option<String>,
    /// Restarts within a minute after which no further one is tried
    #[arg(long, value_name = "N")]
    pub(crate) restart_limit: Option<u32>,
    /// Pause before the second restart in a row; doubles from there
    #[arg(long, value_name = "TIME")]
    pub(crate) restart_pause: Option<String>,
    /// A command that must exit with 0 before a new version is started: `nginx -t`
    #[arg(long, value_name = "CMD")]
    pub(crate) test_command: Option<String>,
    /// Run the program in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<String>,
    /// Set a variable in the program's environment; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// What becomes of the program's standard error: capture (copied to ours; the last lines of one
    /// that failed are shown) or inherit
    #[arg(long, value_name = "HOW")]
    pub(crate) stderr: Option<String>,
    /// Append what the program prints to this file, whole lines; SIGUSR1 opens it anew
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<String>,
    /// What becomes of the log file at a handover: rename (the old version writes on to FILE.TIME.PID,
    /// the new one to a new FILE) or append
    #[arg(long, value_name = "HOW")]
    pub(crate) log_at_handover: Option<String>,
    /// Let a process of its own hold the listeners too, so that they outlive this one where the kernel
    /// lets nobody take them back out of the server: auto, always, never
    #[arg(long, value_name = "WHEN")]
    pub(crate) keeper: Option<String>,
    /// Send the program's standard output to our standard error; implied by `run --format json`
    #[arg(long)]
    pub(crate) stdout_to_stderr: bool,
    /// The program and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<String>,
}

/// How diagnostics are written.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// JSON lines
    Json,
}

/// Arguments of `run`.
#[derive(Args, Debug, Default)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    /// text: events as lines on standard error; json: as JSON lines on standard output. Never both
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// How diagnostics are written to standard error; RUST_LOG chooses which
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}
