//! The record of a lease's owner, as bytes.

use handover_proto::identity::Epoch;

/// Bytes of one record.
pub(super) const SLOT: usize = 256;
/// Where the checksum is: over everything before it.
const CHECKSUM: usize = SLOT - 4;
/// Where the name is, its length in front of it.
const NAME: usize = 96;
/// Longest name kept.
const MAX_NAME: usize = CHECKSUM - NAME - 4;
const MAGIC: [u8; 8] = *b"hndlease";
/// The format this version writes. Later ones may use the bytes that are zero now; what is
/// defined here stays as it is, so that every version reads every other's.
const FORMAT: u32 = 1;

/// One life of the machine. Process ids and start times mean nothing in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BootId(pub(super) [u8; 16]);

impl BootId {
    /// This boot's; all zero if `/proc` does not tell.
    pub(super) fn current() -> Self {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        Self::parse(&text.unwrap_or_default()).unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok()?;
        (digits.len() == 32).then(|| Self(number.to_be_bytes()))
    }

    /// Whether both are known to be the same life of the machine.
    pub(super) fn is(self, other: Self) -> bool {
        self == other && self != Self::default()
    }
}

/// Who took the lease, and under which epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Grows with each record; the highest that can be read is the last one.
    pub(super) seq: u64,
    pub(super) boot: BootId,
    pub(super) epoch: Epoch,
    /// No epoch above this one has been given out in `boot` without saying so on the disk.
    pub(super) reserved: Epoch,
    pub(super) pid: u32,
    /// Of the process, in clock ticks since boot.
    pub(super) start_time: u64,
    /// Inode of its pid namespace: in another one the pid means another process.
    pub(super) pid_namespace: u64,
    /// What the owner calls itself.
    pub(super) name: String,
}

impl Record {
    pub(super) fn encode(&self) -> [u8; SLOT] {
        let mut end = self.name.len().min(MAX_NAME);
        while !self.name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &self.name.as_bytes()[..end];
        let mut slot = [0; SLOT];
        let mut put = |at: usize, bytes: &[u8]| slot[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(12, &self.pid.to_le_bytes());
        put(16, &self.seq.to_le_bytes());
        put(24, &self.boot.0);
        put(40, &self.epoch.0.to_le_bytes());
        put(48, &self.reserved.0.to_le_bytes());
        put(56, &self.start_time.to_le_bytes());
        put(64, &self.pid_namespace.to_le_bytes());
        put(NAME, &(name.len() as u32).to_le_bytes());
        put(NAME + 4, name);
        let sum = crc32(&slot[..CHECKSUM]);
        slot[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
        slot
    }

    /// `None`: this is no whole record.
    pub(super) fn decode(slot: &[u8]) -> Option<Self> {
        let slot: &[u8; SLOT] = slot.try_into().ok()?;
        let long = |at: usize| slot[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let short = |at: usize| slot[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        if slot[..8] != MAGIC || short(CHECKSUM)? != crc32(&slot[..CHECKSUM]) {
            return None;
        }
        let length = usize::try_from(short(NAME)?).ok()?;
        let name = slot[NAME + 4..CHECKSUM].get(..length)?;
        let record = Self {
            seq: long(16)?,
            boot: BootId(slot[24..40].try_into().ok()?),
            epoch: Epoch(long(40)?),
            reserved: Epoch(long(48)?),
            pid: short(12)?,
            start_time: long(56)?,
            pid_namespace: long(64)?,
            name: String::from_utf8_lossy(name).into_owned(),
        };
        // A version that gives out more than it has reserved would be a fault; better none.
        (record.epoch <= record.reserved).then_some(record)
    }
}

/// CRC-32 (IEEE 802.3, reflected), one step for each value of a byte.
const STEPS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let low = sum & 1;
            sum >>= 1;
            if low == 1 {
                sum ^= 0xedb8_8320;
            }
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        STEPS[usize::from(sum as u8 ^ byte)] ^ (sum >> 8)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_knows() {
        // The check value of the catalogue of CRC algorithms for CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_boot_id_is_a_uuid() {
        let text = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n";
        let found = BootId::parse(text).expect("a uuid");
        assert_eq!(found.0[..3], [0x0f, 0x1e, 0x2d]);
        for bad in ["", "0f1e", "no", &"0".repeat(33)] {
            assert_eq!(BootId::parse(bad), None, "{bad:?}");
        }
        assert!(found.is(found) && !BootId::default().is(BootId::default()));
        assert_ne!(BootId::current(), BootId::default());
    }

    fn record() -> impl Strategy<Value = Record> {
        let numbers = any::<(u64, [u8; 16], u64, u64, u32, u64, u64)>();
        (numbers, ".{0,80}").prop_map(|((seq, boot, one, two, pid, start, space), name)| Record {
            seq,
            boot: BootId(boot),
            epoch: Epoch(one.min(two)),
            reserved: Epoch(one.max(two)),
            pid,
            start_time: start,
            pid_namespace: space,
            name,
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(record in record()) {
            let read = Record::decode(&record.encode()).expect("a record");
            prop_assert!(record.name.starts_with(&read.name));
            prop_assert!(read.name.len() == record.name.len() || read.name.len() > MAX_NAME - 4);
            let name = record.name.clone();
            prop_assert_eq!(Record { name, ..read }, record);
        }

        #[test]
        fn one_changed_bit_is_no_record(record in record(), at in 0..SLOT * 8) {
            let mut slot = record.encode();
            slot[at / 8] ^= 1 << (at % 8);
            prop_assert_eq!(Record::decode(&slot), None);
        }

        #[test]
        fn foreign_bytes_are_no_record(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(Record::decode(&bytes), None);
        }
    }
}
