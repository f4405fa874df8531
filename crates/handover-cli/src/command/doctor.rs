//! `handover doctor`: what stands in the way of handovers here, and what to do about it.

use super::show::json_line;
use crate::args::{DoctorArgs, Format};
use crate::compose;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Ink, Output};
use crate::view;
use handover::supervisor::doctor::{Contained, Patient, Verdict, examine};
use std::path::PathBuf;

/// Exit code 1 if something must be put right.
pub(super) fn dispatch(root: PathBuf, args: DoctorArgs) -> Result<ExitCode, CliError> {
    let service = args.service.as_deref();
    let shell = |name: &str| std::env::var(name).ok();
    let composed = args.compose.as_deref();
    let composed = composed.map(|path| compose::read(path, service, shell));
    let findings = examine(&Patient {
        container: args.container.then(|| contained(args.volume)),
        composed: composed.transpose()?,
        unit: args.unit,
        pid: args.pid,
        data: args.data,
        root,
    });
    let text = match args.format.format {
        Format::Text => view::doctor::render(&findings, Ink::stdout()),
        Format::Json => findings.iter().map(json_line).collect(),
    };
    Output::stdout().write(&text).map_err(CliError::Stdout)?;
    let bad = findings.iter().any(|found| found.verdict == Verdict::Bad);
    Ok(match bad {
        true => ExitCode::Unexpected,
        false => ExitCode::Done,
    })
}

/// This container, with a volume that is named here instead of its own.
fn contained(volume: Option<String>) -> Contained {
    let mut here = Contained::here();
    if let Some(volume) = volume {
        here.command.insert(0, format!("--volume={volume}"));
    }
    here
}
