//! MirrorMaker 2 between two Apache Kafkas: its connectors in a process of their own, topic names
//! kept, nothing tuned but how soon it looks for new topics.

use super::{CARRIED, Carrier, Linked, Linker};
use crate::{
    failure::Failure,
    peers::{Durability, Installed, PeerName, Running, kafka::Kafka},
    place,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// As `connect-mirror-maker.sh` has it.
const HEAP: &[&str] = &["-Xms256M", "-Xmx2G"];

pub struct Mirror(pub Kafka);

struct Clusters {
    kafka: Kafka,
    a: Installed,
    b: Installed,
    folder: PathBuf,
}

impl Linker for Mirror {
    fn install(&self, folder: &Path, durability: Durability) -> Result<Box<dyn Linked>, Failure> {
        let node = |name| self.0.node(&place::folder(folder, name)?, durability);
        Ok(Box::new(Clusters {
            kafka: self.0.clone(),
            a: node("a")?,
            b: node("b")?,
            folder: place::folder(folder, "mirror")?,
        }))
    }
}

impl Linked for Clusters {
    fn start_source(&self) -> Result<Running, Failure> {
        self.a.start()
    }

    fn start_link(&self) -> Result<Carrier, Failure> {
        let mut target = self.b.start()?;
        let settings = self.folder.join("mirror.properties");
        fs::write(&settings, settings_of(&self.a.bootstrap, &self.b.bootstrap))
            .map_err(|error| format!("cannot write {}: {error}", settings.display()))?;
        let program = self
            .kafka
            .class(HEAP, "org.apache.kafka.connect.mirror.MirrorMaker")
            .args([&settings]);
        let cpu_seconds_before = target.usage()?.map_or(0.0, |usage| usage.cpu_seconds);
        let since = Instant::now();
        let link = Installed::new(
            PeerName::Kafka,
            self.b.durability,
            program,
            self.b.bootstrap.clone(),
            &self.folder,
        )
        .exec()?;
        Ok(Carrier {
            target,
            link: Some(link),
            since,
            cpu_seconds_before,
        })
    }
}

fn settings_of(a: &str, b: &str) -> String {
    [
        "clusters=a,b",
        &format!("a.bootstrap.servers={a}"),
        &format!("b.bootstrap.servers={b}"),
        "a->b.enabled=true",
        "b->a.enabled=false",
        &format!("a->b.topics={CARRIED}.*"),
        "replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
        "replication.factor=1",
        "checkpoints.topic.replication.factor=1",
        "heartbeats.topic.replication.factor=1",
        "offset-syncs.topic.replication.factor=1",
        "offset.storage.replication.factor=1",
        "status.storage.replication.factor=1",
        "config.storage.replication.factor=1",
        "sync.topic.acls.enabled=false",
        "refresh.topics.interval.seconds=1",
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_one_way_and_keeps_names() {
        let settings = super::settings_of("127.0.0.1:1", "127.0.0.1:2");
        assert!(
            settings.contains("a->b.enabled=true\nb->a.enabled=false")
                && settings.contains("IdentityReplicationPolicy")
        );
        assert!(
            settings.contains("a.bootstrap.servers=127.0.0.1:1\nb.bootstrap.servers=127.0.0.1:2")
        );
    }
}
