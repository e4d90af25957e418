//! `gnomon produce`: lines of standard input become records, in batches, each acknowledged by
//! acks=all before the next is sent.

use crate::{Failure, args::Produce, kafka};
use gnomon_client::{Client, offsets::TopicPartition, produce::Acks};
use gnomon_protocol::batch::BatchBuilder;
use std::{
    io::{BufRead, stdin},
    time::{SystemTime, UNIX_EPOCH},
};

/// A batch is sent when it has this many bytes of keys and values.
const BATCH_BYTES: usize = 512 << 10;

/// Writes standard input to a partition.
pub fn run(args: Produce) -> Result<(), Failure> {
    let at = args.at;
    let to = (args.topic, args.partition);
    let separator = args.key_separator;
    kafka::run(&at, |client| write(client, to, separator))
}

async fn write(
    client: Client,
    to: TopicPartition,
    separator: Option<String>,
) -> Result<(), Failure> {
    let mut lines = stdin().lock().lines();
    let mut total = 0_u64;
    // Creates the topic where the broker does that.
    client
        .metadata(gnomon_client::Topics::Names(vec![to.0.clone()]), true)
        .await?;
    loop {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        let mut batch = BatchBuilder::new(now_ms);
        let (mut records, mut bytes) = (0_u64, 0);
        while bytes < BATCH_BYTES {
            let Some(line) = lines.next().transpose()? else {
                break;
            };
            let (key, value) = match separator
                .as_deref()
                .and_then(|separator| line.split_once(separator))
            {
                Some((key, value)) => (Some(key), value),
                None => (None, line.as_str()),
            };
            batch.push(now_ms, key.map(str::as_bytes), Some(value.as_bytes()), &[]);
            records += 1;
            bytes += line.len() + 1;
        }
        if records == 0 {
            println!("{total} records written to {}-{}", to.0, to.1);
            return Ok(());
        }
        client.produce(&to, batch.build()?, Acks::All).await?;
        total += records;
    }
}
