//! The newest batch of a segment, remembered so that a later search looks only at what came since
//! (`newest.rs`).

use gnomon_protocol::ids::Offset;

/// A batch by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The largest timestamp of its records, in milliseconds.
    pub timestamp: i64,
    /// Its first offset.
    pub base_offset: Offset,
}

/// A segment's newest batch, as far as it was looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    /// Generation of the log; bytes that were looked at before a truncation may be others now.
    pub generation: u64,
    /// Every batch that begins below was looked at, from where the log began at that time.
    pub upto: Offset,
    pub newest: Option<Newest>,
}

impl Looked {
    /// Nothing, of a segment that begins there.
    pub fn nothing(generation: u64, base: Offset) -> Looked {
        Looked {
            generation,
            upto: base,
            newest: None,
        }
    }
}
