//! Topics, configs and the cluster, as an administrator asks about them.

use crate::{Call, Client, ClientError, metadata};
use gnomon_protocol::{
    ids::TopicId,
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
        TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    },
    wire::StrBytes,
};
use std::collections::BTreeMap;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Topics asked for in one DescribeConfigs request: answers carry every key of every topic, a few
/// KiB each.
const TOPICS_PER_DESCRIBE: usize = 500;

/// Where a config value comes from (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    StaticBroker,
    Default,
    /// Any other source, by its number.
    Other(i8),
}

/// One config entry. The value of a sensitive entry is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub sensitive: bool,
}

/// Entries by name, or why the peer does not tell.
pub type Described = Result<BTreeMap<String, ConfigEntry>, ClientError>;

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    /// `-1` for the broker's default.
    pub partitions: i32,
    /// `-1` for the broker's default.
    pub replication_factor: i16,
    pub configs: BTreeMap<String, String>,
}

/// The result for one topic. The message is empty where the broker gives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOutcome {
    pub name: String,
    pub id: Option<TopicId>,
    pub error: Option<(i16, String)>,
}

/// A cluster in DescribeCluster's words (KIP-700).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller: i32,
    /// Node id to `host:port`.
    pub brokers: BTreeMap<i32, String>,
}

impl Client {
    /// Configs of many topics, all keys or only these, by topic name.
    pub async fn describe_topic_configs(
        &self,
        topics: &[String],
        keys: Option<&[&str]>,
    ) -> Result<BTreeMap<String, Described>, ClientError> {
        let mut found = BTreeMap::new();
        for chunk in topics.chunks(TOPICS_PER_DESCRIBE) {
            let resources = chunk
                .iter()
                .map(|topic| resource(TOPIC, topic, keys))
                .collect();
            let response = self
                .ask_any(DescribeConfigsRequest::default().with_resources(resources))
                .await?;
            found.extend(
                response
                    .results
                    .into_iter()
                    .map(|result| (result.resource_name.to_string(), described(result))),
            );
        }
        Ok(found)
    }

    /// Configs of one broker, asked from that broker, all keys or only these.
    pub async fn describe_broker_configs(&self, node: i32, keys: Option<&[&str]>) -> Described {
        let request = DescribeConfigsRequest::default().with_resources(vec![resource(
            BROKER,
            &node.to_string(),
            keys,
        )]);
        match self.ask(node, request).await?.results.into_iter().next() {
            Some(result) => described(result),
            None => Err(ClientError::Missing {
                api: DescribeConfigsRequest::NAME,
                subject: format!("broker {node}"),
            }),
        }
    }

    /// Makes topics; each has its own outcome, in the order of the answer.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<TopicOutcome>, ClientError> {
        let creatable = |topic: &NewTopic| {
            let config = |(key, value): (&String, &String)| {
                CreatableTopicConfig::default()
                    .with_name(StrBytes::from_string(key.clone()))
                    .with_value(Some(StrBytes::from_string(value.clone())))
            };
            CreatableTopic::default()
                .with_name(topic_name(&topic.name))
                .with_num_partitions(topic.partitions)
                .with_replication_factor(topic.replication_factor)
                .with_configs(topic.configs.iter().map(config).collect())
        };
        let request = CreateTopicsRequest::default()
            .with_topics(topics.iter().map(creatable).collect())
            .with_timeout_ms(self.timeout_ms())
            .with_validate_only(validate_only);
        let controller = self.controller().await?;
        let response = self.ask(controller, request).await?;
        let outcome =
            |topic: gnomon_protocol::messages::create_topics_response::CreatableTopicResult| {
                TopicOutcome {
                    name: topic.name.0.to_string(),
                    id: (!topic.topic_id.is_nil()).then_some(topic.topic_id),
                    error: outcome_error(topic.error_code, topic.error_message),
                }
            };
        Ok(response.topics.into_iter().map(outcome).collect())
    }

    /// Deletes topics by name; each has its own outcome.
    pub async fn delete_topics(&self, names: &[String]) -> Result<Vec<TopicOutcome>, ClientError> {
        let controller = self.controller().await?;
        let conn = self.broker(controller).await?;
        let request = DeleteTopicsRequest::default().with_timeout_ms(self.timeout_ms());
        let request = if conn.version::<DeleteTopicsRequest>()? >= 6 {
            request.with_topics(
                names
                    .iter()
                    .map(|name| DeleteTopicState::default().with_name(Some(topic_name(name))))
                    .collect(),
            )
        } else {
            request.with_topic_names(names.iter().map(|name| topic_name(name)).collect())
        };
        let response = conn.call(request, self.config().request_timeout).await?;
        let outcome =
            |topic: gnomon_protocol::messages::delete_topics_response::DeletableTopicResult| {
                TopicOutcome {
                    name: topic
                        .name
                        .map(|name| name.0.to_string())
                        .unwrap_or_default(),
                    id: (!topic.topic_id.is_nil()).then_some(topic.topic_id),
                    error: outcome_error(topic.error_code, topic.error_message),
                }
            };
        Ok(response.responses.into_iter().map(outcome).collect())
    }

    /// The cluster's id and brokers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let response = self.ask_any(DescribeClusterRequest::default()).await?;
        if response.error_code != 0 {
            let message = response.error_message.as_deref();
            return Err(ClientError::refused(
                DescribeClusterRequest::NAME,
                "cluster",
                response.error_code,
                message,
            ));
        }
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.to_string(),
            controller: response.controller_id.0,
            brokers: response
                .brokers
                .iter()
                .map(|b| (b.broker_id.0, format!("{}:{}", b.host.as_str(), b.port)))
                .collect(),
        })
    }

    async fn controller(&self) -> Result<i32, ClientError> {
        let metadata = self.metadata(crate::Topics::None, false).await?;
        let first = || metadata.brokers.keys().next().copied();
        let controller = (metadata.controller >= 0)
            .then_some(metadata.controller)
            .or_else(first);
        controller.ok_or(ClientError::UnknownNode {
            node: metadata.controller,
        })
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    let text = |key: &&str| StrBytes::from_string((*key).to_owned());
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(text).collect()))
}

fn described(result: DescribeConfigsResult) -> Described {
    if result.error_code != 0 {
        let message = result.error_message.as_deref();
        return Err(ClientError::refused(
            DescribeConfigsRequest::NAME,
            result.resource_name.as_str(),
            result.error_code,
            message,
        ));
    }
    Ok(result
        .configs
        .into_iter()
        .map(|config| (config.name.to_string(), entry(&config)))
        .collect())
}

fn entry(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    let source = match config.config_source {
        1 => ConfigSource::Topic,
        2 | 3 => ConfigSource::DynamicBroker,
        4 => ConfigSource::StaticBroker,
        5 => ConfigSource::Default,
        other => ConfigSource::Other(other),
    };
    ConfigEntry {
        value: config.value.as_ref().map(|value| value.to_string()),
        source,
        read_only: config.read_only,
        sensitive: config.is_sensitive,
    }
}

fn outcome_error(code: i16, message: Option<StrBytes>) -> Option<(i16, String)> {
    metadata::error(code).map(|code| (code, message.map(|m| m.to_string()).unwrap_or_default()))
}
