//! Fetch connections to the cluster in memory, long polls included.

use super::cluster::{Cluster, Odd, Scripted, header, in_epoch, refused};
use crate::source::{FetchConnection, FetchLimits};
use bytes::Bytes;
use gnomon_client::{
    BoxFuture, ClientError,
    fetcher::{FetchPosition, FetchTarget, Fetched, FetchedAll},
};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::{BatchEpoch, LeaderEpoch, Offset},
};
use std::{collections::BTreeMap, future::pending};
use tokio::time::{Instant, sleep, sleep_until};

struct PendingFetch {
    wanted: BTreeMap<FetchTarget, FetchPosition>,
    limits: FetchLimits,
    until: Instant,
}

pub(super) struct ScriptedConnection {
    cluster: Scripted,
    asked: Option<PendingFetch>,
    /// High watermark and log start as told last: a session is silent about what stays the same.
    told: BTreeMap<FetchTarget, (Offset, Offset)>,
}

impl ScriptedConnection {
    pub(super) fn to(cluster: Scripted) -> ScriptedConnection {
        ScriptedConnection {
            cluster,
            asked: None,
            told: BTreeMap::new(),
        }
    }
}

impl FetchConnection for ScriptedConnection {
    fn send<'a>(
        &'a mut self,
        wanted: &'a BTreeMap<FetchTarget, FetchPosition>,
        limits: FetchLimits,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(async move {
            self.cluster.ask(|_| ())?;
            self.cluster.0.cluster.lock().fetches += 1;
            self.told.retain(|target, _| wanted.contains_key(target));
            self.asked = Some(PendingFetch {
                wanted: wanted.clone(),
                limits,
                until: Instant::now() + limits.max_wait,
            });
            Ok(())
        })
    }

    fn receive(&mut self) -> BoxFuture<'_, Result<FetchedAll, ClientError>> {
        Box::pin(async move {
            let mut changed = self.cluster.0.changed.subscribe();
            loop {
                let Some(asked) = &self.asked else {
                    return pending().await;
                };
                let mut answer = self
                    .cluster
                    .ask(|cluster| answer(cluster, asked, &self.told))?;
                if !answer.is_empty() || Instant::now() >= asked.until {
                    if answer.iter().any(|fetched| !fetched.records.is_empty()) {
                        let arrives_after = self.cluster.0.cluster.lock().arrives_after;
                        sleep(arrives_after).await;
                    }
                    match self.cluster.0.cluster.lock().odd.pop_front() {
                        Some(Odd::Starved) => answer
                            .iter_mut()
                            .for_each(|fetched| fetched.records = Bytes::new()),
                        Some(Odd::Throttled) => answer.clear(),
                        Some(Odd::Epoch(epoch)) => answer.iter_mut().for_each(|fetched| {
                            fetched.records = in_epoch(&fetched.records, epoch)
                        }),
                        Some(Odd::NoSession) => {
                            self.asked = None;
                            return Err(refused("session", ErrorCode::FetchSessionIdNotFound));
                        }
                        None => {}
                    }
                    self.told.extend(
                        answer
                            .iter()
                            .map(|f| (f.target.clone(), (f.high_watermark, f.log_start_offset))),
                    );
                    self.asked = None;
                    return Ok(answer);
                }
                tokio::select! {
                    biased;
                    _ = changed.changed() => {}
                    () = sleep_until(asked.until) => {}
                }
            }
        })
    }
}

fn answer(
    cluster: &Cluster,
    asked: &PendingFetch,
    told: &BTreeMap<FetchTarget, (Offset, Offset)>,
) -> FetchedAll {
    let mut room = usize::try_from(asked.limits.max_bytes).unwrap_or(0);
    let mut answer = FetchedAll::new();
    for (target, position) in &asked.wanted {
        let fetched = fetch(
            cluster,
            target,
            position,
            room.min(usize::try_from(asked.limits.partition_max_bytes).unwrap_or(0)),
            room > 0,
        );
        room = room.saturating_sub(fetched.records.len());
        let bounds = (fetched.high_watermark, fetched.log_start_offset);
        let news =
            fetched.error.is_some() || fetched.diverging.is_some() || !fetched.records.is_empty();
        if news || asked.limits.whole || told.get(target) != Some(&bounds) {
            answer.push(fetched);
        }
    }
    answer
}

fn fetch(
    cluster: &Cluster,
    target: &FetchTarget,
    position: &FetchPosition,
    bytes_max: usize,
    at_least_one: bool,
) -> Fetched {
    let refused = |code: ErrorCode| Fetched {
        error: Some(code.code()),
        ..nothing(target)
    };
    let Some(topic) = cluster.topics.get(&*target.topic) else {
        return refused(ErrorCode::UnknownTopicOrPartition);
    };
    if topic.id.is_some_and(|id| id != target.topic_id) {
        return refused(ErrorCode::UnknownTopicId);
    }
    let partition = usize::try_from(target.partition)
        .ok()
        .and_then(|index| topic.partitions.get(index));
    let Some(partition) = partition else {
        return refused(ErrorCode::UnknownTopicOrPartition);
    };
    if let Some(code) = partition.error {
        return Fetched {
            error: Some(code),
            ..nothing(target)
        };
    }
    if position.current_leader_epoch != LeaderEpoch::NONE
        && position.current_leader_epoch.0 != partition.leader_epoch
    {
        let older = position.current_leader_epoch.0 < partition.leader_epoch;
        return refused(if older {
            ErrorCode::FencedLeaderEpoch
        } else {
            ErrorCode::UnknownLeaderEpoch
        });
    }
    if !(partition.log_start..=partition.end()).contains(&position.offset) {
        return refused(ErrorCode::OffsetOutOfRange);
    }
    let bounds = Fetched {
        high_watermark: partition.high_watermark,
        last_stable_offset: partition.high_watermark,
        log_start_offset: partition.log_start,
        ..nothing(target)
    };
    if position.last_fetched_epoch != BatchEpoch::NONE {
        let end = partition.epoch_end(position.last_fetched_epoch);
        if end.epoch != BatchEpoch::NONE
            && (end.epoch < position.last_fetched_epoch || end.end < position.offset)
        {
            return Fetched {
                diverging: Some((end.epoch, end.end)),
                ..bounds
            };
        }
    }
    let mut records = Vec::new();
    for batch in &partition.batches {
        let Some(header) = header(batch) else {
            continue;
        };
        let readable = header.next_offset() > position.offset
            && header.next_offset() <= partition.high_watermark;
        let fits = records.len() + batch.len() <= bytes_max || (records.is_empty() && at_least_one);
        if readable && fits {
            records.extend_from_slice(batch);
        } else if readable {
            break;
        }
    }
    Fetched {
        records: records.into(),
        ..bounds
    }
}

fn nothing(target: &FetchTarget) -> Fetched {
    Fetched {
        target: target.clone(),
        error: None,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging: None,
        current_leader: None,
        records: Bytes::new(),
        aborted: Vec::new(),
    }
}
