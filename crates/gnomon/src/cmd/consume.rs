//! `gnomon consume`: prints a partition's records, up to its present end or for ever.

use crate::{Failure, args::Consume, kafka, kafka::refusal};
use gnomon_client::{
    Client, Topics,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetched, Fetcher, Isolation},
    offsets::{EARLIEST, LATEST, TopicPartition},
};
use gnomon_protocol::{
    batch::{BatchView, records},
    ids::{BatchEpoch, LeaderEpoch, Offset, TopicId},
};
use std::{
    collections::BTreeMap,
    io::{Write, stdout},
};

/// What one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// Prints records.
pub fn run(args: Consume) -> Result<(), Failure> {
    let at = args.at;
    let from = (args.topic, args.partition);
    kafka::run(&at, |client| read(client, from, args.offset, args.follow))
}

async fn read(
    client: Client,
    from: TopicPartition,
    offset: Option<Offset>,
    follow: bool,
) -> Result<(), Failure> {
    let metadata = client
        .metadata(Topics::Names(vec![from.0.clone()]), false)
        .await?;
    let topic = metadata
        .topics
        .get(&from.0)
        .ok_or_else(|| format!("the broker does not say anything about {}", from.0))?;
    if let Some(code) = topic.error {
        return Err(refusal(&from.0, code, ""));
    }
    let mut next = match offset {
        Some(offset) => offset,
        None => bound(&client, &from, EARLIEST).await?,
    };
    let end = bound(&client, &from, LATEST).await?;
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
            next = print(fetched, next)?;
        }
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
        .ok_or_else(|| format!("the broker does not say anything about {}-{}", of.0, of.1))??
        .offset)
}

/// Prints what lies at or beyond `from`; returns where to go on.
fn print(fetched: Fetched, from: Offset) -> Result<Offset, Failure> {
    let mut bytes = fetched.records;
    let mut next = from;
    let mut out = stdout().lock();
    while let Some(batch) = BatchView::parse_first(&mut bytes)? {
        next = next.max(batch.header().next_offset());
        if batch.header().is_control() {
            continue;
        }
        for record in records(&batch, UNPACKED_BYTES_MAX)? {
            let record = record?;
            if record.offset >= from {
                let text = |bytes: Option<bytes::Bytes>| {
                    bytes.map_or("null".to_owned(), |bytes| {
                        String::from_utf8_lossy(&bytes).into_owned()
                    })
                };
                writeln!(
                    out,
                    "{}\t{}\t{}\t{}",
                    record.offset,
                    record.timestamp,
                    text(record.key),
                    text(record.value)
                )?;
            }
        }
    }
    Ok(next)
}
