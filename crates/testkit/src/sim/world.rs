//! State that everybody in a simulation shares: the network, the clock, the model.

use super::{
    check::{Check, Violation},
    model::Model,
    net::Net,
    process::{FIRST_MORNING_MS, KAFKA_PORT},
};
use gnomon_client::{Client, Config};
use parking_lot::Mutex;
use std::{fmt::Display, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

/// The host that all clients run on.
pub const CLIENTS: &str = "c";

/// Everything shared.
pub struct World {
    /// The network.
    pub net: Net,
    /// The answers that clients got. Never held across an await.
    pub model: Mutex<Model>,
    /// By site: an operator is about to ask it for a failover.
    pub failover: [Notify; 2],
    began: Instant,
}

impl World {
    /// At the beginning.
    pub fn new(net: Net, aloud: bool) -> Arc<World> {
        let mut model = Model::default();
        model.trace.aloud = aloud;
        Arc::new(World {
            net,
            model: Mutex::new(model),
            failover: Default::default(),
            began: Instant::now(),
        })
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Wall time as clients have it, milliseconds.
    pub fn wall_ms(&self) -> i64 {
        FIRST_MORNING_MS + self.elapsed().as_millis() as i64
    }

    /// Somebody was told something.
    pub fn tell(&self, who: &str, what: impl Display) {
        let at = self.elapsed();
        self.model.lock().trace.line(at, who, &what.to_string());
    }

    /// Holds an answer against the model. The first broken invariant ends the run.
    pub fn hold(&self, who: &str, check: impl FnOnce(&mut Model) -> Check) {
        let at = self.elapsed();
        let mut model = self.model.lock();
        if let Err(violation) = check(&mut model) {
            model.trace.line(at, who, &format!("BROKEN {violation}"));
            model.trace.end();
            model.broken.get_or_insert(violation);
        }
    }

    /// Something is wrong that no answer says.
    pub fn broken(&self, who: &str, invariant: &'static str, what: impl Display) {
        self.hold(who, |_| {
            Err(Violation {
                invariant,
                what: what.to_string(),
            })
        });
    }

    /// Whether an invariant was broken: everybody stops.
    pub fn is_over(&self) -> bool {
        self.model.lock().broken.is_some()
    }

    /// A client of a site, with connections of its own.
    pub fn client(&self, site: &str, name: &str) -> Client {
        let config = Config {
            client_id: name.to_owned(),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            ..Config::to([format!("{site}:{KAFKA_PORT}")])
        };
        Client::new(config, Arc::new(self.net.host(CLIENTS)))
    }
}
