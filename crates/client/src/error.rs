//! Everything that can go wrong between asking a broker and having its answer, as facts with names
//! and numbers.
//!
//! Two families matter to callers: the connection failed ([`ClientError::is_connection`]: try
//! again, perhaps elsewhere), or a broker answered with a Kafka error code ([`ClientError::code`]).
//! There is no catch-all.

use gnomon_protocol::error_code::name_of;

/// Why a call has no answer. Cheap to clone: one failure may have to be told to many who wait.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no bootstrap server is configured")]
    NoBootstrap,
    #[error("{address}: cannot connect: {why}")]
    Connect { address: String, why: String },
    #[error("{address}: not connected within {after_ms} ms")]
    ConnectTimeout { address: String, after_ms: u64 },
    #[error("{address}: connection lost: {why}")]
    Disconnected { address: String, why: String },
    #[error("{address}: no answer to {api} within {after_ms} ms")]
    Deadline {
        address: String,
        api: &'static str,
        after_ms: u64,
    },
    #[error(
        "{address} offers {api} in versions {theirs_min} to {theirs_max}, this client speaks {ours_min} to {ours_max}"
    )]
    NoCommonVersion {
        address: String,
        api: &'static str,
        theirs_min: i16,
        theirs_max: i16,
        ours_min: i16,
        ours_max: i16,
    },
    #[error("{address} does not offer {api}")]
    NotOffered { address: String, api: &'static str },
    #[error("{address}: the answer to {api} v{version} cannot be read: {why}")]
    Malformed {
        address: String,
        api: &'static str,
        version: i16,
        why: String,
    },
    #[error("{api} v{version} cannot be written: {why}")]
    Encode {
        api: &'static str,
        version: i16,
        why: String,
    },
    /// The broker's own refusal, by Kafka's code (a number: a newer broker may have more of them
    /// than we know). `message` is empty where the API carries none.
    #[error("{api}: {subject}: {}{}{message}", name_of(*code), if message.is_empty() { "" } else { ": " })]
    Refused {
        api: &'static str,
        subject: String,
        code: i16,
        message: String,
    },
    #[error("none of {} answers; the last said: {last}", tried.join(", "))]
    NoBroker {
        tried: Vec<String>,
        last: Box<ClientError>,
    },
    #[error("{topic}-{partition} has no leader at the moment")]
    NoLeader { topic: String, partition: i32 },
    /// The topic exists and has fewer partitions.
    #[error("there is no partition {topic}-{partition}: the topic has {}", counted(*partitions))]
    NoPartition {
        topic: String,
        partition: i32,
        partitions: usize,
    },
    #[error("broker {node} is not in the cluster's metadata")]
    UnknownNode { node: i32 },
    #[error("the answer to {api} does not speak of {subject}")]
    Missing { api: &'static str, subject: String },
}

fn counted(partitions: usize) -> String {
    match partitions {
        0 => "no partitions".to_owned(),
        1 => "partition 0 only".to_owned(),
        more => format!("partitions 0 to {}", more - 1),
    }
}

impl ClientError {
    /// The broker's code, when it answered with one.
    pub fn code(&self) -> Option<i16> {
        match self {
            ClientError::Refused { code, .. } => Some(*code),
            ClientError::NoBroker { last, .. } => last.code(),
            ClientError::NoBootstrap
            | ClientError::Connect { .. }
            | ClientError::ConnectTimeout { .. }
            | ClientError::Disconnected { .. }
            | ClientError::Deadline { .. }
            | ClientError::NoCommonVersion { .. }
            | ClientError::NotOffered { .. }
            | ClientError::Malformed { .. }
            | ClientError::Encode { .. }
            | ClientError::NoLeader { .. }
            | ClientError::NoPartition { .. }
            | ClientError::UnknownNode { .. }
            | ClientError::Missing { .. } => None,
        }
    }

    /// No broker gave an answer at all: the wire, the address or the peer is at fault, and the same
    /// question may be put again.
    pub fn is_connection(&self) -> bool {
        match self {
            ClientError::Connect { .. }
            | ClientError::ConnectTimeout { .. }
            | ClientError::Disconnected { .. }
            | ClientError::Deadline { .. }
            | ClientError::NoBroker { .. } => true,
            ClientError::NoBootstrap
            | ClientError::NoCommonVersion { .. }
            | ClientError::NotOffered { .. }
            | ClientError::Malformed { .. }
            | ClientError::Encode { .. }
            | ClientError::Refused { .. }
            | ClientError::NoLeader { .. }
            | ClientError::NoPartition { .. }
            | ClientError::UnknownNode { .. }
            | ClientError::Missing { .. } => false,
        }
    }

    pub(crate) fn refused(
        api: &'static str,
        subject: impl Into<String>,
        code: i16,
        message: Option<&str>,
    ) -> ClientError {
        ClientError::Refused {
            api,
            subject: subject.into(),
            code,
            message: message.unwrap_or_default().to_owned(),
        }
    }
}
