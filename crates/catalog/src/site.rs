//! The site itself: its first start and later ones, incarnations, blocks of producer ids, and what
//! peers took over from it.

use crate::{
    error::{NotRegistered, ProducerIdsError, RegisterError},
    event::{Register, TakeoverReport},
    image::{BrokerEntry, Image, Site, TakenOver},
    record::{Incarnated, ProducerIds, Record, TopicTakenOver},
    reply::{ProducerIdBlock, Registered, Reply},
    soft::Catalog,
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::ProducerId;
use uuid::Uuid;

/// Where the producer tag stands in a producer id.
const TAG_SHIFT: u32 = 40;

/// The largest tag: 12 bits.
const TAG_MAX: u16 = 4095;

/// A cluster id as Kafka writes one: 16 bytes as URL-safe base64 without padding, 22 characters.
pub fn cluster_id_of(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = id.as_u128();
    // 22 groups of 6 bits: 128 bits and 4 zero bits after them.
    (0..22)
        .map(|group| {
            let from_top = 6 * (group + 1);
            let six = if from_top <= 128 {
                bits >> (128 - from_top)
            } else {
                bits << (from_top - 128)
            };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

pub(crate) fn register(image: &Image, register: Register, token: ReplyToken) -> Effects<Catalog> {
    if let Err(error) = check(image, &register) {
        return Effects::reply(token, Reply::Register(Err(error)));
    }
    let (cluster_id, recorded_tag) = match &image.site {
        Some(site) => (site.cluster_id.clone(), site.producer_tag),
        None => (
            cluster_id_of(register.fresh_cluster_id),
            tag_of(register.fresh_cluster_id),
        ),
    };
    let site = Site {
        cluster_id: cluster_id.clone(),
        name: register.name,
        broker_id: register.broker_id,
        producer_tag: register.producer_tag.unwrap_or(recorded_tag),
        owns: register.owns,
    };
    let broker = BrokerEntry {
        id: register.broker_id,
        endpoints: register.endpoints,
    };
    let mut effects = Effects::reply(
        token,
        Reply::Register(Ok(Registered {
            cluster_id,
            first: image.site.is_none(),
        })),
    );
    if image.site.as_deref() != Some(&site) {
        effects.records.push(Record::Site(site));
    }
    if image.brokers.get(&broker.id) != Some(&broker) {
        effects.records.push(Record::Broker(broker));
    }
    effects
}

/// A tag for a site whose operator chose none: 1 to 4095, uniformly drawn if the id is. Two sites
/// draw equal ones once in 4,095 times; a link between them is then refused with a sentence.
fn tag_of(drawn: Uuid) -> u16 {
    let tag = drawn.as_u128() % u128::from(TAG_MAX);
    u16::try_from(tag).expect("below TAG_MAX") + 1
}

fn check(image: &Image, given: &Register) -> Result<(), RegisterError> {
    if let Some(tag) = given
        .producer_tag
        .filter(|tag| !(1..=TAG_MAX).contains(tag))
    {
        return Err(RegisterError::Tag { tag });
    }
    let Some(site) = &image.site else {
        return Ok(());
    };
    match given.producer_tag {
        Some(tag) if site.producer_tag != tag => Err(RegisterError::TagChanged {
            recorded: site.producer_tag,
            given: tag,
        }),
        _ if site.name != given.name => Err(RegisterError::NameChanged {
            recorded: site.name.clone(),
            given: given.name.clone(),
        }),
        _ if site.broker_id != given.broker_id => Err(RegisterError::BrokerChanged {
            recorded: site.broker_id,
            given: given.broker_id,
        }),
        _ => Ok(()),
    }
}

pub(crate) fn incarnate(image: &Image, token: ReplyToken) -> Effects<Catalog> {
    if image.site.is_none() {
        return Effects::reply(token, Reply::Incarnate(Err(NotRegistered)));
    }
    let incarnation = image.incarnation + 1;
    let mut effects = Effects::reply(token, Reply::Incarnate(Ok(incarnation)));
    effects
        .records
        .push(Record::Incarnated(Incarnated { incarnation }));
    effects
}

pub(crate) fn allocate_producer_ids(
    image: &Image,
    count: u32,
    token: ReplyToken,
) -> Effects<Catalog> {
    let refuse = |error| Effects::reply(token, Reply::AllocateProducerIds(Err(error)));
    let Some(site) = &image.site else {
        return refuse(NotRegistered.into());
    };
    let next = image.next_producer_block + u64::from(count);
    if next > 1 << TAG_SHIFT {
        return refuse(ProducerIdsError::Exhausted);
    }
    let start = (u64::from(site.producer_tag) << TAG_SHIFT) | image.next_producer_block;
    let start = ProducerId::try_from(start).expect("52 bits fit");
    let mut effects = Effects::reply(
        token,
        Reply::AllocateProducerIds(Ok(ProducerIdBlock { start, count })),
    );
    effects
        .records
        .push(Record::ProducerIds(ProducerIds { next }));
    effects
}

/// Only what a peer has really taken counts: a report about a shadow of ours, of another cluster's
/// topic, or from before the peer's cut says nothing.
pub(crate) fn taken_over(
    image: &Image,
    reports: Vec<TakeoverReport>,
    token: ReplyToken,
) -> Effects<Catalog> {
    let mut effects = Effects::reply(token, Reply::Noted);
    for TakeoverReport {
        topic,
        by,
        cluster_id,
        origin,
    } in reports
    {
        let own = image.topic(topic).is_some_and(|topic| !topic.is_shadow());
        if !own || origin.cluster_id != image.cluster_id() || !origin.state.is_ours() {
            continue;
        }
        let taken_over = TakenOver {
            by,
            cluster_id,
            link: origin.link,
            cuts: origin.cuts,
            epochs: origin.epochs,
        };
        if image.taken_over.get(&topic) != Some(&taken_over) {
            effects
                .records
                .push(Record::TakenOver(TopicTakenOver { topic, taken_over }));
        }
    }
    effects
}
