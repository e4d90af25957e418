//! One broker for scenarios that need only one: a Gnomon site, or Apache Kafka under
//! `PROTO_TESTS_PEER=kafka`, which proves that the scenario is right. Shared by the tests of a
//! process; each uses topics of its own.

use crate::kafka::Kafka;
use crate::site::Site;
use std::sync::{Mutex, OnceLock};

enum Peer {
    Gnomon(
        Site,
        #[expect(dead_code, reason = "the folder lives as long as the site")] tempfile::TempDir,
    ),
    Kafka(Kafka),
}

/// Whether Apache Kafka stands in for Gnomon.
pub fn is_kafka() -> bool {
    std::env::var("PROTO_TESTS_PEER").as_deref() == Ok("kafka")
}

/// Its address for clients.
pub fn bootstrap() -> String {
    // A static is never dropped: the child ends with the process by the death signal.
    static PEER: OnceLock<Mutex<Peer>> = OnceLock::new();
    let peer = PEER.get_or_init(|| {
        Mutex::new(if is_kafka() {
            Peer::Kafka(Kafka::start())
        } else {
            let root = tempfile::tempdir().expect("a temporary folder");
            let mut site = Site::new(root.path(), "solo", 9);
            site.start();
            Peer::Gnomon(site, root)
        })
    });
    match &*peer.lock().expect("the broker") {
        Peer::Gnomon(site, _) => site.kafka.clone(),
        Peer::Kafka(kafka) => kafka.bootstrap.clone(),
    }
}
