//! Making a log's flush points, and taking note of them when they are synced.

use crate::{durability::Durable, flush::FlushPoint, log::Log};
use gnomon_protocol::ids::Offset;
use std::sync::atomic::{AtomicBool, Ordering};

impl Log {
    /// The files to be synced so that everything up to the present end is durable.
    pub fn flush_point(&self) -> FlushPoint {
        let generation = self.shared.generation();
        let mut point = FlushPoint {
            shared: self.shared.clone(),
            end: self.end(),
            data_end: self.active().end(),
            generation,
            last: None,
            older: Vec::new(),
            done: AtomicBool::new(false),
        };
        for segment in self.segments.iter().rev() {
            let (len, end) = segment.extent();
            let named = segment.name_synced.load(Ordering::Acquire);
            if named && end <= self.flushed() {
                break;
            }
            if named && segment.is_synced(generation, len) {
                continue;
            }
            match point.last {
                None => point.last = Some((segment.clone(), len)),
                Some(_) => point.older.push((segment.clone(), len)),
            }
        }
        point.older.reverse();
        point
    }

    /// Takes note of a synced point; returns [`Log::flushed`] after it, which does not move when
    /// the log was truncated since.
    pub fn flushed_to(&mut self, point: &FlushPoint) -> Offset {
        assert!(
            point.is_done(),
            "a flush point counts only once its sync has succeeded"
        );
        if point.generation == self.shared.generation() {
            self.durability.synced(Durable {
                flushed: point.end,
                flushed_data: point.data_end,
            });
        }
        self.flushed()
    }
}
