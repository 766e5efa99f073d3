//! Reads decisions out of an input, and bends good bytes by them. Whatever is left out reads as zero, so that every
//! input is a valid one and a short input means little was bent.

/// The bytes of one run, read from the front.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `data`.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    /// Two bytes, big-endian.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes, big-endian.
    pub fn long(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A yes or a no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `count`, which is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        let drawn = if count > 256 { usize::from(self.short()) } else { usize::from(self.byte()) };
        drawn % count.max(1)
    }

    /// One of `all`, which is not empty.
    pub fn pick<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// At most `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes behind a length of one byte.
    pub fn chunk(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte());
        self.bytes(count)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Bends `good` up to fifteen times: bytes changed, put in, taken out, doubled, swapped, or all cut short.
    pub fn bend(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bent = good.to_vec();
        for _ in 0..self.byte() & 0x0f {
            let (how, at) = (self.byte() % 7, self.below(bent.len().max(1)));
            match how {
                0 if !bent.is_empty() => bent[at] ^= 1 << (self.byte() & 7),
                1 if !bent.is_empty() => bent[at] = self.byte(),
                2 => {
                    let chunk = self.chunk();
                    bent.splice(at..at, chunk.iter().copied());
                }
                3 => {
                    let end = (at + 1 + usize::from(self.byte())).min(bent.len());
                    bent.drain(at.min(end)..end);
                }
                4 => {
                    let end = (at + 1 + usize::from(self.byte())).min(bent.len());
                    bent.extend_from_within(at.min(end)..end);
                }
                5 if !bent.is_empty() => {
                    let other = self.below(bent.len());
                    bent.swap(at, other);
                }
                6 => bent.truncate(at),
                _ => {}
            }
        }
        bent
    }

    /// Bends text; what is no longer UTF-8 is replaced the way lossy readers do.
    pub fn bend_text(&mut self, good: &str) -> String {
        String::from_utf8_lossy(&self.bend(good.as_bytes())).into_owned()
    }
}
