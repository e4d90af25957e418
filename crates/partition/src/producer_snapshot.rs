//! Producers, open and aborted transactions as a file, so that opening a partition reads the tail
//! of its log only.
//!
//! `<offset>.snapshot`, twenty digits: the state that all batches below `offset` make. Big endian,
//! versioned, crc32 at the end. It is written atomically once everything below `offset` is durable,
//! and only the one that the log's checkpoint names counts. A missing, damaged or too new one costs
//! time, not data: the log is read from its start. Epochs are in the checkpoint itself.

use crate::{
    log_state::LogState,
    producer::{LastMarker, Producer, Producers, Remembered, WINDOW},
    txn_index::{Aborted, AbortedIndex},
    txns::Txns,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use gnomon_protocol::ids::Offset;
use std::collections::VecDeque;

const MAGIC: &[u8; 4] = b"GPS2";

/// Before markers were remembered.
const MAGIC_WITHOUT_MARKERS: &[u8; 4] = b"GPS1";

/// In place of a time, for none.
const NEVER: i64 = i64::MIN;

/// The file's name.
pub(crate) fn file_name(at: Offset) -> String {
    format!("{at:020}.snapshot")
}

/// Whether a file is a snapshot.
pub(crate) fn is_snapshot(name: &str) -> bool {
    name.ends_with(".snapshot")
}

/// The file's content.
pub(crate) fn encode(log_state: &LogState, at: Offset) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(MAGIC);
    out.put_i64(at);
    out.put_u32(count(log_state.producers.len()));
    for (id, producer) in log_state.producers.iter() {
        out.put_i64(id);
        out.put_i16(producer.epoch);
        out.put_i32(producer.coordinator_epoch);
        put_marker(&mut out, producer.last_marker);
        out.put_i64(producer.last_data_offset);
        out.put_i64(producer.seen_ms.unwrap_or(NEVER));
        out.put_u8(producer.batches.len() as u8);
        for batch in &producer.batches {
            out.put_i32(batch.first_sequence);
            out.put_i32(batch.last_sequence);
            out.put_i64(batch.base_offset);
            out.put_i64(batch.last_offset);
            out.put_i64(batch.timestamp_ms);
        }
    }
    let open: Vec<_> = log_state.txns.open().collect();
    out.put_u32(count(open.len()));
    for (id, first) in open {
        out.put_i64(id);
        out.put_i64(first);
    }
    let aborted = log_state.txns.aborted().entries();
    out.put_u32(count(aborted.len()));
    for txn in aborted {
        out.put_i64(txn.producer_id);
        out.put_i64(txn.first);
        out.put_i64(txn.last);
        out.put_i64(txn.undecided_from);
    }
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

/// Offset -1 in place of none.
fn put_marker(out: &mut BytesMut, marker: Option<LastMarker>) {
    let marker = marker.unwrap_or(LastMarker {
        offset: -1,
        timestamp_ms: NEVER,
        epoch: -1,
        ended_epoch: -1,
    });
    out.put_i64(marker.offset);
    out.put_i64(marker.timestamp_ms);
    out.put_i16(marker.epoch);
    out.put_i16(marker.ended_epoch);
}

fn marker(body: &mut &[u8]) -> Option<Option<LastMarker>> {
    let marker = LastMarker {
        offset: body.try_get_i64().ok()?,
        timestamp_ms: body.try_get_i64().ok()?,
        epoch: body.try_get_i16().ok()?,
        ended_epoch: body.try_get_i16().ok()?,
    };
    Some(Some(marker).filter(|marker| marker.offset >= 0))
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 entries fit into memory")
}

/// The producers and transactions of a snapshot taken at `at`; `None` if these bytes are not one.
pub(crate) fn decode(bytes: &[u8], at: Offset) -> Option<(Producers, Txns)> {
    let (mut body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let with_markers = body.starts_with(MAGIC);
    let known = with_markers || body.starts_with(MAGIC_WITHOUT_MARKERS);
    if crc32fast::hash(body) != u32::from_be_bytes(crc.try_into().ok()?) || !known {
        return None;
    }
    body.advance(MAGIC.len());
    if body.try_get_i64().ok()? != at {
        return None;
    }
    let producers = producers(&mut body, with_markers)?;
    let mut open = Vec::new();
    for _ in 0..body.try_get_u32().ok()? {
        open.push((body.try_get_i64().ok()?, body.try_get_i64().ok()?));
    }
    let mut aborted = AbortedIndex::default();
    for _ in 0..body.try_get_u32().ok()? {
        aborted.push(Aborted {
            producer_id: body.try_get_i64().ok()?,
            first: body.try_get_i64().ok()?,
            last: body.try_get_i64().ok()?,
            undecided_from: body.try_get_i64().ok()?,
        });
    }
    body.is_empty()
        .then(|| (producers, Txns::restore(open, aborted)))
}

fn producers(body: &mut &[u8], with_markers: bool) -> Option<Producers> {
    let mut producers = Producers::default();
    for _ in 0..body.try_get_u32().ok()? {
        let id = body.try_get_i64().ok()?;
        let mut producer = Producer {
            epoch: body.try_get_i16().ok()?,
            coordinator_epoch: body.try_get_i32().ok()?,
            last_marker: if with_markers { marker(body)? } else { None },
            last_data_offset: body.try_get_i64().ok()?,
            seen_ms: Some(body.try_get_i64().ok()?).filter(|ms| *ms != NEVER),
            batches: VecDeque::with_capacity(WINDOW),
        };
        for _ in 0..body.try_get_u8().ok()? {
            producer.batches.push_back(Remembered {
                first_sequence: body.try_get_i32().ok()?,
                last_sequence: body.try_get_i32().ok()?,
                base_offset: body.try_get_i64().ok()?,
                last_offset: body.try_get_i64().ok()?,
                timestamp_ms: body.try_get_i64().ok()?,
            });
        }
        producers.restore(id, producer);
    }
    Some(producers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_headers::data;

    #[test]
    fn what_is_written_is_read_and_every_flipped_bit_is_seen() {
        let mut log_state = LogState::default();
        log_state.producers.apply(&data(0, 3, 7, 1, 0), Some(5));
        log_state.producers.apply(&data(3, 2, 7, 1, 3), Some(6));
        log_state.producers.mark(&data(5, 1, 8, 4, -1), 9, None);
        log_state.txns.wrote(7, 0);
        log_state.txns.wrote(8, 4);
        log_state.txns.decided(8, 5, false);
        log_state.txns.reached(6);
        let bytes = encode(&log_state, 6).to_vec();
        let (producers, txns) = decode(&bytes, 6).unwrap();
        assert_eq!((producers, txns), (log_state.producers, log_state.txns));
        assert!(decode(&bytes, 7).is_none());
        // One from before markers were remembered: the same without them.
        let mut older = Vec::from(MAGIC_WITHOUT_MARKERS);
        older.extend(6_i64.to_be_bytes());
        older.extend([0; 12]);
        older.extend(crc32fast::hash(&older).to_be_bytes());
        assert_eq!(
            decode(&older, 6).unwrap(),
            (Producers::default(), Txns::default())
        );
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(decode(&damaged, 6).is_none(), "byte {at}");
            assert!(decode(&bytes[..at], 6).is_none(), "first {at} bytes");
        }
    }
}
