//! [`Catalog`]: which file decides which event. Decisions are in `site.rs`, `create.rs`,
//! `topics.rs`, `link.rs`, `discover.rs` and `failover.rs`; what a record does to the image is in
//! `apply.rs`.

use crate::{
    action::Action,
    create, discover,
    event::Event,
    failover::{self, Reached},
    image::Image,
    link,
    record::Record,
    reply::Reply,
    site,
    soft::{Catalog, Soft},
    topics,
};
use gnomon_links::failover::Next;
use gnomon_machine::{Effects, Machine, Mono, Now, ReplyToken};

impl Machine for Catalog {
    type Durable = Image;
    type Soft = Soft;
    type Event = Event;
    type Record = Record;
    type Reply = Reply;
    type Action = Action;

    fn step(
        image: &Image,
        soft: &mut Soft,
        now: Now,
        event: Event,
        token: ReplyToken,
    ) -> Effects<Catalog> {
        match event {
            Event::Register(register) => site::register(image, register, token),
            Event::Incarnate => site::incarnate(image, token),
            Event::AllocateProducerIds { count } => {
                site::allocate_producer_ids(image, count, token)
            }
            Event::TakenOver { reports } => site::taken_over(image, reports, token),
            Event::CreateTopics(asked) => {
                create::create_topics(image, &soft.settings, asked, token)
            }
            Event::DeleteTopics { ids } => topics::delete(image, soft, ids, token),
            Event::AlterTopicConfigs(asked) => topics::alter_configs(image, asked, token),
            Event::TopicFaulted { topic, reason, gap } => {
                topics::faulted(image, topic, reason, gap, now, token)
            }
            Event::TopicRecovered { topic } => topics::recovered(image, topic, token),
            Event::EpochsSeen { epochs } => topics::epochs_seen(image, &epochs, token),
            Event::Reopening {
                topic,
                partition,
                used,
            } => topics::reopening(image, topic, partition, used, token),
            Event::CreateLink { id, config, source } => {
                link::create(image, id, *config, source, token)
            }
            Event::DeleteLink { name } => link::delete(image, name, token),
            Event::LinkContact {
                link,
                cluster_id,
                peer,
            } => link::contact(image, link, cluster_id, peer, token),
            Event::Discovered(seen) => discover::discovered(image, &soft.settings, seen, token),
            Event::FailOver(asked) => failover::begin(image, soft, &asked, token),
            Event::CutReached {
                topic,
                partition,
                end,
                last_epoch,
                highest_seen,
            } => {
                let reached = Reached {
                    end,
                    last_epoch,
                    highest_seen,
                };
                failover::cut_reached(image, soft, topic, partition, reached, token)
            }
            Event::CutFailed {
                topic,
                partition,
                why,
            } => failover::partition_failed(image, soft, Next::Cut, topic, partition, &why, token),
            Event::MarkersFailed {
                topic,
                partition,
                why,
            } => failover::partition_failed(
                image,
                soft,
                Next::AbortOpen,
                topic,
                partition,
                &why,
                token,
            ),
            Event::MarkersWritten { topic, partition } => {
                failover::markers_written(image, soft, topic, partition, token)
            }
            Event::OffsetsApplied { link, topics } => {
                failover::offsets_applied(image, soft, link, &topics, token)
            }
        }
    }

    fn tick(_image: &Image, _soft: &mut Soft, _now: Now) -> Effects<Catalog> {
        Effects::none()
    }

    fn replay(image: &mut Image, record: &Record) {
        image.apply(record);
    }

    fn led(image: &Image, soft: &mut Soft, _now: Now) -> Effects<Catalog> {
        failover::resume(image, soft)
    }

    fn resigned(soft: &mut Soft) -> Vec<(ReplyToken, Reply)> {
        soft.failovers.resign()
    }

    fn snapshot(image: &Image) -> Vec<Record> {
        image.to_records()
    }

    fn deadline(_soft: &Soft) -> Option<Mono> {
        None
    }
}
