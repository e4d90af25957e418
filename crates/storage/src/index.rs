//! Sparse indexes in Kafka's formats: sorted entries, growing in memory for the active segment,
//! mapped read-only once sealed.
//!
//! An offset entry is 8 bytes: the last offset of a batch less the segment's base, and the byte
//! position of that batch, both 32 bits big endian. Invariant: entries ascend, and each points to
//! the first byte of a whole batch; sealed files are trusted by the checksum that the checkpoint
//! has of them (`segment.rs`), since Kafka's formats have none. Not here: which batches get an
//! entry (`indexer` in `segment.rs`).

use crate::disk::Mapped;

/// One fixed-size entry.
pub(crate) trait Entry: Copy {
    /// Its size in a file.
    const BYTES: usize;
    /// Reads it from exactly [`Entry::BYTES`] bytes.
    fn decode(bytes: &[u8]) -> Self;
    /// Appends it to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Last offset (relative to the segment's base) and position of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub last: u32,
    pub position: u32,
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn decode(bytes: &[u8]) -> OffsetEntry {
        OffsetEntry {
            last: u32_at(bytes, 0),
            position: u32_at(bytes, 4),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |b| u32::from_be_bytes(*b))
}

/// All entries of one index.
pub(crate) enum Table<E> {
    Growing(Vec<E>),
    Sealed(Mapped),
}

impl<E: Entry> Table<E> {
    pub fn len(&self) -> usize {
        match self {
            Table::Growing(entries) => entries.len(),
            Table::Sealed(bytes) => bytes.len() / E::BYTES,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, at: usize) -> Option<E> {
        match self {
            Table::Growing(entries) => entries.get(at).copied(),
            Table::Sealed(bytes) => bytes.get(at * E::BYTES..(at + 1) * E::BYTES).map(E::decode),
        }
    }

    pub fn last(&self) -> Option<E> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Number of leading entries that satisfy `holds`, which must hold for a prefix only.
    pub fn partition_point(&self, holds: impl Fn(E) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) {
                Some(entry) if holds(entry) => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        low
    }

    /// The last entry that satisfies `holds`.
    pub fn floor(&self, holds: impl Fn(E) -> bool) -> Option<E> {
        self.get(self.partition_point(holds).checked_sub(1)?)
    }

    /// Adds an entry at the end; a sealed index stays as it is.
    pub fn push(&mut self, entry: E) {
        match self {
            Table::Growing(entries) => entries.push(entry),
            Table::Sealed(_) => debug_assert!(false, "a sealed index grows"),
        }
    }

    /// The first `count` entries, in memory.
    pub fn head(&self, count: usize) -> Vec<E> {
        (0..count).map_while(|at| self.get(at)).collect()
    }

    pub fn encode(&self) -> Vec<u8> {
        match self {
            Table::Growing(entries) => {
                let mut out = Vec::with_capacity(entries.len() * E::BYTES);
                entries.iter().for_each(|entry| entry.encode(&mut out));
                out
            }
            Table::Sealed(bytes) => bytes.to_vec(),
        }
    }
}
