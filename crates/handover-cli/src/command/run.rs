//! `handover run`: the supervisor in the foreground, and its events for whoever watches.

use super::{block_on, config};
use crate::args::{Format, LogFormat, RunArgs};
use crate::configuration::{self, ConfigError};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say};
use crate::view;
use handover::supervisor::{Config, StartError, Subscription, Supervisor, Unit};
use handover_proto::event::Event;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Events that may wait to be written. A reader that is slower misses some and is told how many;
/// the supervisor never waits for it.
const WAITING: usize = 4_096;

/// How long the last events may take to be written after the supervisor has ended.
const FLUSH: Duration = Duration::from_secs(1);

/// The target under which the supervisor logs its events.
const EVENTS: &str = "handover";

pub(super) fn dispatch(runtime_dir: Option<&Path>, args: RunArgs) -> Result<ExitCode, CliError> {
    let effective = config::load(runtime_dir, &args.service)?;
    begin(configuration::config(&effective)?, args)
}

/// `handover take`: `run`, if there is somebody to take over from.
pub(super) fn take(runtime_dir: Option<&Path>, args: RunArgs) -> Result<ExitCode, CliError> {
    let effective = config::load(runtime_dir, &args.service)?;
    let mut config = configuration::config(&effective)?;
    if config.zero.is_none() {
        return Err(ConfigError::NoPath.into());
    }
    config.take = true;
    begin(config, args)
}

fn begin(config: Config, args: RunArgs) -> Result<ExitCode, CliError> {
    // Before another thread exists: it changes the environment.
    let unit = Unit::take().map_err(StartError::from)?;
    let (config, print) = prepared(config, &args);
    block_on(async { supervise(Supervisor::in_unit(config, unit).await?, print).await })
}

/// The configuration as a supervisor in the foreground needs it, with diagnostics set up, and how
/// its events are printed.
pub(super) fn prepared(mut config: Config, args: &RunArgs) -> (Config, Option<Format>) {
    let format = args.format.format;
    // Its standard output is ours, and ours carries events.
    config.stdout_to_stderr |= format == Format::Json;
    config.keeper_arguments = vec![super::keeper::ARGUMENT.to_owned()];
    log(args.log_format, format);
    let print = match (format, args.log_format) {
        (Format::Json, _) => Some(Format::Json),
        (Format::Text, LogFormat::Text) => Some(Format::Text),
        // The log has them already, as records.
        (Format::Text, LogFormat::Json) => None,
    };
    (config, print)
}

/// Runs a supervisor to its end.
pub(super) async fn supervise(
    supervisor: Supervisor,
    print: Option<Format>,
) -> Result<ExitCode, CliError> {
    let printing = print.map(|format| {
        let (lines, written) = sync_channel(WAITING);
        let (end, ended) = sync_channel(1);
        std::thread::spawn(move || {
            write(&written, format);
            // Nobody waits any more: then nobody has to be told.
            let _ = end.send(());
        });
        let forwarding = tokio::spawn(forward(supervisor.events(), lines));
        (forwarding, ended)
    });
    let ended = supervisor.run().await;
    if let Some((forwarding, written)) = printing {
        // The stream of events ends with the supervisor.
        let _ = tokio::time::timeout(FLUSH, forwarding).await;
        let _ = written.recv_timeout(FLUSH);
    }
    Ok(ExitCode::of_service(ended?.exit_code()))
}

/// A line to be written, or how many were left out before the next.
enum Line {
    Event(Arc<Event>),
    LeftOut(u64),
}

/// Takes events to the thread that writes, and never waits for it.
async fn forward(mut events: Subscription, lines: SyncSender<Line>) {
    let mut left_out = 0;
    while let Some(event) = events.next().await {
        if left_out > 0 && lines.try_send(Line::LeftOut(left_out)).is_ok() {
            left_out = 0;
        }
        match lines.try_send(Line::Event(event)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => left_out += 1,
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

/// Writes on a thread of its own, because a full pipe blocks. A reader that left is no reason to
/// stop serving, and neither is a full disk: the service is what matters here.
fn write(lines: &Receiver<Line>, format: Format) {
    let mut output = Output::stdout();
    let ink = Ink::stderr();
    for line in lines {
        match (line, format) {
            // Its last words stand just above, where it wrote them.
            (Line::Event(event), Format::Text) => say(&view::event::headline(&event, ink)),
            (Line::Event(event), Format::Json) => {
                let json = serde_json::to_string(&*event).unwrap_or_default();
                let _ = output.line(&json);
            }
            (Line::LeftOut(count), _) => say(&format!("{count} events were left out here")),
        }
    }
}

/// Diagnostics on standard error. Warnings and worse unless `RUST_LOG` says otherwise; events are
/// records of it only where they are not lines of their own.
fn log(log_format: LogFormat, format: Format) {
    let records = log_format == LogFormat::Json && format == Format::Text;
    let default = if records {
        "warn,handover=info"
    } else {
        "warn"
    };
    let chosen = match EnvFilter::try_from_default_env() {
        Ok(chosen) => chosen,
        Err(_) => EnvFilter::new(default),
    };
    let not_twice = filter_fn(move |metadata| records || metadata.target() != EVENTS);
    let to_stderr = fmt::layer().with_writer(std::io::stderr);
    let layer = match log_format {
        LogFormat::Text => to_stderr.boxed(),
        LogFormat::Json => to_stderr.json().boxed(),
    };
    // Only fails when a subscriber is set already; then that one is used.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(chosen).with_filter(not_twice))
        .try_init();
}
