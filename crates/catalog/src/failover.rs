//! Ending shadows: the steps (a) to (g) of a failover, each recorded one as one record list for all
//! topics of a batch.
//!
//! A batch is what one command began together, or what a start found at the same recorded step; its
//! topics move in step, and what comes next is looked up in the table of `gnomon_links::failover`.
//! A topic that cannot go on leaves its batch with a reason and stays FAILING_OVER; the next
//! command that names it, or the next start, tries again; the code that carries out the actions
//! gives such a command by itself after a while. Commands wait for topics, not for batches: a later
//! one may join.
//!
//! What partitions report is soft: after a start everything between two recorded steps is asked for
//! again.

pub(crate) mod batches;
mod records;
mod work;

pub(crate) use batches::Reached;
pub(crate) use records::ended;

use crate::{
    error::FailOverError,
    event::{FailOver, Which},
    image::{Image, Link},
    record::Record,
    reply::Reply,
    soft::{Catalog, Soft},
    topic::{LinkId, Topic},
};
use batches::Waiting;
use gnomon_links::{
    LinkState, TopicState,
    failover::{Next, Recorded, next},
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::TopicId;
use records::fenced;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use work::Work;

pub(crate) fn begin(
    image: &Image,
    soft: &mut Soft,
    asked: &FailOver,
    token: ReplyToken,
) -> Effects<Catalog> {
    let chosen = match choose(image, asked) {
        Ok(chosen) => chosen,
        Err(error) => return Effects::reply(token, Reply::FailOver(Err(error))),
    };
    let link = chosen.link;
    let mut work = Work::new(image, soft);
    if asked.which == Which::All && link.state != LinkState::FailedOver && !link.ending {
        work.record(Record::Link(Box::new(Link {
            ending: true,
            ..link.as_ref().clone()
        })));
    }
    let mut pending = BTreeSet::new();
    let mut fresh: BTreeMap<Recorded, BTreeSet<TopicId>> = BTreeMap::new();
    for topic in &chosen.topics {
        let recorded = topic.failover();
        if recorded == Recorded::Done {
            continue;
        }
        pending.insert(topic.id);
        if work.failovers.has(topic.id) {
            continue;
        }
        if recorded == Recorded::Nothing {
            work.record(Record::Topic(fenced(topic)));
        }
        fresh
            .entry(recorded.max(Recorded::Fenced))
            .or_default()
            .insert(topic.id);
    }
    let topics = chosen.topics.iter().map(|topic| topic.id).collect();
    work.failovers.waiting.insert(
        token,
        Waiting {
            link: link.id,
            topics,
            pending,
        },
    );
    for (recorded, topics) in fresh {
        let batch = work.failovers.begin(link.id, recorded, topics);
        work.drive(batch);
    }
    work.end_link(link.id);
    work.finish()
}

/// The link and topics of a command.
struct Chosen<'a> {
    link: &'a Arc<Link>,
    topics: Vec<Arc<Topic>>,
}

fn choose<'a>(image: &'a Image, asked: &FailOver) -> Result<Chosen<'a>, FailOverError> {
    let link = image
        .link_by_name(&asked.link)
        .ok_or_else(|| FailOverError::UnknownLink {
            name: asked.link.clone(),
        })?;
    let mut topics: Vec<Arc<Topic>> = match &asked.which {
        Which::All => image.topics_of(link.id).cloned().collect(),
        Which::Prefix(prefix) => {
            let topics: Vec<_> = image
                .topics_of(link.id)
                .filter(|topic| topic.name.starts_with(prefix.as_str()))
                .cloned()
                .collect();
            if topics.is_empty() {
                return Err(FailOverError::NoneMatches {
                    prefix: prefix.clone(),
                    link: asked.link.clone(),
                });
            }
            topics
        }
        Which::Topics(names) => names
            .iter()
            .map(|name| of_link(image, link, name))
            .collect::<Result<_, _>>()?,
    };
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    topics.dedup_by_key(|topic| topic.id);
    Ok(Chosen { link, topics })
}

fn of_link(image: &Image, link: &Link, name: &str) -> Result<Arc<Topic>, FailOverError> {
    let topic = image
        .topic_by_name(name)
        .ok_or_else(|| FailOverError::UnknownTopic {
            topic: name.to_owned(),
        })?;
    if topic
        .shadow
        .as_ref()
        .is_none_or(|shadow| shadow.link != link.id)
    {
        return Err(FailOverError::NotOfLink {
            topic: name.to_owned(),
            link: link.name().to_owned(),
        });
    }
    Ok(topic.clone())
}

pub(crate) fn cut_reached(
    image: &Image,
    soft: &mut Soft,
    topic: TopicId,
    partition: i32,
    reached: Reached,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut work = Work::new(image, soft);
    if let Some((number, batch)) = work.batch_at(topic, Next::Cut)
        && batch.missing.remove(&(topic, partition))
    {
        batch.reached.insert((topic, partition), reached);
        work.reported(number);
    }
    work.noted(token)
}

pub(crate) fn markers_written(
    image: &Image,
    soft: &mut Soft,
    topic: TopicId,
    partition: i32,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut work = Work::new(image, soft);
    if let Some((number, batch)) = work.batch_at(topic, Next::AbortOpen)
        && batch.missing.remove(&(topic, partition))
    {
        work.reported(number);
    }
    work.noted(token)
}

/// A partition cannot do what `at` asks: its topic leaves the batch.
pub(crate) fn partition_failed(
    image: &Image,
    soft: &mut Soft,
    at: Next,
    topic: TopicId,
    partition: i32,
    why: &str,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut work = Work::new(image, soft);
    if let Some((number, _)) = work.batch_at(topic, at) {
        work.stuck(topic, format!("partition {partition}: {why}"));
        work.reported(number);
    }
    work.noted(token)
}

pub(crate) fn offsets_applied(
    image: &Image,
    soft: &mut Soft,
    link: LinkId,
    topics: &[TopicId],
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut work = Work::new(image, soft);
    let topics: BTreeSet<TopicId> = topics.iter().copied().collect();
    let numbers: BTreeSet<u64> = topics
        .iter()
        .filter_map(|topic| work.failovers.batch_of.get(topic).copied())
        .collect();
    for number in numbers {
        let Some(batch) = work.failovers.batches.get_mut(&number) else {
            continue;
        };
        let whole = batch.topics.is_subset(&topics);
        if whole && batch.link == link && next(batch.recorded, batch.reported) == Next::ApplyOffsets
        {
            batch.reported.offsets = true;
            work.drive(number);
        }
    }
    work.noted(token)
}

/// Takes up again every failover that is on record: one batch per link and recorded step.
pub(crate) fn resume(image: &Image, soft: &mut Soft) -> Effects<Catalog> {
    let mut work = Work::new(image, soft);
    let mut found: BTreeMap<(LinkId, Recorded), BTreeSet<TopicId>> = BTreeMap::new();
    for topic in image.topics.values() {
        let Some(shadow) = topic
            .shadow
            .as_ref()
            .filter(|shadow| shadow.state == TopicState::FailingOver)
        else {
            continue;
        };
        found
            .entry((shadow.link, topic.failover()))
            .or_default()
            .insert(topic.id);
    }
    for ((link, recorded), topics) in found {
        let batch = work.failovers.begin(link, recorded, topics);
        work.drive(batch);
    }
    for link in image.links.keys() {
        work.end_link(*link);
    }
    work.finish()
}
