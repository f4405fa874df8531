//! Becoming the owner of data.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::hooks::Hooks;
use super::instance::Instance;
use super::park;
use super::service::Service;
use crate::conduct::Command;
use crate::exclusive::OwnError;
use crate::exclusive::owner::{Owner, Tell};
use crate::lease::{Lease, LeaseFile, Options};

impl Instance {
    /// Becomes the one owner of `data_dir` and says that the program serves: everything
    /// [`Instance::ready`] does, for a program of which only one instance may write.
    ///
    /// | | who decides | order |
    /// |---|---|---|
    /// | under `handover run --exclusive` | the coordinator | `warm`, waits for its turn, takes the lease, `activate`, ready |
    /// | otherwise | the lock of the directory | `warm`, takes the lease within two seconds, `activate`, `READY=1` |
    ///
    /// From then on the service lives on the thread `handover-hooks` and its hooks are called when
    /// a handover needs them. Ask the returned [`Lease`] for a permit before each write, with
    /// [`Lease::enter_blocking`]. Serve after this has returned: what is accepted before waits
    /// until then for its permit.
    ///
    /// A drain by a signal, by [`Instance::drain`] or by the coordinator runs its ladder, then
    /// seals the service so that the data is closed, and releases the lease. All that is done when
    /// [`Instance::retired`] returns: wait for it before `main` returns.
    ///
    /// # Errors
    /// See [`OwnError`].
    pub fn own(
        &self,
        data_dir: impl AsRef<Path>,
        service: impl Service,
    ) -> Result<Lease, OwnError> {
        self.close_unclaimed();
        let name = match self.id() {
            Some(id) => format!("{} {id}", self.name()),
            None => self.name().to_owned(),
        };
        let options = Options::default()
            .name(name)
            .trust_filesystem(self.trusts_filesystem())
            .with_handoff_lock(self.is_beside_handoff());
        let file = match LeaseFile::open(data_dir, options) {
            Ok(file) => file,
            Err(error) => return Err(self.cannot_own(error.into())),
        };
        // Not the handle's own hold: the thread must not keep the instance.
        let state = self.core.state();
        let tell: Tell = Arc::new(move |report| state.order(Command::Report(report)));
        let items = service.manifest();
        let hooks = {
            let tell = Arc::clone(&tell);
            Hooks::spawn(service, move |report| tell(report))
        };
        let hooks = match hooks {
            Ok(hooks) => Box::new(hooks),
            Err(error) => return Err(self.cannot_own(OwnError::Thread(error))),
        };
        let owner = Owner::new(hooks, tell, file, items, self.budget());
        let lease = owner.lease();
        self.core.owns(lease.clone());
        let (answer, answered) = oneshot::channel();
        self.core.order(Command::Own(Box::new(owner), answer));
        let answer = park::wait(answered, None).and_then(Result::ok);
        answer.unwrap_or(Err(OwnError::Ended))?;
        self.say_ready().map_err(OwnError::Notify)?;
        Ok(lease)
    }

    /// The coordinator should not wait for an instance that cannot.
    fn cannot_own(&self, error: OwnError) -> OwnError {
        self.core.order(Command::Fail(error.to_string()));
        error
    }
}
