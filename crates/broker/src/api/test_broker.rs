//! A site in memory for tests that call handlers, and the context of a request to it.

use crate::{
    Broker, Endpoint, Environment, RawConfig,
    context::{Connection, ListenerInfo, Principal, RequestContext},
};
use gnomon_catalog::{CreateTopics, Event, NewTopic, Origin};
use gnomon_partition::Blocking;
use gnomon_storage::MemDisk;
use std::{sync::Arc, time::Duration};

/// Starts a site. Blocking work is done inline: nothing but yields and the answers of machines
/// interrupts a handler.
pub async fn start() -> Broker {
    let raw = RawConfig {
        data: Some("/data".into()),
        listen: Some("127.0.0.1:0".into()),
        admin: Some("127.0.0.1:0".into()),
        ..RawConfig::default()
    };
    let environment = Environment {
        blocking: Blocking::Inline {
            flush: Duration::ZERO,
        },
        ..Environment::real(Arc::new(MemDisk::new()))
    };
    Broker::start(raw.check().expect("valid"), environment)
        .await
        .expect("started")
}

/// A client's connection.
pub fn connection() -> Arc<Connection> {
    let advertised = Endpoint {
        host: "127.0.0.1".into(),
        port: 9092,
    };
    let listener = ListenerInfo {
        name: "PLAINTEXT".into(),
        advertised,
    };
    let peer = ([127, 0, 0, 1], 1).into();
    Arc::new(Connection::new(peer, None, Arc::new(listener)))
}

/// The context of a request of this version.
pub fn context(broker: &Broker, version: i16) -> RequestContext {
    RequestContext {
        services: broker.services().clone(),
        connection: connection(),
        principal: Principal::Anonymous,
        version,
        client_id: None,
    }
}

/// Creates a topic of one partition.
pub async fn create_topic(broker: &Broker, name: &str) {
    let services = broker.services();
    let topic = NewTopic {
        partitions: 1,
        ..NewTopic::named(name, services.random.id())
    };
    let event = Event::CreateTopics(CreateTopics {
        topics: vec![topic],
        origin: Origin::Client,
        validate_only: false,
    });
    services.metadata.submit(event).await.expect("created");
}
