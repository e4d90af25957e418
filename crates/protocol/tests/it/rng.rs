//! Random numbers by seed (xorshift), the same on every run.

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % u64::from(n.max(1))) as u32
    }

    /// Damages bytes in one of the ways that find mistakes: flips, extremes in place of lengths,
    /// cuts, insertions.
    pub fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1) as u32) as usize;
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_slice(&[0xff; 9][..self.below(9) as usize]),
                2 => bytes.insert(at.min(bytes.len()), self.below(256) as u8),
                3 => self.overwrite(bytes, at, &[0x7f, 0xff, 0xff, 0xff]),
                4 => self.overwrite(bytes, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
                5 => self.overwrite(bytes, at, &[0x80, 0x00]),
                _ => {
                    let byte = [self.below(256) as u8];
                    self.overwrite(bytes, at, &byte);
                }
            }
        }
    }

    fn overwrite(&mut self, bytes: &mut [u8], at: usize, with: &[u8]) {
        for (place, byte) in bytes.iter_mut().skip(at).zip(with) {
            *place = *byte;
        }
    }
}
