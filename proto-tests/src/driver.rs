//! The line protocol of the clients that live in another process: a JSON object a line in each
//! direction, matched by `id`.
//!
//! Requests of different handles run beside each other on the other side; `call` waits for its own
//! answer only. The words are in the README. What an operation means to a client is in `clients/`.

use crate::client::{
    Ack, Client, Consumer, Consuming, Failure, Producer, Producing, Record, Seen, Start,
};
use crate::process;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// An operation that has not answered by then never will: longer than any deadline inside the
/// clients.
const ANSWER_WAIT: Duration = Duration::from_secs(90);

type Waiting = Arc<Mutex<HashMap<u64, mpsc::Sender<Value>>>>;

/// A running client process.
pub struct Driver {
    name: &'static str,
    input: Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
    // Ends with this process by the death signal; kept so that it is not detached from its pipes.
    _child: Child,
}

impl Driver {
    pub fn start(name: &'static str, mut command: Command) -> Arc<Driver> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            process::spawn(command).unwrap_or_else(|error| panic!("start {name}: {error}"));
        let input = Mutex::new(child.stdin.take().expect("a pipe was asked for"));
        let output = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        let waiting = Waiting::default();
        let answers = waiting.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str::<Value>(&line) else {
                    eprintln!("{name}: not an answer: {line}");
                    continue;
                };
                let waiter = answer["id"]
                    .as_u64()
                    .and_then(|id| answers.lock().expect("the waiting table").remove(&id));
                if let Some(waiter) = waiter {
                    let _ = waiter.send(answer);
                }
            }
            // Dropping the senders tells everyone who waits that no answer will come.
            answers.lock().expect("the waiting table").clear();
        });
        Arc::new(Driver {
            name,
            input,
            waiting,
            next: AtomicU64::new(1),
            _child: child,
        })
    }

    /// Asks and waits.
    ///
    /// # Panics
    /// When the process has ended or does not answer at all: then nothing that follows means
    /// anything.
    pub fn call(&self, handle: &str, op: &str, arguments: Value) -> Result<Value, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = mpsc::channel();
        self.waiting
            .lock()
            .expect("the waiting table")
            .insert(id, sender);
        let mut request = arguments;
        request["id"] = json!(id);
        request["handle"] = json!(handle);
        request["op"] = json!(op);
        writeln!(self.input.lock().expect("the pipe"), "{request}")
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let answer = answer
            .recv_timeout(ANSWER_WAIT)
            .unwrap_or_else(|error| panic!("{}: {op} was never answered: {error}", self.name));
        match answer.get("error") {
            Some(error) => Err(failure(error)),
            None => Ok(answer["ok"].clone()),
        }
    }

    fn handle(&self, kind: &str) -> String {
        format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

fn failure(error: &Value) -> Failure {
    Failure {
        class: error["class"].as_str().unwrap_or_default().into(),
        code: error["code"].as_i64().unwrap_or(-1) as i32,
        message: error["message"].as_str().unwrap_or_default().into(),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(Into::into)
}

fn start(at: Start) -> Value {
    match at {
        Start::Beginning => json!("beginning"),
        Start::End => json!("end"),
        Start::At(offset) => json!(offset),
    }
}

/// A family of clients after a driver.
pub struct Remote {
    pub driver: Arc<Driver>,
}

impl Remote {
    /// An administrative operation, its calls in order among themselves.
    pub fn admin(&self, bootstrap: &str, op: &str, mut arguments: Value) -> Result<Value, Failure> {
        arguments["bootstrap"] = json!(bootstrap);
        self.driver
            .call(&format!("admin {bootstrap}"), op, arguments)
    }
}

impl Client for Remote {
    fn name(&self) -> &'static str {
        self.driver.name
    }

    fn create_topic(
        &self,
        bootstrap: &str,
        topic: &str,
        partitions: i32,
        configs: &BTreeMap<&str, &str>,
    ) -> Result<(), Failure> {
        self.admin(
            bootstrap,
            "create_topic",
            json!({"topic": topic, "partitions": partitions, "configs": configs}),
        )
        .map(drop)
    }

    fn offset_for_time(
        &self,
        bootstrap: &str,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<i64, Failure> {
        let arguments = json!({"topic": topic, "partition": partition, "at": timestamp, "read_committed": false});
        Ok(self.admin(bootstrap, "list_offsets", arguments)?["offset"]
            .as_i64()
            .unwrap_or(-1))
    }

    fn producer(&self, how: &Producing) -> Result<Box<dyn Producer>, Failure> {
        Ok(Box::new(self.transactional(how)?))
    }

    fn consumer(&self, how: &Consuming) -> Result<Box<dyn Consumer>, Failure> {
        let handle = self.driver.handle("consumer");
        let assign: Vec<Value> = how
            .assign
            .iter()
            .map(|(topic, partition, at)| json!([topic, partition, start(*at)]))
            .collect();
        let arguments = json!({
            "bootstrap": how.bootstrap, "group": how.group, "topics": how.topics, "assign": assign, "reset": how.reset,
            "read_committed": how.read_committed, "session_timeout_ms": how.session.as_millis() as u64,
        });
        self.driver.call(&handle, "consumer_open", arguments)?;
        Ok(Box::new(RemoteConsumer {
            driver: self.driver.clone(),
            handle,
            assignment: Vec::new(),
        }))
    }
}

impl Remote {
    /// A producer by its own type: it has `begin`, `commit` and `abort` too.
    pub fn transactional(&self, how: &Producing) -> Result<RemoteProducer, Failure> {
        let handle = self.driver.handle("producer");
        let arguments = json!({
            "bootstrap": how.bootstrap, "acks": how.acks, "idempotent": how.idempotent, "codec": how.codec,
            "linger_ms": how.linger.as_millis() as u64, "timeout_ms": how.timeout.as_millis() as u64, "transactional_id": how.transactional_id,
        });
        self.driver.call(&handle, "producer_open", arguments)?;
        Ok(RemoteProducer {
            driver: self.driver.clone(),
            handle,
        })
    }
}

/// A producer in the other process.
pub struct RemoteProducer {
    driver: Arc<Driver>,
    handle: String,
}

impl RemoteProducer {
    pub fn begin(&self) -> Result<(), Failure> {
        self.driver.call(&self.handle, "begin", json!({})).map(drop)
    }

    pub fn commit(&self) -> Result<(), Failure> {
        self.driver
            .call(&self.handle, "commit_transaction", json!({}))
            .map(drop)
    }

    pub fn abort(&self) -> Result<(), Failure> {
        self.driver
            .call(&self.handle, "abort_transaction", json!({}))
            .map(drop)
    }
}

impl Producer for RemoteProducer {
    fn send(&mut self, records: &[Record]) -> Vec<Result<Ack, Failure>> {
        let sent: Vec<Value> = records
            .iter()
            .map(|record| {
                json!({
                    "topic": record.topic, "partition": record.partition, "key": record.key, "value": record.value,
                    "headers": record.headers, "timestamp": record.timestamp,
                })
            })
            .collect();
        let results = match self
            .driver
            .call(&self.handle, "send", json!({"records": sent}))
        {
            Ok(results) => results,
            Err(failure) => return records.iter().map(|_| Err(failure.clone())).collect(),
        };
        let results = results.as_array().cloned().unwrap_or_default();
        assert_eq!(
            results.len(),
            records.len(),
            "{}: one result a record",
            self.driver.name
        );
        results
            .iter()
            .map(|result| match result.get("error") {
                Some(error) => Err(failure(error)),
                None => Ok(Ack {
                    topic: text(&result["topic"]).unwrap_or_default(),
                    partition: result["partition"].as_i64().unwrap_or(-1) as i32,
                    offset: result["offset"].as_i64().unwrap_or(-1),
                }),
            })
            .collect()
    }
}

impl Drop for RemoteProducer {
    fn drop(&mut self) {
        close(&self.driver, &self.handle);
    }
}

struct RemoteConsumer {
    driver: Arc<Driver>,
    handle: String,
    assignment: Vec<(String, i32)>,
}

impl Consumer for RemoteConsumer {
    fn poll(&mut self, wait: Duration) -> Result<Vec<Seen>, Failure> {
        let answer = self.driver.call(
            &self.handle,
            "poll",
            json!({"wait_ms": wait.as_millis() as u64}),
        )?;
        let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
        self.assignment = list("assignment")
            .iter()
            .filter_map(|pair| Some((text(&pair[0])?, pair[1].as_i64()? as i32)))
            .collect();
        Ok(list("records").iter().map(seen).collect())
    }

    fn assignment(&mut self) -> Vec<(String, i32)> {
        self.assignment.clone()
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.driver
            .call(&self.handle, "commit", json!({}))
            .map(drop)
    }

    fn committed(&mut self, topic: &str, partition: i32) -> Result<Option<i64>, Failure> {
        Ok(self.driver.call(
            &self.handle,
            "committed",
            json!({"partitions": [[topic, partition]]}),
        )?[0]
            .as_i64())
    }

    fn seek(&mut self, topic: &str, partition: i32, to: Start) -> Result<(), Failure> {
        self.driver
            .call(
                &self.handle,
                "seek",
                json!({"topic": topic, "partition": partition, "to": start(to)}),
            )
            .map(drop)
    }
}

impl Drop for RemoteConsumer {
    fn drop(&mut self) {
        close(&self.driver, &self.handle);
    }
}

fn close(driver: &Driver, handle: &str) {
    if std::thread::panicking() {
        return;
    }
    if let Err(failure) = driver.call(handle, "close", json!({})) {
        eprintln!("{}: close: {failure}", driver.name);
    }
}

fn seen(record: &Value) -> Seen {
    let headers = record["headers"].as_array().cloned().unwrap_or_default();
    Seen {
        topic: text(&record["topic"]).unwrap_or_default(),
        partition: record["partition"].as_i64().unwrap_or(-1) as i32,
        offset: record["offset"].as_i64().unwrap_or(-1),
        timestamp: record["timestamp"].as_i64().unwrap_or(-1),
        key: text(&record["key"]),
        value: text(&record["value"]),
        headers: headers
            .iter()
            .map(|pair| (text(&pair[0]).unwrap_or_default(), text(&pair[1])))
            .collect(),
    }
}
