//! Where an opened log starts and ends. Pure: what was found in, offsets out.

use crate::{checkpoint::Gap, durability::Durable};
use gnomon_protocol::ids::Offset;

/// The offsets that a start finds of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// The checkpoint's log start; `Offset::MIN` without a checkpoint.
    pub start: Offset,
    /// Offsets that are known to be durable.
    pub durable: Durable,
    /// The checkpoint's last move of the end without a batch.
    pub gap: Option<Gap>,
    /// Base offset of the oldest segment.
    pub first: Offset,
    /// The end of the batches that are there.
    pub data_end: Offset,
}

/// The offsets of an opened log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub start: Offset,
    pub end: Offset,
    pub durable: Durable,
    /// The move of the end that still counts.
    pub gap: Option<Gap>,
    /// Batches before the move of the end are lost. The checkpoint must not speak of the move any
    /// more, because other batches may end there some day.
    pub gap_is_void: bool,
    /// The log was being emptied, to begin here, when the process ended.
    pub restart_at: Option<Offset>,
}

impl Evidence {
    pub fn bounds(self) -> Bounds {
        let Evidence {
            start,
            durable,
            gap: noted,
            first,
            data_end,
        } = self;
        let moved = noted.filter(|gap| gap.after == data_end && gap.to > data_end);
        // If all that was synced is there, so is the end that was, even if it had been moved
        // without a batch.
        let complete = if data_end >= durable.flushed_data {
            data_end.max(durable.flushed)
        } else {
            data_end
        };
        let end = moved.map_or(complete, |gap| gap.to);
        Bounds {
            start: start.max(first).min(end.max(first)),
            end,
            durable: durable.min(end, data_end),
            gap: noted.filter(|gap| gap.after <= data_end),
            gap_is_void: noted.is_some_and(|gap| gap.after > data_end),
            restart_at: (start > end).then_some(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with batches from 10 to 50, all of them durable.
    const WHOLE: Evidence = Evidence {
        start: 10,
        durable: Durable {
            flushed: 50,
            flushed_data: 50,
        },
        gap: None,
        first: 10,
        data_end: 50,
    };

    const MOVED: Option<Gap> = Some(Gap { after: 50, to: 80 });

    fn moved() -> Evidence {
        Evidence {
            durable: Durable {
                flushed: 80,
                flushed_data: 50,
            },
            gap: MOVED,
            ..WHOLE
        }
    }

    #[test]
    fn a_log_ends_where_its_batches_end() {
        let bounds = WHOLE.bounds();
        assert_eq!((bounds.start, bounds.end), (10, 50));
        assert_eq!(bounds.durable, Durable::at(50));
        let written_since = Evidence {
            data_end: 60,
            ..WHOLE
        }
        .bounds();
        assert_eq!(
            (written_since.end, written_since.durable),
            (60, Durable::at(50))
        );
    }

    #[test]
    fn nothing_that_is_lost_is_called_durable() {
        let bounds = Evidence {
            data_end: 40,
            ..WHOLE
        }
        .bounds();
        assert_eq!((bounds.end, bounds.durable), (40, Durable::at(40)));
    }

    #[test]
    fn a_start_inside_the_oldest_segment_stays_and_one_before_it_is_the_segments() {
        assert_eq!(Evidence { start: 15, ..WHOLE }.bounds().start, 15);
        assert_eq!(Evidence { start: 5, ..WHOLE }.bounds().start, 10);
        assert_eq!(
            Evidence {
                start: Offset::MIN,
                ..WHOLE
            }
            .bounds()
            .start,
            10
        );
    }

    #[test]
    fn an_end_that_was_moved_without_a_batch_stays() {
        let bounds = moved().bounds();
        assert_eq!(
            (bounds.end, bounds.gap, bounds.gap_is_void),
            (80, MOVED, false)
        );
        // It was durable before it was moved on: the checkpoint need not speak of it.
        let settled = Evidence {
            gap: None,
            ..moved()
        }
        .bounds();
        assert_eq!(settled.end, 80);
    }

    #[test]
    fn a_move_before_which_batches_are_lost_is_void() {
        let bounds = Evidence {
            data_end: 45,
            ..moved()
        }
        .bounds();
        assert_eq!(
            (bounds.end, bounds.gap, bounds.gap_is_void),
            (45, None, true)
        );
    }

    #[test]
    fn a_move_that_batches_followed_is_kept_and_moves_nothing() {
        let bounds = Evidence {
            data_end: 90,
            ..moved()
        }
        .bounds();
        assert_eq!(
            (bounds.end, bounds.gap, bounds.gap_is_void),
            (90, MOVED, false)
        );
    }

    #[test]
    fn an_emptying_that_was_cut_short_is_finished() {
        let emptied = Evidence {
            start: 100,
            durable: Durable::at(100),
            data_end: 50,
            ..WHOLE
        };
        let bounds = emptied.bounds();
        assert_eq!((bounds.restart_at, bounds.end), (Some(100), 50));
        assert_eq!(WHOLE.bounds().restart_at, None);
    }
}
