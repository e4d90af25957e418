//! One site in this process, on any disk.

use gnomon_broker::{Broker, Environment, RawConfig, StartError};
use gnomon_client::{Client, Config, Tcp};
use gnomon_storage::{Disk, MemDisk};
use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// How long a killed site's tasks may take to notice.
const KILL_MAX: Duration = Duration::from_secs(5);

/// A running site.
pub struct Site {
    // Dropped before the disk: nothing of a site may outlive it.
    broker: Option<Broker>,
    runtime: Option<Runtime>,
    kafka: String,
    admin: SocketAddr,
    disk: MemDisk,
    /// The reason for which the broker could not go on.
    failure: Mutex<Option<String>>,
}

impl Site {
    /// Starts a site on a simulated disk, in its directory `/data`; a disk that was used before
    /// brings its data along.
    pub fn start(disk: &MemDisk) -> Result<Site, StartError> {
        Site::start_with(disk, RawConfig::default())
    }

    /// As [`Site::start`], with settings; addresses and directory are the test's.
    pub fn start_with(disk: &MemDisk, settings: RawConfig) -> Result<Site, StartError> {
        let raw = RawConfig {
            data: Some(PathBuf::from("/data")),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            group_initial_rebalance_delay_ms: Some(0),
            ..settings
        };
        let config = raw.check().expect("settings of a test are valid");
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let broker = runtime.block_on(Broker::start(config, Environment::real(shared)))?;
        let (kafka, admin) = (broker.info().kafka.clone(), broker.info().admin);
        Ok(Site {
            broker: Some(broker),
            runtime: Some(runtime),
            kafka,
            admin,
            disk: disk.clone(),
            failure: Mutex::default(),
        })
    }

    /// Where Kafka clients connect.
    pub fn kafka(&self) -> &str {
        &self.kafka
    }

    /// Where operators connect.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A client of ours for this site.
    pub fn client(&self) -> Client {
        Client::new(Config::to([self.kafka.clone()]), Arc::new(Tcp))
    }

    /// Why the site can go on no longer, if it cannot: a process would end with this sentence.
    pub fn failure(&self) -> Option<String> {
        let mut failure = self.failure.lock().expect("nobody panics with it");
        if failure.is_none()
            && let Poll::Ready(why) =
                pin!(self.broker.as_ref()?.failed()).poll(&mut Context::from_waker(Waker::noop()))
        {
            *failure = Some(why);
        }
        failure.clone()
    }

    /// The power goes, at once: what was not synced is kept, lost or torn by `seed`.
    pub fn lose_power(mut self, seed: u64) {
        self.disk.power_loss(seed);
        self.end();
    }

    /// The process dies; the disk keeps what was written, synced or not.
    pub fn kill(mut self) {
        self.end();
    }

    pub fn stop(mut self) {
        if let (Some(broker), Some(runtime)) = (self.broker.take(), &self.runtime) {
            runtime.block_on(broker.stop());
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(KILL_MAX);
        }
        self.broker = None;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.end();
    }
}
