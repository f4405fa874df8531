//! `handover run`: the supervisor in the foreground, and its events for whoever watches.

use super::printing::Printing;
use super::{block_on, config};
use crate::args::{Format, LogFormat, RunArgs};
use crate::configuration::{self, ConfigError};
use crate::error::CliError;
use crate::exit::ExitCode;
use handover::supervisor::{Config, StartError, Supervisor, Unit};
use std::path::Path;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

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
        let printing = Printing::start(format, str::to_owned);
        let following = printing.follow(supervisor.events());
        (printing, following)
    });
    let ended = supervisor.run().await;
    if let Some((printing, following)) = printing {
        printing.finish(Some(following)).await;
    }
    Ok(ExitCode::of_service(ended?.exit_code()))
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
