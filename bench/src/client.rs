//! librdkafka inside this process, through the `rdkafka` crate: its settings, and what is done before a run.

use crate::Failure;
use rdkafka::{
    ClientContext, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::{ClientConfig, FromClientConfig, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::Offset,
};
use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

/// One request of preparation.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often a topic is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Keeps quiet about connections that come and go; what matters is counted by the load.
pub struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Quiet {}

/// What every client here shares.
pub fn base(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4")
        .set("socket.nagle.disable", "true")
        .set("allow.auto.create.topics", "false");
    config
}

/// Makes a topic with the broker's own replication factor.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<(), Failure> {
    let admin = AdminClient::<DefaultClientContext>::from_config(&base(bootstrap))?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE)).request_timeout(Some(DEADLINE));
    let created = block_on(admin.create_topics([&new], &options)).map_err(|error| format!("create {topic} at {bootstrap}: {error}"))?;
    for one in created {
        one.map_err(|(name, code)| format!("create {name} at {bootstrap}: {code}"))?;
    }
    Ok(())
}

/// Waits until a broker has a topic with these partitions, each with a leader.
pub fn wait_for_topic(bootstrap: &str, topic: &str, partitions: i32, patience: Duration) -> Result<(), Failure> {
    let consumer = consumer(bootstrap)?;
    let start = Instant::now();
    loop {
        let last = match consumer.fetch_metadata(Some(topic), DEADLINE) {
            Ok(metadata) => match metadata.topics() {
                [found] if found.error().is_none() => {
                    let led = found.partitions().iter().filter(|partition| partition.error().is_none() && partition.leader() >= 0).count();
                    if led == partitions as usize {
                        return Ok(());
                    }
                    format!("{led} of {partitions} partitions have a leader")
                }
                [found] => format!("{:?}", found.error()),
                topics => format!("asked for one topic, told of {}", topics.len()),
            },
            Err(error) => error.to_string(),
        };
        if start.elapsed() > patience {
            return Err(format!("{topic} is not at {bootstrap} within {patience:?}: {last}").into());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// A consumer of all partitions of a topic from their beginning, without a group.
pub fn reader(bootstrap: &str, topic: &str, partitions: i32) -> Result<BaseConsumer<Quiet>, Failure> {
    let consumer = consumer(bootstrap)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn consumer(bootstrap: &str) -> Result<BaseConsumer<Quiet>, Failure> {
    let mut config = base(bootstrap);
    // librdkafka wants a group's name when partitions are assigned; nothing is committed under it.
    config.set("group.id", "unused").set("enable.auto.commit", "false").set("auto.offset.reset", "error").set("fetch.min.bytes", "1");
    Ok(config.create_with_context(Quiet)?)
}

/// Waits for one of the crate's futures: they are woken by librdkafka's own threads and need no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
