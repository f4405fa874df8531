//! A node of the demo: what any program does that runs a hub.

use super::HubDemoError;
use super::counter::{Counter, KIND};
use crate::args::DemoNodeArgs;
use crate::error::CliError;
use crate::exit::ExitCode;
use handover_hub::dashboard::Dashboard;
use handover_hub::engine::gossip::Gossip;
use handover_hub::proto::node::Settings;
use handover_hub::proto::redundancy::{Factor, Model, Redundancy, Signal};
use handover_hub::{Builder, Hub};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How long moving everything away may take.
const LEAVE: Duration = Duration::from_secs(25);

/// Where a node of the demo listens to its operators.
pub(super) fn socket(directory: &Path, node: &str) -> PathBuf {
    directory.join(format!("hub-{}-{node}.sock", super::stage::HUB))
}

/// Copies of each child.
pub(super) fn redundant(builder: Builder, replicas: u16) -> Builder {
    let replicated = Redundancy::Replicated {
        factor: Factor::Nodes(replicas + 1),
        model: Model::ActivePassive,
        signal: Signal::None,
        state: true,
    };
    let settings = Settings {
        redundancy: if replicas == 0 {
            Redundancy::Single
        } else {
            replicated
        },
        ..Settings::default()
    };
    builder.settings(settings)
}

pub(in super::super) async fn run(root: PathBuf, args: DemoNodeArgs) -> Result<ExitCode, CliError> {
    let failed = |error: String| CliError::HubDemo(HubDemoError::Node(error));
    let seeds = args.seed.iter().map(ToString::to_string);
    let mut builder = redundant(Hub::builder(&args.hub), args.replicas)
        .node(args.node.as_str())
        .listen(&args.listen.to_string())
        .version(env!("CARGO_PKG_VERSION"))
        .kind::<Counter>(KIND)
        .engine(Gossip::seeds(seeds))
        .admin(socket(&root, args.node.as_str()));
    if let Some(address) = args.dashboard {
        builder = builder.dashboard(Dashboard::at(address));
    }
    let hub = builder.start().await;
    let hub = hub.map_err(|error| failed(error.to_string()))?;
    let left = tokio::select! {
        left = hub.leave_on_signal(LEAVE) => left,
        // Whoever started this is gone.
        () = orphaned() => return Ok(ExitCode::Done),
    };
    let left = left.map_err(|error| failed(error.to_string()))?;
    Ok(match left.left.is_empty() {
        true => ExitCode::Done,
        false => ExitCode::Unexpected,
    })
}

/// Waits until standard input ends.
async fn orphaned() {
    let mut stdin = tokio::io::stdin();
    let mut read = [0; 64];
    while stdin.read(&mut read).await.is_ok_and(|count| count > 0) {}
}
