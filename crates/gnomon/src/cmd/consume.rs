//! `gnomon consume`: prints a partition's records, up to its present end or for ever.

use crate::{
    args::{Consume, Start},
    failure::Failure,
    kafka,
    kafka::refusal,
    output::{Output, OutputError, complain},
};
use gnomon_client::{
    Client, Topics,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetched, Fetcher, Isolation},
    offsets::{EARLIEST, LATEST, TopicPartition},
};
use gnomon_protocol::{
    batch::{BatchView, Record, records},
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
};
use std::collections::BTreeMap;

/// Bytes that one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// Prints records.
pub fn run(args: Consume, out: &mut Output) -> Result<(), Failure> {
    let at = args.at.clone();
    kafka::run(&at, async |client| read(client, args, out).await)
}

async fn read(client: Client, args: Consume, out: &mut Output) -> Result<(), Failure> {
    let Consume {
        topic: name,
        partition,
        offset,
        follow,
        ..
    } = args;
    let from = (name, partition.unwrap_or(0));
    let metadata = client
        .metadata(Topics::Names(vec![from.0.clone()]), false)
        .await?;
    let topic = metadata
        .topics
        .get(&from.0)
        .ok_or_else(|| format!("the broker's answer does not name {}", from.0))?;
    if let Some(code) = topic.error {
        return Err(refusal(&from.0, code, ""));
    }
    if partition.is_none() && topic.partitions.len() > 1 {
        complain(format_args!(
            "gnomon: {} has {} partitions; these are the records of partition 0, --partition chooses another",
            from.0,
            topic.partitions.len()
        ));
    }
    let end = bound(&client, &from, LATEST).await?;
    let mut next = match offset {
        Start::Offset(offset) => offset,
        Start::Beginning => bound(&client, &from, EARLIEST).await?,
        Start::End => end,
        Start::BeforeEnd(count) => {
            let start = bound(&client, &from, EARLIEST).await?;
            end.saturating_sub(count).max(start)
        }
    };
    let (leader, _) = client.leader(&from.0, from.1).await?;
    let options = FetchOptions {
        isolation: Isolation::ReadUncommitted,
        ..FetchOptions::default()
    };
    let mut fetcher = Fetcher::new(client.dedicated(leader).await?, options);
    let target = FetchTarget {
        topic: from.0.as_str().into(),
        topic_id: topic.id.unwrap_or(TopicId::nil()),
        partition: from.1,
    };
    while follow || next < end {
        let position = FetchPosition {
            offset: next,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: BatchEpoch::NONE,
        };
        fetcher
            .send(&BTreeMap::from([(target.clone(), position)]))
            .await?;
        for fetched in fetcher.receive().await? {
            if let Some(code) = fetched.error {
                return Err(refusal(
                    &format!("{}-{} at offset {next}", from.0, from.1),
                    code,
                    "",
                ));
            }
            next = print(fetched, next, out)?;
        }
        out.flush()?;
    }
    Ok(())
}

async fn bound(client: &Client, of: &TopicPartition, time: i64) -> Result<Offset, Failure> {
    let mut found = client
        .list_offsets(
            &BTreeMap::from([(of.clone(), time)]),
            Isolation::ReadUncommitted,
        )
        .await;
    Ok(found
        .remove(of)
        .ok_or_else(|| format!("the broker's answer does not name {}-{}", of.0, of.1))??
        .offset)
}

/// Prints the records at `from` and after it; returns where to go on.
fn print(fetched: Fetched, from: Offset, out: &mut Output) -> Result<Offset, Failure> {
    let mut bytes = fetched.records;
    let mut next = from;
    while let Some(batch) = BatchView::parse_first(&mut bytes)? {
        next = next.max(batch.header().next_offset());
        if batch.header().is_control() {
            continue;
        }
        for record in records(&batch, UNPACKED_BYTES_MAX)? {
            let record = record?;
            if record.offset >= from {
                line(out, &record)?;
            }
        }
    }
    Ok(next)
}

/// Keys and values are printed as the bytes that they are.
fn line(out: &mut Output, record: &Record) -> Result<(), OutputError> {
    write!(out, "{}\t{}", record.offset, record.timestamp)?;
    for part in [&record.key, &record.value] {
        out.bytes(b"\t")?;
        out.bytes(part.as_deref().unwrap_or(b"null"))?;
    }
    writeln!(out)
}
