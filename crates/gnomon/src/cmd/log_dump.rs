//! `gnomon log dump`: one file of a partition's folder, line by line as Apache Kafka's
//! `kafka-dump-log` prints its own.
//!
//! Where Kafka stops at bytes that are no batch, this names them and goes on after them.

use crate::{
    failure::Failure,
    output::{Output, OutputError},
};
use bytes::Bytes;
use gnomon_inspect::{Snapshot, read_snapshot};
use gnomon_protocol::batch::{BatchHeader, BatchView, Record, parse_marker, records, verify_crc};
use gnomon_storage::{
    Checkpoint, Disk, RealDisk,
    dump::{Piece, Pieces, offset_entries, time_entries},
};
use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

/// Bytes that the records of a batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 1 << 30;

/// Prints the file.
pub fn run(file: &Path, with_records: bool, out: &mut Output) -> Result<(), Failure> {
    let failed = |why: &dyn Display| Failure::from(format!("{}: {why}", file.display()));
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    // A file that does not exist is not misnamed.
    std::fs::metadata(file).map_err(|error| failed(&error))?;
    let base = || {
        name.split('.')
            .next()
            .and_then(|digits| digits.parse::<i64>().ok())
            .ok_or_else(|| {
                failed(&"its name must begin with the offset of its first record, as in 00000000000000000000.log")
            })
    };
    let read = || RealDisk::new().read(file).map_err(|error| failed(&error));
    let extension = file
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or(name);
    let heading = format!("Dumping {}", file.display());
    match extension {
        "log" => {
            writeln!(out, "{heading}\nLog starting offset: {}", base()?)?;
            log(out, file, name, with_records)
        }
        "index" => {
            let (base, bytes) = (base()?, read()?);
            writeln!(out, "{heading}")?;
            let found = offset_entries(&bytes, base);
            Ok(entries(out, file, found, ["offset", "position"])?)
        }
        "timeindex" => {
            let (base, bytes) = (base()?, read()?);
            writeln!(out, "{heading}")?;
            let found = time_entries(&bytes, base);
            Ok(entries(out, file, found, ["timestamp", "offset"])?)
        }
        "snapshot" => {
            let found = read_snapshot(name, &read()?)
                .ok_or_else(|| failed(&"is not a producer snapshot, or is damaged"))?;
            writeln!(out, "{heading}")?;
            Ok(snapshot(out, &found)?)
        }
        "checkpoint" => {
            let found = Checkpoint::decode(&read()?)
                .ok_or_else(|| failed(&"is not a checkpoint, or is damaged"))?;
            Ok(write!(out, "{heading}\n{found}")?)
        }
        _ => Err(failed(
            &"is neither a .log, .index, .timeindex or .snapshot file nor a checkpoint",
        )),
    }
}

fn entries<A: Display, B: Display>(
    out: &mut Output<impl Write>,
    file: &Path,
    entries: impl Iterator<Item = (A, B)>,
    [first, second]: [&str; 2],
) -> Result<(), OutputError> {
    let mut count = 0;
    for (a, b) in entries {
        writeln!(out, "{first}: {a} {second}: {b}")?;
        count += 1;
    }
    if count == 0 {
        writeln!(out, "{} is empty.", file.display())
    } else {
        Ok(())
    }
}

fn log(
    out: &mut Output<impl Write>,
    file: &Path,
    name: &str,
    with_records: bool,
) -> Result<(), Failure> {
    let unread = |error: io::Error| format!("cannot read {}: {error}", file.display());
    let mut pieces = Pieces::of(&RealDisk::new(), file)
        .map_err(unread)?
        .peekable();
    while let Some(piece) = pieces.next() {
        match piece.map_err(unread)? {
            Piece::Batch {
                position,
                header,
                bytes,
            } => {
                batch(out, position, &header, &bytes)?;
                if with_records {
                    batch_records(out, &header, bytes)?;
                }
            }
            Piece::Invalid { bytes, .. } if pieces.peek().is_none() => {
                writeln!(out, "Found {bytes} invalid bytes at the end of {name}")?
            }
            Piece::Invalid { position, bytes } => writeln!(
                out,
                "Found {bytes} invalid bytes at position {position} of {name}"
            )?,
        }
    }
    Ok(())
}

fn batch(
    out: &mut Output<impl Write>,
    position: u64,
    header: &BatchHeader,
    bytes: &[u8],
) -> Result<(), OutputError> {
    let horizon = header
        .attributes
        .has_delete_horizon()
        .then_some(header.base_timestamp);
    let codec = header
        .codec()
        .map_or_else(|error| error.to_string(), |codec| codec.name().to_owned());
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} partitionLeaderEpoch: {} \
         isTransactional: {} isControl: {} deleteHorizonMs: {} position: {position} {}: {} size: {} magic: {} compresscodec: {codec} crc: {} isvalid: {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch.0,
        header.is_transactional(),
        header.is_control(),
        optional(horizon),
        timestamp_type(header),
        header.max_timestamp,
        header.total_bytes(),
        header.magic,
        header.crc,
        verify_crc(bytes),
    )
}

fn batch_records(
    out: &mut Output<impl Write>,
    header: &BatchHeader,
    bytes: Bytes,
) -> Result<(), OutputError> {
    let found = BatchView::parse_only(bytes).and_then(|view| records(&view, UNPACKED_BYTES_MAX));
    let mut found = match found {
        Ok(found) => found,
        Err(why) => return writeln!(out, "| the records cannot be read: {why}"),
    };
    found.try_for_each(|found| match found {
        Ok(found) => record(out, header, &found),
        Err(why) => writeln!(out, "| the rest cannot be read: {why}"),
    })
}

fn record(
    out: &mut Output<impl Write>,
    header: &BatchHeader,
    record: &Record,
) -> Result<(), OutputError> {
    let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let delta = i32::try_from(record.offset - header.base_offset).unwrap_or(i32::MAX);
    let keys: Vec<String> = record.headers.iter().map(|(key, _)| text(key)).collect();
    write!(
        out,
        "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
        record.offset,
        timestamp_type(header),
        record.timestamp,
        size(&record.key),
        size(&record.value),
        sequence(header, delta),
        keys.join(",")
    )?;
    if header.is_control() {
        match parse_marker(record) {
            Some(marker) => {
                let kind = if marker.commit { "COMMIT" } else { "ABORT" };
                write!(
                    out,
                    " endTxnMarker: {kind} coordinatorEpoch: {}",
                    marker.coordinator_epoch
                )?;
            }
            None => write!(out, " controlType: unknown")?,
        }
        return writeln!(out);
    }
    for (what, bytes) in [("key", &record.key), ("payload", &record.value)] {
        if let Some(bytes) = bytes {
            write!(out, " {what}: {}", text(bytes))?;
        }
    }
    writeln!(out)
}

fn snapshot(out: &mut Output<impl Write>, snapshot: &Snapshot) -> Result<(), OutputError> {
    for (id, producer) in &snapshot.producers {
        let open = snapshot
            .open
            .iter()
            .find(|(whose, _)| whose == id)
            .map(|(_, first)| *first);
        write!(
            out,
            "producerId: {id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {}",
            producer.epoch,
            producer.coordinator_epoch,
            optional(open),
            producer.seen_ms.unwrap_or(-1),
        )?;
        if let Some(last) = producer.batches.back() {
            write!(
                out,
                " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                last.first_sequence,
                last.last_sequence,
                last.last_offset,
                last.last_offset - last.base_offset,
                last.timestamp_ms
            )?;
        }
        writeln!(out)?;
    }
    snapshot.aborted.iter().try_for_each(|aborted| {
        writeln!(
            out,
            "aborted: producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            aborted.producer_id, aborted.first, aborted.last, aborted.undecided_from
        )
    })
}

/// Sequence of the record `delta` after the first: they start again at 0 after the largest.
fn sequence(header: &BatchHeader, delta: i32) -> i32 {
    match header.base_sequence {
        none @ ..0 => none,
        base => base.wrapping_add(delta) & i32::MAX,
    }
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    if header.log_append_time() {
        "LogAppendTime"
    } else {
        "CreateTime"
    }
}

/// As Java prints one.
fn optional(number: Option<i64>) -> String {
    number.map_or_else(
        || "OptionalLong.empty".to_owned(),
        |number| format!("OptionalLong[{number}]"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::batch::{BatchBuilder, marker_batch};

    fn dumped(bytes: &Bytes) -> String {
        let header = BatchHeader::parse(bytes).expect("a batch");
        let mut out = Output::memory();
        batch(&mut out, 0, &header, bytes).expect("written");
        batch_records(&mut out, &header, bytes.clone()).expect("written");
        out.text()
    }

    #[test]
    fn markers_are_named_and_bad_checksums_told() {
        let marker = dumped(&marker_batch(false, 5, 3, 7, 1_000));
        assert!(
            marker.contains("producerId: 5 producerEpoch: 3")
                && marker.contains("isTransactional: true isControl: true"),
            "{marker}"
        );
        assert!(
            marker
                .ends_with("sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 7\n"),
            "{marker}"
        );
        let mut spoilt = BatchBuilder::new(5)
            .record(5, None, Some(b"value"), &[])
            .build()
            .expect("built")
            .to_vec();
        *spoilt.last_mut().expect("a byte") ^= 1;
        let spoilt = dumped(&spoilt.into());
        assert!(
            spoilt.contains("isvalid: false\n| the records cannot be read: "),
            "{spoilt}"
        );
    }

    #[test]
    fn sequences_start_again_after_the_largest() {
        let builder = BatchBuilder::new(5)
            .producer(1, 0, i32::MAX)
            .record(5, None, Some(b"a"), &[])
            .record(5, None, None, &[]);
        let lines = dumped(&builder.build().expect("built"));
        assert!(
            lines.contains("baseSequence: 2147483647 lastSequence: 0 "),
            "{lines}"
        );
        assert!(
            lines.contains(
                "offset: 1 CreateTime: 5 keySize: -1 valueSize: -1 sequence: 0 headerKeys: []\n"
            ),
            "{lines}"
        );
    }
}
