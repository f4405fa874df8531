//! Checkpoints of one process.

use std::sync::Arc;

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

    /// Writes one. A failure is logged: the process serves on.
    pub(super) async fn checkpoint(
        &self,
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
        let written = self.schema(shared).map(|schema| body.prepare(schema));
        match written {
            Some(Ok(handed)) => {
                if let Err(error) = checkpoints.save(&self.id, epoch, handed).await {
                    tracing::warn!(process = %self.id, %error, "its checkpoint was not written");
                }
            }
            Some(Err(fault)) => {
                tracing::warn!(process = %self.id, %fault, "its checkpoint was not written");
            }
            None => {}
        }
        Some(body)
    }

    pub(super) async fn load_checkpoint(&self, shared: &Shared) -> Option<Handed> {
        let checkpoints = shared.checkpoints.as_ref()?;
        match checkpoints.load(&self.id).await {
            Ok(handed) => handed,
            Err(error) => {
                tracing::warn!(process = %self.id, %error, "its checkpoint was not read");
                None
            }
        }
    }

    /// It is stopped for good.
    pub(super) async fn drop_checkpoint(&self, shared: &Shared) {
        if let Some(checkpoints) = &shared.checkpoints
            && let Err(error) = checkpoints.remove(&self.id).await
        {
            tracing::warn!(process = %self.id, %error, "its checkpoint was not removed");
        }
    }
}
