//! What a process inherits, what it tells, and whether it can be started.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use handover_sys::inherited::{self, MAX_INHERITED, MAX_NAME};
use handover_sys::notify::{self as datagram, MAX_MESSAGE, Notification};

/// A notify datagram.
pub fn notify(data: &[u8]) {
    let found = datagram::parse(data);
    assert!(data.len() <= MAX_MESSAGE || matches!(found[..], [Notification::Malformed(_)]));
    let lines = data.split(|byte| *byte == b'\n').count();
    assert!(found.len() <= lines, "more assignments than lines");
    for notification in found {
        match notification {
            Notification::Status(text) => assert!(!text.contains('\n')),
            Notification::MainPid(pid) => assert!(pid > 0 && i32::try_from(pid).is_ok()),
            _ => {}
        }
    }
}

/// `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`, a line each.
pub fn listen_fds(data: &[u8]) {
    const OWN_PID: u32 = 42;
    let text = String::from_utf8_lossy(data);
    let mut lines = text
        .splitn(3, '\n')
        .map(|line| Some(line).filter(|line| *line != "-"));
    let [pid, fds, names] = std::array::from_fn(|_| lines.next().flatten());
    let Ok(Some(block)) = inherited::parse(pid, fds, names, OWN_PID) else {
        return;
    };
    assert!((1..=MAX_INHERITED).contains(&block.names.len()));
    for name in &block.names {
        assert!((1..=MAX_NAME).contains(&name.len()), "{name:?}");
    }
    assert_eq!(block.addressed, pid.is_some());
}

/// A file that somebody wants to be started.
pub fn preflight(data: &[u8]) {
    let (file, path) = candidate();
    file.set_len(data.len() as u64).expect("cuts the file");
    file.write_all_at(data, 0).expect("writes the file");
    let _ = handover::supervisor::preflight::check(path, &[], None);
}

/// One file, written over and over.
fn candidate() -> &'static (File, PathBuf) {
    static CANDIDATE: OnceLock<(File, PathBuf)> = OnceLock::new();
    CANDIDATE.get_or_init(|| {
        let directory = ["/dev/shm", "/tmp"].map(PathBuf::from);
        let directory = directory.into_iter().find(|directory| directory.is_dir());
        let file = tempfile::NamedTempFile::new_in(directory.unwrap_or_default());
        let (file, path) = file.expect("a file").keep().expect("its path");
        let everybody = Permissions::from_mode(0o755);
        file.set_permissions(everybody).expect("sets its mode");
        // Gone with the process: it is found through the descriptor.
        std::fs::remove_file(path).expect("removes its name");
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        (file, path.into())
    })
}

pub(crate) mod seeds {
    fn bytes<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    }

    pub(crate) fn notify() -> Vec<Vec<u8>> {
        bytes([
            "READY=1",
            "READY=1\nSTATUS=serving\nMAINPID=4711\n",
            "RELOADING=1\nMONOTONIC_USEC=123456",
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=5000000",
            "WATCHDOG=1\nFDSTORE=1\nFDNAME=x\nBARRIER=1\nERRNO=2",
        ])
    }

    pub(crate) fn listen_fds() -> Vec<Vec<u8>> {
        bytes([
            "42\n2\nhttp:admin",
            "-\n1\n-",
            "41\n3\na:b:c",
            "42\n1024\n",
            "42\n3\n::x",
        ])
    }

    /// A script, and the program header of real programs, in both sizes and byte orders.
    pub(crate) fn preflight() -> Vec<Vec<u8>> {
        let mut seeds = bytes(["#!/bin/sh\nexit 0\n", "#! /usr/bin/env python3 -u"]);
        for class in [1, 2] {
            for order in [1, 2] {
                seeds.push(elf(class, order));
            }
        }
        seeds
    }

    /// An ELF header with one PT_INTERP segment behind it (elf(5)).
    fn elf(class: u8, order: u8) -> Vec<u8> {
        let wide = class == 2;
        let number = |value: u64, bytes: usize| -> Vec<u8> {
            match order {
                1 => value.to_le_bytes()[..bytes].to_vec(),
                _ => value.to_be_bytes()[8 - bytes..].to_vec(),
            }
        };
        let word = if wide { 8 } else { 4 };
        let (head, entry) = if wide { (64, 56) } else { (52, 32) };
        let interpreter = b"/lib64/ld-linux-x86-64.so.2\0";
        let mut file = vec![0x7f, b'E', b'L', b'F', class, order, 1, 0];
        file.resize(16, 0);
        // Type, machine, version; entry, program headers, section headers; flags.
        for (value, bytes) in [
            (3, 2),
            (62, 2),
            (1, 4),
            (0, word),
            (head, word),
            (0, word),
            (0, 4),
        ] {
            file.extend(number(value, bytes));
        }
        // Sizes and numbers of headers.
        for value in [head, entry, 1, 0, 0, 0] {
            file.extend(number(value, 2));
        }
        let at = head + entry;
        let length = interpreter.len() as u64;
        file.extend(number(3, 4));
        let flags = number(4, 4);
        if wide {
            file.extend(&flags);
        }
        for value in [at, at, at, length, length] {
            file.extend(number(value, word));
        }
        if !wide {
            file.extend(&flags);
        }
        file.extend(number(1, word));
        file.extend(interpreter);
        file
    }
}
