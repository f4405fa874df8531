//! What a file that would not execute looks like, so that an error can say more than ENOEXEC.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The kernel reads the first 256 bytes to choose how to run a file (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// A loader's path is far shorter; more would be a broken file.
const MAX_INTERPRETER: u64 = 4096;

/// More program headers than any real program has.
const MAX_SEGMENTS: u16 = 512;

/// `PT_INTERP` of elf(5).
const PT_INTERP: u32 = 3;

/// What the head of a file says about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `#!` and the interpreter's path.
    Script(String),
    /// An ELF file for this machine (`e_machine`) and the loader it names.
    Elf {
        machine: u16,
        bits: u8,
        interpreter: Option<String>,
    },
    Empty,
    Other,
}

impl Format {
    /// Reads a file; errors are only for a file that cannot be read.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut head = Vec::with_capacity(HEAD);
        file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        Ok(match head.as_slice() {
            [] => Self::Empty,
            [b'#', b'!', line @ ..] => Self::Script(interpreter_of_script(line)),
            [0x7f, b'E', b'L', b'F', ..] => Self::elf(&mut file, &head),
            _ => Self::Other,
        })
    }

    fn elf(file: &mut File, head: &[u8]) -> Self {
        let Some(elf) = Elf::new(head) else {
            return Self::Other;
        };
        let interpreter = elf.interpreter(file, head);
        Self::Elf {
            machine: elf.machine,
            bits: if elf.wide { 64 } else { 32 },
            interpreter,
        }
    }

    /// In words, after "is".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Script(interpreter) => format!("a script for {interpreter}"),
            Self::Elf { machine, bits, .. } => {
                format!("a {bits}-bit ELF program for {}", machine_name(*machine))
            }
            Self::Empty => "an empty file".to_owned(),
            Self::Other => "neither an ELF program nor a script with #!".to_owned(),
        }
    }
}

fn interpreter_of_script(line: &[u8]) -> String {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    // Only spaces and tabs separate: a carriage return belongs to the name, and is the usual
    // reason why it does not exist.
    let word = text
        .trim_matches([' ', '\t'])
        .split([' ', '\t'])
        .next()
        .unwrap_or_default();
    word.escape_debug().to_string()
}

/// The machines people build for, by `e_machine` of elf(5).
fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86".to_owned(),
        8 => "MIPS".to_owned(),
        20 => "PowerPC".to_owned(),
        21 => "PowerPC 64".to_owned(),
        22 => "S390".to_owned(),
        40 => "ARM".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "RISC-V".to_owned(),
        258 => "LoongArch".to_owned(),
        other => format!("machine number {other}"),
    }
}

/// The little of an ELF header that is needed.
struct Elf {
    wide: bool,
    little: bool,
    machine: u16,
}

impl Elf {
    fn new(head: &[u8]) -> Option<Self> {
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let little = match head.get(5)? {
            1 => true,
            2 => false,
            _ => return None,
        };
        let mut elf = Self {
            wide,
            little,
            machine: 0,
        };
        elf.machine = elf.half(head, 18)?;
        Some(elf)
    }

    fn half(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    /// A field of the file's own word size.
    fn offset(&self, bytes: &[u8], at: usize) -> Option<u64> {
        if !self.wide {
            return self.word(bytes, at).map(u64::from);
        }
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if self.little {
            u64::from_le_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        })
    }

    /// The string of the `PT_INTERP` segment.
    fn interpreter(&self, file: &mut File, head: &[u8]) -> Option<String> {
        let (table, size, count) = if self.wide {
            (32, 54, 56)
        } else {
            (28, 42, 44)
        };
        let table = self.offset(head, table)?;
        let size = self.half(head, size)?;
        let count = self.half(head, count)?.min(MAX_SEGMENTS);
        let (offset_at, length_at) = if self.wide { (8, 32) } else { (4, 16) };
        for index in 0..count {
            let at = table.checked_add(u64::from(index) * u64::from(size))?;
            let entry = read_at(file, at, u64::from(size))?;
            if self.word(&entry, 0)? == PT_INTERP {
                let length = self.offset(&entry, length_at)?.min(MAX_INTERPRETER);
                let bytes = read_at(file, self.offset(&entry, offset_at)?, length)?;
                let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                return Some(String::from_utf8_lossy(text).into_owned());
            }
        }
        None
    }
}

fn read_at(file: &mut File, at: u64, length: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_program_is_an_elf_with_a_loader() {
        let format = Format::of(&std::env::current_exe().unwrap()).unwrap();
        let Format::Elf {
            machine,
            interpreter,
            ..
        } = &format
        else {
            panic!("{format:?}")
        };
        if cfg!(target_arch = "x86_64") {
            assert_eq!(*machine, 62);
        }
        if cfg!(target_env = "gnu") {
            assert!(
                interpreter.as_ref().is_some_and(|path| path.contains("ld")),
                "{format:?}"
            );
        }
    }

    #[test]
    fn the_interpreter_of_a_script_is_its_first_word() {
        assert_eq!(interpreter_of_script(b" /bin/sh -e\nx"), "/bin/sh");
        assert_eq!(
            interpreter_of_script(b"/usr/bin/env\tpython3"),
            "/usr/bin/env"
        );
        assert_eq!(interpreter_of_script(b"/bin/sh\r\n"), "/bin/sh\\r");
        assert_eq!(interpreter_of_script(b""), "");
    }

    #[test]
    fn cut_off_headers_are_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in 0..HEAD {
            std::fs::write(&path, &whole[..length]).unwrap();
            Format::of(&path).unwrap().describe();
        }
    }
}
