//! A hub as a [`Service`]: owned by one program at a time, which hands it to its next version.

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use handover::{Instance, ItemSpec, Lease, Service, ServiceError, State, StateWriter};
use handover_hub_proto::identity::{KindName, NodeId};

use super::{HandedHub, Successor};
use crate::error::StartError;
use crate::hub::{Builder, Hub};
use crate::kind::Schemas;

/// The item with all of the node.
const ITEM: &str = "hub";

/// Who serves is written here, in the directory that is owned.
const SERVES: &str = "hub-serves";

/// How long a node that leaves may take to move its processes away, and how long what is under way
/// may take to come to its end where nobody says.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are written at once.
const PIECE: usize = 1 << 20;

/// Of the time for a drain this part is kept for going on, if it fails.
const SPARE: u32 = 4;

/// Why a program does not run its node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnError {
    /// It does not own the directory, or was refused: the program before serves on.
    #[error(transparent)]
    Own(#[from] handover::OwnError),
    /// Its node did not serve.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The directory cannot be written.
    #[error("{}: {source}", path.display())]
    Directory {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Builder {
    /// Runs the node in this instance of a program, and hands it to the next version of the program
    /// through memory: `handover upgrade`, or a takeover without a supervisor. Call it in place of
    /// [`start`](Self::start) and [`Instance::own`]; under `handover run --exclusive`.
    ///
    /// `directory` is the node's own, on this host: its lock says which program runs the node. The
    /// listener should be [`Instance::tcp_socket`]'s, so that it stays open.
    ///
    /// | what happens | what the node does |
    /// |---|---|
    /// | nobody ran it, or who did died | joins the hub as a new node |
    /// | an upgrade | goes on in the new program, as the same node with the same processes |
    /// | an upgrade that fails before it is committed | goes on in the old one |
    /// | SIGTERM, or a stop | leaves the hub, its processes move to other nodes |
    ///
    /// A new program that lacks the kind of a process that is here, or reads no version of its state
    /// that is written here, is refused before anything stops.
    ///
    /// # Errors
    ///
    /// [`OwnError`]; end the process then.
    pub async fn own(
        self,
        instance: &Instance,
        directory: impl AsRef<Path>,
    ) -> Result<Hub, OwnError> {
        let mark = Mark(directory.as_ref().join(SERVES));
        let stage = Arc::new(Mutex::new(None));
        let owner = Owner {
            kinds: self.schemas(),
            builder: Some(self),
            stage: Arc::clone(&stage),
            mark: mark.clone(),
            hub: None,
            handed: None,
        };
        instance.own(directory, owner).await?;
        let begun = stage.lock().unwrap_or_else(PoisonError::into_inner).take();
        match begun {
            Some(Begun::Started(hub)) => Ok(hub),
            Some(Begun::Successor(successor)) => {
                // Before that the program before may go on.
                instance.committed().await;
                mark.put(successor.hub())?;
                Ok(successor.serve().await?)
            }
            None => Err(StartError::Ended.into()),
        }
    }
}

/// What the activation came to.
enum Begun {
    Started(Hub),
    Successor(Successor),
}

/// Says which program has served the node last: one whose successor has served must not go on, for
/// it does not know what that one answered.
#[derive(Clone, Debug)]
struct Mark(PathBuf);

impl Mark {
    fn text(hub: &Hub) -> String {
        let NodeId(node) = hub.node();
        format!("{node:016x} {}\n", hub.seat().reins.instance)
    }

    fn put(&self, hub: &Hub) -> Result<(), OwnError> {
        std::fs::write(&self.0, Self::text(hub)).map_err(|source| OwnError::Directory {
            path: self.0.clone(),
            source,
        })
    }

    fn is_of(&self, hub: &Hub) -> bool {
        std::fs::read_to_string(&self.0).is_ok_and(|text| text == Self::text(hub))
    }
}

struct Owner {
    kinds: Vec<(KindName, Schemas)>,
    /// Until it is activated.
    builder: Option<Builder>,
    stage: Arc<Mutex<Option<Begun>>>,
    mark: Mark,
    /// Once it is.
    hub: Option<Hub>,
    handed: Option<HandedHub>,
}

impl Owner {
    fn hub(&self) -> Result<&Hub, ServiceError> {
        self.hub
            .as_ref()
            .ok_or_else(|| "the node does not run".into())
    }

    /// The version in which states of a kind are written for the successor.
    fn agreed(&self, state: &StateWriter, kind: &KindName) -> Option<u32> {
        let (_, schemas) = self.kinds.iter().find(|(known, _)| known == kind)?;
        let version = state.version(&item(kind))?;
        schemas.writes.contains(&version).then_some(version)
    }
}

/// The item whose versions are those of the state of a kind. Nothing is in it.
fn item(kind: &KindName) -> String {
    format!("{ITEM} kind {kind}")
}

impl Service for Owner {
    fn manifest(&self) -> Vec<ItemSpec> {
        let kinds = self.kinds.iter().map(|(kind, schemas)| {
            let (reads, writes) = (&schemas.reads, &schemas.writes);
            let oldest = *reads.start().min(writes.start());
            let newest = *reads.end().max(writes.end());
            ItemSpec::best_effort(item(kind)).versions(oldest..=newest)
        });
        std::iter::once(ItemSpec::required(ITEM))
            .chain(kinds)
            .collect()
    }

    async fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        for kind in self.hub()?.kinds_here() {
            if self.agreed(state, &kind).is_none() {
                let reason = format!(
                    "processes of kind {kind} run here, and the new program does not know that kind, \
                     or reads no version of its state that this one writes"
                );
                return Err(reason.into());
            }
        }
        Ok(())
    }

    async fn activate(&mut self, _: Lease, mut state: State) -> Result<(), ServiceError> {
        let builder = self.builder.take().ok_or("it was activated before")?;
        let begun = match state.take(ITEM) {
            Some(item) => Begun::Successor(builder.resume(item.reader()).await?),
            None => {
                let hub = builder.start().await?;
                self.mark.put(&hub)?;
                Begun::Started(hub)
            }
        };
        self.hub = Some(match &begun {
            Begun::Started(hub) => hub.clone(),
            Begun::Successor(successor) => successor.hub().clone(),
        });
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
        Ok(())
    }

    async fn drain(&mut self, within: Duration) -> Result<(), ServiceError> {
        let within = within - within / SPARE;
        self.handed = Some(self.hub()?.hand_over(within).await?);
        Ok(())
    }

    async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        if state.version(ITEM).is_none() {
            // Nobody comes after it.
            self.handed = None;
            let hub = self.hub()?;
            hub.go_on().await;
            if hub.is_alive() {
                hub.leave(PATIENCE).await?;
            }
            return Ok(());
        }
        let versions: Vec<(KindName, Option<u32>)> = self
            .kinds
            .iter()
            .map(|(kind, _)| (kind.clone(), self.agreed(state, kind)))
            .collect();
        let schema = |kind: &KindName| {
            let found = versions.iter().find(|(known, _)| known == kind);
            found.and_then(|(_, version)| *version)
        };
        if self.handed.is_none() {
            self.handed = Some(self.hub()?.hand_over(PATIENCE).await?);
        }
        let Some(handed) = &self.handed else {
            return Err("the node does not rest".into());
        };
        // Records are small, and each piece that is written is a system call.
        let mut pieces = BufWriter::with_capacity(PIECE, state.stream(ITEM)?);
        handed.write(&mut pieces, schema)?;
        let stream = pieces.into_inner().map_err(|error| error.into_error())?;
        stream.finish()?;
        Ok(())
    }

    async fn resume(&mut self, _: Lease) -> Result<(), ServiceError> {
        self.handed = None;
        let hub = self.hub()?;
        if !self.mark.is_of(hub) {
            return Err("a later program has served this node since; it cannot go on here".into());
        }
        hub.go_on().await;
        Ok(())
    }
}
