//! The bytes of one simulated file: what is seen, what a power loss leaves of it.

use std::collections::BTreeSet;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub live: Vec<u8>,
    pub durable: Vec<u8>,
    /// Numbers of pages written since the last sync.
    pub dirty: BTreeSet<usize>,
    /// Space is taken up to here, whatever the length.
    pub reserved: usize,
    /// When it was last written, in milliseconds since 1970.
    pub modified_ms: i64,
}

impl Inode {
    /// Bytes of the disk that are its own.
    pub fn taken(&self) -> usize {
        self.live.len().max(self.reserved)
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.live.len() < offset + bytes.len() {
            self.touch(self.live.len(), offset);
            self.live.resize(offset + bytes.len(), 0);
        }
        self.live[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.touch(offset, offset + bytes.len());
    }

    pub fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / PAGE..to.div_ceil(PAGE));
    }

    pub fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let range =
                (page * PAGE).min(self.live.len())..((page + 1) * PAGE).min(self.live.len());
            self.durable[range.clone()].copy_from_slice(&self.live[range]);
        }
    }

    /// Clean from now on, whatever the disk holds.
    pub fn fail_sync(&mut self, forgetful: bool) {
        for page in std::mem::take(&mut self.dirty) {
            if forgetful {
                let page =
                    (page * PAGE).min(self.live.len())..((page + 1) * PAGE).min(self.live.len());
                self.live[page.clone()].fill(0);
                let known = page.start..page.end.min(self.durable.len());
                if !known.is_empty() {
                    self.live[known.clone()].copy_from_slice(&self.durable[known]);
                }
            }
        }
    }

    pub fn power_loss(&mut self, rng: &mut DiskRng) {
        let (old, new) = (self.durable.len(), self.live.len());
        let (shorter, longer) = (old.min(new), old.max(new));
        let len = match rng.below(4) {
            0 => old,
            1 => shorter + rng.below((longer - shorter) as u64 + 1) as usize,
            _ => new,
        };
        self.durable.resize(len, 0);
        for page in std::mem::take(&mut self.dirty) {
            let start = (page * PAGE).min(len);
            let end = ((page + 1) * PAGE).min(len).min(new.max(start));
            let kept = match rng.below(4) {
                0 => 0,
                1 => (rng.below((PAGE / SECTOR) as u64) as usize * SECTOR).min(end - start),
                _ => end - start,
            };
            self.durable[start..start + kept].copy_from_slice(&self.live[start..start + kept]);
        }
        self.live.clone_from(&self.durable);
    }
}

/// SplitMix64: small, and the same everywhere.
pub(super) struct DiskRng(pub u64);

impl DiskRng {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}
