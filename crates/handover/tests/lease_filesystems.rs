//! A data directory on a filesystem whose locks may not exclude anybody is refused (I1): on a real
//! FUSE mount, whose other end is this test.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use handover::lease::{LeaseFile, LeaseFileError, Options};
use handover_sys::filesystem::Filesystem;
use handover_sys::spawn::Spawn;

/// Long enough for the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `fuse_in_header` and `fuse_out_header` of `linux/fuse.h`.
const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;

/// The operations that are answered; of `enum fuse_opcode`.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
const DESTROY: u32 = 38;

/// Serves an empty directory until it is unmounted.
fn serve(mut device: &File, given_up: &AtomicBool) {
    // The kernel demands room for its longest request.
    let mut request = vec![0; 1 << 20];
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            // Not mounted yet.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if given_up.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) if error.raw_os_error() == Some(4) => continue,
            // Unmounted.
            Err(_) => return,
        };
        let request = &request[..length];
        let opcode = u32::from_ne_bytes(request[4..8].try_into().expect("a header"));
        if matches!(opcode, FORGET | DESTROY) {
            continue;
        }
        let (error, body) = answer(opcode, &request[IN_HEADER..]);
        let mut reply = Vec::with_capacity(OUT_HEADER + body.len());
        reply.extend(((OUT_HEADER + body.len()) as u32).to_ne_bytes());
        reply.extend((-error).to_ne_bytes());
        reply.extend(&request[8..16]);
        reply.extend(&body);
        // Whoever asked may have been interrupted and gone.
        let _ = device.write_all(&reply);
    }
}

fn answer(opcode: u32, body: &[u8]) -> (i32, Vec<u8>) {
    const ENOENT: i32 = 2;
    const ENOSYS: i32 = 38;
    match opcode {
        INIT => {
            // `fuse_init_out`: version 7.31 and no features.
            let mut init = vec![0; 64];
            init[..4].copy_from_slice(&7u32.to_ne_bytes());
            init[4..8].copy_from_slice(&31u32.to_ne_bytes());
            init[8..12].copy_from_slice(&body[8..12]);
            init[20..24].copy_from_slice(&4096u32.to_ne_bytes());
            (0, init)
        }
        GETATTR => {
            // `fuse_attr_out`: inode 1, a directory of everybody's.
            let mut attributes = vec![0; 104];
            attributes[16..24].copy_from_slice(&1u64.to_ne_bytes());
            attributes[76..80].copy_from_slice(&0o040_777u32.to_ne_bytes());
            attributes[80..84].copy_from_slice(&2u32.to_ne_bytes());
            (0, attributes)
        }
        STATFS => (0, vec![0; 80]),
        OPENDIR => (0, vec![0; 16]),
        RELEASEDIR => (0, Vec::new()),
        LOOKUP => (ENOENT, Vec::new()),
        _ => (ENOSYS, Vec::new()),
    }
}

/// A mounted directory; unmounted when dropped.
struct Mount {
    dir: PathBuf,
}

impl Mount {
    /// `None`, and why: it cannot be mounted here.
    fn new(device: &File, dir: &Path) -> Result<Self, String> {
        let path = std::env::var_os("PATH");
        let mount = handover_sys::spawn::find_program("mount".as_ref(), path.as_deref())
            .map_err(|error| error.to_string())?;
        let options = "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other";
        let arguments = ["-i", "-t", "fuse", "-o", options, "none"];
        let child = Spawn::path(mount)
            .args(
                arguments
                    .iter()
                    .map(|text| text.to_string())
                    .chain([dir.display().to_string()]),
            )
            .descriptors(vec![device.as_fd()])
            .spawn()
            .map_err(|error| error.to_string())?;
        match child.pidfd.wait(Some(PATIENCE)) {
            Ok(Some(exit)) if exit.is_success() => Ok(Self {
                dir: dir.to_owned(),
            }),
            other => Err(format!("mount: {other:?}")),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.dir).status();
    }
}

/// Says why a test cannot run. With `CI` set that is a failure.
fn missing(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI needs FUSE: {why}");
    eprintln!("skipped: {why}");
}

#[test]
fn i1_a_fuse_filesystem_is_refused_unless_trusted() {
    let device = match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(device) => device,
        Err(error) => return missing(&format!("/dev/fuse: {error}")),
    };
    let dir = tempfile::tempdir().expect("a directory");
    let given_up = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&device, &given_up));
        let mount = match Mount::new(&device, dir.path()) {
            Ok(mount) => mount,
            Err(why) => {
                given_up.store(true, Ordering::SeqCst);
                return missing(&why);
            }
        };
        let error = LeaseFile::open(dir.path(), Options::default()).expect_err("FUSE");
        let fuse = |found: &Filesystem| *found == Filesystem::Fuse;
        assert!(
            matches!(&error, LeaseFileError::Untrusted { found, .. } if fuse(found)),
            "{error}"
        );
        assert!(error.to_string().contains("a FUSE filesystem"), "{error}");
        // Trusted, the directory is used; this one has no files, which is another matter.
        let trusting = Options::default().trust_filesystem(true);
        let error = LeaseFile::open(dir.path(), trusting).expect_err("no files there");
        assert!(
            matches!(error, LeaseFileError::Io { what: "opened", .. }),
            "{error}"
        );
        drop(mount);
    });
}
