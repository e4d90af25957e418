//! OffsetFetch: the committed offsets of a group. An unknown group has no offsets, which is not an
//! error.

use crate::{Durable, Fetch, Fetched, FetchedPartition, FetchedTopic, OffsetSelection, Reply};

pub(crate) fn fetch(durable: &Durable, request: Fetch) -> Reply {
    let topics = match request.which {
        OffsetSelection::All => {
            let all = durable.offsets.get(&request.group).into_iter().flatten();
            all.map(|(topic, offsets)| FetchedTopic {
                topic: topic.clone(),
                partitions: offsets
                    .partitions
                    .iter()
                    .map(|(partition, committed)| FetchedPartition {
                        partition: *partition,
                        committed: Some(committed.clone()),
                    })
                    .collect(),
            })
            .collect()
        }
        OffsetSelection::Partitions(requested) => requested
            .into_iter()
            .map(|(topic, partitions)| {
                let committed = |partition| {
                    durable
                        .committed(&request.group, &topic, partition)
                        .cloned()
                };
                let partitions = partitions
                    .into_iter()
                    .map(|partition| FetchedPartition {
                        partition,
                        committed: committed(partition),
                    })
                    .collect();
                FetchedTopic { topic, partitions }
            })
            .collect(),
    };
    Reply::Fetched(Fetched { topics })
}
