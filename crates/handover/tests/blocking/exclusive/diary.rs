//! A service that notes which of its hooks were called, and does what its plan says.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use handover::blocking::Service;
use handover::{ItemSpec, Lease, ServiceError, State, StateWriter};

use crate::world::DEADLINE;

/// Long enough to cross as memory rather than in the channel.
const LARGE: usize = 200 * 1024;

/// What a hook was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Base,
    /// The base that arrived.
    Warm(Option<String>),
    /// The epoch, and the sealed state that arrived.
    Activate(u64, Option<String>),
    Drain,
    Seal,
    Resume(u64),
    Dropped,
}

/// What went on, as the test reads it.
pub(crate) struct Diary(Receiver<Entry>);

impl Diary {
    pub(crate) fn new(plan: Plan) -> (Self, Keeper) {
        let (notes, entries) = mpsc::channel();
        let keeper = Keeper {
            notes,
            plan,
            epoch: 0,
        };
        (Self(entries), keeper)
    }

    /// What comes next.
    #[track_caller]
    pub(crate) fn says(&self, expected: impl IntoIterator<Item = Entry>) {
        for expected in expected {
            let found = self.0.recv_timeout(DEADLINE);
            assert_eq!(found, Ok(expected));
        }
    }

    /// All that is left, when the service is gone.
    pub(crate) fn rest(&self) -> Vec<Entry> {
        std::iter::from_fn(|| self.0.recv_timeout(DEADLINE).ok()).collect()
    }
}

/// What goes otherwise than usual.
pub(crate) struct Plan {
    version: u32,
    stateless: bool,
    warm_fails: bool,
    seal_fails: bool,
    seal_panics: bool,
    drain_until: Option<Receiver<()>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            version: 1,
            stateless: false,
            warm_fails: false,
            seal_fails: false,
            seal_panics: false,
            drain_until: None,
        }
    }
}

impl Plan {
    /// Of the state.
    pub(crate) fn version(self, version: u32) -> Self {
        Self { version, ..self }
    }

    /// Nothing but the directory crosses.
    pub(crate) fn stateless(self) -> Self {
        let stateless = true;
        Self { stateless, ..self }
    }

    pub(crate) fn warm_fails(self) -> Self {
        let warm_fails = true;
        Self { warm_fails, ..self }
    }

    pub(crate) fn seal_fails(self) -> Self {
        let seal_fails = true;
        Self { seal_fails, ..self }
    }

    pub(crate) fn seal_panics(self) -> Self {
        let seal_panics = true;
        Self {
            seal_panics,
            ..self
        }
    }

    pub(crate) fn drain_until_released(self) -> (Self, Sender<()>) {
        let (release, released) = mpsc::channel();
        let drain_until = Some(released);
        let plan = Self {
            drain_until,
            ..self
        };
        (plan, release)
    }
}

/// The service.
pub(crate) struct Keeper {
    notes: Sender<Entry>,
    plan: Plan,
    epoch: u64,
}

impl Keeper {
    fn note(&self, entry: Entry) {
        // A test that has seen enough reads no further.
        let _ = self.notes.send(entry);
    }
}

fn text(mut state: State) -> Result<Option<String>, ServiceError> {
    let Some(item) = state.take("words") else {
        return Ok(None);
    };
    if let Some(bulk) = state.take("bulk") {
        assert_eq!(bulk.bytes()?, vec![7; LARGE]);
    }
    Ok(Some(item.value()?))
}

impl Service for Keeper {
    fn manifest(&self) -> Vec<ItemSpec> {
        if self.plan.stateless {
            return Vec::new();
        }
        let version = self.plan.version;
        ["words", "bulk"]
            .map(|name| ItemSpec::required(name).versions(version..=version))
            .into()
    }

    fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        self.note(Entry::Base);
        state.put("bulk", &vec![7; LARGE])?;
        Ok(state.put_value("words", &format!("base of {}", self.epoch))?)
    }

    fn warm(&mut self, base: State) -> Result<(), ServiceError> {
        assert!(!base.is_sealed());
        self.note(Entry::Warm(text(base)?));
        if self.plan.warm_fails {
            return Err("no such certificate".into());
        }
        Ok(())
    }

    fn activate(&mut self, lease: Lease, state: State) -> Result<(), ServiceError> {
        self.epoch = lease.epoch().0;
        let sealed = state.is_sealed();
        let text = text(state)?;
        assert_eq!(sealed && !self.plan.stateless, text.is_some());
        self.note(Entry::Activate(self.epoch, text));
        Ok(())
    }

    fn drain(&mut self, within: Duration) -> Result<(), ServiceError> {
        assert_eq!(within, Duration::from_secs(60));
        self.note(Entry::Drain);
        if let Some(released) = &self.plan.drain_until {
            released.recv_timeout(DEADLINE)?;
        }
        Ok(())
    }

    fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        self.note(Entry::Seal);
        assert!(!self.plan.seal_panics, "the disk is full");
        if self.plan.seal_fails {
            return Err("the disk is full".into());
        }
        if self.plan.stateless {
            return Ok(());
        }
        state.put("bulk", &vec![7; LARGE])?;
        Ok(state.put_value("words", &format!("sealed by {}", self.epoch))?)
    }

    fn resume(&mut self, lease: Lease) -> Result<(), ServiceError> {
        self.epoch = lease.epoch().0;
        self.note(Entry::Resume(self.epoch));
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.note(Entry::Dropped);
    }
}

/// The same for the driver of tasks.
impl handover::Service for Keeper {
    fn manifest(&self) -> Vec<ItemSpec> {
        Service::manifest(self)
    }

    async fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        Service::base(self, state)
    }

    async fn warm(&mut self, base: State) -> Result<(), ServiceError> {
        Service::warm(self, base)
    }

    async fn activate(&mut self, lease: Lease, state: State) -> Result<(), ServiceError> {
        Service::activate(self, lease, state)
    }

    async fn drain(&mut self, within: Duration) -> Result<(), ServiceError> {
        Service::drain(self, within)
    }

    async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        Service::seal(self, state)
    }

    async fn resume(&mut self, lease: Lease) -> Result<(), ServiceError> {
        Service::resume(self, lease)
    }
}
