//! The faults that a test gives a simulated disk: calls that fail, a disk that is full, syncs that
//! hang or are slow.
//!
//! Only calls that change the disk, and syncs, are counted and fail; a failing call does part of
//! its work where a real one could. Invariant: the same calls and the same orders give the same
//! failures. Not here: what a power loss leaves (`mem.rs`).

use parking_lot::{Condvar, Mutex};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A call that [`MemDisk::fail_next`](super::MemDisk::fail_next) makes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next write to a file writes half and fails.
    Write,
    /// The next sync of a file fails. As with a real kernel, its unsynced bytes stay readable, but
    /// no later sync writes them.
    Sync,
}

#[derive(Default)]
pub(super) struct Faults {
    orders: Mutex<Orders>,
    released: Condvar,
}

#[derive(Default)]
struct Orders {
    calls: u64,
    next: Vec<Fault>,
    failing: Range<u64>,
    /// Bytes that files may have in all.
    capacity: Option<u64>,
    full: bool,
    /// Syncs of files below hang.
    held: Option<PathBuf>,
    /// Every sync takes this long.
    sync_time: Duration,
    forgetful: bool,
    /// Every read would have to wait for the disk.
    cold: bool,
}

impl Faults {
    /// Counts a call; an error if it is one that is to fail.
    pub fn call(&self) -> io::Result<()> {
        let mut orders = self.orders.lock();
        let number = orders.calls;
        orders.calls += 1;
        if orders.failing.contains(&number) {
            Err(injected(&format!("call {number}")))
        } else {
            Ok(())
        }
    }

    pub fn calls(&self) -> u64 {
        self.orders.lock().calls
    }

    pub fn fail_calls(&self, calls: Range<u64>) {
        self.orders.lock().failing = calls;
    }

    pub fn fail_next(&self, fault: Fault) {
        self.orders.lock().next.push(fault);
    }

    /// Whether one of that kind was ordered; it counts once.
    pub fn take(&self, fault: Fault) -> bool {
        let mut orders = self.orders.lock();
        let at = orders.next.iter().position(|next| *next == fault);
        at.map(|at| orders.next.remove(at)).is_some()
    }

    pub fn set_full(&self, full: bool) {
        self.orders.lock().full = full;
    }

    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.orders.lock().capacity = capacity;
    }

    /// Bytes that files may still grow by; `used` is asked only where it matters.
    pub fn room(&self, used: impl FnOnce() -> u64) -> Option<u64> {
        let (full, capacity) = {
            let orders = self.orders.lock();
            (orders.full, orders.capacity)
        };
        if full {
            Some(0)
        } else {
            capacity.map(|capacity| capacity.saturating_sub(used()))
        }
    }

    pub fn set_forgetful(&self, forgetful: bool) {
        self.orders.lock().forgetful = forgetful;
    }

    pub fn is_forgetful(&self) -> bool {
        self.orders.lock().forgetful
    }

    pub fn set_cold(&self, cold: bool) {
        self.orders.lock().cold = cold;
    }

    pub fn is_cold(&self) -> bool {
        self.orders.lock().cold
    }

    pub fn hold_syncs(&self, below: Option<PathBuf>) {
        self.orders.lock().held = below;
        self.released.notify_all();
    }

    pub fn set_sync_time(&self, time: Duration) {
        self.orders.lock().sync_time = time;
    }

    /// Takes as long as a sync of this disk does.
    pub fn take_sync_time(&self) {
        let time = self.orders.lock().sync_time;
        if !time.is_zero() {
            thread::sleep(time);
        }
    }

    /// Returns once syncs of this file do not hang.
    pub fn wait_for_release(&self, path: &Path) {
        let mut orders = self.orders.lock();
        while orders
            .held
            .as_ref()
            .is_some_and(|held| path.starts_with(held))
        {
            self.released.wait(&mut orders);
        }
    }

    /// Everything works again.
    pub fn heal(&self) {
        let mut orders = self.orders.lock();
        let (calls, forgetful, cold) = (orders.calls, orders.forgetful, orders.cold);
        *orders = Orders {
            calls,
            forgetful,
            cold,
            ..Orders::default()
        };
        self.released.notify_all();
    }
}

pub(super) fn injected(what: &str) -> io::Error {
    io::Error::other(format!("injected error: {what}"))
}
