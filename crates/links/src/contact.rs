//! Refusals at the first contact with a source: our own cluster, another cluster than before, a
//! site with our producer tag, or one that shadows the same names from us. Each is a fault of the
//! link, told with both sides' names.

use crate::{
    ownership::{Claim, Overlap, check_peer},
    peer::{PeerLink, PeerSite},
};

/// The identity of this site.
#[derive(Clone, Copy, Debug)]
pub struct OurSite<'a> {
    pub name: &'a str,
    /// Our Kafka cluster id.
    pub cluster_id: &'a str,
    /// The tag in our producer ids.
    pub producer_tag: u16,
}

/// The identity that a source gave when it was reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contact<'a> {
    /// The cluster id that it named at this contact; `None` if it names none.
    pub cluster_id: Option<&'a str>,
    /// Its `gnomon.site`, if it is a Gnomon: of this contact, or of an earlier one if it could not
    /// be asked for it now.
    pub site: Option<&'a PeerSite>,
    /// Its `gnomon.links`.
    pub links: &'a [PeerLink],
}

/// Why a link must not copy from what it reached. Each stays a fault until a later contact is good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactFault {
    /// The bootstrap addresses lead to ourselves.
    #[error(
        "link '{link}': its bootstrap servers lead to this cluster itself (cluster id {cluster_id}); a site cannot shadow itself"
    )]
    OurselvesByClusterId {
        link: String,
        /// The cluster id, ours and the source's.
        cluster_id: String,
    },
    /// Not the cluster that the link's file names.
    #[error(
        "link '{link}': source_cluster_id is set to {configured}, but the source's cluster id is {found}"
    )]
    NotTheConfigured {
        link: String,
        /// The value in the file.
        configured: String,
        /// The source's value.
        found: String,
    },
    /// Not the cluster that was reached first.
    #[error(
        "link '{link}': the source's cluster id is {found}, but at first contact it was {pinned}: another cluster stands at this address now"
    )]
    AnotherCluster {
        link: String,
        /// The id at first contact.
        pinned: String,
        /// The id now; `(none)` if it names none any more.
        found: String,
    },
    /// Both sites would hand out the same producer ids.
    #[error(
        "link '{link}': site '{site}' has the producer tag {tag}, as this site '{ours}' has; give one of them another `--producer-tag` before linking them"
    )]
    EqualTags {
        link: String,
        site: String,
        ours: String,
        tag: u16,
    },
    /// The source shadows the same names from us.
    #[error(transparent)]
    Reciprocal(#[from] Overlap),
}

impl ContactFault {
    /// Whether the cluster that was reached is the link's source all the same. If it is not, its
    /// name and its prefixes must not be remembered as the source's.
    pub fn is_of_the_source(&self) -> bool {
        match self {
            ContactFault::OurselvesByClusterId { .. }
            | ContactFault::NotTheConfigured { .. }
            | ContactFault::AnotherCluster { .. } => false,
            ContactFault::EqualTags { .. } | ContactFault::Reciprocal(_) => true,
        }
    }
}

/// Checks what a link reached. `pinned` is the cluster id of the first contact.
pub fn check(
    claim: &Claim<'_>,
    ours: OurSite<'_>,
    configured: Option<&str>,
    pinned: Option<&str>,
    found: Contact<'_>,
) -> Result<(), ContactFault> {
    let link = || claim.link.to_owned();
    let cluster_id = found.cluster_id;
    if cluster_id == Some(ours.cluster_id) {
        return Err(ContactFault::OurselvesByClusterId {
            link: link(),
            cluster_id: ours.cluster_id.to_owned(),
        });
    }
    let or_none = || cluster_id.unwrap_or("(none)").to_owned();
    if let Some(configured) = configured.filter(|id| Some(*id) != cluster_id) {
        return Err(ContactFault::NotTheConfigured {
            link: link(),
            configured: configured.to_owned(),
            found: or_none(),
        });
    }
    if let Some(pinned) = pinned.filter(|id| Some(*id) != cluster_id) {
        return Err(ContactFault::AnotherCluster {
            link: link(),
            pinned: pinned.to_owned(),
            found: or_none(),
        });
    }
    if let Some(site) = found.site {
        if site.producer_tag == ours.producer_tag {
            return Err(ContactFault::EqualTags {
                link: link(),
                site: site.name.clone(),
                ours: ours.name.to_owned(),
                tag: ours.producer_tag,
            });
        }
        check_peer(claim, ours.cluster_id, &site.name, found.links)?;
    }
    Ok(())
}
