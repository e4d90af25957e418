//! librdkafka through the rdkafka crate, in this process: built from its own sources, so that its
//! version is the lock file's.

use crate::client::{
    Ack, Client, Consumer, Consuming, Failure, Producer, Producing, Record, Seen, Start,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{
    ClientConfig, FromClientConfig, FromClientConfigAndContext, RDKafkaLogLevel,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientContext, statistics::Statistics};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(15);

pub struct Librdkafka;

/// As a value to hand around.
pub fn client() -> &'static Librdkafka {
    &Librdkafka
}

fn failure(error: &KafkaError) -> Failure {
    let code = error.rdkafka_error_code();
    Failure {
        class: code.map_or_else(|| "librdkafka".to_owned(), |code| format!("{code:?}")),
        code: code.map_or(-1, |code| code as i32),
        message: error.to_string(),
    }
}

pub(crate) fn base(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("allow.auto.create.topics", "true")
        .set("log.connection.close", "false")
        .set_log_level(RDKafkaLogLevel::Emerg);
    config
}

/// Waits for one of the crate's futures: they are woken by librdkafka's own threads and need no
/// runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

impl Client for Librdkafka {
    fn name(&self) -> &'static str {
        "librdkafka"
    }

    fn create_topic(
        &self,
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        configs: &BTreeMap<&str, &str>,
    ) -> Result<(), Failure> {
        let admin = AdminClient::<DefaultClientContext>::from_config(&base(bootstrap))
            .map_err(|error| failure(&error))?;
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in configs {
            new = new.set(name, value);
        }
        let options = AdminOptions::new()
            .operation_timeout(Some(DEADLINE))
            .request_timeout(Some(DEADLINE));
        let created =
            block_on(admin.create_topics([&new], &options)).map_err(|error| failure(&error))?;
        for one in created {
            one.map_err(|(_, code)| Failure {
                class: format!("{code:?}"),
                code: code as i32,
                message: code.to_string(),
            })?;
        }
        Ok(())
    }

    fn offset_for_time(
        &self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<i64, Failure> {
        let consumer =
            BaseConsumer::from_config(&base(bootstrap)).map_err(|error| failure(&error))?;
        let mut ask = TopicPartitionList::new();
        ask.add_partition_offset(topic, partition, Offset::Offset(timestamp))
            .map_err(|error| failure(&error))?;
        let found = consumer
            .offsets_for_times(ask, DEADLINE)
            .map_err(|error| failure(&error))?;
        Ok(match found.elements()[0].offset() {
            Offset::Offset(offset) => offset,
            Offset::End
            | Offset::Invalid
            | Offset::Beginning
            | Offset::Stored
            | Offset::OffsetTail(_) => -1,
        })
    }

    fn producer(&self, how: &Producing) -> Result<Box<dyn Producer>, Failure> {
        Ok(Box::new(Sender::open(how)?))
    }

    fn consumer(&self, how: &Consuming) -> Result<Box<dyn Consumer>, Failure> {
        let mut config = base(&how.bootstrap);
        // Without a group librdkafka still asks for a name when partitions are assigned; nothing is
        // ever committed under it.
        config
            .set("group.id", how.group.as_deref().unwrap_or("unused"))
            .set("enable.auto.commit", "false")
            .set(
                "auto.offset.reset",
                if how.reset == "none" {
                    "error"
                } else {
                    how.reset
                },
            )
            .set(
                "isolation.level",
                if how.read_committed {
                    "read_committed"
                } else {
                    "read_uncommitted"
                },
            )
            .set("session.timeout.ms", how.session.as_millis().to_string())
            .set(
                "heartbeat.interval.ms",
                (how.session.as_millis() / 20).max(100).to_string(),
            )
            .set("fetch.wait.max.ms", "200")
            .set("fetch.error.backoff.ms", "100")
            .set("retry.backoff.max.ms", "500");
        let inner = BaseConsumer::from_config(&config).map_err(|error| failure(&error))?;
        if how.topics.is_empty() {
            let mut list = TopicPartitionList::new();
            for (topic, partition, start) in &how.assign {
                list.add_partition_offset(topic, *partition, position(*start))
                    .map_err(|error| failure(&error))?;
            }
            inner.assign(&list).map_err(|error| failure(&error))?;
        } else {
            let topics: Vec<&str> = how.topics.iter().map(String::as_str).collect();
            inner.subscribe(&topics).map_err(|error| failure(&error))?;
        }
        Ok(Box::new(Reader {
            inner,
            polled: BTreeMap::new(),
        }))
    }
}

/// Commits one position as nobody's member; `acknowledged` runs at the acknowledgement, before the
/// client is taken down.
pub fn commit(
    bootstrap: &str,
    group: &str,
    (topic, partition, offset): (&str, i32, i64),
    acknowledged: impl FnOnce(),
) -> Result<(), Failure> {
    let mut config = base(bootstrap);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false");
    let consumer = BaseConsumer::<DefaultConsumerContext>::from_config(&config)
        .map_err(|error| failure(&error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .map_err(|error| failure(&error))?;
    consumer
        .commit(&list, CommitMode::Sync)
        .map_err(|error| failure(&error))?;
    acknowledged();
    Ok(())
}

fn position(start: Start) -> Offset {
    match start {
        Start::Beginning => Offset::Beginning,
        Start::End => Offset::End,
        Start::At(offset) => Offset::Offset(offset),
    }
}

type Results = Arc<Mutex<Vec<Option<Result<Ack, Failure>>>>>;

/// Puts each delivery report where its record was.
struct Reports;

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn stats(&self, _: Statistics) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<(Results, usize)>;

    fn delivery(&self, report: &DeliveryResult<'_>, place: Self::DeliveryOpaque) {
        let result = match report {
            Ok(message) => Ok(Ack {
                topic: message.topic().into(),
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => Err(failure(error)),
        };
        place.0.lock().expect("the results")[place.1] = Some(result);
    }
}

struct Sender {
    inner: BaseProducer<Reports>,
    deadline: Duration,
}

impl Sender {
    fn open(how: &Producing) -> Result<Sender, Failure> {
        let mut config = base(&how.bootstrap);
        config
            .set("acks", how.acks)
            .set("enable.idempotence", how.idempotent.to_string())
            .set("compression.codec", how.codec)
            .set("linger.ms", how.linger.as_millis().to_string())
            .set("message.timeout.ms", how.timeout.as_millis().to_string());
        if let Some(id) = &how.transactional_id {
            config.set("transactional.id", id);
        }
        let inner = BaseProducer::from_config_and_context(&config, Reports)
            .map_err(|error| failure(&error))?;
        if how.transactional_id.is_some() {
            inner
                .init_transactions(how.timeout)
                .map_err(|error| failure(&error))?;
        }
        Ok(Sender {
            inner,
            deadline: how.timeout + Duration::from_secs(10),
        })
    }
}

impl Producer for Sender {
    fn send(&mut self, records: &[Record]) -> Vec<Result<Ack, Failure>> {
        let results: Results = Arc::new(Mutex::new(vec![None; records.len()]));
        for (place, record) in records.iter().enumerate() {
            let mut headers = OwnedHeaders::new();
            for (key, value) in &record.headers {
                headers = headers.insert(Header {
                    key,
                    value: value.as_deref(),
                });
            }
            let mut message =
                BaseRecord::with_opaque_to(&record.topic, Box::new((results.clone(), place)))
                    .headers(headers);
            message.partition = record.partition;
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.timestamp = record.timestamp;
            loop {
                match self.inner.send::<str, str>(message) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        message = back;
                        self.inner.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => {
                        results.lock().expect("the results")[place] = Some(Err(failure(&error)));
                        break;
                    }
                }
            }
        }
        let start = Instant::now();
        while start.elapsed() < self.deadline
            && results
                .lock()
                .expect("the results")
                .iter()
                .any(Option::is_none)
        {
            self.inner.poll(Duration::from_millis(20));
        }
        let results = results.lock().expect("the results");
        let silent = || Failure {
            class: "NoReport".into(),
            code: -1,
            message: "no delivery report in time".into(),
        };
        results
            .iter()
            .map(|result| result.clone().unwrap_or_else(|| Err(silent())))
            .collect()
    }
}

struct Reader {
    inner: BaseConsumer,
    /// The position after the last record that was handed out, by partition.
    polled: BTreeMap<(String, i32), i64>,
}

/// Comes and goes by itself: librdkafka reports it and keeps trying.
fn passing(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::PartitionEOF
        )
    )
}

impl Consumer for Reader {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Seen>, Failure> {
        let start = Instant::now();
        let mut all = Vec::new();
        loop {
            let left = if all.is_empty() {
                wait.saturating_sub(start.elapsed())
            } else {
                Duration::ZERO
            };
            match self.inner.poll(left) {
                Some(Ok(message)) => all.push(seen(&message)),
                // Shown with a failing test: what a client took for a passing trouble may be why
                // nothing comes.
                Some(Err(error)) if passing(&error) => eprintln!("librdkafka: {error}"),
                Some(Err(error)) => return Err(failure(&error)),
                None if all.is_empty() && start.elapsed() < wait => {}
                None => break,
            }
        }
        for one in &all {
            self.polled
                .insert((one.topic.clone(), one.partition), one.offset + 1);
        }
        Ok(all)
    }

    fn assignment(&mut self) -> Vec<(String, i32)> {
        let list = self
            .inner
            .assignment()
            .map(|list| list.to_topic_map())
            .unwrap_or_default();
        // The map has no order of its own, and assignments are compared.
        list.into_keys()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let mut list = TopicPartitionList::new();
        let mine = self.assignment();
        for ((topic, partition), offset) in &self.polled {
            if mine.contains(&(topic.clone(), *partition)) {
                list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                    .map_err(|error| failure(&error))?;
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        self.inner
            .commit(&list, CommitMode::Sync)
            .map_err(|error| failure(&error))
    }

    fn committed(&mut self, topic: &str, partition: i32) -> Result<Option<i64>, Failure> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let known = self
            .inner
            .committed_offsets(list, DEADLINE)
            .map_err(|error| failure(&error))?;
        Ok(match known.elements()[0].offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Invalid
            | Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::OffsetTail(_) => None,
        })
    }

    fn seek(&mut self, topic: &str, partition: i32, to: Start) -> Result<(), Failure> {
        match self.inner.seek(topic, partition, position(to), DEADLINE) {
            Ok(()) => Ok(()),
            // A partition that has stopped with an error cannot be sought in: it is assigned again,
            // with all others where they are.
            Err(_) => {
                let mut list = TopicPartitionList::new();
                for (each, number) in self.assignment() {
                    let at = self
                        .polled
                        .get(&(each.clone(), number))
                        .map_or(Offset::Beginning, |next| Offset::Offset(*next));
                    let at = if (each.as_str(), number) == (topic, partition) {
                        position(to)
                    } else {
                        at
                    };
                    list.add_partition_offset(&each, number, at)
                        .map_err(|error| failure(&error))?;
                }
                self.inner.assign(&list).map_err(|error| failure(&error))
            }
        }
    }
}

fn seen(message: &BorrowedMessage<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Seen {
        topic: message.topic().into(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(text),
        value: message.payload().map(text),
        headers: message
            .headers()
            .map(|headers| {
                headers
                    .iter()
                    .map(|header| (header.key.to_owned(), header.value.map(text)))
                    .collect()
            })
            .unwrap_or_default(),
    }
}
