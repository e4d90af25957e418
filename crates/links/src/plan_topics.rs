//! From what the source lists and what is here: which shadow topics to make, grow, fault or mark.
//!
//! Rules: a name that is here already as an own topic, or belongs to another link, is never taken
//! over; a topic that is itself a shadow of ours at the source is not shadowed back. A shadow that
//! exists goes on when the filters no longer select it: a filter makes shadows, only an operator
//! ends them. A recreated or shrunk source topic faults its shadow. Config changes are
//! `plan_configs.rs`.

use crate::{
    filter::{NameFilter, selects},
    peer::TopicOrigin,
    topic_state::TopicState,
};
use gnomon_protocol::ids::{LeaderEpoch, TopicId, Uuid};
use std::collections::BTreeMap;

/// A topic as the source shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    pub name: String,
    /// Its id there; old sources have none.
    pub id: Option<Uuid>,
    /// Whether the source calls it internal.
    pub internal: bool,
    /// Its partitions, those without a leader included.
    pub partitions: Vec<SourcePartition>,
    /// Its configs: what is set, and the synced keys complete.
    pub configs: BTreeMap<String, String>,
    /// A Gnomon source's description of it in `gnomon.shadow.*`.
    pub origin: Option<TopicOrigin>,
}

/// A partition as the source's Metadata shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePartition {
    pub index: i32,
    /// Its leader epoch; [`LeaderEpoch::NONE`] if the source does not say.
    pub leader_epoch: LeaderEpoch,
}

/// A topic that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTopic<'a> {
    pub id: TopicId,
    pub name: &'a str,
    /// Recorded leader epoch of each partition, in order; its length is the partition count.
    pub epochs: Vec<LeaderEpoch>,
    /// The holder of the name.
    pub holder: Holder<'a>,
}

/// The holder of a topic that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// An ordinary topic of this site.
    Own,
    /// It is, or was, a shadow of a link.
    Link {
        link: Uuid,
        link_name: &'a str,
        state: TopicState,
        /// The source's id of it, once known.
        source_topic_id: Option<Uuid>,
        /// Whether the source was last seen without it.
        source_missing: bool,
    },
}

/// Everything that the plan looks at.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    pub link: Uuid,
    pub filters: &'a [NameFilter],
    pub our_cluster_id: &'a str,
    /// The topics that the source lists.
    pub source: &'a [SourceTopic],
    /// Whether the list is whole: only then is a topic that is not on it missing.
    pub complete: bool,
    /// The topics that are here: at least every topic that the source lists and every topic of this
    /// link.
    pub local: &'a [LocalTopic<'a>],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicPlan {
    /// Make a shadow topic.
    Create {
        name: String,
        /// The source's id of it.
        source_topic_id: Option<Uuid>,
        /// Leader epoch of each partition, never negative; its length is the partition count.
        epochs: Vec<LeaderEpoch>,
    },
    /// Add partitions to a shadow.
    AddPartitions {
        topic: TopicId,
        /// Leader epochs of the new partitions, which follow the present ones.
        epochs: Vec<LeaderEpoch>,
    },
    /// The source's Metadata names newer epochs than ours.
    RaiseEpochs {
        topic: TopicId,
        /// Partition and its epoch.
        epochs: Vec<(i32, LeaderEpoch)>,
    },
    /// The source's id of it was not known, and now is.
    LearnSourceId {
        topic: TopicId,
        source_topic_id: Uuid,
    },
    /// It may not go on.
    Fault {
        topic: TopicId,
        /// Why, and what can be done.
        reason: String,
    },
    /// The source does not have it any more. It stays as it is, with what it has.
    SourceMissing { topic: TopicId },
    /// The source has it again: the same one.
    SourceBack { topic: TopicId },
    /// The filters select it, and still it cannot become a shadow.
    Unselected {
        name: String,
        /// Why, for the status.
        reason: String,
    },
}

/// The changes to make, in the order of names; for one topic, in the order in which to do it.
pub fn plan(inputs: &Inputs<'_>) -> Vec<TopicPlan> {
    let source: BTreeMap<&str, &SourceTopic> =
        inputs.source.iter().map(|t| (t.name.as_str(), t)).collect();
    let local: BTreeMap<&str, &LocalTopic<'_>> = inputs.local.iter().map(|t| (t.name, t)).collect();
    let mut names: Vec<&str> = source.keys().chain(local.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let mut plans = Vec::new();
    for name in names {
        match (source.get(name), local.get(name)) {
            (Some(there), None) => plans.extend(plan_new(inputs, there)),
            (Some(there), Some(here)) => plan_known(inputs, there, here, &mut plans),
            (None, Some(here)) if inputs.complete => plans.extend(plan_gone(inputs, here)),
            (None, _) => {}
        }
    }
    plans
}

fn unselected(name: &str, reason: String) -> TopicPlan {
    TopicPlan::Unselected {
        name: name.to_owned(),
        reason,
    }
}

fn plan_new(inputs: &Inputs<'_>, there: &SourceTopic) -> Option<TopicPlan> {
    if there.internal || !selects(inputs.filters, &there.name) {
        return None;
    }
    if let Some(origin) = shadow_of_ours(inputs, there) {
        let reason = format!(
            "at the source it is itself a shadow, which link '{}' there copies from this site",
            origin.link
        );
        return Some(unselected(&there.name, reason));
    }
    match epochs(there) {
        Ok(epochs) => Some(TopicPlan::Create {
            name: there.name.clone(),
            source_topic_id: there.id,
            epochs: epochs.into_iter().map(or_first).collect(),
        }),
        Err(reason) => Some(unselected(&there.name, reason)),
    }
}

fn plan_known(
    inputs: &Inputs<'_>,
    there: &SourceTopic,
    here: &LocalTopic<'_>,
    plans: &mut Vec<TopicPlan>,
) {
    match here.holder {
        Holder::Own => {
            if !there.internal && selects(inputs.filters, here.name) {
                plans.push(unselected(
                    here.name,
                    match shadow_of_ours(inputs, there) {
                        Some(origin) => {
                            format!("it is a topic of this site, and the source's is its shadow (link '{}' there)", origin.link)
                        }
                        None => "a topic of this name exists on this site and is not a shadow; it is never taken over".to_owned(),
                    },
                ));
            }
        }
        Holder::Link {
            link,
            link_name,
            state,
            ..
        } if link != inputs.link => {
            if !there.internal && selects(inputs.filters, here.name) {
                let is = if state.is_ours() {
                    "was failed over from"
                } else {
                    "belongs to"
                };
                plans.push(unselected(here.name, format!("the topic of this name here {is} link '{link_name}'; it is never taken over")));
            }
        }
        Holder::Link {
            state,
            source_topic_id,
            source_missing,
            ..
        } => {
            plan_shadow(there, here, state, source_topic_id, source_missing, plans);
        }
    }
}

/// A shadow of this link that the source still lists.
fn plan_shadow(
    there: &SourceTopic,
    here: &LocalTopic<'_>,
    state: TopicState,
    source_topic_id: Option<Uuid>,
    source_missing: bool,
    plans: &mut Vec<TopicPlan>,
) {
    let topic = here.id;
    // FAULTED stays with its first reason; FAILING_OVER and later are not the source's business.
    // A topic without partitions is an answer that failed, not a topic that shrank.
    if !state.is_shadow() || there.partitions.is_empty() {
        return;
    }
    // An id that differs tells enough. Everything else is read from a whole list of partitions: one
    // with a hole is an answer that failed in part, and says nothing about a shadow that is here.
    let epochs = epochs(there);
    let reason = created_again(there, source_topic_id)
        .or_else(|| fault(here, epochs.as_ref().ok()?, there.id, source_topic_id));
    if let Some(reason) = reason {
        if state != TopicState::Faulted {
            plans.push(TopicPlan::Fault { topic, reason });
        }
        return;
    }
    let Ok(epochs) = epochs else { return };
    if source_missing {
        plans.push(TopicPlan::SourceBack { topic });
    }
    if let (None, Some(source_topic_id)) = (source_topic_id, there.id) {
        plans.push(TopicPlan::LearnSourceId {
            topic,
            source_topic_id,
        });
    }
    let epochs: Vec<LeaderEpoch> = epochs.into_iter().map(or_first).collect();
    let raised: Vec<_> = here
        .epochs
        .iter()
        .zip(&epochs)
        .enumerate()
        .filter(|(_, (ours, theirs))| theirs > ours)
        .map(|(index, (_, theirs))| (index as i32, *theirs))
        .collect();
    if !raised.is_empty() {
        plans.push(TopicPlan::RaiseEpochs {
            topic,
            epochs: raised,
        });
    }
    if state.copies() && epochs.len() > here.epochs.len() {
        plans.push(TopicPlan::AddPartitions {
            topic,
            epochs: epochs[here.epochs.len()..].to_vec(),
        });
    }
}

/// The fault of a topic whose id at the source is another one now.
fn created_again(there: &SourceTopic, source_topic_id: Option<Uuid>) -> Option<String> {
    let (known, found) = (source_topic_id?, there.id?);
    (known != found).then(|| {
        format!(
            "the source topic was deleted and created again: its id was {known} and is {found}. {WAYS_OUT}"
        )
    })
}

/// The fault that a topic's partitions show, where no id tells whether it is the same topic.
/// `epochs` are the source's, by partition.
fn fault(
    here: &LocalTopic<'_>,
    epochs: &[LeaderEpoch],
    id: Option<Uuid>,
    source_topic_id: Option<Uuid>,
) -> Option<String> {
    if source_topic_id.is_some() && source_topic_id == id {
        // The same topic: partitions never go, so an answer with fewer of them, or older epochs,
        // has not heard of the rest yet.
        return None;
    }
    if epochs.len() < here.epochs.len() {
        return Some(format!(
            "the source topic has {} partitions, the shadow {}: it was deleted and created again. {WAYS_OUT}",
            epochs.len(),
            here.epochs.len()
        ));
    }
    if id.is_some() {
        return None;
    }
    // Without ids only an epoch that goes back shows that a topic was created again.
    let mut both = here.epochs.iter().zip(epochs).enumerate();
    let (index, (ours, theirs)) =
        both.find(|(_, (ours, theirs))| **theirs != LeaderEpoch::NONE && theirs < ours)?;
    Some(format!(
        "partition {index} of the source topic went back from leader epoch {} to {}: it was deleted and created again. {WAYS_OUT}",
        ours.0, theirs.0
    ))
}

/// The end of every fault's reason.
const WAYS_OUT: &str =
    "Fail over to keep what is here, or delete the shadow and the link creates it again";

/// A topic that the source's whole list does not have.
fn plan_gone(inputs: &Inputs<'_>, here: &LocalTopic<'_>) -> Option<TopicPlan> {
    match here.holder {
        Holder::Link {
            link,
            state,
            source_missing: false,
            ..
        } if link == inputs.link && state.is_shadow() => {
            Some(TopicPlan::SourceMissing { topic: here.id })
        }
        Holder::Link { .. } | Holder::Own => None,
    }
}

fn shadow_of_ours<'a>(inputs: &Inputs<'_>, there: &'a SourceTopic) -> Option<&'a TopicOrigin> {
    there
        .origin
        .as_ref()
        .filter(|origin| origin.cluster_id == inputs.our_cluster_id && !origin.state.is_ours())
}

/// The leader epochs of a source topic as it names them, dense from partition 0;
/// [`LeaderEpoch::NONE`] where it names none.
fn epochs(topic: &SourceTopic) -> Result<Vec<LeaderEpoch>, String> {
    let mut partitions = topic.partitions.clone();
    partitions.sort_by_key(|p| p.index);
    if partitions.is_empty() || partitions.iter().zip(0..).any(|(p, at)| p.index != at) {
        let found: Vec<String> = partitions.iter().map(|p| p.index.to_string()).collect();
        return Err(format!(
            "the source lists partitions [{}] for it, which are not 0 to N",
            found.join(", ")
        ));
    }
    Ok(partitions.iter().map(|p| p.leader_epoch).collect())
}

/// A source that names no epoch counts as one at the first epoch.
fn or_first(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch(epoch.0.max(0))
}
