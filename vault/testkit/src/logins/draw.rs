//! A stream of choices fixed by a seed: SHA-256 in counter mode. For fixtures only, never for keys.

use sha2::{Digest, Sha256};

/// A repeatable stream of numbers.
pub(super) struct Draw {
    key: [u8; 32],
    counter: u64,
}

impl Draw {
    /// The stream of one field of one login.
    pub(super) fn new(institution: &str, field: &str, stream: &str, seed: u64) -> Self {
        let mut hash = Sha256::new();
        for part in ["cofre fixture login", institution, field, stream] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(seed.to_be_bytes());
        Self { key: hash.finalize().into(), counter: 0 }
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of the remainder is below 2^-50 for the small bounds used here.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let block = Sha256::new().chain_update(self.key).chain_update(self.counter.to_be_bytes()).finalize();
        self.counter = self.counter.wrapping_add(1);
        let number = block.iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        (bound as u64).checked_sub(1).map_or(0, |_| usize::try_from(number % bound as u64).unwrap_or(0))
    }
}
