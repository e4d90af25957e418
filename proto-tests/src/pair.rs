//! A reciprocal pair: site a owns `a_*`, site b owns `b_*`, each shadows the other's. Made of two
//! `serve` processes with the link files of the design; `gnomon pair`, which makes the same, has
//! tests of its own.

use crate::client::Seen;
use crate::site::Site;
use crate::wait::{PATIENCE, holds, until};
use crate::{checker, load};
use std::path::{Path, PathBuf};

/// Two sites in one temporary folder.
pub struct Pair {
    pub a: Site,
    pub b: Site,
    root: tempfile::TempDir,
}

/// The link file for shadowing `prefix` topics and groups from `source`, written below `root`.
pub fn link_file(root: &Path, name: &str, source: &str, prefix: &str) -> PathBuf {
    let text = format!(
        "name: {name}\n\
         client_options:\n  bootstrap_servers: [\"{source}\"]\n\
         topic_metadata_sync_options:\n  interval: 1s\n  auto_create_shadow_topic_filters:\n    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {prefix} }}\n\
         consumer_offset_sync_options:\n  interval: 1s\n  group_filters:\n    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {prefix} }}\n"
    );
    let path = root.join(format!("{name}.yaml"));
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    path
}

impl Pair {
    /// Both made, neither started.
    pub fn new() -> Pair {
        let root = tempfile::tempdir().expect("a temporary folder");
        let mut a = Site::new(root.path(), "a", 1).owns("a_");
        let mut b = Site::new(root.path(), "b", 2).owns("b_");
        b.link(link_file(root.path(), "from-a", &a.kafka, "a_"));
        a.link(link_file(root.path(), "from-b", &b.kafka, "b_"));
        Pair { a, b, root }
    }

    /// Both started.
    pub fn start() -> Pair {
        let mut pair = Pair::new();
        pair.a.start();
        pair.b.start();
        pair
    }

    /// The folder of both.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The owner of a topic, and the site that shadows it.
    pub fn owner(&self, topic: &str) -> (&Site, &Site) {
        if topic.starts_with("a_") {
            (&self.a, &self.b)
        } else {
            (&self.b, &self.a)
        }
    }

    /// Makes a topic at its owner.
    pub fn create(&self, topic: &str, partitions: i32) {
        load::create(&self.owner(topic).0.kafka, topic, partitions);
    }

    /// Writes `count` records to partition 0 at its owner, their values `from`, `from + 1`, ...
    pub fn write(&self, topic: &str, from: usize, count: usize) {
        load::write(&self.owner(topic).0.kafka, topic, from, count);
    }

    /// Waits until each link has heard from its source: from then on a site knows what the other
    /// one owns.
    pub fn in_contact(&self) {
        for (site, link) in [(&self.a, "from-b"), (&self.b, "from-a")] {
            until(&format!("{link} in contact"), PATIENCE, || {
                let status = site.status(link)?;
                holds(status.0["source"]["cluster_id"].is_string(), || {
                    format!("{:#}", status.0)
                })
            });
        }
    }

    /// Waits until a topic of `a_` is level on b, or of `b_` on a.
    pub fn level(&self, topic: &str, partitions: i32) {
        let (source, shadow) = self.owner(topic);
        let link = format!("from-{}", source.name);
        load::level(&source.kafka, &shadow.kafka, topic, partitions, || {
            shadow.status_text(&link)
        });
    }

    /// The law of a shadow, once it is level: the same records by a consumer, the same bytes by
    /// `gnomon log hash`. Returns the records.
    pub fn assert_same(&self, topic: &str, partitions: i32) -> Vec<Seen> {
        self.level(topic, partitions);
        let on_a = load::read_topic(&self.a.kafka, topic, partitions);
        let on_b = load::read_topic(&self.b.kafka, topic, partitions);
        checker::assert_equal(&on_a, &on_b);
        for partition in 0..partitions {
            if load::end_of(&self.a.kafka, topic, partition) > 0 {
                let (one, other) = (
                    self.a.hash(topic, partition, None),
                    self.b.hash(topic, partition, None),
                );
                assert!(one.is_ok(), "{one:?}");
                assert_eq!(one, other, "bytes of {topic}-{partition} on a and b");
            }
        }
        on_a
    }
}

impl Default for Pair {
    fn default() -> Pair {
        Pair::new()
    }
}
