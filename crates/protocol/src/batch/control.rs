//! Transaction markers: control batches of one record that end a producer's transaction in a
//! partition (KIP-98).
//!
//! Key: version and type, 16 bits each. Value: version (16 bits) and the coordinator's epoch (32
//! bits). Newer versions may add fields after.

use super::{BatchBuilder, Record};
use crate::ids::ProducerId;
use bytes::Bytes;

const TYPE_ABORT: i16 = 0;
const TYPE_COMMIT: i16 = 1;

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Committed, or aborted.
    pub commit: bool,
    /// Epoch of the transaction coordinator that decided.
    pub coordinator_epoch: i32,
}

/// The marker as a batch at offset 0, for [`super::BatchView::place`].
pub fn marker_batch(
    commit: bool,
    producer_id: ProducerId,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Bytes {
    let kind = if commit { TYPE_COMMIT } else { TYPE_ABORT };
    let mut key = [0; 4];
    key[2..].copy_from_slice(&kind.to_be_bytes());
    let mut value = [0; 6];
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    BatchBuilder::new(timestamp)
        .producer(producer_id, producer_epoch, -1)
        .transactional()
        .control()
        .record(timestamp, Some(&key), Some(&value), &[])
        .build()
        .expect("one small uncompressed record at offset 0 always builds")
}

/// Reads a record of a control batch. `None` for control records that are not transaction markers.
pub fn parse_marker(record: &Record) -> Option<Marker> {
    let key: &[u8; 4] = record.key.as_deref()?.first_chunk()?;
    let commit = match (
        i16::from_be_bytes([key[0], key[1]]),
        i16::from_be_bytes([key[2], key[3]]),
    ) {
        (0.., TYPE_ABORT) => false,
        (0.., TYPE_COMMIT) => true,
        (_, _) => return None,
    };
    let value: &[u8; 6] = record.value.as_deref()?.first_chunk()?;
    Some(Marker {
        commit,
        coordinator_epoch: i32::from_be_bytes([value[2], value[3], value[4], value[5]]),
    })
}
