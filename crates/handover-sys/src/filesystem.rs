//! What kind of filesystem a file is on, and whether a lock on it excludes everybody.
//!
//! A lock is worth what the kernel that keeps it can see. On a network filesystem another host may
//! not see it (`nolock`, `local_lock`, servers without lock support), or may be given it after a
//! lost connection while the holder still believes in it; with FUSE the program behind it decides.

use std::fmt;
use std::io;
use std::os::fd::AsFd;

/// A kind of filesystem, by the magic number of statfs(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filesystem {
    /// On a device or in memory of this host: all who can open a file on it share one kernel.
    Local {
        /// Its name.
        name: &'static str,
    },
    /// Other hosts may have it mounted.
    Network {
        /// Its name.
        name: &'static str,
    },
    /// A program behind it decides what a lock means: sshfs, s3fs, glusterfs, ntfs-3g; virtiofs too,
    /// whose other side is the host of this machine.
    Fuse,
    /// None of which this program knows whether it is local.
    Unknown {
        /// The magic number.
        magic: u32,
    },
}

impl Filesystem {
    /// Whether a lock on it excludes everybody who could open the file.
    pub const fn locks_exclude(self) -> bool {
        matches!(self, Self::Local { .. })
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { name } => f.write_str(name),
            Self::Network { name } => write!(f, "{name}, a network filesystem"),
            Self::Fuse => f.write_str("a FUSE filesystem"),
            Self::Unknown { magic } => write!(f, "an unknown filesystem (magic {magic:#x})"),
        }
    }
}

/// Filesystems of one host: `linux/magic.h`, and the sources of those that are not in it.
const LOCAL: &[(u32, &str)] = &[
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x8584_58f6, "ramfs"),
    // Its upper layer, where all writing goes, cannot be on a network filesystem.
    (0x794c_7630, "overlayfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x3434, "nilfs2"),
    (0x3153_464a, "jfs"),
    (0x5265_4973, "reiserfs"),
    (0x2405_1905, "ubifs"),
    (0x72b6, "jffs2"),
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x7366_746e, "ntfs3"),
    (0x482b, "hfsplus"),
];

/// Filesystems that other hosts can have mounted too.
const NETWORK: &[(u32, &str)] = &[
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x517b, "smbfs"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x7461_636f, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x564c, "ncpfs"),
    (0x2003_0528, "orangefs"),
    (0x1983_0326, "beegfs"),
    (0xaad7_aaea, "panfs"),
    (0x6163_6673, "acfs"),
    (0xbeef_dead, "snfs"),
    // Folders that a virtual machine gets from its host: another kernel has them open.
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
    (0x7c7c_6673, "prl_fs"),
];

/// `FUSE_SUPER_MAGIC`, `fuseblk` and virtiofs included.
const FUSE: u32 = 0x6573_5546;

/// The kind of filesystem with this magic number.
pub fn classify(magic: u32) -> Filesystem {
    let named = |table: &[(u32, &'static str)]| {
        let entry = table.iter().find(|(known, _)| *known == magic);
        entry.map(|(_, name)| *name)
    };
    if magic == FUSE {
        Filesystem::Fuse
    } else if let Some(name) = named(LOCAL) {
        Filesystem::Local { name }
    } else if let Some(name) = named(NETWORK) {
        Filesystem::Network { name }
    } else {
        Filesystem::Unknown { magic }
    }
}

/// The kind of filesystem that a file is on. The descriptor may be of kind `O_PATH`.
///
/// # Errors
/// What fstatfs(2) says: `EIO` or a wait without end is possible if a network filesystem's server
/// does not answer.
pub fn of(file: impl AsFd) -> io::Result<Filesystem> {
    // The field's type differs between architectures; the magic numbers have 32 bits.
    #[allow(clippy::unnecessary_cast)]
    let magic = rustix::fs::fstatfs(file)?.f_type as u32;
    Ok(classify(magic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_what_statfs_calls_it() {
        let network = |name| Filesystem::Network { name };
        // The numbers of `linux/magic.h` and statfs(2), written anew.
        for (magic, expected) in [
            (0x6969, network("nfs")),
            (0xff534d42, network("cifs")),
            (0xfe534d42, network("smb2")),
            (0x01021997, network("9p")),
            (0x00c36400, network("ceph")),
            (0x0bd00bd0, network("lustre")),
            (0x47504653, network("gpfs")),
            (0x7461636f, network("ocfs2")),
            (0x01161970, network("gfs2")),
            (0x5346414f, network("afs")),
            (0x73757245, network("coda")),
            (0x65735546, Filesystem::Fuse),
            (0xef53, Filesystem::Local { name: "ext4" }),
            (0x01021994, Filesystem::Local { name: "tmpfs" }),
            (0x12345678, Filesystem::Unknown { magic: 0x12345678 }),
        ] {
            assert_eq!(classify(magic), expected);
            let local = matches!(expected, Filesystem::Local { .. });
            assert_eq!(classify(magic).locks_exclude(), local, "{magic:#x}");
        }
    }

    #[test]
    fn no_number_is_listed_twice() {
        let mut numbers: Vec<u32> = LOCAL.iter().chain(NETWORK).map(|(m, _)| *m).collect();
        numbers.push(FUSE);
        let listed = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), listed);
    }

    #[test]
    fn what_is_said_names_it() {
        assert_eq!(classify(0x6969).to_string(), "nfs, a network filesystem");
        assert_eq!(classify(7).to_string(), "an unknown filesystem (magic 0x7)");
    }
}
