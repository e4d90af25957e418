//! A network in memory, by seed: hosts with names, byte streams between them, and everything that
//! goes wrong with both.
//!
//! It behaves as TCP does where that shows: bytes arrive in order or not at all; what is sent into
//! a cut is sent again when the cut heals, and after [`GIVES_UP_AFTER`] the sender's side alone
//! learns that the connection is dead; a peer that lost its power leaves connections half open,
//! until it is up again and refuses what it does not know. Invariant: the same calls at the same
//! times with the same seed give the same network.
//!
//! Not here: bandwidth, loss short of a cut (TCP hides it as delay), and names that change.

mod conn;
mod host;
mod stream;
#[cfg(test)]
mod tests;

use super::rng::Rng;
use conn::{Conn, Side};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    sync::Arc,
    task::Waker,
    time::Duration,
};
use tokio::time::Instant;

pub use host::Host;

/// How long a side sends into the void before it gives the connection up.
pub const GIVES_UP_AFTER: Duration = Duration::from_secs(30);

/// The delay with which a healed path delivers: a sender does not notice at once.
const RESENT_WITHIN_MS: Range<u64> = 0..1_000;

/// A path that nobody has slowed down.
const ORDINARY_MS: Range<u64> = 0..3;

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Net(Arc<Mutex<State>>);

pub(super) struct State {
    rng: Rng,
    hosts: Vec<HostState>,
    /// By (from, to).
    paths: BTreeMap<(usize, usize), Path>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
}

struct HostState {
    name: String,
    ip: IpAddr,
    /// Whether its kernel answers at all.
    up: bool,
    /// Rises at each death of its process: what belonged to it before is dead.
    life: u64,
    listeners: BTreeMap<u16, Backlog>,
    next_port: u16,
}

/// Connections that nobody has accepted yet.
#[derive(Default)]
struct Backlog {
    waiting: VecDeque<(u64, SocketAddr)>,
    waker: Option<Waker>,
}

struct Path {
    delay_ms: Range<u64>,
    cut: bool,
}

impl Default for Path {
    fn default() -> Path {
        Path {
            delay_ms: ORDINARY_MS,
            cut: false,
        }
    }
}

/// How a process ends, as its peers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its kernel closes what it had open.
    Process,
    /// Nobody tells the peers anything; the host answers nobody until [`Net::boot`].
    Power,
}

impl Net {
    /// Hosts of these names, each with an address of its own.
    pub fn new(rng: Rng, names: &[&str]) -> Net {
        let host = |(index, name): (usize, &&str)| HostState {
            name: (*name).to_owned(),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, index as u8 + 1)),
            up: true,
            life: 0,
            listeners: BTreeMap::new(),
            next_port: 40_000,
        };
        let hosts = names.iter().enumerate().map(host).collect();
        Net(Arc::new(Mutex::new(State {
            rng,
            hosts,
            paths: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
        })))
    }

    /// The network as the process that runs on a host now sees it.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn host(&self, name: &str) -> Host {
        let state = self.0.lock();
        let host = state
            .find(name)
            .unwrap_or_else(|| panic!("no host is called {name}"));
        Host {
            net: self.clone(),
            host,
            life: state.hosts[host].life,
        }
    }

    /// Nothing goes from one host to the other any more; the other direction stands as it is.
    pub fn cut(&self, from: &str, to: &str) {
        self.on_path(from, to, |state, path| state.cut(path));
    }

    /// Every packet from one host to the other takes so many milliseconds.
    pub fn delay(&self, from: &str, to: &str, delay_ms: Range<u64>) {
        self.on_path(from, to, |state, path| {
            state.paths.entry(path).or_default().delay_ms = delay_ms
        });
    }

    /// Every path is whole and quick again. Connections that froze stay frozen.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        let cut: Vec<(usize, usize)> = state
            .paths
            .iter()
            .filter(|(_, path)| path.cut)
            .map(|(path, _)| *path)
            .collect();
        state.paths.clear();
        for path in cut {
            state.healed(path);
        }
    }

    /// Every connection between two hosts is reset, on both sides.
    pub fn reset(&self, one: &str, other: &str) {
        self.between(one, other, |conn, now| {
            Side::BOTH.iter().for_each(|side| conn.reset(*side, now))
        });
    }

    /// Every connection between two hosts is forgotten by what stands between them: neither side
    /// hears of the other again, and new connections work.
    pub fn freeze(&self, one: &str, other: &str) {
        self.between(one, other, |conn, now| conn.freeze(now));
    }

    /// The process on a host dies.
    pub fn crash(&self, name: &str, death: Death) {
        let mut state = self.0.lock();
        let Some(host) = state.find(name) else { return };
        state.crash(host, death);
    }

    /// A host whose power was lost answers again.
    pub fn boot(&self, name: &str) {
        let mut state = self.0.lock();
        let Some(host) = state.find(name) else { return };
        state.boot(host);
    }

    fn on_path(&self, from: &str, to: &str, change: impl FnOnce(&mut State, (usize, usize))) {
        let mut state = self.0.lock();
        if let (Some(from), Some(to)) = (state.find(from), state.find(to)) {
            change(&mut state, (from, to));
        }
    }

    fn between(&self, one: &str, other: &str, change: impl Fn(&mut Conn, Instant)) {
        let mut state = self.0.lock();
        let (Some(one), Some(other)) = (state.find(one), state.find(other)) else {
            return;
        };
        let now = Instant::now();
        for conn in state
            .conns
            .values_mut()
            .filter(|conn| conn.joins(one, other))
        {
            change(conn, now);
        }
    }
}

impl State {
    fn find(&self, name: &str) -> Option<usize> {
        self.hosts
            .iter()
            .position(|host| host.name == name || host.ip.to_string() == name)
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.paths.get(&(from, to)).is_some_and(|path| path.cut)
    }

    /// Whether packets go both ways between two hosts that are up.
    fn reaches(&self, from: usize, to: usize) -> bool {
        self.hosts[to].up && !self.is_cut(from, to) && !self.is_cut(to, from)
    }

    fn delay(&mut self, from: usize, to: usize) -> Duration {
        let range = self
            .paths
            .get(&(from, to))
            .map_or(ORDINARY_MS, |path| path.delay_ms.clone());
        self.rng.millis(range)
    }

    fn cut(&mut self, path: (usize, usize)) {
        self.paths.entry(path).or_default().cut = true;
        let now = Instant::now();
        for conn in self
            .conns
            .values_mut()
            .filter(|conn| conn.joins(path.0, path.1))
        {
            conn.blocked(now);
        }
    }

    fn healed(&mut self, (from, to): (usize, usize)) {
        let now = Instant::now();
        if !self.reaches(from, to) || !self.reaches(to, from) {
            return;
        }
        let resent = self.rng.millis(RESENT_WITHIN_MS);
        for conn in self.conns.values_mut().filter(|conn| conn.joins(from, to)) {
            conn.unblocked(now + resent);
        }
    }

    fn crash(&mut self, host: usize, death: Death) {
        let now = Instant::now();
        let state = &mut self.hosts[host];
        state.life += 1;
        state.up &= death == Death::Process;
        state.listeners.clear();
        let hosts: Vec<u64> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.touches(host))
            .map(|(id, _)| *id)
            .collect();
        for id in hosts {
            let polite = self.rng.once_in(2);
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            let (near, far) = (conn.side_of(host), conn.side_of(host).other());
            conn.abandon(near);
            match death {
                Death::Process if polite => conn.finish(near, now),
                Death::Process => conn.reset(far, now),
                Death::Power => conn.silenced(near, now),
            }
        }
        self.forget_closed();
    }

    fn boot(&mut self, host: usize) {
        self.hosts[host].up = true;
        let resent = Instant::now() + self.rng.millis(RESENT_WITHIN_MS);
        for conn in self.conns.values_mut().filter(|conn| conn.touches(host)) {
            conn.rebooted(conn.side_of(host), resent);
        }
    }

    fn forget_closed(&mut self) {
        self.conns.retain(|_, conn| !conn.is_closed());
    }
}
