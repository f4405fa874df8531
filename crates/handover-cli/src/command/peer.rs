//! `handover peer`: containers of one service retire each other.
//!
//! | file | what |
//! |---|---|
//! | `options` | what was asked for |
//! | `container` | one container from start to end |
//! | `program` | its program, under a supervisor |
//! | `listeners` | those of the container before |
//! | `beacon` | UP and DOWN for load balancers |
//! | `marker`, `revival` | a container that has handed over and is started again |
//! | `signals`, `voice` | what it hears from the platform, and what it says |
//! | `watch` | `handover peer watch` |

mod beacon;
mod container;
mod listeners;
mod marker;
mod options;
mod program;
mod revival;
mod signals;
mod voice;
mod watch;

pub(crate) use watch::TemplateError;

use super::{block_on, config, run};
use crate::args::{Format, PeerArgs, PeerCommand};
use crate::configuration;
use crate::error::CliError;
use crate::exit::ExitCode;
use container::Container;
use handover::supervisor::keeper::KeeperPolicy;
use handover::supervisor::{Config, StartError, Unit, runtime};
use marker::Place;
use options::Options;
use revival::Revival;
use signals::Signals;
use std::path::Path;
use voice::Voice;

pub(super) fn dispatch(runtime_dir: Option<&Path>, args: PeerArgs) -> Result<ExitCode, CliError> {
    if let Some(PeerCommand::Watch(args)) = args.command {
        return block_on(watch::run(args));
    }
    let mut effective = config::load(runtime_dir, &args.run.service)?;
    configuration::container(&args.container, &mut effective)?;
    let mut config = configuration::config(&effective)?;
    let options = Options::read(&effective, &mut config)?;
    // Before another thread exists: it changes the environment.
    let unit = Unit::take().map_err(StartError::from)?;
    let (mut config, print) = run::prepared(config, &args.run);
    // It would end with the container, as all else does.
    if std::process::id() == 1 {
        config.keeper = KeeperPolicy::Never;
    }
    // A supervisor stays on the thread on which it began.
    let together = tokio::task::LocalSet::new();
    block_on(together.run_until(live(options, config, unit, print)))
}

async fn live(
    options: Options,
    config: Config,
    unit: Unit,
    print: Option<Format>,
) -> Result<ExitCode, CliError> {
    let mut signals = Signals::install().map_err(CliError::Runtime)?;
    let root = config.runtime_dir.clone().unwrap_or_else(runtime::root);
    let place = Place::new(&root.join(config.service_name()));
    let mut voice = Voice::new(print);
    let lived = async {
        match revival::revive(&options, &place, &mut signals, &mut voice).await? {
            Revival::Quiet => Ok(ExitCode::Done),
            Revival::Serves => {
                let container = Container::begin(options, config, unit, place, &mut voice).await?;
                container.run(&mut signals, &mut voice).await
            }
        }
    };
    let code = lived.await;
    voice.finish().await;
    code
}
