//! Random numbers and ids: the operating system's, or from a seed for simulations.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one source of randomness"
)]

use gnomon_protocol::ids::Uuid;
use parking_lot::Mutex;
use std::sync::Arc;

/// Uniformly distributed numbers, and ids made of them.
#[derive(Clone)]
pub enum Random {
    /// The operating system's: ids are unique.
    System,
    /// From a seed: the same numbers in the same order. Sites need different seeds to have different
    /// ids.
    Seeded(Arc<Mutex<SplitMix>>),
}

impl Random {
    /// Every number follows from `seed`.
    pub fn seeded(seed: u64) -> Random {
        Random::Seeded(Arc::new(Mutex::new(SplitMix(seed))))
    }

    /// A new unique id.
    pub fn id(&self) -> Uuid {
        match self {
            Random::System => Uuid::new_v4(),
            Random::Seeded(numbers) => {
                let mut numbers = numbers.lock();
                let bytes =
                    (u128::from(numbers.next()) << 64 | u128::from(numbers.next())).to_be_bytes();
                uuid::Builder::from_random_bytes(bytes).into_uuid()
            }
        }
    }

    /// A uniformly distributed number.
    pub fn number(&self) -> u64 {
        match self {
            // An id has its version in the upper half, and two fixed bits at the top of the lower
            // half, which the bits of a second id replace.
            Random::System => {
                Uuid::new_v4().as_u64_pair().1 << 2 | Uuid::new_v4().as_u64_pair().1 & 3
            }
            Random::Seeded(numbers) => numbers.lock().next(),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug)]
pub struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_ids_and_another_gives_others() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            (random.id(), random.number(), random.id())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1).0.get_version_num(), 4);
    }

    #[test]
    fn numbers_of_the_system_use_every_bit() {
        let drawn: Vec<u64> = (0..200).map(|_| Random::System.number()).collect();
        for bit in 0..64 {
            let set = drawn
                .iter()
                .filter(|number| *number >> bit & 1 == 1)
                .count();
            assert!((1..200).contains(&set), "bit {bit} is always the same");
        }
    }
}
