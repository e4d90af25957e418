//! What a site stands in: disk, network, clock, chance, and where blocking work runs. The real one,
//! or a simulated one on a single thread.
//!
//! Invariant: nothing below the binary reaches for any of these by itself, so that one seed decides
//! everything a simulated site meets.

use crate::net::network::Network;
use gnomon_client::Tcp;
use gnomon_partition::Blocking;
use gnomon_protocol::ids::Uuid;
use gnomon_storage::Disk;
use parking_lot::Mutex;
use std::sync::Arc;

/// Threads that flush partitions beside each other.
const FLUSH_THREADS: usize = 4;

/// Everything around a site.
pub struct World {
    /// Where everything durable lies.
    pub disk: Arc<dyn Disk>,
    /// Where it listens, and how it reaches others.
    pub network: Arc<dyn Network>,
    /// Where work runs that may wait for the disk.
    pub blocking: Blocking,
    /// What time it is.
    pub wall: WallClock,
    /// Where ids and jitter come from.
    pub chance: Chance,
}

impl World {
    /// The operating system's, over any disk.
    pub fn real(disk: Arc<dyn Disk>) -> World {
        World {
            disk,
            network: Arc::new(Tcp),
            blocking: Blocking::Pool {
                threads: FLUSH_THREADS,
            },
            wall: WallClock::System,
            chance: Chance::System,
        }
    }
}

/// Which time is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WallClock {
    /// The system's.
    System,
    /// So many milliseconds since 1970 when the site starts; then it goes on as the runtime's own
    /// time does.
    At(i64),
}

/// Uniformly drawn numbers, and ids made of them.
#[derive(Clone)]
pub enum Chance {
    /// The system's: ids never meet.
    System,
    /// By seed: the same numbers in the same order. Sites that are to have different ids need
    /// different seeds.
    Seeded(Arc<Mutex<SplitMix>>),
}

impl Chance {
    /// Everything drawn follows from `seed`.
    pub fn seeded(seed: u64) -> Chance {
        Chance::Seeded(Arc::new(Mutex::new(SplitMix(seed))))
    }

    /// An id that nobody had.
    pub fn id(&self) -> Uuid {
        match self {
            Chance::System => Uuid::new_v4(),
            Chance::Seeded(numbers) => {
                let mut numbers = numbers.lock();
                let bytes =
                    (u128::from(numbers.next()) << 64 | u128::from(numbers.next())).to_be_bytes();
                uuid::Builder::from_random_bytes(bytes).into_uuid()
            }
        }
    }

    /// A uniformly drawn number.
    pub fn number(&self) -> u64 {
        match self {
            // The version stands in the upper half of an id, two fixed bits at the top of the lower
            // one.
            Chance::System => {
                Uuid::new_v4().as_u64_pair().1 << 2 | Uuid::new_v4().as_u64_pair().1 & 3
            }
            Chance::Seeded(numbers) => numbers.lock().next(),
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
            let chance = Chance::seeded(seed);
            (chance.id(), chance.number(), chance.id())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(1).0.get_version_num(), 4);
    }

    #[test]
    fn numbers_of_the_system_use_every_bit() {
        let drawn: Vec<u64> = (0..200).map(|_| Chance::System.number()).collect();
        for bit in 0..64 {
            let set = drawn
                .iter()
                .filter(|number| *number >> bit & 1 == 1)
                .count();
            assert!((1..200).contains(&set), "bit {bit} is always the same");
        }
    }
}
