//! Apache Kafka as a peer: one KRaft node from the same Maven project as the Java client. It proves
//! that a scenario is right before Gnomon is asked, and it is the foreign source of a link.

use crate::process::Process;
use crate::{java, place};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(60);

/// A node; killed when dropped.
pub struct Kafka {
    /// Address for clients.
    pub bootstrap: String,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

impl Kafka {
    /// Formats a fresh data directory and starts.
    pub fn start() -> Kafka {
        let host = place::address();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut kafka = Kafka {
            bootstrap: format!("{host}:9092"),
            folder,
            process: None,
        };
        let data = kafka.folder.path().join("data");
        let settings = [
            "process.roles=broker,controller",
            "node.id=1",
            &format!("controller.quorum.voters=1@{host}:9093"),
            &format!("listeners=PLAINTEXT://{host}:9092,CONTROLLER://{host}:9093"),
            "controller.listener.names=CONTROLLER",
            &format!("log.dirs={}", data.display()),
            "num.partitions=1",
            "offsets.topic.num.partitions=4",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=4",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "group.initial.rebalance.delay.ms=0",
            "auto.create.topics.enable=true",
            "log.cleaner.dedupe.buffer.size=10485760",
        ];
        std::fs::write(kafka.settings(), settings.join("\n"))
            .expect("the settings of a Kafka node");
        let mut format = java::java("256m");
        format
            .args([
                "kafka.tools.StorageTool",
                "format",
                "-t",
                "Gnomon-proto-tests-xyzA",
                "-c",
            ])
            .arg(kafka.settings());
        let output = format
            .output()
            .unwrap_or_else(|error| panic!("run java: {error}"));
        assert!(
            output.status.success(),
            "format: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        kafka.restart();
        kafka
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    /// Starts on the same data directory and ports.
    pub fn restart(&mut self) {
        let mut command = java::java("384m");
        command
            .env("DRIVER_LOG", "INFO")
            .arg("kafka.Kafka")
            .arg(self.settings());
        let mut process = Process::start(command, &self.folder.path().join("kafka.log"));
        let start = Instant::now();
        while TcpStream::connect(&self.bootstrap).is_err()
            || !process.printed().contains("Kafka Server started")
        {
            assert!(
                start.elapsed() < START && process.ended().is_none(),
                "Apache Kafka did not start:\n{}",
                process.printed()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        self.process = Some(process);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }
}
