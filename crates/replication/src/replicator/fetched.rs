//! Handles a fetch response: looks at the headers, sends the next request, then checks and appends.

use super::{Phase, Replicator, Sent};
use crate::{
    assign::Key,
    position::{OnError, OnRefusal, on_append, on_batch, on_error, on_follow, unreadable},
    progress::SourceSeen,
    verify::{Verified, summarize, verify},
};
use gnomon_catalog::{Event, Reply};
use gnomon_client::fetcher::{FetchPosition, FetchTarget, Fetched, FetchedAll};
use gnomon_partition::{AppendAtError, FollowError, Handle, SourceBounds, Unreadable};
use gnomon_protocol::{error_code::name_of, ids::LeaderEpoch};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// One partition's part of an answer that has to be worked on.
struct FetchedPartition {
    key: Key,
    position: FetchPosition,
    fetched: Fetched,
}

impl Replicator {
    /// Takes an answer in.
    pub(super) async fn take_in(&mut self, sent: Sent, answer: FetchedAll) {
        let bytes: usize = answer.iter().map(|fetched| fetched.records.len()).sum();
        let fullest = answer
            .iter()
            .map(|fetched| fetched.records.len())
            .max()
            .unwrap_or(0);
        self.size
            .answered(bytes, fullest, sent.at.max(self.free_since).elapsed());
        let looked_at: Vec<FetchTarget> = answer
            .iter()
            .filter(|fetched| fetched.error.is_none())
            .map(|f| f.target.clone())
            .collect();
        if !sent.empty_tail {
            self.note_heard(&sent, &answer);
        }
        let mut intakes = Vec::with_capacity(answer.len());
        for fetched in answer {
            let Some(position) = sent.wanted.get(&fetched.target).copied() else {
                continue;
            };
            if let Some(key) = self.expects(&fetched, position) {
                match fetched.error {
                    Some(code) => self.on_fetch_error(key, code).await,
                    None => intakes.extend(self.summarize(key, position, fetched).await),
                }
            }
        }
        if sent.empty_tail && bytes == 0 {
            self.pass_empty_tails(&sent, &looked_at).await;
        }
        self.send().await;
        self.append_all(intakes).await;
        self.free_since = Instant::now();
    }

    /// A partition that an answer within a fetch session leaves out has nothing new (KIP-227): the
    /// source was heard of it. Of those that are in it, the answer itself tells, or its error that
    /// nothing is known.
    fn note_heard(&self, sent: &Sent, answer: &FetchedAll) {
        let now = self.link.site.now();
        let named: BTreeSet<&FetchTarget> = answer.iter().map(|fetched| &fetched.target).collect();
        let unnamed = sent.wanted.keys().filter(|target| !named.contains(target));
        for key in unnamed.filter_map(|target| self.by_target.get(target)) {
            if let Some(part) = self.parts.get(key) {
                part.progress.heard(now);
            }
        }
    }

    /// An answer about empty tails alone had no byte: there is nothing up to the source's end, so
    /// ours goes there. Only where the source says so in as many words: a partition that the answer
    /// leaves out was not looked at (a source that throttles answers with nothing), and is asked as
    /// ever.
    async fn pass_empty_tails(&mut self, sent: &Sent, looked_at: &[FetchTarget]) {
        for (target, position) in &sent.wanted {
            let Some(key) = self.by_target.get(target).copied() else {
                continue;
            };
            let Some(part) = self.parts.get_mut(&key) else {
                continue;
            };
            if part.phase != Phase::Reading || part.next.0 != position.offset {
                continue;
            }
            let Some(end) = part
                .empty_tail
                .take()
                .filter(|_| looked_at.contains(target))
            else {
                continue;
            };
            let Some(handle) = part.handle.clone() else {
                continue;
            };
            match handle.copier().advance_end(part.fence(), end) {
                Ok(end) => part.next.0 = end,
                Err(error) => self.refused(key, on_follow(&error)).await,
            }
        }
    }

    /// The partition, if this is what it waits for: what was asked at another position than the one
    /// we are at now says nothing.
    fn expects(&self, fetched: &Fetched, position: FetchPosition) -> Option<Key> {
        let key = *self.by_target.get(&fetched.target)?;
        let part = self.parts.get(&key)?;
        (part.phase == Phase::Reading && part.next.0 == position.offset).then_some(key)
    }

    async fn on_fetch_error(&mut self, key: Key, code: i16) {
        let why = format!("the source answers {}", name_of(code));
        match on_error(code) {
            OnError::AskBounds => {
                if let Some(part) = self.parts.get_mut(&key) {
                    part.progress.failed(why);
                    part.again_in(std::time::Duration::ZERO, true);
                }
            }
            OnError::AskMetadata => self.look_again(key, &why),
            OnError::Retry => self.set_aside(key, &why),
        }
    }

    /// Notes what the answer says, and guesses where the next request reads on.
    async fn summarize(
        &mut self,
        key: Key,
        position: FetchPosition,
        fetched: Fetched,
    ) -> Option<FetchedPartition> {
        let now = self.link.site.now();
        let part = self.parts.get_mut(&key)?;
        let handle = part.handle.clone()?;
        if let Some((epoch, end)) = fetched.diverging {
            let our_end = handle.offsets().end;
            self.doubt(key, position.last_fetched_epoch, our_end, epoch, end)
                .await;
            return None;
        }
        let seen = SourceSeen {
            log_start: fetched.log_start_offset,
            high_watermark: fetched.high_watermark,
            last_stable: if fetched.last_stable_offset < 0 {
                fetched.high_watermark
            } else {
                fetched.last_stable_offset
            },
            at: now,
        };
        part.progress
            .saw_source(seen, handle.offsets().high_watermark);
        (part.doubts, part.below_since) = (0, None);
        let tail = fetched.records.is_empty() && fetched.high_watermark > position.offset;
        match summarize(&fetched.records) {
            Some(found) => {
                part.next = (found.next_offset.max(position.offset), found.last_epoch);
                part.empty_tail = None;
            }
            // The source's end is ahead and yet it gives nothing: cleaned away, or others took the
            // room. Asked alone next time, it will show.
            None if tail && handle.settings().compacted => {
                part.empty_tail = Some(fetched.high_watermark)
            }
            None => part.empty_tail = None,
        }
        Some(FetchedPartition {
            key,
            position,
            fetched,
        })
    }

    /// Checks all and looks at their records, records epochs that are new, appends. An epoch above
    /// the one that the source's leader was asked under cannot be (the leader would have refused
    /// the question) unless the source is too old to say, or the header is damaged, whose epoch no
    /// checksum covers. Recorded it would stand for ever; so the source's metadata is asked first.
    async fn append_all(&mut self, intakes: Vec<FetchedPartition>) {
        let mut ready = Vec::with_capacity(intakes.len());
        let mut broken = Vec::new();
        for intake in intakes {
            match verify(intake.fetched.records.clone(), intake.position.offset) {
                Ok(verified) if self.is_ahead(&intake, &verified) => {
                    let found = verified.highest_epoch.0.0;
                    self.look_again(
                        intake.key,
                        &format!("a batch has epoch {found}, which the source does not name"),
                    );
                }
                Ok(verified) => {
                    let Some(handle) = self.handle(intake.key) else {
                        continue;
                    };
                    let looked = handle.copier().look_at_copies(verified.batches).await;
                    broken.extend(looked.broken.map(|found| (intake.key, found)));
                    ready.push((intake, Verified::of(looked.right)));
                }
                Err(error) => {
                    self.refused(intake.key, on_batch(intake.key.1, &error))
                        .await
                }
            }
        }
        if !self.record_epochs(&ready).await {
            return;
        }
        for (intake, verified) in ready {
            self.append(intake, verified).await;
        }
        for (key, found) in broken {
            self.on_unreadable(key, &found).await;
        }
    }

    fn handle(&self, key: Key) -> Option<Handle> {
        self.parts.get(&key)?.handle.clone()
    }

    /// The source holds a batch that no consumer can read; what is before it was copied.
    async fn on_unreadable(&mut self, key: Key, found: &Unreadable) {
        let Some(part) = self.parts.get(&key) else {
            return;
        };
        if part.phase != Phase::Reading {
            return;
        }
        let link = self.link.config.name.as_str();
        let reason = unreadable(link, &part.target.topic, key.1, found);
        self.fault(key, reason).await;
    }

    fn is_ahead(&self, intake: &FetchedPartition, verified: &Verified) -> bool {
        let named = self
            .parts
            .get(&intake.key)
            .map_or(LeaderEpoch::NONE, |part| part.assigned.place.leader_epoch);
        named != LeaderEpoch::NONE && LeaderEpoch(verified.highest_epoch.0.0) > named
    }

    /// Makes every leader epoch durable that a batch at hand carries and the metadata does not
    /// know. False: nothing may be appended now.
    async fn record_epochs(&mut self, ready: &[(FetchedPartition, Verified)]) -> bool {
        let newer = ready
            .iter()
            .filter_map(|(FetchedPartition { key, .. }, verified)| {
                let epoch = LeaderEpoch(verified.highest_epoch.0.0);
                let part = self.parts.get(key)?;
                part.progress.saw_epoch(epoch.0);
                (epoch > part.recorded).then_some((key.0, key.1, epoch))
            });
        let epochs: Vec<_> = newer.collect();
        if epochs.is_empty() {
            return true;
        }
        let why = match self
            .link
            .site
            .submit(Event::EpochsSeen {
                epochs: epochs.clone(),
            })
            .await
        {
            Ok(Reply::EpochsSeen) => None,
            Ok(reply) => Some(format!("the source's epoch was not recorded: {reply:?}")),
            Err(gone) => Some(gone.to_string()),
        };
        if let Some(why) = why {
            ready
                .iter()
                .for_each(|(intake, _)| self.set_aside(intake.key, &why));
            return false;
        }
        for (topic, index, epoch) in epochs {
            if let Some(part) = self.parts.get_mut(&(topic, index)) {
                part.recorded = epoch;
            }
        }
        true
    }

    async fn append(
        &mut self,
        FetchedPartition {
            key,
            position,
            fetched,
        }: FetchedPartition,
        verified: Verified,
    ) {
        let now = self.link.site.now();
        let Some(part) = self
            .parts
            .get_mut(&key)
            .filter(|part| part.phase == Phase::Reading)
        else {
            return;
        };
        let Some(handle) = part.handle.clone() else {
            return;
        };
        let (bytes, records) = (verified.bytes, verified.records);
        if !verified.batches.is_empty() {
            part.progress.fetched(bytes, records);
            let bounds = SourceBounds {
                log_start: fetched.log_start_offset,
                high_watermark: fetched.high_watermark,
            };
            match handle
                .copier()
                .append_at(part.fence(), verified.batches, bounds)
            {
                Ok(_) => {
                    part.backoff.succeeded();
                    part.progress
                        .wrote(now, bytes, records, handle.offsets().high_watermark);
                }
                // Another fetch connection of this link, which had the partition before, was not
                // through with it: our log went on since this was asked.
                Err(AppendAtError::Overlap { .. }) if handle.offsets().end != position.offset => {
                    return part.again_in(std::time::Duration::ZERO, false);
                }
                Err(error) => {
                    let refusal = on_append(key.1, &error);
                    return self.refused(key, refusal).await;
                }
            }
        }
        let refusal = match handle
            .copier()
            .follow_source_start(part.fence(), fetched.log_start_offset)
        {
            Ok(_) => return,
            // The next fetch at our end finds it out of range, and asks for the bounds.
            Err(FollowError::Gap { .. }) => return part.again_in(std::time::Duration::ZERO, true),
            Err(error) => match on_follow(&error) {
                refusal @ (OnRefusal::End | OnRefusal::Fault(_) | OnRefusal::Retry(_)) => refusal,
            },
        };
        self.refused(key, refusal).await;
    }
}
