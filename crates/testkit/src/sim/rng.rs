//! Chance by seed: every choice of a simulation comes from one number.
//!
//! Each part of a simulation has dice of its own ([`Rng::fork`]), so that one more draw in one
//! part does not change what every other part meets.

use std::{ops::Range, time::Duration};

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Everything drawn follows from `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Dice for another part, by its name.
    pub fn fork(&mut self, name: &str) -> Rng {
        let own = self.draw();
        Rng(name
            .bytes()
            .fold(own ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            }))
    }

    /// A uniformly drawn number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, which MUST NOT be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.within(0..len as u64) as usize
    }

    /// True once in `of` times.
    pub fn once_in(&mut self, of: u64) -> bool {
        self.within(0..of) == 0
    }

    /// A duration of the range, in milliseconds.
    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn forks_do_not_depend_on_what_is_drawn_from_each_other() {
        let (mut one, mut two) = (Rng::new(7), Rng::new(7));
        let mut net = one.fork("net");
        net.draw();
        let (mut disk, mut same) = (one.fork("disk"), {
            let _ = two.fork("net");
            two.fork("disk")
        });
        assert_eq!(disk.draw(), same.draw());
        assert_ne!(Rng::new(7).fork("a").draw(), Rng::new(7).fork("b").draw());
    }
}
