//! `handover hub evacuate`: orders it, shows how far it is, and says how it ended.

use super::super::interruptible;
use super::super::show::json_line;
use super::{code, print};
use crate::args::{EvacuateArgs, Format};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::hub::view::count;
use crate::hub::{HubClient, HubError, view};
use crate::output::{Ink, say, stderr_is_terminal};
use handover_hub::admin::view::{AbortRequest, EvacuateRequest};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Between two looks at how much is left.
const LOOK: Duration = Duration::from_millis(500);

const GOES_ON: &str = "the evacuation goes on: `handover hub top` shows it, \
                       `handover hub evacuate NODE --abort` ends it";

pub(super) async fn run(client: HubClient, args: EvacuateArgs) -> Result<ExitCode, CliError> {
    match args.abort {
        true => abort(client, args).await,
        false => evacuate(client, args).await,
    }
}

async fn abort(client: HubClient, args: EvacuateArgs) -> Result<ExitCode, CliError> {
    let request = AbortRequest { node: args.node };
    let outcome = client.abort(&request).await?;
    match args.format.format {
        Format::Text => say(&format!("node {} takes processes again", request.node)),
        Format::Json => print(&json_line(&outcome))?,
    }
    Ok(ExitCode::Done)
}

async fn evacuate(client: HubClient, args: EvacuateArgs) -> Result<ExitCode, CliError> {
    let begun = Instant::now();
    let request = EvacuateRequest {
        node: args.node,
        to: args.to,
        rate: args.rate,
        timeout_ms: args
            .timeout
            .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
    };
    let shown = args.format.format == Format::Text && stderr_is_terminal();
    let ordered = async {
        let mut order = std::pin::pin!(client.evacuate(&request));
        let mut progress = shown.then(Progress::default);
        loop {
            tokio::select! {
                outcome = &mut order => break outcome,
                () = tokio::time::sleep(LOOK), if progress.is_some() => {
                    let left = left(&client, &request).await;
                    if let (Ok(Some(left)), Some(progress)) = (left, &mut progress) {
                        progress.show(left);
                    }
                }
            }
        }
    };
    let outcome = interruptible(async { Ok(ordered.await?) }, GOES_ON).await?;
    print(&match args.format.format {
        Format::Text => view::outcome(&outcome, begun.elapsed(), Ink::stdout()),
        Format::Json => json_line(&outcome),
    })?;
    Ok(code(&outcome))
}

/// Processes that the node still runs.
async fn left(client: &HubClient, request: &EvacuateRequest) -> Result<Option<u64>, HubError> {
    let nodes = client.nodes().await?;
    let node = nodes.iter().find(|node| node.name == request.node);
    Ok(node.map(|node| node.processes))
}

/// A bar on standard error.
#[derive(Default)]
struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    fn show(&mut self, left: u64) {
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{bar:30} {msg}, {elapsed}, {eta} to go");
            // Only a template that is wrong is refused.
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(left).with_style(style)
        });
        // Processes may still have come when it began.
        let all = bar.length().unwrap_or(left).max(left);
        bar.set_length(all);
        bar.set_position(all - left);
        bar.set_message(format!("{} of {} left", count(left), count(all)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
