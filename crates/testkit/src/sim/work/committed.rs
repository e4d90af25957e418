//! A read_committed consumer, with the filter that Kafka's clients have: records of aborted
//! transactions are left out, up to their markers (KIP-98).

use crate::sim::log::SeenBatch;
use gnomon_client::{
    Client, ClientError,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, Fetcher, Isolation},
};
use gnomon_protocol::{
    batch::BatchView,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The records that are shown as committed.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Records, in order.
    pub records: Vec<(Offset, String)>,
    /// As answered last.
    pub last_stable: Offset,
    /// As answered last.
    pub high_watermark: Offset,
}

/// Reads from `start` to the last stable offset.
pub async fn read_committed(
    client: &Client,
    target: &FetchTarget,
    start: Offset,
) -> Result<Committed, ClientError> {
    let node = client.leader(&target.topic, target.partition).await?.0;
    let options = FetchOptions {
        isolation: Isolation::ReadCommitted,
        request_timeout: Duration::from_secs(5),
        ..FetchOptions::default()
    };
    let mut fetcher = Fetcher::new(client.dedicated(node).await?, options);
    let mut shown = Committed::default();
    let mut next = start;
    loop {
        let position = FetchPosition {
            offset: next,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: BatchEpoch::NONE,
        };
        fetcher
            .send(&BTreeMap::from([(target.clone(), position)]))
            .await?;
        let Some(fetched) = fetcher.receive().await?.pop() else {
            return Ok(shown);
        };
        if let Some(code) = fetched.error {
            return Err(ClientError::Refused {
                api: "Fetch",
                subject: target.topic.to_string(),
                code,
                message: String::new(),
            });
        }
        (shown.last_stable, shown.high_watermark) =
            (fetched.last_stable_offset, fetched.high_watermark);
        let mut bytes = fetched.records;
        let mut filter = Filter {
            aborted: fetched.aborted,
            aborting: BTreeSet::new(),
        };
        while let Ok(Some(view)) = BatchView::parse_first(&mut bytes) {
            next = view.header().next_offset();
            if let Ok(batch) = SeenBatch::of(&view)
                && filter.shows(&batch)
            {
                shown.records.extend(
                    batch
                        .values
                        .into_iter()
                        .filter(|(offset, _)| *offset >= start),
                );
            }
        }
        if next >= shown.last_stable {
            return Ok(shown);
        }
    }
}

struct Filter {
    /// Producers and first offsets of aborted transactions, in order of offsets.
    aborted: Vec<(i64, Offset)>,
    /// Producers whose records are being left out.
    aborting: BTreeSet<i64>,
}

impl Filter {
    fn shows(&mut self, batch: &SeenBatch) -> bool {
        let begun = self
            .aborted
            .extract_if(.., |(_, first)| *first <= batch.last)
            .map(|(producer, _)| producer);
        self.aborting.extend(begun);
        let (producer, _) = batch.producer;
        if batch.control {
            self.aborting.remove(&producer);
            return false;
        }
        !(batch.transactional && self.aborting.contains(&producer))
    }
}
