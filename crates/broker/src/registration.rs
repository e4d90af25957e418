//! The records of a start, before anything is served: the site and its broker, a new incarnation,
//! and the internal topics.

use crate::{
    config::{Config, limits::PARTITIONS_PER_TOPIC_MAX},
    coordinators::groups::{OFFSETS_PARTITIONS, OFFSETS_TOPIC},
    net::listener::Listener,
    random::Random,
    start_error::StartError,
};
use gnomon_catalog::{
    CreateTopics, Endpoint, Event, NewTopic, Origin, Register, Reply, Settings, SiteDefaults,
};
use gnomon_host::Metadata;
use gnomon_links::failover::EpochPolicy;
use gnomon_protocol::ids::TopicId;

/// The site's defaults for topics that have no setting of their own.
pub fn site_defaults(config: &Config) -> SiteDefaults {
    let mut defaults = SiteDefaults::default();
    if config.write_caching {
        defaults
            .set("write.caching", "true")
            .expect("a row of the table with a value of its type");
    }
    if !config.record_validation {
        defaults
            .set("record.validation", "header")
            .expect("a row of the table with a value of its type");
    }
    defaults
}

/// The settings that the metadata machine decides by.
pub fn metadata_settings(config: &Config) -> Settings {
    Settings {
        default_partitions: config.default_partitions,
        partitions_max: PARTITIONS_PER_TOPIC_MAX,
        epoch_policy: epoch_policy(),
        site_defaults: site_defaults(config),
    }
}

fn epoch_policy() -> EpochPolicy {
    // Planted fault for tests of failover: the old owner's next elections meet our epochs.
    gnomon_failpoints::fail_point!("failover_epoch_plus_one", |_| EpochPolicy::PlusOne);
    EpochPolicy::default()
}

/// Records this start and makes the topic of the groups, before anything is served. Returns that
/// topic's id.
pub async fn register_site(
    metadata: &Metadata,
    config: &Config,
    listeners: &[Listener],
    random: &Random,
) -> Result<TopicId, StartError> {
    register(metadata, config, listeners, random).await?;
    offsets_topic(metadata, random).await
}

/// Records this start before anything is led.
async fn register(
    metadata: &Metadata,
    config: &Config,
    listeners: &[Listener],
    random: &Random,
) -> Result<(), StartError> {
    let endpoints = listeners.iter().map(|listener| {
        let info = listener.info();
        Endpoint {
            listener: info.name.clone(),
            host: info.advertised.host.clone(),
            port: info.advertised.port,
        }
    });
    let register = Register {
        fresh_cluster_id: random.id(),
        name: config.site_name.clone(),
        broker_id: config.broker_id,
        producer_tag: config.producer_tag,
        owns: config.owns.clone(),
        endpoints: endpoints.collect(),
    };
    match metadata.submit(Event::Register(register)).await? {
        Reply::Register(registered) => registered?,
        _ => return Err(unexpected()),
    };
    // Planted fault for tests of durability: offsets that power loss took back are used again under
    // the same epoch.
    gnomon_failpoints::fail_point!("same_epoch_after_restart", |_| Ok(()));
    match metadata.submit(Event::Incarnate).await? {
        Reply::Incarnate(Ok(_)) => Ok(()),
        _ => Err(unexpected()),
    }
}

/// The metadata machine gave a reply of another kind.
fn unexpected() -> StartError {
    StartError::Lost("its reply does not fit the request".into())
}

/// The id of `__consumer_offsets`, made at the first start.
async fn offsets_topic(metadata: &Metadata, random: &Random) -> Result<TopicId, StartError> {
    if let Some(topic) = metadata.image().topic_by_name(OFFSETS_TOPIC) {
        return Ok(topic.id);
    }
    let topic = NewTopic {
        partitions: OFFSETS_PARTITIONS,
        configs: vec![("cleanup.policy".into(), Some("compact".into()))],
        ..NewTopic::named(OFFSETS_TOPIC, random.id())
    };
    let event = CreateTopics {
        topics: vec![topic],
        origin: Origin::Site,
        validate_only: false,
    };
    match metadata.submit(Event::CreateTopics(event)).await? {
        Reply::CreateTopics(mut made) => match made.pop() {
            Some(creation) => Ok(creation.result?.id),
            None => Err(unexpected()),
        },
        _ => Err(unexpected()),
    }
}
