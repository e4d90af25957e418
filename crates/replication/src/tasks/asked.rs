//! Puts to the source what readers of the shadows want to know and only it can tell: where its logs
//! and epochs end (`gnomon_partition`, `asked.rs`).
//!
//! Beside the lines, so that no copy waits for it: one round for all partitions that readers wait
//! for, as soon as one does, rounds a little apart. What is FAULTED or PAUSED is asked for as well;
//! the source's word is about its own log. A source that does not answer is asked again, later each
//! time; a single partition that it does not speak of is asked for when a reader wants it again.

use super::RoundError;
use crate::{assign::Key, link::LinkShared};
use gnomon_catalog::{Image, Topic};
use gnomon_client::{
    offsets::{LogEnd, TopicPartition},
    retry::Backoff,
};
use gnomon_partition::{Handle, Question, SourceEpochEnd, SourceWord};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Two rounds are at least so far apart, however many readers ask.
const APART: Duration = Duration::from_millis(50);

/// After a round that failed the next one comes this much later, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// Partitions whose readers wait.
#[derive(Default)]
pub(crate) struct Asked {
    waiting: Mutex<BTreeSet<Key>>,
    news: Notify,
    /// The last round got no answer.
    silent: AtomicBool,
}

impl Asked {
    /// A reader waits for the source's word on this partition. Whether the source answered when it
    /// was asked last.
    pub fn ask(&self, key: Key) -> bool {
        self.waiting.lock().insert(key);
        self.news.notify_one();
        !self.silent.load(Ordering::Relaxed)
    }
}

/// Runs rounds until dropped.
pub(crate) async fn run(link: Arc<LinkShared>) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        link.asked.news.notified().await;
        let began = Instant::now();
        let keys = std::mem::take(&mut *link.asked.waiting.lock());
        let outcome = round(&link, &keys).await;
        link.asked.silent.store(outcome.is_err(), Ordering::Relaxed);
        let wait = match outcome {
            Ok(()) => {
                backoff.succeeded();
                APART
            }
            Err(error) => {
                tracing::debug!(link = link.config.name.as_str(), %error, "the source does not answer for readers");
                link.asked.waiting.lock().extend(keys);
                link.asked.news.notify_one();
                backoff.failed(link.site.random())
            }
        };
        sleep_until(began + wait).await;
    }
}

/// A partition to ask for.
struct Part {
    handle: Handle,
    question: Question,
    topic: Arc<Topic>,
}

/// Asks once for all of these. An error: nothing was answered.
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
        .map(|(name, part)| (name.clone(), part.question.epoch))
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
    let question = handle.question()?;
    Some((
        (topic.name.clone(), key.1),
        Part {
            handle,
            question,
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
    part.handle.source_said(
        part.question,
        SourceWord {
            high_watermark: end.high_watermark,
            epoch_end,
        },
    );
}
