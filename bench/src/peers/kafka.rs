//! Apache Kafka: one KRaft node that is broker and controller, from the packages that
//! `peers/kafka/pom.xml` names, started as its own scripts do (G1, a heap of 1 GiB), with its
//! defaults; where acknowledged is to mean on the disk, with flush.messages=1.

use super::{
    name::{Durability, PeerName},
    peer::{Peer, fsync_or_page_cache},
    running::{Installed, Program},
};
use crate::{failure::Failure, place, process::output};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// As `kafka-server-start.sh` has it.
pub const BROKER_HEAP: &[&str] = &["-Xms1g", "-Xmx1g"];

/// As `kafka-run-class.sh` has it.
const JVM: &[&str] = &[
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// Any 16 bytes in base64; each cluster lives alone in its folder.
const CLUSTER_ID: &str = "Gnomon-bench-Kafka-xyz";

/// Built from packages: the broker, its load tools, MirrorMaker 2.
#[derive(Clone)]
pub struct Kafka {
    /// Where Maven put the jars.
    jars: PathBuf,
}

impl Kafka {
    /// Fetches the jars into `target/bench` once, and again when the project file changes.
    pub fn build() -> Result<Kafka, Failure> {
        let (folder, project) = (
            place::bench()?.join("kafka"),
            place::workspace().join("bench/peers/kafka/pom.xml"),
        );
        let stamp = folder.join("built");
        if !place::newer(&stamp, &project) {
            eprintln!("fetching Apache Kafka");
            let mut maven = Command::new("mvn");
            maven
                .args(["-q", "-B", "-f"])
                .arg(&project)
                .arg(format!("-Dbuild.dir={}", folder.display()))
                .arg("package");
            output(
                "mvn package (Apache Kafka needs Maven and a Java 17 runtime)",
                maven,
            )?;
            fs::write(&stamp, "")
                .map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
        }
        let mut java = Command::new("java");
        java.arg("-version");
        output("java -version (Apache Kafka needs a Java 17 runtime)", java)?;
        Ok(Kafka {
            jars: folder.join("lib"),
        })
    }

    /// One of its classes with a `main`, in a JVM of its own.
    pub fn class(&self, heap: &[&str], class: &str) -> Program {
        let log = place::workspace().join("bench/peers/kafka/log4j2.xml");
        Program::new("java")
            .args(JVM)
            .args(heap)
            .args([format!("-Dlog4j2.configurationFile={}", log.display())])
            .args([
                "-cp".to_owned(),
                format!("{}/*", self.jars.display()),
                class.to_owned(),
            ])
    }

    /// Sets a node up: its settings, and its formatted data directory.
    pub fn node(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        let [broker, controller] =
            place::free_ports()?.map(|port: u16| format!("127.0.0.1:{port}"));
        let settings = folder.join("server.properties");
        let text = settings_of(&broker, &controller, &folder.join("data"), durability);
        fs::write(&settings, text)
            .map_err(|error| format!("cannot write {}: {error}", settings.display()))?;
        let format = self
            .class(&["-Xmx256m"], "kafka.tools.StorageTool")
            .args(["format", "-t", CLUSTER_ID, "-c"])
            .args([&settings]);
        output("kafka.tools.StorageTool format", format.command())?;
        let program = self.class(BROKER_HEAP, "kafka.Kafka").args([&settings]);
        Ok(Installed::new(
            PeerName::Kafka,
            durability,
            program,
            broker,
            folder,
        ))
    }
}

fn settings_of(broker: &str, controller: &str, data: &Path, durability: Durability) -> String {
    let mut settings = vec![
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@{controller}"),
        format!("listeners=PLAINTEXT://{broker},CONTROLLER://{controller}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("log.dirs={}", data.display()),
        "offsets.topic.replication.factor=1".to_owned(),
        "transaction.state.log.replication.factor=1".to_owned(),
        "transaction.state.log.min.isr=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    if durability == Durability::Fsync {
        settings.push("log.flush.interval.messages=1".to_owned());
    }
    settings.join("\n")
}

impl Peer for Kafka {
    fn offers(&self, asked: Durability) -> Option<Durability> {
        fsync_or_page_cache(asked)
    }

    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        self.node(folder, durability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fsync_flushes_each_message() {
        let settings =
            |durability| settings_of("127.0.0.1:1", "127.0.0.1:2", Path::new("/d"), durability);
        assert!(settings(Durability::Fsync).contains("flush.interval.messages=1"));
        assert!(
            !settings(Durability::PageCache).contains("flush")
                && settings(Durability::PageCache).contains("1@127.0.0.1:2")
        );
    }
}
