//! One file a kind of scenario: what is asked of each peer, and the figures to reach.

mod end_to_end;
mod fetch;
mod latency;
mod link;
mod memory;
mod produce;
mod start;

use crate::{case::Case, settings::Settings};

/// A list of cases under a name.
pub struct Scenario {
    pub name: &'static str,
    /// The figures to reach that it measures, as `bench/README.md` numbers them.
    pub rows: &'static str,
    pub about: &'static str,
    pub cases: fn(&Settings) -> Vec<Case>,
}

/// All of them, in the order in which they are run when none is named.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "produce",
        rows: "P1 P2 P10",
        about: "throughput and CPU of producing, by rdkafka_performance",
        cases: produce::throughput,
    },
    Scenario {
        name: "produce-java",
        rows: "P1 P2",
        about: "the same by Apache Kafka's ProducerPerformance",
        cases: produce::throughput_java,
    },
    Scenario {
        name: "one-record-batches",
        rows: "P4",
        about: "producing when each batch holds one record",
        cases: produce::one_record_batches,
    },
    Scenario {
        name: "durable-ack",
        rows: "P3",
        about: "latency of an acknowledgement after fsync, one in flight",
        cases: produce::durable_ack,
    },
    Scenario {
        name: "fetch",
        rows: "P8",
        about: "throughput and CPU of fetching from the page cache, by rdkafka_performance",
        cases: fetch::by_rdkafka,
    },
    Scenario {
        name: "fetch-java",
        rows: "P8",
        about: "the same by Apache Kafka's ConsumerPerformance",
        cases: fetch::by_java,
    },
    Scenario {
        name: "end-to-end",
        rows: "P6",
        about: "latency from producing to consuming at fixed rates, by rdkafka_performance",
        cases: end_to_end::by_rdkafka,
    },
    Scenario {
        name: "end-to-end-open",
        rows: "P6",
        about: "the same by an open-loop generator",
        cases: end_to_end::by_open_loop,
    },
    Scenario {
        name: "memory",
        rows: "P11",
        about: "anonymous memory of a broker, idle and after a load",
        cases: memory::memory,
    },
    Scenario {
        name: "idle-connections",
        rows: "P15",
        about: "memory for each of 5,000 idle connections",
        cases: memory::connections,
    },
    Scenario {
        name: "disk",
        rows: "P23",
        about: "what files occupy for each byte of payload",
        cases: memory::disk,
    },
    Scenario {
        name: "start",
        rows: "P12",
        about: "from exec on a fresh directory to the first acknowledgement",
        cases: start::fresh,
    },
    Scenario {
        name: "partitions",
        rows: "P14 P23",
        about: "10,000 partitions: creating them, memory and disk for each, a restart",
        cases: start::partitions,
    },
    Scenario {
        name: "kill",
        rows: "P22",
        about: "from exec after kill -9 to the first fetch and produce",
        cases: start::killed,
    },
    Scenario {
        name: "link-catch-up",
        rows: "P17",
        about: "a link copies what its source has; beside MirrorMaker 2",
        cases: link::catch_up,
    },
    Scenario {
        name: "link-lag",
        rows: "P18",
        about: "latency from producing at the source to consuming at the target, by rdkafka_performance; beside MirrorMaker 2",
        cases: link::lag,
    },
    Scenario {
        name: "link-lag-open",
        rows: "P18",
        about: "the same by an open-loop generator, with what the hop adds",
        cases: link::lag_open,
    },
];

/// The output of `--list`.
pub fn list() -> String {
    let name = ALL
        .iter()
        .map(|scenario| scenario.name.len())
        .max()
        .unwrap_or(0);
    let rows = ALL
        .iter()
        .map(|scenario| scenario.rows.len())
        .max()
        .unwrap_or(0);
    ALL.iter()
        .map(|scenario| {
            format!(
                "{:name$}  {:rows$}  {}\n",
                scenario.name, scenario.rows, scenario.about
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_titles_are_unique_and_all_have_cases() {
        for settings in [
            Settings::default(),
            Settings {
                quick: true,
                ..Settings::default()
            },
        ] {
            let mut names = std::collections::BTreeSet::new();
            for scenario in ALL {
                assert!(names.insert(scenario.name), "{} twice", scenario.name);
                let cases = (scenario.cases)(&settings);
                let titles: std::collections::BTreeSet<_> = cases
                    .iter()
                    .map(|case| (&case.title, case.durability))
                    .collect();
                assert!(
                    !cases.is_empty() && titles.len() == cases.len(),
                    "{}: {titles:?}",
                    scenario.name
                );
            }
        }
    }

    /// A goal about a row that its scenario does not name would be overlooked in the list.
    #[test]
    fn each_scenario_names_the_rows_of_its_goals() {
        for scenario in ALL {
            let mut found: Vec<&str> = (scenario.cases)(&Settings::default())
                .iter()
                .flat_map(|case| &case.goals)
                .map(|goal| goal.row)
                .collect();
            found.sort_by_key(|row| row[1..].parse::<u32>().expect("a number"));
            found.dedup();
            assert_eq!(found.join(" "), scenario.rows, "{}", scenario.name);
        }
    }
}
