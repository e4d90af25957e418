//! A site of a simulation through all its lives: the broker's own code on a simulated disk and
//! network, started, stopped, killed, without power.
//!
//! Invariant: when a life has ended, nothing of it reaches disk or network any more.

use super::{
    mount::Mount,
    net::{Death, Net},
    rng::Rng,
};
use gnomon_broker::{Broker, Environment, Random, RawConfig, StartError, WallClock};
use gnomon_partition::Blocking;
use gnomon_storage::MemDisk;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

/// The simulated day begins here: 2025-01-01.
pub const FIRST_MORNING_MS: i64 = 1_735_689_600_000;

/// Every site listens here for Kafka clients.
pub const KAFKA_PORT: u16 = 9092;

/// Every site listens here for operators.
pub const ADMIN_PORT: u16 = 9644;

/// One site.
pub struct Process {
    name: &'static str,
    ip: String,
    producer_tag: u16,
    net: Net,
    disk: MemDisk,
    rng: Rng,
    /// How wrong the site's wall clock is.
    skew_ms: i64,
    began: Instant,
    life: Option<Life>,
    /// Told when a life ended in the middle of what it did with its disk.
    cut_short: Arc<Notify>,
    /// How it is to end there.
    armed: Death,
}

struct Life {
    broker: Broker,
    mount: Mount,
}

/// The event that ended a life without being asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended where [`Process::end_after`] wanted it.
    CutShort(Death),
    /// The site said that it can go on no longer.
    Failed(String),
}

impl Process {
    /// A site that has not been started yet, on an empty disk. Its address in the network is `ip`.
    pub fn new(
        name: &'static str,
        ip: &str,
        producer_tag: u16,
        net: &Net,
        mut rng: Rng,
    ) -> Process {
        let skew_ms = rng.within(0..4_000) as i64 - 2_000;
        let disk = MemDisk::new();
        disk.set_forgetful(rng.once_in(2));
        disk.set_cold(rng.once_in(2));
        Process {
            name,
            ip: ip.to_owned(),
            producer_tag,
            net: net.clone(),
            disk,
            rng,
            skew_ms,
            began: Instant::now(),
            life: None,
            cut_short: Arc::default(),
            armed: Death::Process,
        }
    }

    pub fn disk(&self) -> &MemDisk {
        &self.disk
    }

    /// Whether a process runs.
    pub fn is_up(&self) -> bool {
        self.life.is_some()
    }

    /// Wall time as this site has it, milliseconds.
    pub fn wall_ms(&self) -> i64 {
        FIRST_MORNING_MS + self.skew_ms + self.began.elapsed().as_millis() as i64
    }

    /// Starts it. The power may go before it is up: then this is an error like any other.
    pub async fn start(&mut self) -> Result<(), StartError> {
        self.start_on(None).await
    }

    /// As [`Process::start`], with a death after so many operations of the disk, whether the site
    /// is up by then or not.
    pub async fn start_until(&mut self, operations: u64, death: Death) -> Result<(), StartError> {
        self.start_on(Some((operations, death))).await
    }

    async fn start_on(&mut self, end: Option<(u64, Death)>) -> Result<(), StartError> {
        self.net.boot(self.name);
        self.cut_short = Arc::default();
        let mount = Mount::new(self.disk.clone());
        let flush = if self.rng.once_in(2) {
            Duration::ZERO
        } else {
            self.rng.millis(1..15)
        };
        let world = Environment {
            disk: Arc::new(mount.clone()),
            network: Arc::new(self.net.host(self.name)),
            blocking: Blocking::Inline { flush },
            wall: WallClock::At(self.wall_ms()),
            random: Random::seeded(self.rng.draw()),
        };
        let raw = RawConfig {
            data: Some(PathBuf::from("/data")),
            listen: Some(format!("{}:{KAFKA_PORT}", self.ip)),
            advertise: Some(format!("{}:{KAFKA_PORT}", self.name)),
            admin: Some(format!("{}:{ADMIN_PORT}", self.ip)),
            admin_allow_remote: Some(true),
            admin_host: vec![self.name.to_owned()],
            site_name: Some(self.name.to_owned()),
            owns: vec![format!("{}_", self.name)],
            producer_tag: Some(self.producer_tag),
            auto_create_topics: Some(false),
            group_initial_rebalance_delay_ms: Some(0),
            ..RawConfig::default()
        };
        let config = raw.check().expect("settings of a simulation are valid");
        if let Some((operations, death)) = end {
            self.arm(&mount, operations, death);
        }
        match Broker::start(config, world).await {
            Ok(broker) => {
                self.life = Some(Life { broker, mount });
                Ok(())
            }
            Err(error) => {
                // What the start had begun ends with its disk and its network.
                mount.end();
                self.net.crash(self.name, Death::Process);
                Err(error)
            }
        }
    }

    /// The process dies; the disk keeps what was written, synced or not.
    pub async fn kill(&mut self) {
        self.die(Death::Process).await;
    }

    /// The power goes at once: what was not synced is kept, lost or torn. The host answers nobody
    /// until the next start.
    pub async fn lose_power(&mut self) {
        if let Some(life) = &self.life {
            life.mount.end();
        }
        self.disk.power_loss(self.rng.draw());
        self.die(Death::Power).await;
    }

    /// The site dies in the middle of what it does, after so many operations of its disk;
    /// [`Process::ended`] tells when.
    pub fn end_after(&mut self, operations: u64, death: Death) {
        if let Some(life) = &self.life {
            let mount = life.mount.clone();
            self.arm(&mount, operations, death);
        }
    }

    fn arm(&mut self, mount: &Mount, operations: u64, death: Death) {
        let (disk, net, name, seed) = (
            self.disk.clone(),
            self.net.clone(),
            self.name,
            self.rng.draw(),
        );
        let cut_short = self.cut_short.clone();
        self.armed = death;
        mount.end_after(operations, move || {
            if death == Death::Power {
                disk.power_loss(seed);
            }
            net.crash(name, death);
            cut_short.notify_one();
        });
    }

    pub async fn stop(&mut self) {
        if let Some(Life { broker, mount }) = self.life.take() {
            broker.stop().await;
            mount.end();
            self.net.crash(self.name, Death::Process);
        }
    }

    /// Waits until the present life ends by itself, and takes it away. Cancel safe.
    pub async fn ended(&mut self) -> Ended {
        let ended = match &self.life {
            Some(life) => tokio::select! {
                biased;
                () = self.cut_short.notified() => Ended::CutShort(self.armed),
                why = life.broker.failed() => Ended::Failed(why),
            },
            None => std::future::pending().await,
        };
        let death = match &ended {
            Ended::CutShort(death) => *death,
            Ended::Failed(_) => Death::Process,
        };
        self.die(death).await;
        ended
    }

    async fn die(&mut self, death: Death) {
        if let Some(Life { broker, mount }) = self.life.take() {
            mount.end();
            self.net.crash(self.name, death);
            broker.kill().await;
        }
    }
}

/// A task that ends with its handle.
pub struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub fn spawn(task: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(tokio::spawn(task))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it did.
    pub async fn join(mut self) -> T {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
