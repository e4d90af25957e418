//! A living member of a group.

use crate::{MemberValue, Name, Protocol};
use bytes::Bytes;
use gnomon_machine::ReplyToken;

/// A member, with its parked requests.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub instance_id: Option<Name>,
    pub client_id: Name,
    pub client_host: Name,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// In the order of preference of the member. A member that was loaded from the log has the
    /// chosen protocol only, because only that is written.
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    /// Its JoinGroup, until the join phase is complete.
    pub join: Option<ReplyToken>,
    /// Its SyncGroup, until the leader has given the assignments.
    pub sync: Option<ReplyToken>,
    /// Its first join has not been answered: it does not know its id and cannot send heartbeats.
    pub new: bool,
}

impl Member {
    /// The member that was written.
    pub fn loaded(value: &MemberValue, protocol: Option<&Name>) -> Member {
        let protocols = protocol.map(|name| Protocol {
            name: name.clone(),
            metadata: value.subscription.clone(),
        });
        Member {
            instance_id: value.instance_id.clone(),
            client_id: value.client_id.clone(),
            client_host: value.client_host.clone(),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout_ms,
            protocols: protocols.into_iter().collect(),
            assignment: value.assignment.clone(),
            join: None,
            sync: None,
            new: false,
        }
    }

    /// The size of its record in bytes, estimated from above.
    pub fn bytes(&self) -> usize {
        MEMBER_BYTES
            + said_bytes(&self.protocols)
            + self.assignment.len()
            + self.client_id.len()
            + self.client_host.len()
    }

    /// Its input for the assignor of this protocol, if it supports it.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols
            .iter()
            .find(|offered| &*offered.name == protocol)
            .map(|offered| &offered.metadata)
    }
}

/// An estimate, from above, of a member's fields of fixed size, in bytes.
const MEMBER_BYTES: usize = 64;

/// The size of a member's protocols, names and metadata, in bytes.
pub(crate) fn said_bytes(protocols: &[Protocol]) -> usize {
    protocols
        .iter()
        .map(|protocol| protocol.name.len() + protocol.metadata.len())
        .sum()
}
