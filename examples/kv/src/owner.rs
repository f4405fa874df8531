//! The hooks: what it takes to give a directory and what is in memory to the next version.

use std::sync::Arc;

use handover::{ItemSpec, Lease, ServiceError, State, StateWriter};

use crate::store::Store;

/// Counts that clients rely on: a version that cannot read them must not take over.
const VISITS: &str = "visits";
/// A number for a chart: a version that does not know it starts from 0.
const HITS: &str = "hits";

pub(crate) struct Owner {
    store: Arc<Store>,
    /// The revision of the visits that the successor has from the base.
    sent: u64,
}

impl Owner {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self {
            store: Arc::clone(store),
            sent: 0,
        }
    }

    /// Opens the database on a thread that may block, and stamps it with the lease's epoch.
    async fn open(&self, lease: Lease) -> Result<(), ServiceError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.open(lease.epoch().0)).await??;
        Ok(())
    }
}

impl handover::Service for Owner {
    fn manifest(&self) -> Vec<ItemSpec> {
        vec![
            ItemSpec::required(VISITS).versions(1..=1),
            ItemSpec::best_effort(HITS).versions(1..=1),
        ]
    }

    /// While we serve: all visits so far. What changes from now on goes with the seal, so the pause
    /// does not grow with their number.
    async fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        let (visits, revision) = self.store.visits.since(0);
        state.put_value(VISITS, &visits)?;
        self.sent = revision;
        Ok(())
    }

    /// The database cannot be opened yet, not even to read: redb lets nobody in beside its owner.
    async fn warm(&mut self, mut base: State) -> Result<(), ServiceError> {
        if let Some(visits) = base.take(VISITS) {
            self.store.visits.restore(visits.value()?);
        }
        Ok(())
    }

    async fn activate(&mut self, lease: Lease, mut state: State) -> Result<(), ServiceError> {
        if let Some(changed) = state.take(VISITS) {
            self.store.visits.restore(changed.value()?);
        }
        if let Some(hits) = state.take(HITS) {
            self.store.set_hits(hits.value()?);
        }
        self.open(lease).await
    }

    /// Nobody writes any more. Whatever can fail comes first: after an error we must be able to go
    /// on as if nothing had been.
    async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        let (changed, _) = self.store.visits.since(self.sent);
        state.put_value(VISITS, &changed)?;
        if state.version(HITS).is_some() {
            state.put_value(HITS, &self.store.hits())?;
        }
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.close()).await?;
        Ok(())
    }

    async fn resume(&mut self, lease: Lease) -> Result<(), ServiceError> {
        self.open(lease).await
    }
}
