//! Checkpoints of one process.

use std::io::ErrorKind;
use std::sync::Arc;

use handover_hub_proto::event::Event;
use handover_hub_proto::node::HostFailure;
use handover_hub_proto::row::Role;

use super::Cell;
use crate::hub::Shared;
use crate::kind::Body;
use crate::process::Handed;
use crate::timers::CHECKPOINT;

impl Cell {
    /// It changed: a checkpoint is due after a while, unless one is due already.
    pub(super) fn changed(self: &Arc<Self>, shared: &Shared) {
        let Some(checkpoints) = &shared.checkpoints else {
            return;
        };
        let mut state = self.lock();
        let due = &mut state.rare().checkpoint_due;
        if !std::mem::replace(due, true) {
            let at = tokio::time::Instant::now() + checkpoints.every;
            shared.timers.add(at, self, CHECKPOINT);
        }
    }

    /// Writes one. A failure is told, and it is tried again: the process serves on.
    pub(super) async fn checkpoint(
        self: &Arc<Self>,
        shared: &Shared,
        body: Option<Box<dyn Body>>,
    ) -> Option<Box<dyn Body>> {
        let mut body = body?;
        let Some(checkpoints) = &shared.checkpoints else {
            return Some(body);
        };
        let epoch = {
            let mut state = self.lock();
            state.rare().checkpoint_due = false;
            state.epoch
        };
        let Some(schema) = self.schema(shared) else {
            return Some(body);
        };
        let failed = match body.prepare(schema) {
            Ok(handed) => match checkpoints.save(&self.id, epoch, handed).await {
                Ok(()) => return Some(body),
                Err(error) => error.to_string(),
            },
            Err(fault) => fault.to_string(),
        };
        self.checkpoint_failed(shared, format!("not written: {failed}"));
        self.changed(shared);
        Some(body)
    }

    fn checkpoint_failed(&self, shared: &Shared, reason: String) {
        tracing::warn!(process = %self.id, %reason, "a checkpoint failed");
        let process = self.id.clone();
        // Nobody has to listen.
        let _ = (shared.events).send(Event::CheckpointFailed { process, reason });
    }

    /// What it was when it was last written. Damaged, it is as if there were none; that it cannot be
    /// read now, or not by this version of the program, is no reason to begin without it.
    pub(super) async fn load_checkpoint(
        &self,
        shared: &Shared,
    ) -> Result<Option<Handed>, HostFailure> {
        let Some(checkpoints) = shared.checkpoints.as_ref() else {
            return Ok(None);
        };
        let (epoch, kind) = {
            let state = self.lock();
            (state.epoch, state.spec.kind.clone())
        };
        let refused = |reason: String| {
            self.checkpoint_failed(shared, format!("not read: {reason}"));
            Err(HostFailure::Refused(format!("its checkpoint: {reason}")))
        };
        let handed = match checkpoints.load(&self.id, epoch).await {
            Ok(Some(handed)) => handed,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let reason = format!("damaged, it begins without it: {error}");
                self.checkpoint_failed(shared, reason);
                return Ok(None);
            }
            Err(error) => return refused(error.to_string()),
        };
        let kind = shared.kinds.get(&kind).ok_or(HostFailure::UnknownKind)?;
        let (reads, found) = (kind.schemas().reads, handed.schema());
        if reads.contains(&found) {
            return Ok(Some(handed));
        }
        let (first, last) = (reads.start(), reads.end());
        refused(format!(
            "version {found}, this node reads {first} to {last}"
        ))
    }

    /// It is stopped for good. A passive replica leaves the checkpoint to the active one.
    pub(super) async fn drop_checkpoint(&self, shared: &Shared) {
        let Some(checkpoints) = &shared.checkpoints else {
            return;
        };
        let (epoch, role) = {
            let state = self.lock();
            (state.epoch, state.role)
        };
        if role == Role::Active
            && let Err(error) = checkpoints.remove(&self.id, epoch).await
        {
            self.checkpoint_failed(shared, format!("not removed: {error}"));
        }
    }
}
