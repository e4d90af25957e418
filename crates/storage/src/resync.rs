//! Finds the next batch behind bytes that are none.
//!
//! A record may hold bytes that look like a batch, so one batch with a right checksum is not proof.
//! With a `target`, a position that is known to begin a batch or to be the end, only a chain of
//! batches that leads exactly there is taken. Without one (recovery has no index yet) two in a row
//! are, or one that ends where the bytes end.

use crate::{
    disk::DiskFile,
    walk::{Step, Walk, crc_holds},
};
use gnomon_protocol::{
    batch::{BatchHeader, HEADER_BYTES},
    ids::Offset,
};
use std::{io, sync::Arc};

const CHUNK: usize = 64 << 10;

/// Where to look: batches in `[from, end)` with offsets in `[lowest, below)`.
pub(crate) struct Search {
    pub from: u64,
    pub end: u64,
    pub lowest: Offset,
    pub below: Offset,
    pub target: Option<u64>,
}

/// Position and header of the first batch found.
pub(crate) fn resync(
    file: &Arc<dyn DiskFile>,
    search: &Search,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let stop = search.target.unwrap_or(search.end);
    let mut chunk = vec![0; CHUNK];
    let mut buffer = Vec::new();
    let mut at = search.from;
    while at + HEADER_BYTES as u64 <= stop {
        let want = CHUNK.min((stop - at) as usize);
        file.read_exact_at(&mut chunk[..want], at)?;
        for inside in 0..=want - HEADER_BYTES {
            // The magic byte first: it sorts out nearly everything.
            if chunk[inside + 16] != 2 {
                continue;
            }
            let Ok(header) = BatchHeader::parse(&chunk[inside..want]) else {
                continue;
            };
            let position = at + inside as u64;
            if search.fits(position, &header)
                && crc_holds(&**file, position, &header, &mut buffer)?
                && search.leads_on(file, position, &mut buffer)?
            {
                return Ok(Some((position, header)));
            }
        }
        // The next chunk overlaps by a header less one byte, so that no start is missed.
        at += (want - HEADER_BYTES + 1) as u64;
    }
    Ok(None)
}

impl Search {
    fn fits(&self, position: u64, header: &BatchHeader) -> bool {
        header.base_offset >= self.lowest
            && header.next_offset() <= self.below
            && position + header.total_bytes() as u64 <= self.target.unwrap_or(self.end)
    }

    /// Whether the chain that begins at `position` goes on as it must.
    fn leads_on(
        &self,
        file: &Arc<dyn DiskFile>,
        position: u64,
        buffer: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let end = self.target.unwrap_or(self.end);
        let mut walk = Walk::new(file.clone(), position, end);
        let mut lowest = self.lowest;
        let mut seen = 0;
        loop {
            let at = walk.position;
            match walk.next()? {
                Step::End => return Ok(true),
                Step::Bad(_) => return Ok(self.target.is_none() && seen >= 2),
                Step::Batch(header) => {
                    if header.base_offset < lowest
                        || header.next_offset() > self.below
                        || !crc_holds(&**file, at, &header, buffer)?
                    {
                        return Ok(self.target.is_none() && seen >= 2);
                    }
                    lowest = header.next_offset();
                    seen += 1;
                    if self.target.is_none() && seen >= 2 {
                        return Ok(true);
                    }
                }
            }
        }
    }
}
