//! Becoming the owner of data.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Instance;
use crate::conduct::Command;
use crate::driver::Order;
use crate::exclusive::OwnError;
use crate::exclusive::hooks::Hooks;
use crate::exclusive::owner::{Owner, Tell};
use crate::lease::{Lease, LeaseFile, Options};
use crate::service::Service;

impl Instance {
    /// Becomes the one owner of `data_dir` and says that the program serves: everything
    /// [`Instance::ready`] does, for a program of which only one instance may write.
    ///
    /// | | who decides | order |
    /// |---|---|---|
    /// | under `handover run --exclusive` | the coordinator | `warm`, waits for its turn, takes the lease, `activate`, ready |
    /// | otherwise | the lock of the directory | `warm`, takes the lease within two seconds, `activate`, `READY=1` |
    ///
    /// From then on the service lives on a task of the runtime and its hooks are called when a
    /// handover needs them. Ask the returned [`Lease`] for a [`Permit`](crate::Permit) before each
    /// write. Serve after this has returned: what is accepted before waits until then for its
    /// permit.
    ///
    /// A drain by a signal, by [`Instance::drain`] or by the coordinator runs its ladder, then seals
    /// the service so that the data is closed, and releases the lease. All that is done when
    /// [`Instance::retired`] resolves: wait for it before `main` returns. A runtime that is dropped
    /// earlier drops the service unsealed, and the lease then ends with the process.
    ///
    /// # Cancel safety
    /// When cancelled, it becomes the owner all the same, and cannot be asked again.
    ///
    /// # Errors
    /// See [`OwnError`].
    pub async fn own(
        &self,
        data_dir: impl AsRef<Path>,
        service: impl Service,
    ) -> Result<Lease, OwnError> {
        self.close_unclaimed();
        let name = match self.id {
            Some(id) => format!("{} {id}", self.core.name),
            None => self.core.name.clone(),
        };
        let options = Options::default()
            .name(name)
            .trust_filesystem(self.trust_filesystem)
            .with_handoff_lock(self.beside_handoff);
        let file = match LeaseFile::open(data_dir, options) {
            Ok(file) => file,
            Err(error) => return Err(self.cannot_own(error.into())),
        };
        let orders = self.orders.clone();
        // The driver ends only with the runtime, and then nobody has to be told.
        let tell: Tell = Arc::new(move |report| {
            drop(orders.send(Order::Obey(Command::Report(report))));
        });
        let items = service.manifest();
        let hooks = {
            let tell = Arc::clone(&tell);
            Hooks::spawn(service, &self.runtime, move |report| tell(report))
        };
        let owner = Owner::new(Box::new(hooks), tell, file, items, self.budget);
        let lease = owner.lease();
        self.core.owns(lease.clone());
        let (answer, answered) = oneshot::channel();
        self.order(Command::Own(Box::new(owner), answer));
        answered.await.unwrap_or(Err(OwnError::Ended))?;
        let told = self.notice.say("READY=1".into()).await;
        told.map_err(OwnError::Notify)?;
        Ok(lease)
    }

    /// The coordinator should not wait for an instance that cannot.
    fn cannot_own(&self, error: OwnError) -> OwnError {
        self.order(Command::Fail(error.to_string()));
        error
    }
}
