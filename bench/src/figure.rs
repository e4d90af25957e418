//! The figures that are measured: the names, units and digits of all figures, and whether more of
//! one is better or less.
//!
//! The order here is the order of a table's columns.

use serde::Serialize;

/// One measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Records a second, as the load tool says.
    Rate,
    /// Payload, 10^6 bytes a second.
    Megabytes,
    /// CPU of the broker's processes for 10^9 bytes of payload.
    CpuPerGb,
    /// CPU of the broker's processes, percent of one core.
    CpuPercent,
    P50,
    P99,
    P999,
    Max,
    /// How far an open-loop generator was itself after, at the 99th percentile.
    GeneratorP99,
    Accept,
    FirstAck,
    FirstFetch,
    Create,
    Restart,
    /// Until a link had copied its first record.
    FirstCopy,
    Resident,
    Anonymous,
    /// Anonymous memory for each thing that was added.
    AnonymousEach,
    /// Bytes on the disk (`du`) for each byte of payload, while the broker runs.
    DiskPerByte,
    /// The same once it has stopped cleanly.
    DiskPerByteStopped,
    /// Bytes on the disk (`du`) for each thing that was added.
    DiskEach,
}

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
}

impl Figure {
    /// As a table's head says it, unit included.
    pub fn head(self) -> &'static str {
        match self {
            Figure::Rate => "records/s",
            Figure::Megabytes => "MB/s",
            Figure::CpuPerGb => "CPU-s/GB",
            Figure::CpuPercent => "CPU %",
            Figure::P50 => "p50 ms",
            Figure::P99 => "p99 ms",
            Figure::P999 => "p99.9 ms",
            Figure::Max => "max ms",
            Figure::GeneratorP99 => "generator late p99 ms",
            Figure::Accept => "accepts ms",
            Figure::FirstAck => "first ack ms",
            Figure::FirstFetch => "first fetch ms",
            Figure::Create => "create ms",
            Figure::Restart => "restart ms",
            Figure::FirstCopy => "first copy ms",
            Figure::Resident => "resident MiB",
            Figure::Anonymous => "anonymous MiB",
            Figure::AnonymousEach => "anonymous KiB each",
            Figure::DiskPerByte => "disk/payload",
            Figure::DiskPerByteStopped => "disk/payload stopped",
            Figure::DiskEach => "disk KiB each",
        }
    }

    /// Whether more or less of it is good.
    pub fn better(self) -> Better {
        match self {
            Figure::Rate | Figure::Megabytes => Better::More,
            _ => Better::Less,
        }
    }

    /// Whether it depends on how fast the machine is; what memory and files hold does not.
    pub fn is_of_speed(self) -> bool {
        let space = [
            Figure::Resident,
            Figure::Anonymous,
            Figure::AnonymousEach,
            Figure::DiskPerByte,
            Figure::DiskPerByteStopped,
            Figure::DiskEach,
        ];
        !space.contains(&self)
    }

    /// With as many digits as it can bear.
    pub fn text(self, value: f64) -> String {
        let digits = match self {
            Figure::Rate | Figure::Megabytes => 0,
            Figure::DiskPerByte | Figure::DiskPerByteStopped => 4,
            Figure::P50
            | Figure::P99
            | Figure::P999
            | Figure::Max
            | Figure::GeneratorP99
            | Figure::CpuPerGb => 2,
            Figure::Accept
            | Figure::FirstAck
            | Figure::FirstFetch
            | Figure::Create
            | Figure::Restart
            | Figure::FirstCopy => 1,
            Figure::CpuPercent
            | Figure::Resident
            | Figure::Anonymous
            | Figure::AnonymousEach
            | Figure::DiskEach => 1,
        };
        format!("{value:.digits$}")
    }
}

impl Better {
    /// The sign between a figure and its limit.
    pub fn sign(self) -> &'static str {
        match self {
            Better::More => ">=",
            Better::Less => "<=",
        }
    }

    /// Whether a figure keeps a limit.
    pub fn keeps(self, figure: f64, limit: f64) -> bool {
        match self {
            Better::More => figure >= limit,
            Better::Less => figure <= limit,
        }
    }

    /// The better of two figures.
    pub fn best(self, one: f64, other: f64) -> f64 {
        match self {
            Better::More => one.max(other),
            Better::Less => one.min(other),
        }
    }

    /// The limit that is easier to keep.
    pub fn easier(self, one: f64, other: f64) -> f64 {
        match self {
            Better::More => one.min(other),
            Better::Less => one.max(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_points_one_way() {
        assert!(
            Better::More.keeps(2.0, 1.0)
                && !Better::Less.keeps(2.0, 1.0)
                && Better::Less.keeps(1.0, 1.0)
        );
        assert_eq!(
            (Better::More.best(1.0, 2.0), Better::More.easier(1.0, 2.0)),
            (2.0, 1.0)
        );
        assert_eq!(
            (Better::Less.best(1.0, 2.0), Better::Less.easier(1.0, 2.0)),
            (1.0, 2.0)
        );
    }

    #[test]
    fn a_table_shows_what_a_figure_can_bear() {
        assert_eq!(Figure::Rate.text(1_234_567.8), "1234568");
        assert_eq!(Figure::DiskPerByte.text(1.00049), "1.0005");
        assert_eq!(Figure::P99.text(0.406), "0.41");
    }
}
