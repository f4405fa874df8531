//! The database: values, and the log of all writes in order.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;

use crate::visits::Visits;

/// The number of the last write of a key, and its value.
const VALUES: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("values");
/// Epoch, key and value of each write, by number.
const LOG: TableDefinition<'_, u64, (u64, &str, &str)> = TableDefinition::new("log");
/// The one number: the epoch of whoever opened it last.
const EPOCH: TableDefinition<'_, (), u64> = TableDefinition::new("epoch");

/// Most entries of the log in one answer: a few megabytes at the most.
pub(crate) const PAGE: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the database is closed: this process does not own it")]
    Closed,
    #[error("a write of epoch {ours}, but epoch {newest} has opened the database since")]
    Fenced { ours: u64, newest: u64 },
    #[error(transparent)]
    Database(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// One write, done.
#[derive(Serialize)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Closed unless this process owns the directory.
pub(crate) struct Store {
    path: PathBuf,
    database: RwLock<Option<Database>>,
    pub(crate) visits: Visits,
    hits: AtomicU64,
}

impl Store {
    pub(crate) fn closed(directory: impl AsRef<Path>) -> Self {
        Self {
            path: directory.as_ref().join("kv.redb"),
            database: RwLock::new(None),
            visits: Visits::default(),
            hits: AtomicU64::new(0),
        }
    }

    /// Opens it for an owner of this epoch. From then on the writes of a lower one are refused.
    pub(crate) fn open(&self, epoch: u64) -> Result<(), Error> {
        let database = Database::create(&self.path)?;
        let transaction = begin(&database)?;
        fence(&transaction, epoch)?;
        transaction.open_table(EPOCH)?.insert((), epoch)?;
        transaction.open_table(VALUES)?;
        transaction.open_table(LOG)?;
        transaction.commit()?;
        *self.slot() = Some(database);
        Ok(())
    }

    /// Closes it; waits for whoever still reads.
    pub(crate) fn close(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> std::sync::RwLockWriteGuard<'_, Option<Database>> {
        self.database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        act(database.as_ref().ok_or(Error::Closed)?)
    }

    /// Writes; on the disk when it returns. The number of the write.
    pub(crate) fn put(&self, epoch: u64, key: &str, value: &str) -> Result<u64, Error> {
        self.with(|database| {
            let transaction = begin(database)?;
            fence(&transaction, epoch)?;
            let seq = {
                let mut log = transaction.open_table(LOG)?;
                let seq = log.last()?.map_or(1, |(last, _)| last.value() + 1);
                log.insert(seq, (epoch, key, value))?;
                transaction.open_table(VALUES)?.insert(key, (seq, value))?;
                seq
            };
            transaction.commit()?;
            Ok(seq)
        })
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.hits.fetch_add(1, Ordering::Relaxed);
        self.with(|database| {
            let values = database.begin_read()?.open_table(VALUES)?;
            let value = values.get(key)?;
            Ok(value.map(|value| value.value().1.to_owned()))
        })
    }

    /// Writes in order from this number on, as many as a page holds.
    pub(crate) fn log(&self, from: u64) -> Result<Vec<Entry>, Error> {
        self.with(|database| {
            let log = database.begin_read()?.open_table(LOG)?;
            let entry = |found: Result<(_, _), redb::StorageError>| {
                let (seq, entry) = found?;
                let seq: redb::AccessGuard<'_, u64> = seq;
                let entry: redb::AccessGuard<'_, (u64, &str, &str)> = entry;
                let (epoch, key, value) = entry.value();
                Ok(Entry {
                    seq: seq.value(),
                    epoch,
                    key: key.to_owned(),
                    value: value.to_owned(),
                })
            };
            log.range(from..)?.take(PAGE).map(entry).collect()
        })
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn set_hits(&self, hits: u64) {
        self.hits.store(hits, Ordering::Relaxed);
    }
}

/// A transaction after which no repair is needed, were the process killed at any moment: the next
/// owner must not need longer because the last one crashed.
fn begin(database: &Database) -> Result<WriteTransaction, Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Refuses an epoch lower than the database has seen. The lease keeps such a writer away already;
/// this is for one that wakes up after a pause so long that its lease was taken over.
fn fence(transaction: &WriteTransaction, ours: u64) -> Result<(), Error> {
    let epochs = transaction.open_table(EPOCH)?;
    let newest = epochs.get(())?.map_or(0, |newest| newest.value());
    if ours < newest {
        return Err(Error::Fenced { ours, newest });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Error, Store};

    #[test]
    fn the_epoch_fences() {
        let directory = std::env::temp_dir().join(format!("kv-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let store = Store::closed(&directory);
        assert!(matches!(store.put(1, "a", "1"), Err(Error::Closed)));
        store.open(2).unwrap();
        assert_eq!(store.put(2, "a", "1").unwrap(), 1);
        store.close();
        store.open(5).unwrap();
        let refused = store.put(2, "a", "2");
        assert!(matches!(refused, Err(Error::Fenced { ours: 2, newest: 5 })));
        assert_eq!(store.put(5, "b", "3").unwrap(), 2);
        assert_eq!(store.get("a").unwrap().as_deref(), Some("1"));
        let epochs: Vec<_> = store.log(1).unwrap().iter().map(|e| e.epoch).collect();
        assert_eq!(epochs, [2, 5]);
        store.close();
        assert!(matches!(store.open(4), Err(Error::Fenced { .. })));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
