//! `handover verify`: load anybody's service, upgrade it by any command, and report what was lost.

use super::interruptible;
use crate::args::{ReportFormat, VerifyArgs};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::{Output, say, stderr_is_terminal};
use crate::view::load::Line;
use handover_verify::{CommandTrigger, Plan, Progress, Report, Slow, Trigger, Upload, VerifyError};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::time::Duration;

/// Bytes of an upload: more than a socket takes at once, so that half of it really is on its way.
const UPLOAD_BYTES: usize = 256 * 1024;

/// How long the second half of an upload is held back: longer than an ordinary upgrade takes.
const UPLOAD_HOLD: Duration = Duration::from_millis(500);

/// How many uploads are under way.
const UPLOADS: usize = 4;

pub(super) async fn run(args: VerifyArgs) -> Result<ExitCode, CliError> {
    let plan = plan(&args)?;
    plan.validate()?;
    let command = args.upgrade_command.clone().unwrap_or_default();
    let trigger = CommandTrigger::new(command);
    let still = "the load has ended; an upgrade that ran was killed";
    let report = interruptible(observe(&plan, trigger), still).await?;
    conclude(&report, args.report.as_deref(), args.format)
}

/// Runs the plan and shows its progress on standard error.
pub(super) async fn observe<T: Trigger + Send>(
    plan: &Plan,
    trigger: T,
) -> Result<Report, CliError> {
    let mut screen = Screen::new();
    let report = handover_verify::run(plan, trigger, |progress| screen.show(&progress)).await;
    screen.clear();
    Ok(report?)
}

/// Prints the report, writes the files, and says in words what it means.
pub(super) fn conclude(
    report: &Report,
    directory: Option<&Path>,
    format: ReportFormat,
) -> Result<ExitCode, CliError> {
    let text = match format {
        ReportFormat::Text => report.table(),
        ReportFormat::Json => report.to_json()?,
        ReportFormat::Junit => report.to_junit()?,
    };
    Output::stdout().write(&text).map_err(CliError::Stdout)?;
    if let Some(directory) = directory {
        report.write_to(directory)?;
        say(&format!(
            "report and picture: {}",
            directory.join("report.svg").display()
        ));
    }
    if report.lossless() {
        return Ok(ExitCode::Done);
    }
    let unexpected = report.unexpected_upgrades();
    say(&format!(
        "loss: {} of {} requests failed, {unexpected} of {} upgrades did not end as they were meant to",
        report.failed,
        report.requests,
        report.upgrades.len(),
    ));
    Ok(ExitCode::Loss)
}

fn plan(args: &VerifyArgs) -> Result<Plan, VerifyError> {
    let mut plan = Plan::new(&args.url)?;
    plan.new_rate = args.rate;
    plan.keep_alive_rate = if args.connections > 0 { args.rate } else { 0.0 };
    plan.connections = args.connections;
    plan.slow = args.slow_path.clone().map(|path| Slow {
        path,
        concurrency: args.slow,
    });
    plan.upload = args.upload_path.clone().map(|path| Upload {
        path,
        concurrency: UPLOADS,
        bytes: UPLOAD_BYTES,
        hold: UPLOAD_HOLD,
    });
    plan.timeout = args.timeout;
    plan.expect.status = args.expect_status;
    plan.expect.body.clone_from(&args.expect_body);
    plan.version_header = Some(args.version_header.clone());
    plan.warm_up = args.warm_up;
    plan.interval = args.interval;
    plan.settle = args.settle;
    plan.cool_down = plan.cool_down.max(args.settle);
    plan.upgrade_timeout = args.upgrade_timeout;
    plan.upgrades = if args.no_upgrade { 0 } else { args.upgrades };
    Ok(plan)
}

/// Where progress goes: one line that is drawn anew on a terminal, else a line for each change.
struct Screen {
    bar: Option<ProgressBar>,
    line: Line,
}

impl Screen {
    fn new() -> Self {
        let bar = stderr_is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            line: Line::default(),
        }
    }

    fn show(&mut self, progress: &Progress) {
        let news = self.line.news(progress);
        match &self.bar {
            Some(bar) => {
                for line in news {
                    bar.println(line);
                }
                bar.set_message(Line::render(progress));
                bar.tick();
            }
            None => {
                for line in news {
                    say(&line);
                }
            }
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
