//! DescribeConfigs, key 32, versions 1-4.
//!
//! Behaviour
//! - A topic: every setting there is, with where its value comes from, its type and its doc; and
//!   `gnomon.shadow.*`, read-only, of a topic that is or was a shadow. Those and the broker's
//!   `gnomon.*` are reported as defaults, so that tools which copy settings pass over them.
//! - A broker: `gnomon.site` and `gnomon.links`, by which sites learn of each other, and what the
//!   site was told at its start.
//! - Other resources have no settings here: INVALID_REQUEST.
//!
//! Version notes
//! - Version 3 has types and docs (KIP-569).

use super::{Pace, distinct, text};
use crate::context::RequestContext;
use gnomon_catalog::{CONFIG_KEYS, ConfigKey, SiteDefaults, Topic, shadow_configs};
use gnomon_links::peer;
use gnomon_protocol::{
    error_code::ErrorCode,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
    wire::StrBytes,
};
use std::collections::{BTreeMap, HashSet};

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

const TYPE_STRING: i8 = 2;

/// One setting in force.
pub struct InForce<'a> {
    /// Its row in the table.
    pub key: &'static ConfigKey,
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: &'a str,
    /// Kafka's number of where the value comes from.
    pub source: i8,
}

/// Every topic setting, as these overrides and the site's defaults make it.
pub fn in_force<'a>(
    overrides: &'a BTreeMap<String, String>,
    defaults: &'a SiteDefaults,
) -> impl Iterator<Item = InForce<'a>> {
    CONFIG_KEYS.iter().map(move |key| {
        let (value, source) = match (overrides.get(key.name), defaults.get(key.name)) {
            (Some(value), _) => (value.as_str(), SOURCE_TOPIC),
            (None, Some(value)) => (value, SOURCE_STATIC_BROKER),
            (None, None) => (key.default, SOURCE_DEFAULT),
        };
        InForce {
            key,
            name: key.name,
            value,
            source,
        }
    })
}

/// Answers settings.
pub async fn handle(
    context: RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut pace = Pace::default();
    let resources = distinct(request.resources, &mut pace, |resource| {
        (resource.resource_type, resource.resource_name.clone())
    });
    let mut results = Vec::new();
    for resource in resources.await {
        let keys = resource.configuration_keys.as_deref();
        pace.steps(CONFIG_KEYS.len() + keys.map_or(0, <[_]>::len))
            .await;
        let described = match resource.resource_type {
            RESOURCE_TOPIC => topic(
                &context,
                &resource,
                request.include_synonyms,
                request.include_documentation,
            ),
            RESOURCE_BROKER => broker(&context, &resource),
            other => Err((
                ErrorCode::InvalidRequest,
                format!("resources of type {other} have no settings here"),
            )),
        };
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        results.push(match described {
            Ok(configs) => {
                result.with_configs(only(configs, resource.configuration_keys.as_deref()))
            }
            Err((code, why)) => result
                .with_error_code(code.code())
                .with_error_message(Some(text(why))),
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

type Described = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)>;

fn only(
    configs: Vec<DescribeConfigsResourceResult>,
    keys: Option<&[StrBytes]>,
) -> Vec<DescribeConfigsResourceResult> {
    match keys {
        None | Some([]) => configs,
        Some(keys) => {
            let keys: HashSet<&StrBytes> = keys.iter().collect();
            let wanted = |config: &DescribeConfigsResourceResult| keys.contains(&config.name);
            configs.into_iter().filter(wanted).collect()
        }
    }
}

fn topic(
    context: &RequestContext,
    resource: &DescribeConfigsResource,
    synonyms: bool,
    docs: bool,
) -> Described {
    let image = context.image();
    let unknown = || {
        (
            ErrorCode::UnknownTopicOrPartition,
            format!("there is no topic '{}'", &*resource.resource_name),
        )
    };
    let topic: &Topic = image
        .topic_by_name(&resource.resource_name)
        .ok_or_else(unknown)?;
    let mut configs: Vec<_> = in_force(&topic.configs, context.services.partitions.defaults())
        .map(|config| {
            let result = DescribeConfigsResourceResult::default()
                .with_name(text(config.name))
                .with_value(Some(text(config.value)))
                .with_config_source(config.source)
                .with_config_type(config.key.kind.code())
                .with_documentation(docs.then(|| text(config.key.doc)));
            if synonyms {
                result.with_synonyms(chain(&config, context.services.partitions.defaults()))
            } else {
                result
            }
        })
        .collect();
    configs.extend(
        shadow_configs(topic)
            .into_iter()
            .map(|(name, value)| read_only(name, value, SOURCE_DEFAULT)),
    );
    Ok(configs)
}

/// Where a value would come from if what stands before it were taken away.
fn chain(config: &InForce<'_>, defaults: &SiteDefaults) -> Vec<DescribeConfigsSynonym> {
    let synonym = |value: &str, source| {
        DescribeConfigsSynonym::default()
            .with_name(text(config.name))
            .with_value(Some(text(value)))
            .with_source(source)
    };
    let mut chain = Vec::new();
    if config.source == SOURCE_TOPIC {
        chain.push(synonym(config.value, SOURCE_TOPIC));
    }
    if let Some(value) = defaults.get(config.name) {
        chain.push(synonym(value, SOURCE_STATIC_BROKER));
    }
    chain.push(synonym(config.key.default, SOURCE_DEFAULT));
    chain
}

fn broker(context: &RequestContext, resource: &DescribeConfigsResource) -> Described {
    let name: &str = &resource.resource_name;
    if !name.is_empty() && name != context.services.config.broker_id.to_string() {
        return Err((
            ErrorCode::InvalidRequest,
            format!(
                "this is broker {}, not {name}",
                context.services.config.broker_id
            ),
        ));
    }
    let image = context.image();
    let config = &context.services.config;
    let mut configs: Vec<_> = [
        (
            "auto.create.topics.enable",
            config.auto_create_topics.to_string(),
        ),
        ("broker.id", config.broker_id.to_string()),
        ("default.replication.factor", "1".to_owned()),
        (
            "group.initial.rebalance.delay.ms",
            config.group_initial_rebalance_delay_ms.to_string(),
        ),
        ("num.partitions", config.default_partitions.to_string()),
        (
            "socket.request.max.bytes",
            config.request_bytes_max.to_string(),
        ),
        (
            "record.validation",
            if config.record_validation {
                "full"
            } else {
                "header"
            }
            .to_owned(),
        ),
        ("write.caching", config.write_caching.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| read_only(name, value, SOURCE_STATIC_BROKER))
    .collect();
    if let Some(peer_site) = image.as_peer_site() {
        configs.push(read_only(peer::SITE, peer_site.to_config(), SOURCE_DEFAULT));
        configs.push(read_only(
            peer::LINKS,
            peer::links_to_config(&image.as_peer_links()),
            SOURCE_DEFAULT,
        ));
    }
    Ok(configs)
}

fn read_only(name: &str, value: String, source: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(source)
        .with_config_type(TYPE_STRING)
}
