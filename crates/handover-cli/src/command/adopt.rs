//! `handover adopt`: a server that was started without us gets a successor, and we its supervision.

use super::{block_on, config, run};
use crate::args::{AdoptArgs, Format, RunArgs};
use crate::configuration;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output, say};
use crate::view;
use handover::supervisor::Supervisor;
use handover::supervisor::stranger::{self, Facts, Plan, Refusal, Wish};
use std::path::Path;

pub(super) fn dispatch(
    runtime_dir: Option<&Path>,
    mut args: AdoptArgs,
) -> Result<ExitCode, CliError> {
    args.run.name = args.run.name.take().or(args.service.take());
    let effective = config::load(runtime_dir, &args.run)?;
    // Without a program there is nothing to begin, but everything to show.
    let config = match effective.get("program") {
        None if args.dry_run => None,
        _ => Some(configuration::config(&effective)?),
    };
    let given = effective.get("stop-signal").and_then(|s| s.value.as_str());
    let wish = Wish {
        listeners: configuration::listeners(&effective)?,
        stop_signal: args.old_stop_signal.or(given.map(str::to_owned)),
        exclusive: effective
            .get("mode")
            .is_some_and(|mode| mode.value.as_str() == Some("exclusive")),
    };
    let facts = stranger::look(args.pid)?;
    let planned = stranger::plan(&facts, &wish);
    let program = config.as_ref().map(|config| config.program.as_slice());
    show(&facts, &planned, program, args.format.format)?;
    let Ok(plan) = planned else {
        return Ok(ExitCode::Refused);
    };
    let Some(config) = config.filter(|_| !args.dry_run) else {
        return Ok(ExitCode::Done);
    };
    let as_run = RunArgs {
        service: args.run,
        format: args.format,
        log_format: args.log_format,
    };
    let (config, print) = run::prepared(config, &as_run);
    block_on(async {
        let supervisor = Supervisor::adopt(config, plan).await?;
        run::supervise(supervisor, print).await
    })
}

/// The plan, or what is in the way, before anything is done.
fn show(
    facts: &Facts,
    planned: &Result<Plan, Vec<Refusal>>,
    program: Option<&[String]>,
    format: Format,
) -> Result<(), CliError> {
    match format {
        Format::Text => {
            say(view::adoption::render(facts, planned, program, Ink::stderr()).trim_end());
            Ok(())
        }
        Format::Json => {
            let json = match planned {
                Ok(plan) => serde_json::json!({ "plan": plan, "facts": facts }),
                Err(refusals) => serde_json::json!({ "refused": refusals, "facts": facts }),
            };
            let line = Output::stdout().line(&json.to_string());
            line.map_err(CliError::Stdout)
        }
    }
}
