//! DescribeConfigs, key 32, versions 1-4.
//!
//! Behaviour
//! - A topic: every setting there is, with the source of its value, its type and its documentation;
//!   and `gnomon.shadow.*`, read-only, of a topic that is or was a shadow. Those and the broker's
//!   `gnomon.*` are reported as defaults, so that tools which copy settings pass over them.
//! - A broker: Kafka's static settings that mean something here ([`broker`]), and `gnomon.site` and
//!   `gnomon.links`, by which sites learn of each other.
//! - A broker's loggers: one, with the process's level.
//! - A group: no settings, since none can be set for single groups.
//! - Other resources have no settings here: INVALID_REQUEST.
//!
//! Version notes
//! - Version 3 has types and documentation (KIP-569).

mod broker;

use super::{Pace, distinct, text};
use crate::context::RequestContext;
use gnomon_catalog::{CONFIG_KEYS, ConfigKey, SiteDefaults, Topic, shadow_configs};
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
const RESOURCE_BROKER_LOGGER: i8 = 8;
const RESOURCE_GROUP: i8 = 32;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Settings of a resource, or why there are none.
type Described = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)>;

/// One setting in force.
pub struct InForce<'a> {
    /// Its row in the table.
    pub key: &'static ConfigKey,
    pub name: &'static str,
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
            RESOURCE_BROKER => broker::broker(
                &context,
                &resource.resource_name,
                request.include_synonyms,
                request.include_documentation,
            ),
            RESOURCE_BROKER_LOGGER => broker::loggers(&context, &resource.resource_name),
            RESOURCE_GROUP if resource.resource_name.is_empty() => Err((
                ErrorCode::InvalidRequest,
                "the name of the group is missing".to_owned(),
            )),
            RESOURCE_GROUP => Ok(Vec::new()),
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
            .map(|(name, value)| read_only(name, value)),
    );
    Ok(configs)
}

/// The sources of a value in order: the first is in effect, and each next one would be if the ones
/// before it were removed. The broker's own settings have other names than a topic's.
fn chain(config: &InForce<'_>, defaults: &SiteDefaults) -> Vec<DescribeConfigsSynonym> {
    let synonym = |value: &str, source| {
        let name = match source {
            SOURCE_TOPIC => config.name,
            _ => config.key.broker_name.unwrap_or(config.name),
        };
        DescribeConfigsSynonym::default()
            .with_name(text(name))
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

/// A setting of our own that nobody sets.
fn read_only(name: &str, value: String) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(SOURCE_DEFAULT)
        .with_config_type(broker::STRING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::test_broker::{context, create_topic, start};

    async fn ask(
        context: RequestContext,
        resource_type: i8,
        name: &str,
        keys: Option<&[&str]>,
    ) -> DescribeConfigsResult {
        let keys = keys.map(|keys| keys.iter().map(|key| text(*key)).collect());
        let resource = DescribeConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(text(name))
            .with_configuration_keys(keys);
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true)
            .with_include_documentation(true);
        handle(context, request).await.results.remove(0)
    }

    #[tokio::test]
    async fn a_broker_tells_each_setting_once_with_documentation_and_a_source() {
        let broker = start().await;
        let told = ask(context(&broker, 4), RESOURCE_BROKER, "1", None).await;
        assert_eq!(told.error_code, 0, "{:?}", told.error_message);
        let mut names = HashSet::new();
        for config in &told.configs {
            assert!(names.insert(&config.name), "{} twice", config.name);
            assert!(config.read_only, "{}", config.name);
            if config.name.starts_with("gnomon.") {
                continue;
            }
            let doc = config.documentation.as_deref().unwrap_or_default();
            assert!(doc.ends_with('.'), "{} has no documentation", config.name);
            assert_eq!(config.synonyms[0].value, config.value);
            assert_eq!(config.synonyms[0].source, config.config_source);
        }
        let value = |name: &str| {
            let config = told.configs.iter().find(|config| &*config.name == name);
            let config = config.unwrap_or_else(|| panic!("no {name}"));
            let value = config.value.as_deref().expect("a value").to_owned();
            (value, config.config_source)
        };
        for (name, expected, source) in [
            ("advertised.listeners", None, SOURCE_STATIC_BROKER),
            ("log.dirs", Some("/data"), SOURCE_STATIC_BROKER),
            ("log.retention.ms", Some("604800000"), SOURCE_DEFAULT),
            ("log.segment.bytes", Some("1073741824"), SOURCE_DEFAULT),
            ("message.max.bytes", Some("1048588"), SOURCE_DEFAULT),
            ("min.insync.replicas", Some("1"), SOURCE_DEFAULT),
            ("node.id", Some("1"), SOURCE_STATIC_BROKER),
            ("num.partitions", Some("1"), SOURCE_DEFAULT),
        ] {
            let (value, told) = value(name);
            assert_eq!(told, source, "{name}");
            if let Some(expected) = expected {
                assert_eq!(value, expected, "{name}");
            }
        }
        let (advertised, _) = value("advertised.listeners");
        assert!(
            advertised.starts_with("PLAINTEXT://127.0.0.1:"),
            "{advertised}"
        );
        broker.stop().await;
    }

    #[tokio::test]
    async fn only_the_settings_that_are_named_are_told() {
        let broker = start().await;
        let keys = ["log.dirs", "no.such.setting"];
        let told = ask(context(&broker, 4), RESOURCE_BROKER, "", Some(&keys)).await;
        let names: Vec<&str> = told.configs.iter().map(|config| &*config.name).collect();
        assert_eq!(names, ["log.dirs"]);
        broker.stop().await;
    }

    #[tokio::test]
    async fn loggers_and_groups_are_answered_and_other_brokers_refused() {
        let broker = start().await;
        let loggers = ask(context(&broker, 4), RESOURCE_BROKER_LOGGER, "1", None).await;
        assert_eq!(&*loggers.configs[0].name, "root");
        let group = ask(context(&broker, 4), RESOURCE_GROUP, "g", None).await;
        assert_eq!((group.error_code, group.configs.len()), (0, 0));
        for (resource_type, name) in [
            (RESOURCE_BROKER, "2"),
            (RESOURCE_BROKER_LOGGER, "2"),
            (RESOURCE_GROUP, ""),
            (99, "x"),
        ] {
            let refused = ask(context(&broker, 4), resource_type, name, None).await;
            assert_eq!(refused.error_code, ErrorCode::InvalidRequest.code());
        }
        broker.stop().await;
    }

    #[tokio::test]
    async fn the_default_of_a_topic_is_told_by_its_name_on_the_broker() {
        let broker = start().await;
        create_topic(&broker, "t").await;
        let told = ask(
            context(&broker, 4),
            RESOURCE_TOPIC,
            "t",
            Some(&["retention.ms"]),
        )
        .await;
        let [config] = &told.configs[..] else {
            panic!("one setting was asked for: {:?}", told.configs);
        };
        let synonyms: Vec<&str> = config.synonyms.iter().map(|from| &*from.name).collect();
        assert_eq!(synonyms, ["log.retention.ms"]);
        broker.stop().await;
    }
}
