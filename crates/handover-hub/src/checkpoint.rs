//! States kept outside of the cluster, for when all nodes that have one are gone.

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::identity::{Epoch, ProcessId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::process::Handed;

/// Where checkpoints are kept. Its methods may block: they run on threads for that.
pub trait Store: Send + Sync + 'static {
    /// Keeps the state of a process in place of an older one. One of a lower epoch than the one
    /// kept comes from a host that has been replaced, and is dropped.
    ///
    /// # Errors
    ///
    /// Of the medium; the older one is kept. It is tried again.
    fn save(&self, process: &ProcessId, epoch: Epoch, state: &Handed) -> io::Result<()>;

    /// The state that is kept of a process, for its host from now on, which runs it under `epoch`:
    /// what that one saves is taken, even where the epochs of a cluster that was started anew are
    /// lower than those of the one before.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) if what is kept is damaged: the process begins
    /// without it. Any other error is of the medium: the process does not start.
    fn load(&self, process: &ProcessId, epoch: Epoch) -> io::Result<Option<Handed>>;

    /// Forgets a process that ended, unless a host with a higher epoch has saved it since.
    ///
    /// # Errors
    ///
    /// Of the medium.
    fn remove(&self, process: &ProcessId, epoch: Epoch) -> io::Result<()>;
}

/// Checkpoints in a directory, one file each. All nodes that may run a process must share it.
///
/// A file is written beside its place, synchronised, and renamed: a crash or a full disk leaves the
/// older one. It has a digest: one that is damaged is found out, and moved aside to the same name with
/// `.damaged` when its process begins.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct File {
    process: ProcessId,
    epoch: Epoch,
    schema: u32,
    state: Vec<u8>,
}

/// Bytes of the digest that a file begins with.
const DIGEST: usize = 32;

impl File {
    fn encode(&self) -> io::Result<Vec<u8>> {
        let body = postcard::to_allocvec(self).map_err(damaged)?;
        let mut bytes = Sha256::digest(&body).to_vec();
        bytes.extend(body);
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> io::Result<Self> {
        let (digest, body) = bytes.split_at_checked(DIGEST).ok_or_else(|| {
            let found = bytes.len();
            damaged(format!(
                "it has {found} bytes, its digest alone has {DIGEST}"
            ))
        })?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(damaged("its digest is wrong"));
        }
        postcard::from_bytes(body).map_err(damaged)
    }
}

fn damaged(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Directory {
    /// In this directory, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// An id may have characters that no file name can have.
    fn place(&self, process: &ProcessId) -> PathBuf {
        let digest = Sha256::digest(process.as_str().as_bytes());
        let mut name = String::with_capacity(64);
        for byte in digest {
            name.push_str(&format!("{byte:02x}"));
        }
        self.path.join(name)
    }

    fn read(place: &Path, process: &ProcessId) -> io::Result<Option<File>> {
        let bytes = match std::fs::read(place) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let file = File::decode(&bytes)?;
        Ok((file.process == *process).then_some(file))
    }

    fn write(place: &Path, file: &File) -> io::Result<()> {
        let bytes = file.encode()?;
        // Two hosts may write at once for a moment: each beside its own epoch.
        let beside = place.with_extension(format!("{}.new", file.epoch));
        let written = std::fs::File::create(&beside).and_then(|mut written| {
            written.write_all(&bytes)?;
            written.sync_all()?;
            std::fs::rename(&beside, place)
        });
        if written.is_err() {
            // Of a full disk it is given back. The error is the one that counts.
            let _ = std::fs::remove_file(&beside);
        }
        written
    }
}

impl Store for Directory {
    fn save(&self, process: &ProcessId, epoch: Epoch, state: &Handed) -> io::Result<()> {
        let place = self.place(process);
        if let Ok(Some(kept)) = Self::read(&place, process)
            && kept.epoch > epoch
        {
            return Ok(());
        }
        let file = File {
            process: process.clone(),
            epoch,
            schema: state.schema(),
            state: state.bytes().to_vec(),
        };
        Self::write(&place, &file)
    }

    fn load(&self, process: &ProcessId, epoch: Epoch) -> io::Result<Option<Handed>> {
        let place = self.place(process);
        let file = match Self::read(&place, process) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = place.with_extension("damaged");
                std::fs::rename(&place, &aside)?;
                let aside = aside.display();
                return Err(damaged(format!("{error}; it was moved aside to {aside}")));
            }
            read => read?,
        };
        let Some(mut file) = file else {
            return Ok(None);
        };
        if file.epoch > epoch {
            file.epoch = epoch;
            Self::write(&place, &file)?;
        }
        Ok(Some(Handed::new(file.schema, file.state)))
    }

    fn remove(&self, process: &ProcessId, epoch: Epoch) -> io::Result<()> {
        let place = self.place(process);
        if let Ok(Some(kept)) = Self::read(&place, process)
            && kept.epoch > epoch
        {
            return Ok(());
        }
        match std::fs::remove_file(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A store and how often it is written.
pub(crate) struct Checkpoints {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) every: Duration,
}

impl Checkpoints {
    pub(crate) async fn save(
        &self,
        process: &ProcessId,
        epoch: Epoch,
        state: Handed,
    ) -> io::Result<()> {
        let (store, process) = (Arc::clone(&self.store), process.clone());
        blocking(move || store.save(&process, epoch, &state)).await
    }

    pub(crate) async fn load(
        &self,
        process: &ProcessId,
        epoch: Epoch,
    ) -> io::Result<Option<Handed>> {
        let (store, process) = (Arc::clone(&self.store), process.clone());
        blocking(move || store.load(&process, epoch)).await
    }

    pub(crate) async fn remove(&self, process: &ProcessId, epoch: Epoch) -> io::Result<()> {
        let (store, process) = (Arc::clone(&self.store), process.clone());
        blocking(move || store.remove(&process, epoch)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => Err(io::Error::other(failed)),
    }
}

#[cfg(test)]
mod tests;
