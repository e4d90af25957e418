//! A source over Kafka's protocol: Gnomon, Apache Kafka, Redpanda.

use super::{
    ByName, Configs, Connect, Contact, FetchConnection, FetchLimits, ListedPartition, ListedTopic,
    Source,
};
use gnomon_client::{
    BoxFuture, Client, ClientError, Config, Net, Tcp, Topics,
    fetcher::{FetchOptions, FetchPosition, FetchTarget, FetchedAll, Fetcher, Isolation},
    offsets::{EpochEnd, LogEnd, PerPartition, TopicPartition},
};
use gnomon_links::{LinkConfig, peer, plan_offsets::SourceCommit};
use gnomon_protocol::ids::{BatchEpoch, Offset};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// How long a source may take over any question, long polls' own wait aside.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes sources over the network.
pub struct KafkaConnect {
    net: Arc<dyn Net>,
    /// How we call ourselves at the source.
    client_id: String,
}

impl KafkaConnect {
    /// Over TCP. `site`: our name, for the source's logs.
    pub fn tcp(site: &str) -> KafkaConnect {
        KafkaConnect::over(Arc::new(Tcp), site)
    }

    /// Over another network: a simulated one, or one with faults.
    pub fn over(net: Arc<dyn Net>, site: &str) -> KafkaConnect {
        KafkaConnect {
            net,
            client_id: format!("gnomon-{site}"),
        }
    }
}

impl Connect for KafkaConnect {
    fn connect(&self, link: &LinkConfig) -> Arc<dyn Source> {
        let options = link.client.effective();
        let config = Config {
            bootstrap_servers: options.bootstrap_servers.clone(),
            client_id: format!("{}-{}", self.client_id, link.name),
            connect_timeout: Duration::from_millis(u64::from(
                options.connection_timeout_ms.unsigned_abs(),
            )),
            request_timeout: REQUEST_TIMEOUT,
            ..Config::default()
        };
        Arc::new(KafkaSource {
            client: Client::new(config, self.net.clone()),
        })
    }
}

/// A cluster that speaks Kafka.
pub struct KafkaSource {
    client: Client,
}

impl Source for KafkaSource {
    fn start_over(&self) {
        self.client.disconnect();
    }

    fn contact(&self) -> BoxFuture<'_, Result<Contact, ClientError>> {
        Box::pin(async {
            let metadata = self.client.metadata(Topics::None, false).await?;
            let mut contact = Contact {
                cluster_id: metadata.cluster_id,
                ..Contact::default()
            };
            // Any broker knows; one that does not let us read configs, or knows no such names, is a
            // foreign source.
            let Some(node) = metadata.brokers.keys().next() else {
                return Ok(contact);
            };
            match self
                .client
                .describe_broker_configs(*node, Some(&[peer::SITE, peer::LINKS]))
                .await
            {
                Ok(mut configs) => {
                    let mut take = |key| {
                        configs
                            .remove(key)
                            .and_then(|entry| entry.value)
                            .filter(|value| !value.is_empty())
                    };
                    (contact.site, contact.links) = (take(peer::SITE), take(peer::LINKS));
                }
                Err(error) if error.is_connection() => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, "the source does not show its broker configs")
                }
            }
            Ok(contact)
        })
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<ListedTopic>, ClientError>> {
        Box::pin(async {
            let metadata = self.client.metadata(Topics::All, false).await?;
            let listed = metadata
                .topics
                .into_iter()
                .map(|(name, topic)| ListedTopic {
                    name,
                    id: topic.id,
                    internal: topic.internal,
                    error: topic.error,
                    partitions: topic
                        .partitions
                        .into_iter()
                        .map(|(index, p)| {
                            (
                                index,
                                ListedPartition {
                                    leader: p.leader,
                                    leader_epoch: p.leader_epoch,
                                },
                            )
                        })
                        .collect(),
                });
            Ok(listed.collect())
        })
    }

    fn configs<'a>(
        &'a self,
        topics: &'a [String],
        keys: &'a [&'a str],
    ) -> BoxFuture<'a, ByName<Configs>> {
        Box::pin(async move {
            let described = self
                .client
                .describe_topic_configs(topics, Some(keys))
                .await?;
            // Some peers answer with more keys than were asked for.
            let read = |configs: BTreeMap<String, gnomon_client::admin::ConfigEntry>| -> Configs {
                let known = configs
                    .into_iter()
                    .filter(|(key, _)| keys.contains(&key.as_str()));
                known
                    .filter_map(|(key, entry)| Some((key, entry.value?)))
                    .collect()
            };
            Ok(described
                .into_iter()
                .map(|(topic, configs)| (topic, configs.map(read)))
                .collect())
        })
    }

    fn offsets<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, i64>,
    ) -> BoxFuture<'a, PerPartition<Offset>> {
        Box::pin(async move {
            let listed = self
                .client
                .list_offsets(wanted, Isolation::ReadUncommitted)
                .await;
            listed
                .into_iter()
                .map(|(key, result)| (key, result.map(|listed| listed.offset)))
                .collect()
        })
    }

    fn epoch_ends<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, BatchEpoch>,
    ) -> BoxFuture<'a, PerPartition<EpochEnd>> {
        Box::pin(self.client.epoch_ends(wanted))
    }

    fn log_ends<'a>(
        &'a self,
        wanted: &'a BTreeMap<TopicPartition, Option<BatchEpoch>>,
    ) -> BoxFuture<'a, PerPartition<LogEnd>> {
        Box::pin(self.client.log_ends(wanted))
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<String>, ClientError>> {
        Box::pin(async { Ok(self.client.list_groups().await?.into_keys().collect()) })
    }

    fn group_offsets<'a>(
        &'a self,
        groups: &'a [String],
    ) -> BoxFuture<'a, ByName<Vec<SourceCommit>>> {
        Box::pin(async move {
            let fetched = self.client.fetch_group_offsets(groups).await?;
            let read = |offsets: gnomon_client::groups::GroupOffsets| {
                offsets
                    .into_iter()
                    .map(|((topic, partition), committed)| SourceCommit {
                        topic,
                        partition,
                        offset: committed.offset,
                        leader_epoch: committed.leader_epoch.0,
                        metadata: committed.metadata,
                    })
                    .collect()
            };
            Ok(fetched
                .into_iter()
                .map(|(group, offsets)| (group, offsets.map(read)))
                .collect())
        })
    }

    fn fetch_connection(
        &self,
        node: i32,
    ) -> BoxFuture<'_, Result<Box<dyn FetchConnection>, ClientError>> {
        Box::pin(async move {
            let conn = self.client.dedicated(node).await?;
            let options = FetchOptions {
                request_timeout: REQUEST_TIMEOUT,
                ..FetchOptions::default()
            };
            Ok(Box::new(KafkaConnection(Fetcher::new(conn, options))) as Box<dyn FetchConnection>)
        })
    }
}

struct KafkaConnection(Fetcher);

impl FetchConnection for KafkaConnection {
    fn send<'a>(
        &'a mut self,
        wanted: &'a BTreeMap<FetchTarget, FetchPosition>,
        limits: FetchLimits,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        *self.0.options_mut() = FetchOptions {
            max_wait: limits.max_wait,
            min_bytes: limits.min_bytes,
            max_bytes: limits.max_bytes,
            partition_max_bytes: limits.partition_max_bytes,
            isolation: Isolation::ReadUncommitted,
            whole: limits.whole,
            request_timeout: REQUEST_TIMEOUT,
        };
        Box::pin(self.0.send(wanted))
    }

    fn receive(&mut self) -> BoxFuture<'_, Result<FetchedAll, ClientError>> {
        Box::pin(self.0.receive())
    }
}
