//! What `base` and `seal` write to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_proto::state::{Body, Frame, ItemSpec, MAX_INLINE, Need, Terms};
use handover_sys::memfd::{Memfd, SealedMemfd};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::outbox::{Outbox, Outgoing};
use super::stream::StreamWriter;
use super::{StateBudget, StateError};

/// Progress is told at most this often; it is for people.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Memory as an item: still being written, or sealed already.
#[derive(Debug)]
pub enum Memory {
    /// Is sealed when it is put.
    Open(Memfd),
    /// Can be put as it is, also more than once, by [`SealedMemfd::try_clone`].
    Sealed(SealedMemfd),
}

impl From<Memfd> for Memory {
    fn from(memfd: Memfd) -> Self {
        Self::Open(memfd)
    }
}

impl From<SealedMemfd> for Memory {
    fn from(memfd: SealedMemfd) -> Self {
        Self::Sealed(memfd)
    }
}

/// What crosses in one attempt, base and delta together.
#[derive(Debug, Default)]
pub(crate) struct Account {
    items: u64,
    bytes: u64,
    written: BTreeSet<String>,
}

/// Which part is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chapter {
    Base,
    Delta,
}

/// An agreed item.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    version: u32,
    need: Need,
}

/// Takes the items of a base or a seal. From [`Service::base`](crate::Service::base) and
/// [`Service::seal`](crate::Service::seal).
///
/// Nothing here waits for the successor: what is written is queued, and sent meanwhile by a thread
/// of the library. An item whose version the successor does not take ([`StateWriter::version`]) is
/// accepted and dropped.
pub struct StateWriter {
    /// Absent when nobody reads.
    outbox: Option<Arc<Outbox>>,
    listed: BTreeSet<String>,
    agreed: BTreeMap<String, Agreed>,
    account: Arc<std::sync::Mutex<Account>>,
    chapter: Chapter,
    /// Names of this chapter.
    names: BTreeSet<String>,
    budget: StateBudget,
    /// When a seal must be through.
    until: Option<Instant>,
    /// A stream that was dropped unfinished.
    unfinished: Option<String>,
    progress: Box<dyn Fn(u64, u64) + Send + Sync>,
    told: Option<Instant>,
}

impl std::fmt::Debug for StateWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateWriter")
            .field("agreed", &self.agreed)
            .field("chapter", &self.chapter)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl StateWriter {
    /// A writer of one chapter over a channel whose terms are agreed.
    pub(crate) fn over(
        outbox: Arc<Outbox>,
        listed: &[ItemSpec],
        terms: &Terms,
        account: Arc<std::sync::Mutex<Account>>,
        chapter: Chapter,
        budget: StateBudget,
        progress: impl Fn(u64, u64) + Send + Sync + 'static,
    ) -> Self {
        let agreed = terms.items.iter().map(|item| {
            let (version, need) = (item.version, item.need);
            (item.name.clone(), Agreed { version, need })
        });
        Self {
            outbox: Some(outbox),
            agreed: agreed.collect(),
            account,
            until: (chapter == Chapter::Delta).then(|| Instant::now() + budget.time),
            progress: Box::new(progress),
            ..Self::discarding(listed, chapter, budget)
        }
    }

    /// A writer whose items nobody reads: there is no successor.
    pub(crate) fn discarding(listed: &[ItemSpec], chapter: Chapter, budget: StateBudget) -> Self {
        Self {
            outbox: None,
            listed: listed.iter().map(|item| item.name.clone()).collect(),
            agreed: BTreeMap::new(),
            account: Arc::default(),
            chapter,
            names: BTreeSet::new(),
            budget,
            until: None,
            unfinished: None,
            progress: Box::new(|_, _| {}),
            told: None,
        }
    }

    /// The version of an item to write: the highest that both sides know. `None`: nobody takes it,
    /// so preparing it is wasted work.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<u32> {
        self.agreed.get(name).map(|agreed| agreed.version)
    }

    /// Puts an item. Up to 64 KiB cross in the channel, more as sealed memory of its own, with a
    /// checksum either way.
    ///
    /// # Errors
    /// [`StateError::Unlisted`], [`StateError::Twice`], [`StateError::TooMuch`],
    /// [`StateError::TooLate`], [`StateError::Memory`], [`StateError::Channel`]. Nothing was put.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let length = bytes.len() as u64;
        let Some(version) = self.begin(name, length)? else {
            return Ok(());
        };
        let (body, descriptor) = if bytes.len() <= MAX_INLINE {
            (Body::Inline(bytes.to_vec()), None)
        } else {
            let memory = self.memory_of(name, bytes)?;
            (Body::Descriptor, Some(memory.into()))
        };
        let frame = Frame::Item {
            name: name.to_owned(),
            version,
            length,
            checksum: Some(xxh3_64(bytes)),
            body,
        };
        self.send(Outgoing { frame, descriptor })?;
        self.wrote(name);
        Ok(())
    }

    /// Puts a value as its [postcard](https://docs.rs/postcard) form. See [`StateWriter::put`].
    ///
    /// # Errors
    /// As [`StateWriter::put`], and [`StateError::Value`].
    pub fn put_value<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), StateError> {
        let bytes = postcard::to_allocvec(value).map_err(|source| StateError::Value {
            name: name.to_owned(),
            source,
        })?;
        self.put(name, &bytes)
    }

    /// Puts memory without a copy. It is sealed here if it is not yet. It carries no checksum:
    /// its seals make it unchangeable, and it never leaves the host's memory.
    ///
    /// # Errors
    /// As [`StateWriter::put`], and [`StateError::Seal`].
    pub fn put_memfd(&mut self, name: &str, memory: impl Into<Memory>) -> Result<(), StateError> {
        self.memory(name, memory.into(), false)
    }

    /// [`StateWriter::put_memfd`] with a checksum, which reads all of it once.
    ///
    /// # Errors
    /// As [`StateWriter::put_memfd`].
    pub fn put_memfd_checked(
        &mut self,
        name: &str,
        memory: impl Into<Memory>,
    ) -> Result<(), StateError> {
        self.memory(name, memory.into(), true)
    }

    /// Writes an item whose length is not known, or that is too long to be held at once. What fills
    /// a segment is sent while the rest is written.
    ///
    /// # Errors
    /// [`StateError::Unlisted`], [`StateError::Twice`], [`StateError::TooLate`].
    pub fn stream(&mut self, name: &str) -> Result<StreamWriter<'_>, StateError> {
        let version = self.begin(name, 0)?;
        Ok(StreamWriter::new(self, name.to_owned(), version))
    }

    /// Tells people how far it is: `done` of `total`, in whatever unit. Not more often than ten
    /// times a second is anything sent.
    pub fn progress(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        let due = self
            .told
            .is_none_or(|told| now.duration_since(told) >= PROGRESS_EVERY);
        if due || done == total {
            self.told = Some(now);
            (self.progress)(done, total);
        }
    }

    fn memory(&mut self, name: &str, memory: Memory, checked: bool) -> Result<(), StateError> {
        let sealed = match memory {
            Memory::Sealed(sealed) => sealed,
            Memory::Open(memfd) => memfd.seal().map_err(|source| StateError::Seal {
                name: name.to_owned(),
                source,
            })?,
        };
        let length = sealed.len();
        let Some(version) = self.begin(name, length)? else {
            return Ok(());
        };
        let checksum = if checked {
            let mapped = sealed.map().map_err(failed(name))?;
            Some(xxh3_64(&mapped))
        } else {
            None
        };
        let frame = Frame::Item {
            name: name.to_owned(),
            version,
            length,
            checksum,
            body: Body::Descriptor,
        };
        let descriptor = Some(sealed.into());
        self.send(Outgoing { frame, descriptor })?;
        self.wrote(name);
        Ok(())
    }

    fn memory_of(&self, name: &str, bytes: &[u8]) -> Result<SealedMemfd, StateError> {
        let mut memfd = Memfd::create(name, 0).map_err(failed(name))?;
        memfd.write_all(bytes).map_err(failed(name))?;
        memfd.seal().map_err(|source| StateError::Seal {
            name: name.to_owned(),
            source,
        })
    }

    /// Checks a new item; `None`: it goes nowhere.
    fn begin(&mut self, name: &str, length: u64) -> Result<Option<u32>, StateError> {
        if !self.listed.contains(name) {
            let name = name.to_owned();
            return Err(StateError::Unlisted { name });
        }
        if self.names.contains(name) {
            let name = name.to_owned();
            return Err(StateError::Twice { name });
        }
        self.in_time()?;
        let version = self.version(name);
        if version.is_some() {
            self.spend(name, length)?;
        }
        Ok(version)
    }

    /// Notes an item that was written whole.
    pub(super) fn wrote(&mut self, name: &str) {
        self.names.insert(name.to_owned());
        let mut account = crate::ledger::lock(&self.account);
        account.items += 1;
        account.written.insert(name.to_owned());
    }

    /// Counts bytes against the budget.
    pub(super) fn spend(&self, name: &str, length: u64) -> Result<(), StateError> {
        let mut account = crate::ledger::lock(&self.account);
        let found = account.bytes.saturating_add(length);
        if found > self.budget.bytes {
            return Err(StateError::TooMuch {
                name: name.to_owned(),
                allowed: self.budget.bytes,
                found,
            });
        }
        account.bytes = found;
        Ok(())
    }

    pub(super) fn in_time(&self) -> Result<(), StateError> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            let allowed = self.budget.time;
            return Err(StateError::TooLate { allowed });
        }
        Ok(())
    }

    pub(super) fn send(&self, outgoing: Outgoing) -> Result<(), StateError> {
        match &self.outbox {
            Some(outbox) => outbox.push(outgoing),
            None => Ok(()),
        }
    }

    /// Frames that wait to be sent.
    pub(super) fn backlog(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.backlog())
    }

    pub(super) fn dropped(&mut self, name: String) {
        self.unfinished.get_or_insert(name);
    }

    /// Ends the chapter: the hook has returned.
    pub(crate) fn finish(self) -> Result<(), StateError> {
        if let Some(name) = self.unfinished {
            return Err(StateError::Unfinished { name });
        }
        self.in_time()?;
        if self.outbox.is_none() {
            return Ok(());
        }
        let frame = match self.chapter {
            Chapter::Base => Frame::BaseEnd,
            Chapter::Delta => self.end()?,
        };
        let descriptor = None;
        self.send(Outgoing { frame, descriptor })
    }

    fn end(&self) -> Result<Frame, StateError> {
        let account = crate::ledger::lock(&self.account);
        let missing = self.agreed.iter().filter(|(name, agreed)| {
            agreed.need == Need::Required && !account.written.contains(*name)
        });
        let names: Vec<_> = missing.map(|(name, _)| name.clone()).collect();
        if !names.is_empty() {
            return Err(StateError::Missing { names });
        }
        let (items, bytes) = (account.items, account.bytes);
        Ok(Frame::End { items, bytes })
    }
}

pub(super) fn failed(name: &str) -> impl Fn(std::io::Error) -> StateError + use<> {
    let name = name.to_owned();
    move |source| StateError::Memory {
        name: name.clone(),
        source,
    }
}
