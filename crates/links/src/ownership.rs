//! One writer per topic: which link claims a name, which site owns it, which links get in each
//! other's way, and the sentences that say so.
//!
//! Invariant: a name that a link here selects is never made by clients here, until the link has
//! failed over whole, or the topic has (then the link has *released* it), or the link is gone.
//! Every refusal names the link, the source, and what to do.

use crate::{
    filter::{NameFilter, Names, overlap, selects},
    link_state::LinkState,
    peer::PeerLink,
};
use std::collections::BTreeSet;

/// The names that one link here claims.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub link: &'a str,
    /// Its source as an operator knows it: see [`source_label`].
    pub source: &'a str,
    /// Its state; a FAILED_OVER link claims nothing.
    pub state: LinkState,
    pub topics: &'a [NameFilter],
    pub groups: &'a [NameFilter],
    /// Topics of this link that have been failed over here: they are our own, whatever the filters
    /// say.
    pub released: &'a BTreeSet<String>,
}

impl Claim<'_> {
    /// Whether this link claims a topic name.
    pub fn claims(&self, topic: &str) -> bool {
        self.state != LinkState::FailedOver
            && !self.released.contains(topic)
            && selects(self.topics, topic)
    }
}

/// How a source is called in a sentence: its site name if it is a Gnomon that answered once, else
/// its cluster id, else where it is looked for.
pub fn source_label(
    site: Option<&str>,
    cluster_id: Option<&str>,
    bootstrap_servers: &[String],
) -> String {
    match (site, cluster_id) {
        (Some(site), _) => format!("site '{site}'"),
        (None, Some(id)) => format!("cluster {id}"),
        (None, None) => format!("the cluster at {}", bootstrap_servers.join(",")),
    }
}

/// The link that claims a topic name, if one does. Links do not overlap, so there is at most one;
/// the first given wins.
pub fn claimed_by<'c, 'a>(topic: &str, claims: &'c [Claim<'a>]) -> Option<&'c Claim<'a>> {
    claims.iter().find(|claim| claim.claims(topic))
}

/// Another site that owns prefixes of topic names, as known through a link. Once that link has
/// failed over whole, this site stands in for the other one: such an owner is not given any more,
/// or nobody could make its topics.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub site: &'a str,
    /// The prefixes that it owns.
    pub prefixes: &'a [String],
}

/// The other site that owns a topic name. The longest prefix decides; where we own an equally long
/// one, the name is ours.
pub fn owned_by_other<'o, 'a>(
    topic: &str,
    ours: &[String],
    others: &'o [Owner<'a>],
) -> Option<(&'o Owner<'a>, &'a str)> {
    let longest = |prefixes: &'a [String]| {
        prefixes
            .iter()
            .filter(|p| topic.starts_with(p.as_str()))
            .map(|p| p.as_str())
            .max_by_key(|p| p.len())
    };
    let our_length = ours
        .iter()
        .filter(|p| topic.starts_with(p.as_str()))
        .map(|p| p.len())
        .max();
    others
        .iter()
        .filter_map(|owner| longest(owner.prefixes).map(|prefix| (owner, prefix)))
        .filter(|(_, prefix)| our_length.is_none_or(|length| prefix.len() > length))
        .max_by_key(|(_, prefix)| prefix.len())
}

/// Why a topic is not made here by a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefusal {
    /// A link here selects the name.
    #[error(
        "topic '{topic}' is not created here: link '{link}' shadows this name from {source_label}. Create it there and it appears here by itself; \
         to have the name for this site, add an EXCLUDE filter for it to link '{link}'"
    )]
    Claimed {
        topic: String,
        link: String,
        /// Where it pulls from.
        source_label: String,
    },
    /// Another site owns the prefix.
    #[error(
        "topic '{topic}' is not created here: site '{site}' owns the prefix '{prefix}'. Create it there, or choose a name that this site owns"
    )]
    Owned {
        topic: String,
        site: String,
        /// The prefix that it owns.
        prefix: String,
    },
}

/// Whether clients may make a topic of this name here.
pub fn may_create(
    topic: &str,
    claims: &[Claim<'_>],
    ours: &[String],
    others: &[Owner<'_>],
) -> Result<(), CreateRefusal> {
    if let Some(claim) = claimed_by(topic, claims) {
        return Err(CreateRefusal::Claimed {
            topic: topic.to_owned(),
            link: claim.link.to_owned(),
            source_label: claim.source.to_owned(),
        });
    }
    match owned_by_other(topic, ours, others) {
        Some((owner, prefix)) => Err(CreateRefusal::Owned {
            topic: topic.to_owned(),
            site: owner.site.to_owned(),
            prefix: prefix.to_owned(),
        }),
        None => Ok(()),
    }
}

/// A write of a client to a shadow topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Produce, transactional or not.
    Produce,
    DeleteRecords,
    CreatePartitions,
    /// A change of a config that the link syncs.
    AlterConfig,
    /// DeleteTopics while the source still has it.
    DeleteTopic,
}

/// The alternative to writing to a shadow, as a sentence for the end of a refusal.
/// `partition::LinkLabel.advice` takes this for [`Write::Produce`].
pub fn advice(write: Write, link: &str, source_label: &str) -> String {
    let there = match write {
        Write::Produce => "Produce",
        Write::DeleteRecords => "Delete the records",
        Write::CreatePartitions => "Add the partitions",
        Write::AlterConfig => "Change it",
        Write::DeleteTopic => "Delete it",
    };
    format!(
        "{there} at {source_label}, or end the shadow with `gnomon link failover {link} --topic NAME`"
    )
}

/// The whole refusal of a write to a shadow topic.
pub fn refuse_write(write: Write, topic: &str, link: &str, source_label: &str) -> String {
    format!(
        "topic '{topic}' is a read-only shadow: link '{link}' copies it from {source_label}. {}",
        advice(write, link, source_label).replace("NAME", topic)
    )
}

/// Two links that would write or sync the same name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overlap {
    /// Two links of this site.
    #[error(
        "link '{link}' overlaps link '{other}' of this site: both select {names} '{example}'. Narrow one of them with an EXCLUDE filter, or fail over or \
         delete link '{other}' first"
    )]
    Here {
        link: String,
        /// The one that is there.
        other: String,
        /// The names that both select.
        names: Names,
        /// A name that both select.
        example: String,
    },
    /// Our link and a peer's link back to us.
    #[error(
        "link '{link}' overlaps link '{other}' at site '{site}', which shadows from this site: both select {names} '{example}', so each site would copy it \
         from the other. Narrow one of them with an EXCLUDE filter, or fail over or delete link '{other}' at site '{site}' first"
    )]
    Reciprocal {
        link: String,
        /// The peer's link.
        other: String,
        site: String,
        /// The names that both select.
        names: Names,
        /// A name that both select.
        example: String,
    },
}

/// Whether a new or changed link gets in the way of the other links here. The one of the same name
/// is not counted.
pub fn check_links(link: &Claim<'_>, others: &[Claim<'_>]) -> Result<(), Overlap> {
    if link.state == LinkState::FailedOver {
        return Ok(());
    }
    for other in others
        .iter()
        .filter(|o| o.link != link.link && o.state != LinkState::FailedOver)
    {
        let released = link
            .released
            .iter()
            .chain(other.released)
            .map(String::as_str)
            .collect();
        if let Some((names, example)) = common(link, other.topics, other.groups, &released) {
            return Err(Overlap::Here {
                link: link.link.to_owned(),
                other: other.link.to_owned(),
                names,
                example,
            });
        }
    }
    Ok(())
}

/// Whether a link gets in the way of a peer's links back to us. A peer's link of unknown source is
/// left out until its first contact.
pub fn check_peer(
    link: &Claim<'_>,
    our_cluster_id: &str,
    peer: &str,
    peers_links: &[PeerLink],
) -> Result<(), Overlap> {
    if link.state == LinkState::FailedOver {
        return Ok(());
    }
    let back = |l: &&PeerLink| {
        l.state != LinkState::FailedOver && l.source_cluster_id.as_deref() == Some(our_cluster_id)
    };
    for other in peers_links.iter().filter(back) {
        let released = link
            .released
            .iter()
            .chain(&other.released)
            .map(String::as_str)
            .collect();
        if let Some((names, example)) =
            common(link, &other.topic_filters, &other.group_filters, &released)
        {
            return Err(Overlap::Reciprocal {
                link: link.link.to_owned(),
                other: other.name.clone(),
                site: peer.to_owned(),
                names,
                example,
            });
        }
    }
    Ok(())
}

fn common(
    link: &Claim<'_>,
    topics: &[NameFilter],
    groups: &[NameFilter],
    released: &BTreeSet<&str>,
) -> Option<(Names, String)> {
    overlap(Names::Topics, link.topics, topics, released)
        .map(|name| (Names::Topics, name))
        .or_else(|| {
            overlap(Names::Groups, link.groups, groups, &BTreeSet::new())
                .map(|name| (Names::Groups, name))
        })
}
