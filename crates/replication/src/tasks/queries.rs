//! Asks the source what readers of the shadows need to know: where its logs and epochs end
//! (`gnomon_partition`, `ahead`).
//!
//! This runs beside the fetch connections, so that no copy waits for it: one round asks about all
//! partitions that readers wait for, and two rounds are a little apart. Partitions of FAULTED and
//! PAUSED topics are asked about too, since the answer is about the source's own log. If the source
//! does not answer, the next round comes later each time. If it leaves out a single partition, that
//! one is asked about when a reader needs it again.

use super::RoundError;
use crate::{assign::Key, link_shared::LinkShared};
use gnomon_catalog::{Image, Topic};
use gnomon_client::{
    offsets::{LogEnd, TopicPartition},
    retry::Backoff,
};
use gnomon_partition::{Handle, SourceAnswer, SourceEpochEnd, SourceQuery};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Two rounds are at least so far apart, however many readers ask.
const APART: Duration = Duration::from_millis(50);

/// After a round that failed the next one comes this much later, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// Runs rounds until dropped.
pub(crate) async fn run(link: Arc<LinkShared>) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        link.waiting_readers.news.notified().await;
        let began = Instant::now();
        let keys = std::mem::take(&mut *link.waiting_readers.waiting.lock());
        let outcome = round(&link, &keys).await;
        link.waiting_readers
            .silent
            .store(outcome.is_err(), Ordering::Relaxed);
        let wait = match outcome {
            Ok(()) => {
                backoff.succeeded();
                APART
            }
            Err(error) => {
                tracing::debug!(link = link.config.name.as_str(), %error, "the source does not answer for readers");
                link.waiting_readers.waiting.lock().extend(keys);
                link.waiting_readers.news.notify_one();
                backoff.failed(link.site.random())
            }
        };
        sleep_until(began + wait).await;
    }
}

/// A partition to ask about.
struct Part {
    handle: Handle,
    query: SourceQuery,
    topic: Arc<Topic>,
}

/// Asks once about all of these. An error means that nothing was answered.
async fn round(link: &LinkShared, keys: &BTreeSet<Key>) -> Result<(), RoundError> {
    let image = link.site.image();
    if let Some(fault) = image.link(link.id).and_then(|link| link.fault.clone()) {
        return Err(RoundError::Refused(fault));
    }
    let parts: BTreeMap<TopicPartition, Part> = keys
        .iter()
        .filter_map(|key| part(link, &image, *key))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    let wanted = parts
        .iter()
        .map(|(name, part)| (name.clone(), part.query.epoch))
        .collect();
    let mut silence = None;
    let mut answered = false;
    for (name, end) in link.source.log_ends(&wanted).await {
        let Some(part) = parts.get(&name) else {
            continue;
        };
        match end {
            Ok(end) => {
                answered = true;
                tell(part, &end);
            }
            Err(error) => {
                tracing::debug!(topic = name.0, partition = name.1, %error, "the source does not say where it ends");
                answered |= !error.is_connection();
                silence.get_or_insert(error);
            }
        }
    }
    match silence {
        Some(error) if !answered => Err(error.into()),
        Some(_) | None => {
            link.in_contact();
            Ok(())
        }
    }
}

fn part(link: &LinkShared, image: &Image, key: Key) -> Option<(TopicPartition, Part)> {
    let topic = image.topic(key.0)?;
    topic
        .shadow
        .as_ref()
        .filter(|shadow| shadow.link == link.id && shadow.state.is_shadow())?;
    let handle = link.site.handle(key.0, key.1).ok()?;
    let query = handle.copier().source_query()?;
    Some((
        (topic.name.clone(), key.1),
        Part {
            handle,
            query,
            topic: topic.clone(),
        },
    ))
}

/// A topic that was created again under the same name says nothing about the one that we copied.
fn tell(part: &Part, end: &LogEnd) {
    let copied = part
        .topic
        .shadow
        .as_ref()
        .and_then(|shadow| shadow.source_topic_id);
    if copied.is_some() && end.topic_id.is_some() && copied != end.topic_id {
        return;
    }
    let epoch_end = end.epoch_end.map(|end| SourceEpochEnd {
        epoch: end.epoch,
        end: end.end,
    });
    part.handle.copier().source_answered(
        part.query,
        SourceAnswer {
            high_watermark: end.high_watermark,
            epoch_end,
        },
    );
}
