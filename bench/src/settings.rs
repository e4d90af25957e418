//! The settings of all scenarios that a person may change: how long they are, and the load that
//! they put on.
//!
//! Invariant: figures settle goals only when nothing here was changed.

/// How long, how often, and what is put on instead of a scenario's own load.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Seconds instead of trustworthy lengths.
    pub quick: bool,
    pub rounds: u32,
    /// Blocks whose canaries moved count too.
    pub keep_moved: bool,
    pub load: LoadChanges,
}

/// Differences from the loads that the goals were set for.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Load, instead of a scenario's own (goals are then not settled)")]
pub struct LoadChanges {
    /// Records of one run.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=2_000_000_000))]
    pub records: Option<u64>,
    /// Bytes of a record's value; there is no key.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=900_000))]
    pub size: Option<u32>,
    /// Partitions of the topic.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: Option<i32>,
    /// Measured seconds of each run at a fixed rate.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: Option<u32>,
    /// Records a second, for scenarios at fixed rates.
    #[arg(long, value_name = "RATE,...", value_delimiter = ',', num_args = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rates: Vec<u32>,
    /// Compression of batches.
    #[arg(long, value_name = "CODEC", value_parser = ["none", "gzip", "snappy", "lz4", "zstd"])]
    pub codec: Option<String>,
    /// An option for librdkafka's tools, such as linger.ms=0; may be given several times.
    #[arg(short = 'X', value_name = "KEY=VALUE")]
    pub options: Vec<String>,
}

impl Settings {
    /// The trustworthy one, or the one to try things with.
    pub fn length<T>(&self, trustworthy: T, quick: T) -> T {
        if self.quick { quick } else { trustworthy }
    }

    pub fn records(&self, trustworthy: u64, quick: u64) -> u64 {
        self.load.records.unwrap_or(self.length(trustworthy, quick))
    }

    pub fn seconds(&self, trustworthy: u32, quick: u32) -> u32 {
        self.load.seconds.unwrap_or(self.length(trustworthy, quick))
    }

    pub fn rates(&self, own: &[u32]) -> Vec<u32> {
        if self.load.rates.is_empty() {
            own.to_vec()
        } else {
            self.load.rates.clone()
        }
    }

    pub fn size(&self, own: u32) -> u32 {
        self.load.size.unwrap_or(own)
    }

    pub fn partitions(&self, own: i32) -> i32 {
        self.load.partitions.unwrap_or(own)
    }

    pub fn codec(&self) -> String {
        self.load.codec.clone().unwrap_or_else(|| "none".to_owned())
    }

    /// A scenario's own options, then those that were given: the last one wins.
    pub fn options(&self, own: &[&str]) -> Vec<String> {
        own.iter()
            .map(|&option| option.to_owned())
            .chain(self.load.options.iter().cloned())
            .collect()
    }

    /// Why no goal is settled; `None`: the figures can be.
    pub fn reservation(&self) -> Option<&'static str> {
        match self {
            Settings { quick: true, .. } => Some("a quick run"),
            Settings {
                keep_moved: true, ..
            } => Some("blocks whose canaries moved were kept"),
            Settings { load, .. } if *load != LoadChanges::default() => {
                Some("not the row's own load")
            }
            Settings { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_scenario_as_it_is_settles_goals() {
        let own = Settings {
            rounds: 3,
            ..Settings::default()
        };
        assert_eq!(
            (own.reservation(), own.records(10, 1), own.rates(&[5])),
            (None, 10, vec![5])
        );
        let quick = Settings {
            quick: true,
            ..own.clone()
        };
        assert_eq!(
            (quick.reservation(), quick.records(10, 1)),
            (Some("a quick run"), 1)
        );
        let load = LoadChanges {
            records: Some(7),
            rates: vec![9],
            ..LoadChanges::default()
        };
        let changed = Settings { load, ..own };
        assert_eq!(
            (
                changed.reservation(),
                changed.records(10, 1),
                changed.rates(&[5])
            ),
            (Some("not the row's own load"), 7, vec![9])
        );
    }

    #[test]
    fn the_last_option_wins_and_so_stands_last() {
        let load = LoadChanges {
            options: vec!["linger.ms=0".into()],
            ..LoadChanges::default()
        };
        assert_eq!(
            Settings {
                load,
                ..Settings::default()
            }
            .options(&["linger.ms=5"]),
            ["linger.ms=5", "linger.ms=0"]
        );
    }
}
