//! The settings of this broker, as DescribeConfigs answers them: Kafka's static settings whose
//! meaning exists here, with the values that are in effect.
//!
//! Settings of topics that have a name of a broker setting (`log.retention.ms` for `retention.ms`)
//! come from the catalog's table; all others are in [`SETTINGS`]. Settings of things that do not
//! exist here, such as thread pools, replica fetchers and controller quorums, are left out: a
//! default of Kafka's would be untrue.
//!
//! None can be altered while the broker runs.

use super::{Described, SOURCE_DEFAULT, SOURCE_STATIC_BROKER, text};
use crate::{
    config::limits::{CONNECTION_IDLE_MAX, CONNECTIONS_MAX, FETCH_BYTES_MAX, FETCH_SESSIONS_MAX},
    context::RequestContext,
    coordinators::groups::OFFSETS_PARTITIONS,
    services::Services,
};
use gnomon_catalog::{CONFIG_KEYS, ConfigKey};
use gnomon_host::housekeeping;
use gnomon_links::peer;
use gnomon_partition::Settings;
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsSynonym},
};
use tracing::level_filters::LevelFilter;

// Types of values (KIP-569).
const BOOLEAN: i8 = 1;
pub const STRING: i8 = 2;
const INT: i8 = 3;
const SHORT: i8 = 4;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// A logger's level may be set while a broker runs, in Kafka.
const SOURCE_LOGGER: i8 = 6;

/// One setting of the broker that is not also a default of topics.
struct Setting {
    name: &'static str,
    kind: i8,
    /// The value in effect, `None` for a setting without a value.
    value: fn(&Services) -> Option<String>,
    /// The value if nobody sets it; equal values are reported as defaults.
    default: Option<&'static str>,
    doc: &'static str,
}

const fn setting(
    name: &'static str,
    kind: i8,
    value: fn(&Services) -> Option<String>,
    default: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        value,
        default,
        doc,
    }
}

static SETTINGS: &[Setting] = &[
    setting(
        "advertised.listeners",
        LIST,
        |services| Some(advertised(services)),
        None,
        "The addresses that clients are told to connect to, each with the name of its listener.",
    ),
    setting(
        "auto.create.topics.enable",
        BOOLEAN,
        |services| Some(services.config.auto_create_topics.to_string()),
        Some("true"),
        "Whether a client's request for the metadata of a missing topic creates it.",
    ),
    setting(
        "broker.id",
        INT,
        |services| Some(services.config.broker_id.to_string()),
        None,
        "The id of this broker in its cluster, the same as node.id.",
    ),
    setting(
        "broker.rack",
        STRING,
        |_| None,
        None,
        "The rack of this broker. A cluster of one broker has no racks.",
    ),
    setting(
        "connections.max.idle.ms",
        LONG,
        |_| Some(CONNECTION_IDLE_MAX.as_millis().to_string()),
        Some("600000"),
        "A connection without a request for this long is closed.",
    ),
    setting(
        "default.replication.factor",
        INT,
        |_| Some("1".to_owned()),
        Some("1"),
        "Replicas of a topic that is created without a number of them.",
    ),
    setting(
        "delete.topic.enable",
        BOOLEAN,
        |_| Some("true".to_owned()),
        Some("true"),
        "Whether topics can be deleted.",
    ),
    setting(
        "fetch.max.bytes",
        INT,
        |_| Some(FETCH_BYTES_MAX.to_string()),
        Some("57671680"),
        "The largest response to one fetch, whatever the client allows.",
    ),
    setting(
        "group.initial.rebalance.delay.ms",
        INT,
        |services| {
            Some(
                services
                    .config
                    .groups()
                    .initial_rebalance_delay_ms
                    .to_string(),
            )
        },
        Some("3000"),
        "How long the first rebalance of an empty group waits for more members.",
    ),
    setting(
        "group.max.session.timeout.ms",
        INT,
        |services| Some(services.config.groups().session_timeout_max_ms.to_string()),
        Some("1800000"),
        "The longest session timeout that a member of a group may ask for.",
    ),
    setting(
        "group.max.size",
        INT,
        |services| Some(services.config.groups().members_max.to_string()),
        Some("2147483647"),
        "Members that one group may have.",
    ),
    setting(
        "group.min.session.timeout.ms",
        INT,
        |services| Some(services.config.groups().session_timeout_min_ms.to_string()),
        Some("6000"),
        "The shortest session timeout that a member of a group may ask for.",
    ),
    setting(
        "listener.security.protocol.map",
        STRING,
        |services| Some(security_protocols(services)),
        None,
        "The security protocol of each listener.",
    ),
    setting(
        "listeners",
        LIST,
        |services| Some(listeners(services)),
        None,
        "The addresses that this broker listens on for clients, each with its listener's name.",
    ),
    setting(
        "log.cleaner.enable",
        BOOLEAN,
        |_| Some("false".to_owned()),
        None,
        "Whether topics with cleanup.policy compact are compacted. This build keeps all their records.",
    ),
    setting(
        "log.dir",
        STRING,
        |services| Some(services.config.data.display().to_string()),
        None,
        "The directory of the logs; log.dirs names the same one.",
    ),
    setting(
        "log.dirs",
        LIST,
        |services| Some(services.config.data.display().to_string()),
        None,
        "The directories of the logs: one.",
    ),
    setting(
        "log.retention.check.interval.ms",
        LONG,
        |_| Some(housekeeping::INTERVAL.as_millis().to_string()),
        None,
        "How often partitions are looked through for segments that retention deletes.",
    ),
    setting(
        "max.connections",
        INT,
        |_| Some(CONNECTIONS_MAX.to_string()),
        None,
        "Connections of clients at once, over all listeners; fewer where the process may open few files.",
    ),
    setting(
        "max.incremental.fetch.session.cache.slots",
        INT,
        |_| Some(FETCH_SESSIONS_MAX.to_string()),
        Some("1000"),
        "Fetch sessions that are kept at once.",
    ),
    setting(
        "node.id",
        INT,
        |services| Some(services.config.broker_id.to_string()),
        None,
        "The id of this broker in its cluster.",
    ),
    setting(
        "num.partitions",
        INT,
        |services| Some(services.config.default_partitions.to_string()),
        Some("1"),
        "Partitions of a topic that is created without a number of them.",
    ),
    setting(
        "offset.metadata.max.bytes",
        INT,
        |services| Some(services.config.groups().metadata_bytes_max.to_string()),
        Some("4096"),
        "The longest metadata text of a committed offset.",
    ),
    setting(
        "offsets.retention.check.interval.ms",
        LONG,
        |services| {
            Some(
                services
                    .config
                    .groups()
                    .offsets_check_interval_ms
                    .to_string(),
            )
        },
        Some("600000"),
        "How often committed offsets are looked through for ones that expire.",
    ),
    setting(
        "offsets.retention.minutes",
        INT,
        |services| {
            let retention_ms = services.config.groups().offsets_retention_ms;
            Some((retention_ms / 60_000).to_string())
        },
        Some("10080"),
        "How long committed offsets outlive the last member or subscription of their group.",
    ),
    setting(
        "offsets.topic.num.partitions",
        INT,
        |_| Some(OFFSETS_PARTITIONS.to_string()),
        None,
        "Partitions of the topic in which groups and their offsets are recorded.",
    ),
    setting(
        "offsets.topic.replication.factor",
        SHORT,
        |_| Some("1".to_owned()),
        None,
        "Replicas of the topic in which groups and their offsets are recorded.",
    ),
    setting(
        "producer.id.expiration.ms",
        INT,
        |_| Some(Settings::named("").producer_expiration_ms.to_string()),
        Some("86400000"),
        "How long an idle producer's id and sequences are remembered.",
    ),
    setting(
        "socket.request.max.bytes",
        INT,
        |services| Some(services.config.request_bytes_max.to_string()),
        Some("104857600"),
        "The largest request that is taken.",
    ),
];

/// Describes this broker; an empty name stands for it too, as for Kafka's defaults of all brokers.
pub fn broker(context: &RequestContext, name: &str, synonyms: bool, docs: bool) -> Described {
    refuse_other_brokers(context, name)?;
    let services = &context.services;
    let defaults = services.partitions.defaults();
    let of_topics = CONFIG_KEYS.iter().filter_map(|key: &ConfigKey| {
        let value = defaults.get(key.name);
        Some(describe(
            key.broker_name?,
            key.kind.code(),
            Some(value.unwrap_or(key.default).to_owned()),
            (value.is_none() || value == Some(key.default)).then_some(key.default),
            docs.then_some(key.doc),
            synonyms,
        ))
    });
    let of_broker = SETTINGS.iter().map(|setting| {
        let value = (setting.value)(services);
        let default = setting
            .default
            .filter(|default| value.as_deref() == Some(default));
        describe(
            setting.name,
            setting.kind,
            value,
            default,
            docs.then_some(setting.doc),
            synonyms,
        )
    });
    let mut configs: Vec<_> = of_topics.chain(of_broker).collect();
    let image = context.image();
    if let Some(peer_site) = image.as_peer_site() {
        let links = peer::links_to_config(&image.as_peer_links());
        for (name, value) in [(peer::SITE, peer_site.to_config()), (peer::LINKS, links)] {
            configs.push(super::read_only(name, value));
        }
    }
    Ok(configs)
}

/// Describes the loggers of this broker: one, at the most detailed level that any part of the
/// process logs at.
pub fn loggers(context: &RequestContext, name: &str) -> Described {
    refuse_other_brokers(context, name)?;
    // Kafka's levels are those of Log4j.
    let level = match LevelFilter::current() {
        LevelFilter::OFF => "OFF",
        LevelFilter::ERROR => "ERROR",
        LevelFilter::WARN => "WARN",
        LevelFilter::INFO => "INFO",
        LevelFilter::DEBUG => "DEBUG",
        LevelFilter::TRACE => "TRACE",
    };
    let root = DescribeConfigsResourceResult::default()
        .with_name(text("root"))
        .with_value(Some(text(level)))
        .with_read_only(true)
        .with_config_source(SOURCE_LOGGER)
        .with_config_type(STRING);
    Ok(vec![root])
}

fn refuse_other_brokers(context: &RequestContext, name: &str) -> Result<(), (ErrorCode, String)> {
    let id = context.services.config.broker_id;
    if name.is_empty() || name == id.to_string() {
        return Ok(());
    }
    let why = format!("'{name}' is not this broker: ask it for {id}");
    Err((ErrorCode::InvalidRequest, why))
}

/// `default` is the value as a default; `None` where it was set, or has no default.
fn describe(
    name: &str,
    kind: i8,
    value: Option<String>,
    default: Option<&str>,
    doc: Option<&str>,
    synonyms: bool,
) -> DescribeConfigsResourceResult {
    let source = match default {
        Some(_) => SOURCE_DEFAULT,
        None => SOURCE_STATIC_BROKER,
    };
    let value = value.map(text);
    let synonym = DescribeConfigsSynonym::default()
        .with_name(text(name))
        .with_value(value.clone())
        .with_source(source);
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(value)
        .with_read_only(true)
        .with_config_source(source)
        .with_config_type(kind)
        .with_documentation(doc.map(text))
        .with_synonyms(if synonyms { vec![synonym] } else { Vec::new() })
}

/// Kafka's form of an address: `NAME://HOST:PORT`.
fn advertised(services: &Services) -> String {
    let image = services.metadata.image();
    let broker = image.brokers.get(&services.config.broker_id);
    let endpoints = broker.map_or(&[][..], |broker| &broker.endpoints);
    let addresses = endpoints.iter().map(|endpoint| {
        let address = crate::Endpoint {
            host: endpoint.host.clone(),
            port: endpoint.port,
        };
        format!("{}://{address}", endpoint.listener)
    });
    addresses.collect::<Vec<_>>().join(",")
}

fn listeners(services: &Services) -> String {
    let listeners = services.config.listeners.iter();
    let addresses = listeners.map(|listener| format!("{}://{}", listener.name, listener.bind));
    addresses.collect::<Vec<_>>().join(",")
}

fn security_protocols(services: &Services) -> String {
    let listeners = services.config.listeners.iter();
    // Connections neither authenticate nor encrypt yet.
    let pairs = listeners.map(|listener| format!("{}:PLAINTEXT", listener.name));
    pairs.collect::<Vec<_>>().join(",")
}
