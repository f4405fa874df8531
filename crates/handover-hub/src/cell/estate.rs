//! What a process leaves to the successor of its node's program.

use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::identity::{Epoch, KindName, ProcessId};
use handover_hub_proto::mailbox::Freeze;
use handover_hub_proto::redundancy::Redundancy;
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::letter::Octets;
use super::pack::Pack;
use super::reminder::left;
use super::run::drop_body;
use super::will::Will;
use super::{Cell, Phase, Work};
use crate::hub::Shared;
use crate::kind::{Body, Fault};
use crate::local::Unfit;
use crate::timers::CHECKPOINT;

/// A process between two programs of one node.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Estate {
    spec: Arc<ChildSpec>,
    epoch: Epoch,
    role: Role,
    /// Its state, its mailbox, and its messages to itself, as they move between nodes.
    pack: Octets,
    replicas: Will,
    /// A checkpoint was due.
    checkpoint: bool,
}

impl Cell {
    /// Takes no further message. True when it is at none, and nothing else is to be done.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.lock();
        match state.phase {
            Phase::Retired | Phase::Ended => !state.running && state.work.is_empty(),
            Phase::Serving => {
                let frozen = state.mailbox.freeze() == Freeze::Frozen;
                frozen && !state.running && state.work.is_empty() && state.body.is_some()
            }
            Phase::Vacant | Phase::Warm | Phase::Landed(_) | Phase::Frozen(_) => false,
        }
    }

    /// Its kind, if it is here.
    pub(crate) fn kind(&self) -> Option<KindName> {
        let state = self.lock();
        (state.phase != Phase::Retired).then(|| state.spec.kind.clone())
    }

    /// All that a successor needs to go on with it; none of one that has moved away. It must
    /// [rest](Self::rest).
    pub(crate) fn estate(
        &self,
        schema: impl Fn(&KindName) -> Option<u32>,
    ) -> Result<Option<Estate>, Unfit> {
        let mut state = self.lock();
        match state.phase {
            Phase::Retired | Phase::Ended => return Ok(None),
            Phase::Serving => {}
            Phase::Vacant | Phase::Warm | Phase::Landed(_) | Phase::Frozen(_) => {
                return Err(self.busy());
            }
        }
        let kind = state.spec.kind.clone();
        let schema = schema(&kind).ok_or_else(|| Unfit::Kind {
            process: self.id.clone(),
            kind,
        })?;
        let mut body = state.body.take().ok_or_else(|| self.busy())?;
        drop(state);
        let written = body.prepare(schema);
        let mut state = self.lock();
        state.body = Some(body);
        let handed = written.map_err(|fault| self.hook(&fault))?;
        let sealed = state.mailbox.seal().ok_or_else(|| self.busy())?;
        let (later, checkpoint) = match &state.rare {
            Some(rare) => {
                let later = rare.later.iter().map(|(_, at, body)| (*at, body));
                (left(later), rare.checkpoint_due)
            }
            None => (Vec::new(), false),
        };
        let pack = Pack {
            handed,
            sealed,
            later,
        };
        let pack = pack.encode().map_err(|error| self.unreadable(&error))?;
        Ok(Some(Estate {
            spec: Arc::clone(&state.spec),
            epoch: state.epoch,
            role: state.role,
            pack: Octets(pack),
            replicas: state.will(),
            checkpoint,
        }))
    }

    /// The node goes on: so does this process, and what waited for it.
    pub(crate) fn go_on(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut state = self.lock();
        if state.phase != Phase::Serving {
            return;
        }
        state.work.push_back(Work::GoOn);
        let due = state.rare.as_ref().is_some_and(|rare| rare.checkpoint_due);
        let released = state.mailbox.resume(&shared.limits);
        self.release(shared, state, released);
        self.remind_again(shared);
        if let Some(checkpoints) = shared.checkpoints.as_ref().filter(|_| due) {
            let at = Instant::now() + checkpoints.every;
            shared.timers.add(at, self, CHECKPOINT);
        }
    }

    /// The process is told, before it takes a message.
    pub(super) async fn went_on(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        body: Option<Box<dyn Body>>,
    ) {
        let Some(mut body) = body else {
            return;
        };
        match body.resume(&self.context(shared)).await {
            Ok(()) => self.put_back(Some(body)),
            Err(fault) => {
                drop_body(Some(body));
                self.crashed(shared, fault.to_string()).await;
            }
        }
    }

    fn busy(&self) -> Unfit {
        Unfit::Busy {
            process: self.id.clone(),
        }
    }

    fn hook(&self, fault: &Fault) -> Unfit {
        Unfit::Hook {
            process: self.id.clone(),
            reason: fault.to_string(),
        }
    }

    fn unreadable(&self, error: &postcard::Error) -> Unfit {
        Unfit::Unreadable {
            process: self.id.clone(),
            reason: error.to_string(),
        }
    }
}

impl Estate {
    /// Whose it is.
    pub(crate) fn process(&self) -> &ProcessId {
        &self.spec.id
    }

    /// The process as it was. It rests until it [goes on](Cell::go_on).
    pub(crate) async fn restore(self, shared: &Arc<Shared>) -> Result<Arc<Cell>, Unfit> {
        let cell = Cell::new(Arc::clone(&self.spec), self.epoch);
        cell.lock().role = self.role;
        let pack = Pack::decode(&self.pack.0).map_err(|error| cell.unreadable(&error))?;
        let kind = self.spec.kind.clone();
        let Some(known) = shared.kinds.get(&kind) else {
            let process = cell.id.clone();
            return Err(Unfit::Kind { process, kind });
        };
        let reads = known.schemas().reads;
        let kept = self.replicas.schema();
        let unread = [Some(pack.handed.schema()), kept];
        if let Some(found) = unread
            .into_iter()
            .flatten()
            .find(|found| !reads.contains(found))
        {
            return Err(Unfit::Schema {
                process: cell.id.clone(),
                kind,
                found,
                oldest: *reads.start(),
                newest: *reads.end(),
            });
        }
        let context = cell.context(shared);
        let made = async {
            let mut body = known.start(&self.spec.argument, &context).await?;
            body.warm(&context).await?;
            let mut body = body.alter(pack.handed)?;
            if shared.redundancy != Redundancy::Single {
                body.role(self.role)?;
            }
            Ok(body)
        };
        let body = made.await.map_err(|fault| cell.hook(&fault))?;
        {
            let mut state = cell.lock();
            state.phase = Phase::Serving;
            state.body = Some(body);
            state.mailbox.restore(pack.sealed);
            // What waits is served when the node goes on.
            let _ = state.mailbox.activate(false, &shared.limits);
            state.inherit(self.replicas);
            if self.checkpoint {
                state.rare().checkpoint_due = true;
            }
        }
        let later = pack.later.into_iter();
        let later: Vec<(Duration, _)> = later.map(|(delay, body)| (delay, body.0)).collect();
        cell.remind(shared, later);
        Ok(cell)
    }
}
