//! One fetch connection to one broker of the source, and the copies of a share of its partitions.
//!
//! Receive, ask for more, then verify and append: the next fetch is on its way before anything is
//! done with the last answer's data. Invariants:
//! - Where to read on comes from our own log. The position of a request that is sent ahead is a
//!   guess from batch headers; what answers it counts only if our log ends exactly there by then.
//! - A batch whose epoch is newer than the recorded one waits until that epoch is durable.
//! - Trouble with one partition sets that partition aside ([`Phase::Begin`] at a later time) and
//!   holds up no other.
//!
//! Judgements are in `position.rs` and `verify.rs`; this file carries them out.

mod begin;
mod fetched;

use crate::{
    assign::{Assigned, FetchConnectionId, Key, Share},
    fetch_size::FetchSize,
    link_shared::LinkShared,
    position::{Fault, OnRefusal},
    progress::Progress,
    source::{FetchConnection, FetchLimits},
};
use gnomon_catalog::{Event, Reply};
use gnomon_client::{
    ClientError,
    fetcher::{FetchPosition, FetchTarget, FetchedAll, is_session_error},
    retry::Backoff,
};
use gnomon_partition::{Fence, Handle};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, Offset};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

/// A long poll may go on for so long when a new partition wants to join; then the connection is
/// given up for a new one.
const JOIN_GRACE: Duration = Duration::from_millis(20);

/// How often is looked for partitions whose disk failed while nothing came for them: what they had
/// may be gone with their old log.
const LOOK: Duration = Duration::from_secs(1);

/// The state of a partition on its fetch connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be looked at from this moment on: where does our log end, and does the source agree?
    Begin { at: Instant, bounds: bool },
    /// Part of every fetch.
    Reading,
    /// Nothing more to do here: faulted, or no longer the link's.
    Ended,
}

/// One partition's copy.
struct Part {
    assigned: Assigned,
    target: FetchTarget,
    progress: Arc<Progress>,
    handle: Option<Handle>,
    phase: Phase,
    /// Where the next request reads on, and the epoch of the batch before.
    next: (Offset, BatchEpoch),
    /// The leader epoch that is durable here.
    recorded: LeaderEpoch,
    backoff: Backoff,
    /// Times in a row that the source's history disagreed.
    doubts: u32,
    below_since: Option<Instant>,
    /// An answer had nothing, though the source's end stands here, ahead of us: perhaps cleaned
    /// away.
    empty_tail: Option<Offset>,
}

impl Part {
    fn fence(&self) -> Fence {
        Fence(self.assigned.job.fence)
    }

    fn again_in(&mut self, wait: Duration, bounds: bool) {
        self.phase = Phase::Begin {
            at: Instant::now() + wait,
            bounds,
        };
    }
}

/// A request on its way.
struct Sent {
    wanted: BTreeMap<FetchTarget, FetchPosition>,
    at: Instant,
    /// It asks for partitions with an empty tail only, so that nothing else can take the answer's
    /// room.
    empty_tail: bool,
}

struct Replicator {
    link: Arc<LinkShared>,
    id: FetchConnectionId,
    share: watch::Receiver<Arc<Share>>,
    parts: BTreeMap<Key, Part>,
    by_target: BTreeMap<FetchTarget, Key>,
    connection: Option<Box<dyn FetchConnection>>,
    /// Not before.
    connect_at: Instant,
    sent: Option<Sent>,
    size: FetchSize,
    backoff: Backoff,
    /// When handles were last looked at.
    looked_at: Instant,
    /// Since when there was nothing to do but to wait for the next answer.
    free_since: Instant,
    /// A new partition waits to be read.
    joined: bool,
    troubled: bool,
    /// The last answer was that the source does not know our fetch session.
    session_refused: bool,
}

enum Happened {
    ShareChanged,
    Answered(Result<FetchedAll, ClientError>),
    Due,
    Ended,
}

/// Copies the share until it is dropped or nobody deals shares any more.
pub(crate) async fn run(
    link: Arc<LinkShared>,
    id: FetchConnectionId,
    share: watch::Receiver<Arc<Share>>,
) {
    let options = link.config.client.effective();
    let mut replicator = Replicator {
        size: FetchSize::new(options.fetch_max_bytes, options.fetch_partition_max_bytes),
        link,
        id,
        share,
        parts: BTreeMap::new(),
        by_target: BTreeMap::new(),
        connection: None,
        connect_at: Instant::now(),
        sent: None,
        backoff: Backoff::default(),
        looked_at: Instant::now(),
        free_since: Instant::now(),
        joined: false,
        troubled: false,
        session_refused: false,
    };
    replicator.take_share();
    loop {
        replicator.begin_due().await;
        replicator.keep_asking().await;
        match replicator.happens().await {
            Happened::ShareChanged => replicator.take_share(),
            Happened::Answered(answer) => replicator.answered(answer).await,
            Happened::Due => {}
            Happened::Ended => return,
        }
    }
}

impl Replicator {
    /// Takes up partitions that came, lets go of those that went, and looks again at those whose
    /// leader or role changed.
    fn take_share(&mut self) {
        let share = self.share.borrow_and_update().clone();
        self.parts.retain(|key, part| match share.get(key) {
            Some(assigned) => {
                let same = assigned.job.fence == part.assigned.job.fence
                    && assigned.place.topic_id == part.assigned.place.topic_id;
                if same {
                    let new_leader = assigned.place.leader_epoch > part.assigned.place.leader_epoch;
                    part.recorded = part.recorded.max(assigned.job.recorded_epoch);
                    part.assigned = assigned.clone();
                    part.progress.saw_epoch(assigned.place.leader_epoch.0);
                    if new_leader && part.phase != Phase::Ended {
                        part.again_in(Duration::ZERO, false);
                    }
                }
                same
            }
            None => false,
        });
        for (key, assigned) in share.iter() {
            if self.parts.contains_key(key) {
                continue;
            }
            let target = FetchTarget {
                topic: assigned.job.topic.clone(),
                topic_id: assigned.place.topic_id.unwrap_or(Uuid::nil()),
                partition: key.1,
            };
            let progress = self.link.progress_of(*key);
            progress.saw_epoch(assigned.place.leader_epoch.0);
            let part = Part {
                target,
                progress,
                handle: None,
                phase: Phase::Begin {
                    at: Instant::now(),
                    bounds: false,
                },
                next: (0, BatchEpoch::NONE),
                recorded: assigned.job.recorded_epoch,
                backoff: Backoff::default(),
                doubts: 0,
                below_since: None,
                empty_tail: None,
                assigned: assigned.clone(),
            };
            self.parts.insert(*key, part);
            self.joined = true;
        }
        self.by_target = self
            .parts
            .iter()
            .map(|(key, part)| (part.target.clone(), *key))
            .collect();
    }

    /// Has a request on its way whenever there is something to read.
    async fn keep_asking(&mut self) {
        if std::mem::take(&mut self.joined) && self.sent.is_some() {
            self.cut_short().await;
        }
        if self.sent.is_none() && self.parts.values().any(|part| part.phase == Phase::Reading) {
            self.connect().await;
            self.send().await;
        }
    }

    /// A new partition does not wait for the end of a long poll.
    async fn cut_short(&mut self) {
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        match timeout(JOIN_GRACE, connection.receive()).await {
            Ok(answer) => self.answered(answer).await,
            Err(_) => (self.connection, self.sent) = (None, None),
        }
    }

    async fn connect(&mut self) {
        if self.connection.is_some() || Instant::now() < self.connect_at {
            return;
        }
        match self.link.source.fetch_connection(self.id.node).await {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => self.lost(&error),
        }
    }

    /// Sends the next request, if there is anything to ask for.
    async fn send(&mut self) {
        if self.sent.is_some() {
            return;
        }
        let Some(connection) = self.connection.as_mut() else {
            return;
        };
        let reading = || {
            self.parts
                .values()
                .filter(|part| part.phase == Phase::Reading)
        };
        // Whether a tail is empty only shows when nothing else takes the answer's room.
        let empty_tail = reading().any(|part| part.empty_tail.is_some());
        let position = |part: &Part| FetchPosition {
            offset: part.next.0,
            current_leader_epoch: part.assigned.place.leader_epoch,
            last_fetched_epoch: part.next.1,
        };
        let wanted: BTreeMap<FetchTarget, FetchPosition> = reading()
            .filter(|part| part.empty_tail.is_some() == empty_tail)
            .map(|part| (part.target.clone(), position(part)))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let options = self.link.config.client.effective();
        let wait_ms = if empty_tail {
            0
        } else {
            options.fetch_wait_max_ms.unsigned_abs()
        };
        let limits = FetchLimits {
            max_wait: Duration::from_millis(u64::from(wait_ms)),
            min_bytes: options.fetch_min_bytes,
            max_bytes: self.size.max_bytes(),
            partition_max_bytes: self.size.partition_max_bytes(),
            whole: empty_tail,
        };
        match connection.send(&wanted, limits).await {
            Ok(()) => {
                self.sent = Some(Sent {
                    wanted,
                    at: Instant::now(),
                    empty_tail,
                })
            }
            Err(error) => self.lost(&error),
        }
    }

    async fn happens(&mut self) -> Happened {
        let begins = self.parts.values().filter_map(|part| match part.phase {
            Phase::Begin { at, .. } => Some(at),
            Phase::Reading | Phase::Ended => None,
        });
        let waits_to_connect = self.connection.is_none()
            && self.parts.values().any(|part| part.phase == Phase::Reading);
        let due = begins
            .chain(waits_to_connect.then_some(self.connect_at))
            .min();
        let in_flight = self.sent.is_some();
        let connection = self.connection.as_mut().filter(|_| in_flight);
        tokio::select! {
            biased;
            changed = self.share.changed() => if changed.is_ok() { Happened::ShareChanged } else { Happened::Ended },
            answer = async { match connection { Some(connection) => connection.receive().await, None => std::future::pending().await } } => Happened::Answered(answer),
            () = async { match due { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => Happened::Due,
        }
    }

    async fn answered(&mut self, answer: Result<FetchedAll, ClientError>) {
        let Some(sent) = self.sent.take() else { return };
        match answer {
            Ok(answer) => {
                self.backoff.succeeded();
                self.session_refused = false;
                self.link.in_contact();
                if std::mem::take(&mut self.troubled) {
                    self.parts
                        .values()
                        .for_each(|part| part.progress.recovered());
                }
                self.take_in(sent, answer).await;
                self.look_at_handles();
            }
            // Once: a source that refuses the new session as well is in trouble like any other, and
            // is not asked again at once for ever.
            Err(error)
                if is_session_error(&error)
                    && !std::mem::replace(&mut self.session_refused, true) =>
            {
                tracing::debug!(connection = ?self.id, %error, "starting a new fetch session");
            }
            Err(error) => self.lost(&error),
        }
    }

    /// A partition that was closed is begun again from what its log has once it is open: nothing
    /// may come that would show it.
    fn look_at_handles(&mut self) {
        if self.looked_at.elapsed() < LOOK {
            return;
        }
        self.looked_at = Instant::now();
        for part in self
            .parts
            .values_mut()
            .filter(|part| part.phase == Phase::Reading)
        {
            if let Some(why) = part.handle.as_ref().and_then(Handle::closed) {
                part.progress.failed(&*why);
                part.handle = None;
                part.again_in(LOOK, false);
            }
        }
    }

    /// The connection failed, or the source refused the whole request: try again later. Never a
    /// fault of a topic.
    fn lost(&mut self, error: &ClientError) {
        self.link.out_of_contact(error);
        let wait = planted(self.backoff.failed(self.link.site.random()));
        tracing::info!(link = self.link.config.name.as_str(), connection = ?self.id, %error, wait_ms = wait.as_millis() as u64, "fetching failed");
        (self.connection, self.sent, self.troubled) = (None, None, true);
        self.connect_at = Instant::now() + wait;
        self.parts
            .values()
            .for_each(|part| part.progress.failed(error.to_string()));
        self.link.look.notify_one();
    }

    /// Sets one partition aside, because of `why`, until it is its turn again.
    fn set_aside(&mut self, key: Key, why: &str) {
        let random = self.link.site.random();
        let Some(part) = self.parts.get_mut(&key) else {
            return;
        };
        part.progress.failed(why);
        part.handle = None;
        let wait = part.backoff.failed(random);
        part.again_in(wait, false);
        tracing::info!(
            link = self.link.config.name.as_str(),
            topic = &*part.target.topic,
            partition = key.1,
            why,
            wait_ms = wait.as_millis() as u64,
            "copying is held up"
        );
    }

    /// Does what a refusal means.
    async fn refused(&mut self, key: Key, refusal: OnRefusal) {
        match refusal {
            OnRefusal::End => self.end(key),
            OnRefusal::Fault(fault) => self.fault(key, fault).await,
            OnRefusal::Retry(why) => self.set_aside(key, &why),
        }
    }

    fn end(&mut self, key: Key) {
        if let Some(part) = self.parts.get_mut(&key) {
            part.phase = Phase::Ended;
        }
    }

    /// The topic cannot go on: the metadata says so from now on, and takes its partitions off every
    /// line.
    async fn fault(&mut self, key: Key, fault: impl Into<Fault>) {
        let Some(part) = self.parts.get_mut(&key) else {
            return;
        };
        let Fault { reason, gap } = fault.into();
        part.phase = Phase::Ended;
        part.progress.failed(reason.as_str());
        tracing::warn!(
            link = self.link.config.name.as_str(),
            topic = &*part.target.topic,
            partition = key.1,
            reason,
            "shadow topic is faulted"
        );
        match self
            .link
            .site
            .submit(Event::TopicFaulted {
                topic: key.0,
                reason,
                gap,
            })
            .await
        {
            Ok(Reply::Topic(Ok(()))) => {}
            Ok(reply) => tracing::info!(?reply, "the fault was not taken"),
            Err(gone) => self.set_aside(key, &gone.to_string()),
        }
    }
}

/// Planted fault for tests of links: what failed once is not tried again for a day.
fn planted(wait: Duration) -> Duration {
    gnomon_failpoints::fail_point!("link_gives_up", |_| Duration::from_secs(86_400));
    wait
}
