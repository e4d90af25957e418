//! The batch with the largest timestamp of a log, found without a walk over all of it (ListOffsets
//! -3, KIP-734).
//!
//! Each segment remembers its newest batch and how far it has been looked at, so that a later
//! question looks only at what came since; a segment whose largest timestamp lies below what was
//! found in another one is not looked at. Control batches do not count: Kafka answers with records.
//!
//! Invariant: what is remembered was looked at below the last stable offset of its moment, which
//! never goes back, so that it holds for every later question, whatever its isolation.

use crate::{
    error::ReadError,
    looked::{Looked, Newest},
    reader::{Cursor, Item, LogReader},
    segment::Segment,
    time_index::max_timestamp,
};
use gnomon_protocol::ids::Offset;
use std::{cmp::Reverse, sync::Arc};

/// The newer one; the earlier one of two that are as new.
fn newer(one: Option<Newest>, other: Option<Newest>) -> Option<Newest> {
    let rank = |newest: &Newest| (newest.timestamp, Reverse(newest.base_offset));
    one.into_iter().chain(other).max_by_key(rank)
}

impl LogReader {
    /// The newest of the batches with records that reach to `from` or beyond and begin below
    /// `upper`; of several, the first. `stable`, at most `upper`, is an offset below which `upper`
    /// of no later question lies.
    pub fn newest(
        &self,
        from: Offset,
        stable: Offset,
        upper: Offset,
    ) -> Result<Option<Newest>, ReadError> {
        let mut segments: Vec<_> = self
            .shared
            .segments
            .load()
            .iter()
            .filter(|segment| segment.end() > from && segment.base < upper)
            .map(|segment| (segment.max_timestamp(), segment.clone()))
            .collect();
        segments.sort_by_key(|(largest, segment)| (Reverse(*largest), segment.base));
        let mut newest: Option<Newest> = None;
        for (largest, segment) in segments {
            let beaten = |found: &Newest| {
                let found = (found.timestamp, Reverse(found.base_offset));
                found > (largest, Reverse(segment.base))
            };
            if !newest.as_ref().is_some_and(beaten) {
                newest = newer(newest, self.newest_in(&segment, from, stable, upper)?);
            }
        }
        Ok(newest)
    }

    fn newest_in(
        &self,
        segment: &Arc<Segment>,
        from: Offset,
        stable: Offset,
        upper: Offset,
    ) -> Result<Option<Newest>, ReadError> {
        let generation = self.shared.generation();
        let mut looked = *segment.looked.lock();
        let trimmed = |newest: Newest| newest.base_offset < from;
        if looked.generation != generation
            || looked.upto > upper
            || looked.newest.is_some_and(trimmed)
        {
            looked = Looked::nothing(generation, segment.base);
        }
        let mut newest = looked.newest;
        let begin = looked.upto.max(from);
        let mut cursor = Cursor::new(self.shared.clone(), segment.clone(), begin)?;
        let damaged = loop {
            match cursor.next()? {
                Item::Batch(header, _) if header.last_offset() < begin => {}
                Item::Batch(header, _) if header.base_offset >= upper => break None,
                Item::Batch(header, position) => {
                    if !header.is_control() {
                        let timestamp = max_timestamp(&*segment.file, &header, position)?;
                        let found = Newest {
                            timestamp,
                            base_offset: header.base_offset,
                        };
                        newest = newer(newest, Some(found));
                    }
                    if header.next_offset() <= stable {
                        (looked.upto, looked.newest) = (header.next_offset(), newest);
                    }
                }
                Item::Damaged { to, .. } if to <= begin => {}
                Item::Damaged { from, to, .. } => break Some(ReadError::Damaged { from, to }),
                Item::End => break None,
            }
        };
        let mut remembered = segment.looked.lock();
        if remembered.generation != looked.generation || remembered.upto <= looked.upto {
            *remembered = looked;
        }
        damaged.map_or(Ok(newest), Err)
    }
}
