//! Where one peer is measured once: an empty folder, the peer, and the load tools.

use crate::{
    failure::Failure,
    links::Linker,
    peers::{Durability, Installed, Peer, PeerName, Running, kafka::Kafka},
    settings::Settings,
    tools::rdkafka::{Consume, Produce, Tool},
    warm,
};
use std::{
    cell::OnceCell,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// Before a broker is measured.
const EXERCISE_RECORDS: u64 = 100_000;
const EXERCISE_BYTES: u32 = 1024;
const EXERCISE_MAX: Duration = Duration::from_secs(60);

/// One run's surroundings.
pub struct Stage<'a> {
    pub peer: PeerName,
    /// The durability that this peer offers for the case's.
    pub durability: Durability,
    /// Empty, on the file system that all peers use.
    pub folder: &'a Path,
    pub settings: &'a Settings,
    pub tools: &'a Tools,
    pub broker: &'a dyn Peer,
    /// How this peer links two sites; `None`: it does not.
    pub linker: Option<&'a dyn Linker>,
}

/// Load tools that nobody here wrote, built when first needed.
#[derive(Default)]
pub struct Tools {
    rdkafka: OnceCell<Result<Tool, String>>,
    kafka: OnceCell<Result<Kafka, String>>,
}

impl Tools {
    /// rdkafka_performance.
    pub fn rdkafka(&self) -> Result<&Tool, Failure> {
        let built = self
            .rdkafka
            .get_or_init(|| Tool::build().map_err(|failure| failure.to_string()));
        built.as_ref().map_err(|failure| failure.clone().into())
    }

    /// Apache Kafka's own tools.
    pub fn kafka(&self) -> Result<&Kafka, Failure> {
        let built = self
            .kafka
            .get_or_init(|| Kafka::build().map_err(|failure| failure.to_string()));
        built.as_ref().map_err(|failure| failure.clone().into())
    }
}

impl Stage<'_> {
    /// Sets the broker up.
    pub fn install(&self) -> Result<Installed, Failure> {
        self.broker.install(self.folder, self.durability)
    }

    /// Sets it up, starts it, exercises it, and makes the topic.
    pub fn start_with_topic(&self, topic: &str, partitions: i32) -> Result<Running, Failure> {
        let mut running = self.install()?.start()?;
        let exercise = self.exercise_records();
        if exercise > 0 && !running.installed.is_inside_the_client() {
            let topic = self.topic();
            running.create_topic(&topic, 1)?;
            self.exercise(&running, &topic, exercise)?;
            self.consume_exercise(&running, &topic, exercise)?;
        }
        running.create_topic(topic, partitions)?;
        Ok(running)
    }

    /// Records that every broker gets before it is measured, so that one which compiles while it
    /// runs has done so. None in a quick run.
    pub fn exercise_records(&self) -> u64 {
        self.settings.length(EXERCISE_RECORDS, 0)
    }

    pub fn exercise(&self, running: &Running, topic: &str, records: u64) -> Result<(), Failure> {
        let produce = Produce {
            bootstrap: running.bootstrap(),
            topic,
            records,
            record_bytes: EXERCISE_BYTES,
            acks: "all",
            codec: "none",
            rate: None,
            options: &running.installed.client_options,
            latencies: None,
        };
        let summary = self
            .tools
            .rdkafka()?
            .produce(&produce, &self.folder.join("exercise.log"))?;
        if summary.records < records {
            return Err(format!(
                "{} of {records} records were delivered before anything was measured",
                summary.records
            )
            .into());
        }
        Ok(())
    }

    fn consume_exercise(
        &self,
        running: &Running,
        topic: &str,
        records: u64,
    ) -> Result<(), Failure> {
        let options = &running.installed.client_options;
        let consume = Consume {
            bootstrap: running.bootstrap(),
            topic,
            partitions: 1,
            records,
            options,
            latencies: None,
        };
        let summary = self
            .tools
            .rdkafka()?
            .consume(&consume, &self.folder.join("exercise.log"))?
            .finish(EXERCISE_MAX)?;
        if summary.records < records {
            return Err(format!(
                "{} of {records} records were consumed before anything was measured",
                summary.records
            )
            .into());
        }
        Ok(())
    }

    /// A topic's name that no other run uses: brokers that are not ours keep other topics.
    pub fn topic(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        format!(
            "gnomon-bench-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Right before a timed run that writes this much: touches the pages that it will need.
    pub fn warm(&self, bytes: u64) -> Result<(), Failure> {
        warm::touch_pages(self.folder, bytes)
    }
}
