//! Chooses the partition of a record as Kafka's Java producer does, so that a key is in the same
//! partition whichever client wrote it.
//!
//! With a key: murmur2 of its bytes (`org.apache.kafka.common.utils.Utils.murmur2`). Without one:
//! one partition for a while, then another at random (KIP-480, KIP-794), so that batches are large
//! and partitions are filled evenly. Pure: random numbers come in as arguments.

/// Bytes after which records without a key go to another partition: Kafka's default `batch.size`.
const STICKY_BYTES: usize = 16 << 10;

/// Kafka's hash of a key.
pub fn murmur2(bytes: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        let mixed = word.wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (position, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * position);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// Chooses among the partitions of one topic.
#[derive(Clone, Debug)]
pub struct Partitioner {
    partitions: u32,
    /// Where records without a key go now, and the bytes that went there.
    sticky: u32,
    sticky_bytes: usize,
}

impl Partitioner {
    /// For a topic with partitions 0 to `partitions - 1`; `None` if it has none. `random` is any
    /// uniformly drawn number.
    pub fn new(partitions: usize, random: u64) -> Option<Partitioner> {
        let partitions = u32::try_from(partitions).ok().filter(|count| *count > 0)?;
        Some(Partitioner {
            partitions,
            sticky: drawn(partitions, random),
            sticky_bytes: 0,
        })
    }

    /// The partition of the next record. `bytes` is the size of its key and value.
    pub fn choose(
        &mut self,
        key: Option<&[u8]>,
        bytes: usize,
        random: impl FnOnce() -> u64,
    ) -> i32 {
        let chosen = match key {
            // Kafka's `toPositive`: the sign bit is dropped, not the sign.
            Some(key) => (murmur2(key) & 0x7fff_ffff) % self.partitions,
            None => {
                if self.sticky_bytes >= STICKY_BYTES {
                    self.sticky = drawn(self.partitions, random());
                    self.sticky_bytes = 0;
                }
                self.sticky_bytes += bytes;
                self.sticky
            }
        };
        i32::try_from(chosen).expect("partitions are numbered by an i32")
    }
}

fn drawn(partitions: u32, random: u64) -> u32 {
    u32::try_from(random % u64::from(partitions)).expect("below a u32")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of `UtilsTest.testMurmur2` in Apache Kafka.
    #[test]
    fn keys_have_the_hashes_that_kafka_gives_them() {
        for (key, hash) in [
            (&b"21"[..], -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key) as i32, hash, "{key:?}");
        }
    }

    #[test]
    fn a_key_keeps_its_partition_and_the_sign_of_its_hash_does_not_matter() {
        let mut partitioner = Partitioner::new(7, 3).expect("partitions");
        let negative = (-973_932_308_i32 as u32) & 0x7fff_ffff;
        for _ in 0..3 {
            let chosen = partitioner.choose(Some(b"21"), 1 << 20, || panic!("keys draw nothing"));
            assert_eq!(chosen, (negative % 7) as i32);
        }
    }

    #[test]
    fn records_without_a_key_stay_in_a_partition_until_it_has_a_batch() {
        let mut partitioner = Partitioner::new(4, 2).expect("partitions");
        let mut random = 2_u64;
        let mut chosen = Vec::new();
        for _ in 0..64 {
            chosen.push(partitioner.choose(None, 4 << 10, || {
                random += 1;
                random
            }));
        }
        let runs: Vec<(i32, usize)> = chosen
            .chunk_by(|a, b| a == b)
            .map(|run| (run[0], run.len()))
            .collect();
        assert_eq!(runs[..4], [(2, 4), (3, 4), (0, 4), (1, 4)], "{runs:?}");
    }

    #[test]
    fn a_topic_without_partitions_has_no_partitioner() {
        assert!(Partitioner::new(0, 0).is_none());
    }
}
