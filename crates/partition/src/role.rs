//! The leader of a partition and its writers: the one place where a writer is refused.
//!
//! Two axes. [`Replica`] says which broker leads and under which epoch requests are fenced;
//! [`Writers`] says whose batches are admitted. Invariant: at any moment at most one kind of writer
//! is admitted, so that offsets are handed out by one side only (clients and the site itself share
//! one side: ours). The batch epoch is not here: on a shadow it is the source's (see `epochs.rs`).

use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// A number that each copied append must carry: a failover takes a new one, and from then on a late
/// response of the old link cannot append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of a follower's copy from its leader. A new leader has a higher epoch, so that a
    /// late response of the former one cannot append.
    pub fn of_leader(epoch: LeaderEpoch) -> Fence {
        Fence(u64::try_from(epoch.0).unwrap_or_default())
    }
}

/// The link that owns a partition, as a refused writer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkLabel {
    /// The link's name on this site.
    pub name: String,
    /// The source site or cluster, as an operator knows it.
    pub source: String,
    /// The remedy, in one sentence.
    pub advice: String,
}

/// Which broker leads the partition, and the epoch that requests are fenced by (metadata's, not the
/// batches').
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replica {
    /// This broker leads.
    Leader(LeaderEpoch),
    /// Another broker leads.
    Follower {
        /// Id of the broker that leads.
        leader: i32,
        epoch: LeaderEpoch,
    },
}

/// The writers whose batches are admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writers {
    /// An ordinary topic: clients, and the site for transaction markers.
    Clients,
    /// A shadow: only the link's copies, and only those that carry this fence.
    Link {
        /// The link, for the message to refused writers.
        link: Arc<LinkLabel>,
        /// The fence that a copied append must carry.
        fence: Fence,
    },
    /// An internal topic: only our own records.
    Site,
    /// Between a shadow and an ordinary topic: only our own abort markers; clients are told to try
    /// again.
    FailingOver,
    /// Nobody, and why.
    Nobody(Arc<str>),
}

/// Both axes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// The leading broker.
    pub replica: Replica,
    /// The writers that are admitted.
    pub writers: Writers,
}

/// Why a batch was not admitted on account of the role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoleRefusal {
    /// Broker `leader` leads this partition under `epoch`.
    #[error("broker {leader} leads this partition under epoch {}", epoch.0)]
    NotLeader { leader: i32, epoch: LeaderEpoch },
    /// The partition is a shadow.
    #[error("read-only: link '{}' copies this topic from {}. {}", link.name, link.source, link.advice)]
    Shadow { link: Arc<LinkLabel> },
    /// The topic holds the site's own records.
    #[error("this topic is internal: only the site itself writes it")]
    Internal,
    /// A failover is under way; it ends within moments.
    #[error("a failover of this topic is under way")]
    FailingOver,
    /// Nobody may write now.
    #[error("not writable: {reason}")]
    Nobody { reason: Arc<str> },
}

/// Why a copied append was not admitted on account of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FenceRefusal {
    /// The partition is not (or no longer) a shadow.
    #[error("the partition is not a shadow (any more)")]
    NotAShadow,
    /// It is a shadow under another fence, or follows a leader of another epoch.
    #[error("fence {} was given up, the partition has fence {}", given.0, current.0)]
    Fenced { given: Fence, current: Fence },
}

/// The two kinds of writers that take offsets from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's Produce request.
    Client {
        /// Whether the request's version knows zstd (Produce 7 and later, KIP-110).
        zstd_allowed: bool,
    },
    /// The site's own records: coordinator logs, transaction markers.
    Site,
}

impl Role {
    /// A led partition that clients write.
    pub fn leader(epoch: i32) -> Role {
        Role {
            replica: Replica::Leader(LeaderEpoch(epoch)),
            writers: Writers::Clients,
        }
    }

    /// The epoch that requests are fenced by.
    pub fn epoch(&self) -> LeaderEpoch {
        match self.replica {
            Replica::Leader(epoch) | Replica::Follower { epoch, .. } => epoch,
        }
    }

    /// Whether positions beyond our end may still come from a source: a shadow, and one whose
    /// failover is not complete.
    pub fn awaits_source(&self) -> bool {
        match self.writers {
            Writers::Link { .. } | Writers::FailingOver => true,
            Writers::Clients | Writers::Site | Writers::Nobody(_) => false,
        }
    }

    /// Whether the records come from another log: a source's, or the leader's. Such a partition
    /// deletes nothing of its own.
    pub fn is_copied(&self) -> bool {
        self.awaits_source() || matches!(self.replica, Replica::Follower { .. })
    }

    /// The epoch that batches written by us now get, if this role lets us write any.
    pub fn own_batch_epoch(&self) -> Option<BatchEpoch> {
        match (&self.replica, &self.writers) {
            (Replica::Leader(epoch), Writers::Clients | Writers::Site | Writers::FailingOver) => {
                Some(BatchEpoch(epoch.0))
            }
            (Replica::Leader(_), Writers::Link { .. } | Writers::Nobody(_))
            | (Replica::Follower { .. }, _) => None,
        }
    }

    /// Admits or refuses a writer that takes its offsets from us; gives the epoch that its batch
    /// gets.
    pub fn admit(&self, origin: Origin) -> Result<BatchEpoch, RoleRefusal> {
        let epoch = match self.replica {
            Replica::Leader(epoch) => epoch,
            Replica::Follower { leader, epoch } => {
                return Err(RoleRefusal::NotLeader { leader, epoch });
            }
        };
        match (&self.writers, origin) {
            (Writers::Clients, Origin::Client { .. } | Origin::Site)
            | (Writers::Site | Writers::FailingOver, Origin::Site) => Ok(BatchEpoch(epoch.0)),
            (Writers::Link { .. }, Origin::Client { .. }) if shadow_writable() => {
                Ok(BatchEpoch(epoch.0))
            }
            (Writers::Link { link, .. }, Origin::Client { .. } | Origin::Site) => {
                Err(RoleRefusal::Shadow { link: link.clone() })
            }
            (Writers::Site, Origin::Client { .. }) => Err(RoleRefusal::Internal),
            (Writers::FailingOver, Origin::Client { .. }) => Err(RoleRefusal::FailingOver),
            (Writers::Nobody(reason), Origin::Client { .. } | Origin::Site) => {
                Err(RoleRefusal::Nobody {
                    reason: reason.clone(),
                })
            }
        }
    }

    /// Admits or refuses a copied append: of a link's source to the leader of a shadow, and of the
    /// leader to a follower, whoever writes at the leader.
    pub fn admit_copy(&self, given: Fence) -> Result<(), FenceRefusal> {
        if let Replica::Follower { epoch, .. } = self.replica {
            let current = Fence::of_leader(epoch);
            return match given == current {
                true => Ok(()),
                false => Err(FenceRefusal::Fenced { given, current }),
            };
        }
        match &self.writers {
            Writers::Link { fence, .. } if *fence == given || fence_ignored() => Ok(()),
            Writers::Link { fence, .. } => Err(FenceRefusal::Fenced {
                given,
                current: *fence,
            }),
            Writers::FailingOver if fence_ignored() => Ok(()),
            Writers::Clients | Writers::Site | Writers::FailingOver | Writers::Nobody(_) => {
                Err(FenceRefusal::NotAShadow)
            }
        }
    }

    /// Whether replies that wait under this role are still owed under `next`: the same side writes,
    /// and we still lead.
    pub fn keeps_replies(&self, next: &Role) -> bool {
        let leads = matches!(
            (self.replica, next.replica),
            (Replica::Leader(_), Replica::Leader(_))
        );
        let same_side = match (&self.writers, &next.writers) {
            (Writers::Clients, Writers::Clients)
            | (Writers::Site, Writers::Site)
            | (Writers::FailingOver, Writers::FailingOver) => true,
            (Writers::Link { fence, .. }, Writers::Link { fence: next, .. }) => fence == next,
            (Writers::Nobody(_), Writers::Nobody(_)) => true,
            (
                Writers::Clients
                | Writers::Site
                | Writers::FailingOver
                | Writers::Link { .. }
                | Writers::Nobody(_),
                _,
            ) => false,
        };
        leads && same_side
    }
}

impl fmt::Display for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Writers::Clients => f.write_str("clients"),
            Writers::Link { link, fence } => write!(f, "link {} (fence {})", link.name, fence.0),
            Writers::Site => f.write_str("site"),
            Writers::FailingOver => f.write_str("failing over"),
            Writers::Nobody(reason) => write!(f, "nobody: {reason}"),
        }
    }
}

/// Planted fault for tests of failover: the gate forgets its fence.
fn fence_ignored() -> bool {
    gnomon_failpoints::fail_point!("fence_ignored", |_| true);
    false
}

/// Planted fault for tests of shadows: clients may write them.
fn shadow_writable() -> bool {
    gnomon_failpoints::fail_point!("shadow_writable", |_| true);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadow(fence: u64) -> Writers {
        let link = LinkLabel {
            name: "from-a".into(),
            source: "site a".into(),
            advice: "Write there.".into(),
        };
        Writers::Link {
            link: Arc::new(link),
            fence: Fence(fence),
        }
    }

    #[test]
    fn the_table_of_writers() {
        let client = Origin::Client { zstd_allowed: true };
        // writers, client admitted, site admitted, copy with fence 7 admitted
        let rows = [
            (Writers::Clients, true, true, false),
            (shadow(7), false, false, true),
            (shadow(8), false, false, false),
            (Writers::Site, false, true, false),
            (Writers::FailingOver, false, true, false),
            (Writers::Nobody("taken over".into()), false, false, false),
        ];
        for (writers, by_client, by_site, by_copy) in rows {
            let role = Role {
                replica: Replica::Leader(LeaderEpoch(3)),
                writers,
            };
            assert_eq!(role.admit(client).is_ok(), by_client, "{}", role.writers);
            assert_eq!(
                role.admit(Origin::Site).is_ok(),
                by_site,
                "{}",
                role.writers
            );
            assert_eq!(
                role.admit_copy(Fence(7)).is_ok(),
                by_copy,
                "{}",
                role.writers
            );
            let elsewhere = Role {
                replica: Replica::Follower {
                    leader: 2,
                    epoch: LeaderEpoch(3),
                },
                ..role
            };
            assert_eq!(
                elsewhere.admit(client),
                Err(RoleRefusal::NotLeader {
                    leader: 2,
                    epoch: LeaderEpoch(3)
                })
            );
            assert!(elsewhere.admit_copy(Fence(7)).is_err());
            assert_eq!(
                elsewhere.admit_copy(Fence::of_leader(LeaderEpoch(3))),
                Ok(())
            );
        }
    }

    #[test]
    fn a_refusal_names_link_source_and_what_to_do() {
        let role = Role {
            replica: Replica::Leader(LeaderEpoch(3)),
            writers: shadow(1),
        };
        let refusal = role
            .admit(Origin::Client { zstd_allowed: true })
            .unwrap_err()
            .to_string();
        assert_eq!(
            refusal,
            "read-only: link 'from-a' copies this topic from site a. Write there."
        );
    }

    #[test]
    fn replies_outlive_a_new_epoch_but_not_a_new_writer() {
        let own = Role::leader(1);
        assert!(own.keeps_replies(&Role::leader(2)));
        assert!(!own.keeps_replies(&Role {
            writers: Writers::Nobody("fenced".into()),
            ..own.clone()
        }));
        let copy = Role {
            replica: Replica::Leader(LeaderEpoch(1)),
            writers: shadow(1),
        };
        assert!(copy.keeps_replies(&copy.clone()));
        assert!(!copy.keeps_replies(&Role {
            writers: shadow(2),
            ..copy.clone()
        }));
    }
}
