//! 128 bits of a value: two lanes of multiply-and-fold, each with its own constants.
//!
//! States are told apart by fingerprint alone. Among a million states the chance that any two
//! share one is below 10⁻²⁶, and a collision could only hide a state, never invent one.

use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Odd constants with well-mixed bits (digits of the golden ratio, and of SplitMix64).
const LANES: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];

#[derive(Clone, Copy)]
struct Folder([u64; 2]);

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Hasher for Folder {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        for (lane, constant) in self.0.iter_mut().zip(LANES) {
            *lane = fold(lane.rotate_left(23) ^ value, constant).wrapping_add(constant);
        }
    }

    fn finish(&self) -> u64 {
        fold(self.0[0], LANES[1]) ^ self.0[1]
    }
}

/// The fingerprint of a value.
pub(crate) fn of(value: &impl Hash) -> u128 {
    let mut folder = Folder([0x2545_f491_4f6c_dd1d, 0x94d0_49bb_1331_11eb]);
    value.hash(&mut folder);
    let [high, low] = folder.0;
    u128::from(fold(high, LANES[1])) << 64 | u128::from(fold(low, LANES[0]) ^ high)
}

/// Fingerprints are hashed already.
#[derive(Clone, Copy, Default)]
pub(crate) struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Hashes fingerprints by taking them as they are.
pub(crate) type Fingerprints = BuildHasherDefault<Taken>;

#[cfg(test)]
mod tests {
    use super::of;
    use std::collections::HashSet;

    #[test]
    fn neighbours_differ_in_both_halves() {
        let prints: Vec<u128> = (0u64..20_000).map(|value| of(&[value, 7])).collect();
        let low: HashSet<u64> = prints.iter().map(|print| *print as u64).collect();
        let high: HashSet<u64> = prints.iter().map(|print| (print >> 64) as u64).collect();
        assert_eq!((low.len(), high.len()), (prints.len(), prints.len()));
        assert_ne!(of(&(1u8, 2u8)), of(&(2u8, 1u8)));
        assert_ne!(of(&"ab"), of(&"ba"));
    }
}
