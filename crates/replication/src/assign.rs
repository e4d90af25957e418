//! Which fetch connection copies which partition. Pure.
//!
//! Every partition that is to be copied and whose leader at the source is known belongs to exactly
//! one connection: a broker of the source, and one of a few shares there. A partition keeps its
//! share for
//! as long as its leader stays, so that adding one moves no other.

use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use std::{collections::BTreeMap, sync::Arc};

/// Connections to one broker of the source, at most: enough that one slow answer does not hold up
/// all, few enough that a source with many links does not mind.
pub(crate) const SHARES_PER_NODE: u32 = 4;

/// A partition here.
pub(crate) type Key = (TopicId, i32);

/// A partition that is to be copied, as the metadata says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub topic: Arc<str>,
    pub fence: u64,
    /// The source's id of the topic, as recorded.
    pub source_topic_id: Option<TopicId>,
    /// The leader epoch recorded here: a batch with a newer one waits until that one is recorded.
    pub recorded_epoch: LeaderEpoch,
    /// The source added it to a topic that was being copied: the copy begins at its start, whatever
    /// the link says of topics.
    pub added: bool,
}

/// Where the source has a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceLocation {
    pub node: i32,
    pub leader_epoch: LeaderEpoch,
    pub topic_id: Option<TopicId>,
}

/// Where the source has its partitions, by topic name and index.
pub(crate) type Topology = BTreeMap<Arc<str>, BTreeMap<i32, SourceLocation>>;

/// A fetch connection: a broker of the source, and which of the connections to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FetchConnectionId {
    pub node: i32,
    pub share: u32,
}

/// A partition on a fetch connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub job: Job,
    pub place: SourceLocation,
}

/// All partitions of one fetch connection.
pub(crate) type Share = BTreeMap<Key, Assigned>;

/// Deals out the jobs. A topic that the source created again (another id) is left out: the metadata
/// machine is about to say what becomes of it.
pub(crate) fn assign(
    jobs: &BTreeMap<Key, Job>,
    topology: &Topology,
) -> BTreeMap<FetchConnectionId, Share> {
    let mut connections: BTreeMap<FetchConnectionId, Share> = BTreeMap::new();
    for (key, job) in jobs {
        let Some(place) = topology
            .get(&job.topic)
            .and_then(|partitions| partitions.get(&key.1))
        else {
            continue;
        };
        let recreated = matches!((job.source_topic_id, place.topic_id), (Some(recorded), Some(found)) if recorded != found);
        if recreated {
            continue;
        }
        let connection = FetchConnectionId {
            node: place.node,
            share: share(&job.topic, key.1),
        };
        connections.entry(connection).or_default().insert(
            *key,
            Assigned {
                job: job.clone(),
                place: *place,
            },
        );
    }
    connections
}

/// The partitions of one topic go round the shares, beginning somewhere that its name says.
fn share(topic: &str, partition: i32) -> u32 {
    let start = topic.bytes().fold(0u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    start.wrapping_add(partition.unsigned_abs()) % SHARES_PER_NODE
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn job(topic: &str) -> Job {
        Job {
            topic: topic.into(),
            fence: 1,
            source_topic_id: Some(Uuid::from_u128(9)),
            recorded_epoch: LeaderEpoch(0),
            added: false,
        }
    }

    fn place(node: i32, id: u128) -> SourceLocation {
        SourceLocation {
            node,
            leader_epoch: LeaderEpoch(0),
            topic_id: Some(Uuid::from_u128(id)),
        }
    }

    #[test]
    fn every_partition_with_a_leader_has_one_line() {
        let topic = Uuid::from_u128(1);
        let jobs: BTreeMap<Key, Job> = (0..9).map(|p| ((topic, p), job("a_orders"))).collect();
        // Partition 8 has no leader at the moment.
        let topology = Topology::from([(
            "a_orders".into(),
            (0..8).map(|p| (p, place(p % 2, 9))).collect(),
        )]);
        let connections = assign(&jobs, &topology);
        let mut dealt: Vec<i32> = connections
            .values()
            .flat_map(|share| share.keys().map(|key| key.1))
            .collect();
        dealt.sort_unstable();
        assert_eq!(dealt, (0..8).collect::<Vec<_>>());
        assert!(connections.iter().all(|(connection, share)| {
            share
                .values()
                .all(|assigned| assigned.place.node == connection.node)
        }));
        assert!(
            connections
                .keys()
                .all(|connection| connection.share < SHARES_PER_NODE)
        );
    }

    #[test]
    fn a_topic_created_again_at_the_source_is_not_copied_into_the_old_one() {
        let jobs = BTreeMap::from([((Uuid::from_u128(1), 0), job("a_orders"))]);
        let topology = Topology::from([("a_orders".into(), BTreeMap::from([(0, place(0, 10))]))]);
        assert_eq!(assign(&jobs, &topology), BTreeMap::new());
    }
}
