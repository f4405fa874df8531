//! Memory that is handed to another process without a copy: written once, sealed, passed as a
//! descriptor, mapped by the receiver (memfd_create(2), fcntl(2) "File Sealing").
//!
//! A [`Memfd`] is private to its writer and gives its descriptor to nobody. A [`SealedMemfd`] can
//! be passed on, since the kernel lets nobody change it any more, the writer included; only that
//! makes it sound to show its memory as `&[u8]`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use thiserror::Error;

/// Longest name the kernel takes (`MFD_NAME_MAX_LEN` of `mm/memfd.c`): `NAME_MAX` less `memfd:`.
const MAX_NAME: usize = 249;

/// What must be sealed before the memory may be shown as a slice: it can neither change nor get
/// shorter under its reader. `GROW` so that the length is the one that was announced.
const REQUIRED: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Why memory could not be sealed. Nothing was sealed; the memory is returned.
#[derive(Debug, Error)]
pub enum SealError {
    /// Somebody has the memory mapped for writing (`EBUSY`).
    #[error(
        "the memory is mapped for writing by a child that was forked meanwhile, so it cannot be \
         sealed; start children by spawning, or fork before the snapshot is written"
    )]
    StillMapped(Memfd),
    /// The kernel refused.
    #[error("the memory cannot be sealed: {source}")]
    Io {
        /// The memory as it was.
        memfd: Memfd,
        /// Why.
        source: io::Error,
    },
}

impl SealError {
    /// The memory that could not be sealed, unchanged.
    pub fn into_memfd(self) -> Memfd {
        match self {
            Self::StillMapped(memfd) | Self::Io { memfd, .. } => memfd,
        }
    }
}

/// Why a descriptor that arrived is no sealed memory. It is closed (I8).
#[derive(Debug, Error)]
pub enum UnsealedError {
    /// It is some other kind of file.
    #[error("the descriptor is no memfd; the sender must make it with memfd_create")]
    NotMemory,
    /// Seals are missing: the sender could still change it.
    #[error(
        "the memory is not sealed against change (seals expected: {expected:#x}, found: \
         {found:#x}); the sender must add F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE"
    )]
    Unsealed {
        /// The seals it must have.
        expected: u32,
        /// The seals it has.
        found: u32,
    },
    /// The kernel refused to answer.
    #[error("the memory cannot be examined: {0}")]
    Io(#[from] io::Error),
}

/// Anonymous memory that is being written.
///
/// Implements [`Write`] (which grows it) and [`Seek`]. It gives its descriptor to nobody, so that
/// nothing but this value writes to it.
#[derive(Debug)]
pub struct Memfd {
    file: File,
}

impl Memfd {
    /// Creates memory of `len` zero bytes; writing starts at the beginning and may go on past the
    /// end. `name` is for people only (`/proc/PID/fd` shows it) and is cut to what the kernel
    /// takes. The descriptor is close-on-exec and the memory cannot be executed, where the kernel
    /// (6.3) can forbid that.
    ///
    /// # Errors
    /// No descriptor or no memory is left. Nothing was created.
    pub fn create(name: &str, len: u64) -> io::Result<Self> {
        let name = printable(name);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let created = match memfd_create(&*name, flags | MemfdFlags::NOEXEC_SEAL) {
            // Before Linux 6.3 the flag is unknown.
            Err(Errno::INVAL) => memfd_create(&*name, flags),
            other => other,
        };
        let file = File::from(created?);
        if len > 0 {
            file.set_len(len)?;
        }
        Ok(Self { file })
    }

    /// Its length in bytes.
    ///
    /// # Errors
    /// Only what `fstat` cannot do at all (seccomp).
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether it holds no byte.
    ///
    /// # Errors
    /// As [`Memfd::len`].
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Makes it `len` bytes long; what is new is zero. The place where writing goes on stays.
    ///
    /// # Errors
    /// No memory is left; the length is the old one.
    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Maps all of it for writing, until the value is dropped. Its length is fixed meanwhile.
    ///
    /// # Errors
    /// The address space is exhausted. Nothing changed.
    pub fn map_mut(&mut self) -> io::Result<MappedMut<'_>> {
        let len = self.len()?;
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        Ok(MappedMut {
            region: Region::map(self.file.as_fd(), len, flags, MapFlags::SHARED)?,
            memfd: PhantomData,
        })
    }

    /// Seals it for good: its length and its content are what they are, for everybody.
    ///
    /// # Errors
    /// [`SealError`]; it holds the unsealed memory.
    pub fn seal(self) -> Result<SealedMemfd, SealError> {
        match fcntl_add_seals(&self.file, REQUIRED) {
            Ok(()) => {}
            Err(Errno::BUSY) => return Err(SealError::StillMapped(self)),
            Err(error) => {
                let source = error.into();
                return Err(SealError::Io {
                    memfd: self,
                    source,
                });
            }
        }
        match self.len() {
            Ok(len) => Ok(SealedMemfd {
                file: self.file,
                len,
            }),
            Err(source) => Err(SealError::Io {
                memfd: self,
                source,
            }),
        }
    }
}

impl Write for Memfd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memfd {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// A name as the kernel takes it: no NUL, not too long.
fn printable(name: &str) -> String {
    let mut name = name.replace('\0', " ");
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

/// Memory that nobody can change any more. Its descriptor may be passed to anybody.
#[derive(Debug)]
pub struct SealedMemfd {
    file: File,
    len: u64,
}

impl SealedMemfd {
    /// Takes a descriptor from outside as sealed memory, after asking the kernel whether it is.
    ///
    /// Only memfds can have the seals that are asked for: every other file either has none
    /// (`EINVAL`) or is created sealed against seals (tmpfs, `F_SEAL_SEAL`).
    ///
    /// # Errors
    /// [`UnsealedError`]; the descriptor is closed.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, UnsealedError> {
        let found = match fcntl_get_seals(&fd) {
            Ok(found) => found,
            Err(Errno::INVAL) => return Err(UnsealedError::NotMemory),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        if !found.contains(REQUIRED) {
            return Err(UnsealedError::Unsealed {
                expected: REQUIRED.bits(),
                found: found.bits(),
            });
        }
        let file = File::from(fd);
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Its length in bytes, for ever.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Maps all of it for reading. Costs nothing per byte until a byte is looked at; the mapping
    /// stays valid when this value is dropped.
    ///
    /// # Errors
    /// The address space is exhausted, or the sender opened the descriptor without the right to
    /// read.
    pub fn map(&self) -> io::Result<Mapped> {
        // Private, since kernels before 6.7 refuse a shared mapping of write-sealed memory; nobody
        // can write, so there never is a private copy of a page.
        let region = Region::map(
            self.file.as_fd(),
            self.len,
            ProtFlags::READ,
            MapFlags::PRIVATE,
        )?;
        Ok(Mapped { region })
    }

    /// Reads at `offset` without mapping; 0 at the end.
    ///
    /// # Errors
    /// The sender opened the descriptor without the right to read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Another descriptor of the same memory.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            len: self.len,
        })
    }
}

impl AsFd for SealedMemfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<SealedMemfd> for OwnedFd {
    fn from(memfd: SealedMemfd) -> Self {
        memfd.file.into()
    }
}

/// A mapping that this value alone owns; none if it is empty, which mmap(2) refuses.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    fn map(fd: BorrowedFd<'_>, len: u64, prot: ProtFlags, flags: MapFlags) -> io::Result<Self> {
        // A slice may not be longer than this, whatever the kernel would map.
        let len = isize::try_from(len).map_err(|_| io::Error::from(Errno::OVERFLOW))?;
        let len = len.unsigned_abs();
        if len == 0 {
            let start = NonNull::dangling();
            return Ok(Self { start, len });
        }
        // SAFETY: with a null address the kernel chooses a range that nothing else uses.
        let start = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) }?;
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, len }),
            // Cannot happen without MAP_FIXED.
            None => Err(io::Error::from(Errno::FAULT)),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the range is the one `map` got from the kernel, not unmapped before, and all
            // slices of it borrow the owner of this value, so none is left.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
            debug_assert!(unmapped.is_ok(), "a range of ours can be unmapped");
        }
    }
}

/// Sealed memory, mapped for reading.
#[derive(Debug)]
pub struct Mapped {
    region: Region,
}

// SAFETY: the memory is only ever read, by anybody, and unmapped by the one owner of the value.
unsafe impl Send for Mapped {}
// SAFETY: as for `Send`: shared access is reading only.
unsafe impl Sync for Mapped {}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is mapped for reading as long as `self` lives, or empty with a dangling
        // start; it is at most `isize::MAX` long. Its bytes are initialised (the kernel gives zero
        // where nothing was written). They do not change and no page of them goes away while the
        // slice lives: `Mapped` is made from a `SealedMemfd` only, whose seals were either set or
        // read back by us, and with them the kernel refuses each write, each writable mapping,
        // and each truncation, in every process and for ever. The mapping itself was made without
        // the right to write.
        unsafe { std::slice::from_raw_parts(self.region.start.as_ptr(), self.region.len) }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Memory that is being written, mapped. Unmapped when dropped, which sealing waits for.
#[derive(Debug)]
pub struct MappedMut<'memfd> {
    region: Region,
    memfd: PhantomData<&'memfd mut Memfd>,
}

// SAFETY: it is the only access to the memory, like a `&mut [u8]`, which can be sent.
unsafe impl Send for MappedMut<'_> {}
// SAFETY: shared access is reading only, as through a shared `&mut [u8]`.
unsafe impl Sync for MappedMut<'_> {}

impl Deref for MappedMut<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is mapped as long as `self` lives, or empty with a dangling start, and
        // at most `isize::MAX` long; its bytes are initialised. Nothing else writes to it or
        // shortens it: the `Memfd` is borrowed for as long, and its descriptor is given to nobody.
        unsafe { std::slice::from_raw_parts(self.region.start.as_ptr(), self.region.len) }
    }
}

impl DerefMut for MappedMut<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only slice of it.
        unsafe { std::slice::from_raw_parts_mut(self.region.start.as_ptr(), self.region.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writable mapping that outlives its borrow cannot be had through the public functions; a
    /// fork makes one.
    #[test]
    fn memory_that_is_mapped_for_writing_is_not_sealed() {
        let memfd = Memfd::create("busy", 4096).unwrap();
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        let region = Region::map(memfd.file.as_fd(), 4096, flags, MapFlags::SHARED).unwrap();
        let error = memfd.seal().unwrap_err();
        assert!(matches!(error, SealError::StillMapped(_)), "{error:?}");
        drop(region);
        error.into_memfd().seal().expect("nobody maps it any more");
    }

    #[test]
    fn a_name_the_kernel_would_refuse_is_cut() {
        let name = format!("a\0{}", "ö".repeat(200));
        let cut = printable(&name);
        assert!(cut.len() <= MAX_NAME && cut.starts_with("a ö"));
        Memfd::create(&name, 0).expect("takes any name");
    }
}
