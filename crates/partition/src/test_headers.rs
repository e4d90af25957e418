//! Batch headers for the tests of the pure parts.

use gnomon_protocol::{
    batch::{Attributes, BatchHeader},
    ids::{BatchEpoch, Offset, ProducerId},
};

/// Header of a data batch.
pub(crate) fn data(
    base_offset: Offset,
    records: i32,
    producer_id: ProducerId,
    producer_epoch: i16,
    base_sequence: i32,
) -> BatchHeader {
    BatchHeader {
        base_offset,
        batch_length: 49,
        leader_epoch: BatchEpoch(0),
        magic: 2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: records - 1,
        base_timestamp: 1_000,
        max_timestamp: 1_000,
        producer_id,
        producer_epoch,
        base_sequence,
        record_count: records,
    }
}
