//! Deaths in the middle of a failover: of the process that was asked for it, and of those that take
//! it up.
//!
//! A failover takes moments, so deaths by chance seldom meet one, and two hardly ever. Not here:
//! what a death means for what was promised (`faults.rs`).

use super::Keeper;
use crate::sim::net::Death;
use std::{ops::Range, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Operations of a disk after which a site dies whose failover was asked for just now: a failover
/// of a few partitions takes about as many.
const FAILOVER_OPERATIONS: Range<u64> = 1..60;

/// Operations of a disk after which a site dies that is up again and takes the failover up.
const TAKE_UP_OPERATIONS: Range<u64> = 1..40;

/// Operations after which it dies in the middle of its start.
const START_OPERATIONS: Range<u64> = 1..300;

impl Keeper {
    /// A failover begins: mostly the site dies in the middle of it, and once or twice more in the
    /// middle of the start that takes it up, or soon after. Not while a failed sync is not noted:
    /// see `unnoted_until`.
    pub(super) async fn ambush(&mut self, until: Instant) {
        let troubled = self.armed || self.is_unnoted() || self.disk_fails_until.is_some();
        if troubled || self.rng.once_in(3) {
            return;
        }
        self.dies_after(FAILOVER_OPERATIONS, until).await;
        for _ in 0..self.rng.within(1..3) {
            if self.rng.once_in(4) {
                let end = (self.rng.within(START_OPERATIONS), self.any_death());
                self.start(Some(end)).await;
            } else {
                self.start(None).await;
            }
            self.dies_after(TAKE_UP_OPERATIONS, until).await;
        }
        self.down_for_a_while(until).await;
    }

    fn any_death(&mut self) -> Death {
        *self.rng.pick(&[Death::Process, Death::Power])
    }

    /// The site, if it is up, dies after so many operations of its disk, or by the fuse that it
    /// started with; another death comes when that does not.
    async fn dies_after(&mut self, operations: Range<u64>, until: Instant) {
        if !self.process.is_up() {
            return;
        }
        if !self.armed {
            let (operations, death) = (self.rng.within(operations), self.any_death());
            self.world.tell(
                &self.who(),
                format!("{death:?} is to come after {operations} operations of a failover"),
            );
            self.process.end_after(operations, death);
            self.armed = true;
        }
        let patience = (Instant::now() + Duration::from_secs(3)).min(until);
        match timeout_at(patience, self.process.ended()).await {
            Ok(ended) => self.after(ended).await,
            Err(_) => self.lose_power().await,
        }
    }
}
