//! A machine's state read back from its journal, and the markers around snapshots there.
//!
//! Invariant: replay resets the state at the first marker of a snapshot whose last one follows, and
//! passes over a snapshot that was given up.

use super::RebuildError;
use crate::journal::ReadLog;
use bytes::Bytes;
use gnomon_machine::{DurableRecord, EncodedRecord, Machine};

/// Rebuilds a machine's state from its journal, changing nothing; also says whether a snapshot was
/// begun there and never finished.
pub fn read_durable<M: Machine>(
    journal: &impl ReadLog,
) -> Result<(M::Durable, bool), RebuildError> {
    let mut whole = Vec::new();
    let mut open = None;
    journal.read_all(&mut |position, key, _| {
        match Marker::decode(key.as_deref()) {
            Some(Marker::Begin) => open = Some(position),
            Some(Marker::End) => whole.extend(open.take()),
            Some(Marker::Abandoned) => open = None,
            None => {}
        }
        Ok(())
    })?;

    let mut durable = M::Durable::default();
    let mut ignoring = false;
    let mut unreadable = None;
    journal.read_all(&mut |position, key: Option<Bytes>, value: Option<Bytes>| {
        match Marker::decode(key.as_deref()) {
            Some(Marker::Begin) if whole.contains(&position) => durable = M::Durable::default(),
            Some(Marker::Begin) => ignoring = true,
            Some(Marker::End | Marker::Abandoned) => ignoring = false,
            None if ignoring || unreadable.is_some() => {}
            None => match M::Record::decode(key.as_deref(), value.as_deref()) {
                Ok(record) => M::replay(&mut durable, &record),
                Err(error) => unreadable = Some(error),
            },
        }
        Ok(())
    })?;
    match unreadable {
        Some(error) => Err(error.into()),
        None => Ok((durable, open.is_some())),
    }
}

/// Stands before, behind or in place of the end of a snapshot. The key's first number is one that
/// no Kafka record format uses, so that Kafka's own tools pass over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
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

    pub(super) fn encode(self) -> EncodedRecord {
        let key = [MARKER_KEY_VERSION[0], MARKER_KEY_VERSION[1], self.number()];
        EncodedRecord {
            key: Some(Bytes::copy_from_slice(&key)),
            value: Some(Bytes::new()),
        }
    }

    pub(super) fn decode(key: Option<&[u8]>) -> Option<Marker> {
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
