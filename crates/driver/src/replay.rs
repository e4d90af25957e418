//! A machine's state rebuilt from its log, and the markers around snapshots there.
//!
//! A snapshot is the whole state as records between two markers. While one is read it is replayed
//! into a state of its own, which takes the place of the present one at the second marker. So a
//! snapshot that was never finished changes nothing, and a follower can read a log to the end again
//! and again.

use crate::{JournalError, LogPosition, ReadLog};
use bytes::Bytes;
use gnomon_machine::{DurableRecord, EncodedRecord, Machine, UnreadableRecord};

/// A machine cannot be rebuilt: the start must stop.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The log cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log holds a record that this build cannot read.
    #[error("{0}; it was written by a newer version, or is damaged")]
    Unreadable(#[from] UnreadableRecord),
}

/// A state that is being read from its log.
pub(crate) struct Replay<M: Machine> {
    pub(crate) durable: M::Durable,
    /// The state of a snapshot whose second marker has not been read.
    snapshot: Option<M::Durable>,
    /// The position up to which the log was read.
    pub(crate) position: LogPosition,
}

impl<M: Machine> Replay<M> {
    /// Reads the log from its first record on.
    pub(crate) fn from_start(
        log: &impl ReadLog,
        committed_only: bool,
    ) -> Result<Self, RebuildError> {
        let mut replay = Replay {
            durable: M::Durable::default(),
            snapshot: None,
            position: log.start(),
        };
        replay.read_on(log, committed_only)?;
        Ok(replay)
    }

    /// Reads everything after the present position. A log that was trimmed beyond it begins with a
    /// snapshot, which replaces the state.
    pub(crate) fn read_on(
        &mut self,
        log: &impl ReadLog,
        committed_only: bool,
    ) -> Result<(), RebuildError> {
        let mut unreadable = None;
        self.position = log.read_from(self.position, committed_only, &mut |key, value| {
            if unreadable.is_none()
                && let Err(error) = self.record(key.as_deref(), value.as_deref())
            {
                unreadable = Some(error);
            }
            Ok(())
        })?;
        match unreadable {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn record(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), UnreadableRecord> {
        match Marker::decode(key) {
            Some(Marker::Begin) => self.snapshot = Some(M::Durable::default()),
            Some(Marker::End) => {
                if let Some(snapshot) = self.snapshot.take() {
                    self.durable = snapshot;
                }
            }
            Some(Marker::Abandoned) => self.snapshot = None,
            None => {
                let record = M::Record::decode(key, value)?;
                M::replay(self.snapshot.as_mut().unwrap_or(&mut self.durable), &record);
            }
        }
        Ok(())
    }

    /// Whether the log ends within a snapshot that was never finished.
    pub(crate) fn in_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }
}

/// Rebuilds a machine's state from its log, changing nothing.
pub fn read_durable<M: Machine>(log: &impl ReadLog) -> Result<M::Durable, RebuildError> {
    Ok(Replay::<M>::from_start(log, false)?.durable)
}

/// Stands before, after or in place of the end of a snapshot. The first number of its key is one
/// that no record format of Kafka uses, so that Kafka's own tools skip it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Begin,
    End,
    Abandoned,
}

/// "GM": far outside the key versions of Kafka's internal topics.
const MARKER_KEY_VERSION: [u8; 2] = *b"GM";

impl Marker {
    fn number(self) -> u8 {
        match self {
            Marker::Begin => 1,
            Marker::End => 2,
            Marker::Abandoned => 3,
        }
    }

    pub(crate) fn encode(self) -> EncodedRecord {
        let key = [MARKER_KEY_VERSION[0], MARKER_KEY_VERSION[1], self.number()];
        EncodedRecord {
            key: Some(Bytes::copy_from_slice(&key)),
            value: Some(Bytes::new()),
        }
    }

    fn decode(key: Option<&[u8]>) -> Option<Marker> {
        let [first, second, number] = key? else {
            return None;
        };
        if [*first, *second] != MARKER_KEY_VERSION {
            return None;
        }
        [Marker::Begin, Marker::End, Marker::Abandoned]
            .into_iter()
            .find(|marker| marker.number() == *number)
    }
}
