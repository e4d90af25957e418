//! librdkafka inside this process, through the `rdkafka` crate: its settings.

use crate::failure::Failure;
use rdkafka::{
    ClientContext, TopicPartitionList,
    config::{ClientConfig, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::Offset,
};

/// Keeps quiet about connections that come and go; what matters is counted by the load.
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

/// The settings that every client here shares; `options` are `KEY=VALUE`.
pub fn base(bootstrap: &str, options: &[String]) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4")
        .set("socket.nagle.disable", "true")
        .set("allow.auto.create.topics", "false");
    for option in options {
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| format!("{option} is not KEY=VALUE"))?;
        config.set(key, value);
    }
    Ok(config)
}

/// A consumer of all partitions of a topic from their beginning, without a group.
pub fn reader(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
) -> Result<BaseConsumer<Quiet>, Failure> {
    let mut config = base(bootstrap, &[])?;
    // librdkafka wants a group's name when partitions are assigned; nothing is committed under it.
    config
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("fetch.min.bytes", "1");
    let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}
