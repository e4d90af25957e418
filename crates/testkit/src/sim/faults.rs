//! Faults by seed: processes, power, disks, and the network between sites and to their clients.
//!
//! A fault begins and ends here; what it means for what clients were promised is told to the model
//! before anything can be seen of it.

mod ambush;

use super::{
    goes_on,
    model::SITES,
    net::Death,
    process::{Ended, Process},
    rng::Rng,
    txns::Scribe,
    world::{CLIENTS, World},
};
use gnomon_broker::StartError;
use gnomon_storage::Fault;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

/// When a disk works again, a failed sync is noted on it, and its partition opened again, within
/// this time.
const NOTED_WITHIN: Duration = Duration::from_secs(5);

/// Operations of a disk after which the power may go.
const OPERATIONS: std::ops::Range<u64> = 1..1_500;

/// A site's keeper: starts it, ends it in every way, and starts it again; and what its disk does
/// wrong meanwhile.
pub struct Keeper {
    world: Arc<World>,
    rng: Rng,
    site: usize,
    process: Process,
    /// It is to die in the middle of something.
    armed: bool,
    /// The disk fails, or is full, until then.
    disk_fails_until: Option<Instant>,
    /// A sync may have failed, and the note of it too: until then nobody but the process that saw
    /// it knows. When it ends, the power goes as well, for a start under the same kernel would
    /// believe what the page cache shows (see `docs/decisions/0014-what-simulation-checks.md`).
    unnoted_until: Option<Instant>,
}

/// The event that a keeper waited for.
#[derive(PartialEq, Eq)]
enum Woken {
    Ended(Ended),
    /// A failover of shadows of the site begins.
    Failover,
    InTime,
}

impl Keeper {
    /// The process is not started yet.
    pub fn new(world: &Arc<World>, rng: Rng, site: usize, process: Process) -> Keeper {
        Keeper {
            world: world.clone(),
            rng,
            site,
            process,
            armed: false,
            disk_fails_until: None,
            unnoted_until: None,
        }
    }

    fn who(&self) -> String {
        format!("keeper {}", SITES[self.site])
    }

    /// Makes trouble until `until`.
    pub async fn run(mut self, until: Instant) -> Keeper {
        while goes_on(&self.world, until) {
            let trouble = Instant::now() + self.rng.millis(2_000..25_000);
            let next = self
                .disk_fails_until
                .map_or(trouble, |healed| healed.min(trouble))
                .min(until);
            let woken = tokio::select! {
                biased;
                ended = self.process.ended() => Woken::Ended(ended),
                () = self.world.failover[self.site].notified() => Woken::Failover,
                () = sleep_until(next) => Woken::InTime,
            };
            if let Woken::Ended(ended) = woken {
                self.after(ended).await;
                self.down_for_a_while(until).await;
            } else if woken == Woken::Failover {
                self.ambush(until).await;
            } else if self
                .disk_fails_until
                .is_some_and(|healed| healed <= Instant::now())
            {
                self.heal_disk();
            } else if Instant::now() < until {
                self.trouble(until).await;
            }
        }
        self
    }

    /// Runs without trouble from now on.
    pub async fn settle(&mut self) {
        self.heal_disk();
        if self.armed {
            self.lose_power().await;
        }
        while !self.process.is_up() && !self.world.is_over() {
            self.start(None).await;
        }
    }

    /// Stops the site, lets somebody write into its logs, and starts it again.
    pub async fn interrupt(&mut self, scribe: &mut Scribe) {
        let topics = scribe.topics(self.site).await;
        if topics.is_empty() || self.world.is_over() {
            return;
        }
        self.process.stop().await;
        scribe.write(self.site, &topics, self.process.disk()).await;
        self.settle().await;
    }

    /// Watches until the calm is over: nothing should happen.
    pub async fn watch(mut self, mut over: oneshot::Receiver<()>) -> Keeper {
        let ended = tokio::select! {
            biased;
            _ = &mut over => return self,
            ended = self.process.ended() => ended,
        };
        self.world.broken(
            &self.who(),
            "L5",
            format!("the site ended by itself: {ended:?}"),
        );
        self
    }

    async fn trouble(&mut self, until: Instant) {
        match self.rng.within(0..12) {
            _ if self.is_unnoted() => self.lose_power().await,
            0..=2 => {
                self.world.tell(&self.who(), "kill");
                self.process.kill().await;
            }
            3..=5 => self.lose_power().await,
            6..=7 => {
                let operations = self.rng.within(OPERATIONS);
                self.world.tell(
                    &self.who(),
                    format!("the power is to go after {operations} operations"),
                );
                self.process.end_after(operations, Death::Power);
                self.armed = true;
                return;
            }
            8 => {
                self.world.tell(&self.who(), "clean stop");
                self.process.stop().await;
            }
            _ => return self.trouble_disk(until),
        }
        self.down_for_a_while(until).await;
    }

    /// Calls that fail, or no space, for a while; the site is to live with it.
    fn trouble_disk(&mut self, until: Instant) {
        let disk = self.process.disk();
        let what = match self.rng.within(0..4) {
            0 => {
                let from = disk.calls() + self.rng.within(0..30);
                disk.fail_calls(from..from + self.rng.within(1..40));
                "calls fail"
            }
            1 => {
                disk.fail_next(*self.rng.pick(&[Fault::Sync, Fault::Write]));
                "the next sync or write fails"
            }
            2 => {
                disk.set_full(true);
                "full"
            }
            _ => {
                disk.set_capacity(Some(disk.used_bytes() + self.rng.within(0..60_000)));
                "nearly full"
            }
        };
        self.world.tell(&self.who(), format!("disk: {what}"));
        self.doubt(true);
        let healed = (Instant::now() + self.rng.millis(500..10_000)).min(until);
        self.disk_fails_until = Some(healed);
        self.unnoted_until = Some(healed + NOTED_WITHIN);
    }

    /// Records acknowledged with acks=1 may be gone: after a failed sync the disk alone knows what
    /// it has.
    fn heal_disk(&mut self) {
        if self.disk_fails_until.take().is_some() {
            self.process.disk().heal();
            self.world.tell(&self.who(), "disk healed");
            self.doubt(false);
        }
    }

    fn doubt(&self, doubted: bool) {
        let mut model = self.world.model.lock();
        model.doubted[self.site] = doubted;
        model.lost_power(self.site);
    }

    fn is_unnoted(&self) -> bool {
        self.unnoted_until
            .is_some_and(|until| Instant::now() < until)
    }

    async fn lose_power(&mut self) {
        self.world.tell(&self.who(), "power loss");
        (self.armed, self.unnoted_until) = (false, None);
        self.process.lose_power().await;
        self.world.model.lock().lost_power(self.site);
    }

    async fn after(&mut self, ended: Ended) {
        self.world.tell(&self.who(), format!("ended: {ended:?}"));
        match ended {
            Ended::CutShort(death) => {
                self.armed = false;
                if death == Death::Power {
                    self.world.model.lock().lost_power(self.site);
                }
            }
            // The metadata log was lost: the site says so and ends, by design.
            Ended::Failed(_) if self.is_unnoted() => self.lose_power().await,
            Ended::Failed(_) if self.armed || self.disk_fails_until.is_some() => {}
            Ended::Failed(why) => self.world.broken(
                &self.who(),
                "L5",
                format!("the site ended without a fault of its disk: {why}"),
            ),
        }
    }

    async fn down_for_a_while(&mut self, until: Instant) {
        let down = if self.rng.once_in(3) {
            Duration::ZERO
        } else {
            self.rng.millis(0..8_000)
        };
        sleep_until((Instant::now() + down).min(until)).await;
        while !self.process.is_up() && goes_on(&self.world, until) {
            // Now and then the power goes again while the site recovers.
            let operations = self.rng.once_in(6).then(|| self.rng.within(1..400));
            self.start(operations.map(|operations| (operations, Death::Power)))
                .await;
        }
    }

    /// Starts it; `end`: it dies after so many operations of its disk, or soon after the start.
    async fn start(&mut self, end: Option<(u64, Death)>) {
        self.world.model.lock().lives[self.site] += 1;
        let started = match end {
            Some((operations, death)) => self.process.start_until(operations, death).await,
            None => self.process.start().await,
        };
        match (started, end) {
            (Ok(()), _) => {
                self.armed = end.is_some();
                self.world.tell(&self.who(), "up");
            }
            (Err(error), _) if self.disk_fails_until.is_some() => {
                self.world.tell(
                    &self.who(),
                    format!("does not start on a disk that fails: {error}"),
                );
                self.world.model.lock().lost_power(self.site);
                self.heal_disk();
            }
            (Err(error), Some((operations, death))) => {
                self.world.tell(
                    &self.who(),
                    format!("{death:?} after {operations} operations of the start: {error}"),
                );
                if death == Death::Power {
                    self.world.model.lock().lost_power(self.site);
                }
                sleep(Duration::from_millis(100)).await;
            }
            (Err(error), None) => self.cannot_start(&error).await,
        }
    }

    async fn cannot_start(&mut self, error: &StartError) {
        self.world.broken(
            &self.who(),
            "L1",
            format!("the site does not start: {error}"),
        );
    }
}

/// Troubles the network until `until`, and heals it then.
pub async fn trouble_network(world: Arc<World>, mut rng: Rng, until: Instant) {
    while goes_on(&world, until) {
        sleep_until((Instant::now() + rng.millis(500..15_000)).min(until)).await;
        if Instant::now() >= until {
            break;
        }
        let site = SITES[rng.index(SITES.len())];
        let peer = if rng.once_in(3) {
            CLIENTS
        } else {
            SITES[1 - SITES.iter().position(|name| *name == site).unwrap_or(0)]
        };
        let net = &world.net;
        let what = match rng.within(0..7) {
            0 => {
                net.cut(site, peer);
                net.cut(peer, site);
                "cut"
            }
            1 => {
                net.cut(site, peer);
                "one way cut"
            }
            2 => {
                net.cut(peer, site);
                "other way cut"
            }
            3 => {
                let longest = rng.within(5..800);
                net.delay(site, peer, 1..longest + 1);
                net.delay(peer, site, 1..longest + 1);
                "delay"
            }
            4 => {
                net.freeze(site, peer);
                "freeze"
            }
            5 => {
                net.reset(site, peer);
                "reset"
            }
            _ => {
                // Flapping.
                for _ in 0..rng.within(2..6) {
                    net.cut(site, peer);
                    sleep(rng.millis(10..500)).await;
                    net.heal();
                    sleep(rng.millis(10..500)).await;
                }
                "flapping"
            }
        };
        world.tell("network", format!("{what} {site} {peer}"));
        sleep_until((Instant::now() + rng.millis(200..20_000)).min(until)).await;
        net.heal();
        world.tell("network", "healed");
    }
    world.net.heal();
}
