//! A case: one question that every peer is asked under the same conditions, and what one run of a
//! peer answers.

use crate::{
    failure::Failure,
    figure::Figure,
    goal::Goal,
    latency::Latencies,
    peers::{Durability, PeerName},
    stage::Stage,
    usage::Usage,
    watch::Memory,
};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// A question. Scenarios are lists of these.
pub struct Case {
    /// The difference from the other cases of its scenario; durability is said beside it.
    pub title: String,
    /// The meaning that an acknowledgement is to have; each peer says what it makes of that.
    pub durability: Durability,
    /// The load on the broker; `None` where the title says it all.
    pub load: Option<Load>,
    /// The peers that can be asked.
    pub peers: &'static [PeerName],
    pub goals: Vec<Goal>,
    /// Rounds for each that is asked for: more where runs are short and scatter by more than what a
    /// goal is about.
    pub rounds: u32,
    /// One run takes about this, for the time that is left.
    pub seconds: f64,
    /// Bytes that a run leaves on the disk at most.
    pub disk_bytes: u64,
    pub measure: Measure,
}

/// Asks the peer of a stage.
pub type Measure = Box<dyn Fn(&Stage<'_>) -> Result<Vec<Sample>, Failure>>;

/// Brokers that are alone, the client's ceiling not among them.
pub const BROKERS: &[PeerName] = &[
    PeerName::Gnomon,
    PeerName::Kafka,
    PeerName::Kfake,
    PeerName::Nisshi,
    PeerName::Given,
];

/// The same beside the client's ceiling.
pub const BROKERS_AND_CEILING: &[PeerName] = &[
    PeerName::Gnomon,
    PeerName::Kafka,
    PeerName::Kfake,
    PeerName::Nisshi,
    PeerName::Given,
    PeerName::Mock,
];

/// Those that can be stopped and looked into.
pub const OWN_BROKERS: &[PeerName] = &[
    PeerName::Gnomon,
    PeerName::Kafka,
    PeerName::Kfake,
    PeerName::Nisshi,
];

/// Those that have links.
pub const LINKED: &[PeerName] = &[PeerName::Gnomon, PeerName::Kafka];

/// The peers that Gnomon is compared with.
pub const OTHERS: &[PeerName] = &[PeerName::Kafka, PeerName::Kfake, PeerName::Nisshi];

/// Records that are put on a broker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    pub tool: &'static str,
    pub records: u64,
    /// Bytes of a record's value; there is no key.
    pub record_bytes: u32,
    pub partitions: i32,
    /// Records a second that are asked for; `None`: as fast as it goes.
    pub rate: Option<u32>,
    pub acks: String,
    pub codec: String,
    /// As the tool's client knows them.
    pub options: Vec<String>,
}

impl Load {
    /// Bytes of payload.
    pub fn bytes(&self) -> u64 {
        self.records * u64::from(self.record_bytes)
    }

    pub fn line(&self) -> String {
        let Load {
            tool,
            records,
            record_bytes,
            partitions,
            acks,
            codec,
            ..
        } = self;
        let rate = self.rate.map_or("as fast as it goes".to_owned(), |rate| {
            format!("{rate} records/s")
        });
        let options = self
            .options
            .iter()
            .map(|option| format!(", {option}"))
            .collect::<String>();
        let codec = if codec == "none" {
            "no compression".to_owned()
        } else {
            codec.clone()
        };
        format!(
            "{tool}: {records} records of {record_bytes} bytes, {partitions} partition(s), {rate}, acks={acks}, {codec}{options}"
        )
    }
}

/// The figures of one run of a peer, or of one part of it.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Names the part where a run has several, such as the direct and the shadow's path; else
    /// empty.
    pub part: &'static str,
    pub figures: BTreeMap<Figure, f64>,
    pub latencies: Option<Latencies>,
    pub memory: Memory,
    /// Records that were not delivered, not seen, or seen twice.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
}

impl Sample {
    /// The sample of a run of one part.
    pub fn new(figures: impl IntoIterator<Item = (Figure, f64)>) -> Sample {
        Sample {
            figures: figures.into_iter().collect(),
            ..Sample::default()
        }
    }

    /// With its quantiles as figures.
    pub fn of_latencies(part: &'static str, latencies: Latencies) -> Sample {
        let figures = latencies.figures().into_iter().collect();
        Sample {
            part,
            figures,
            latencies: Some(latencies),
            ..Sample::default()
        }
    }

    pub fn with(mut self, figure: Figure, value: f64) -> Sample {
        self.figures.insert(figure, value);
        self
    }

    /// With a figure that could not always be taken.
    pub fn with_some(self, figure: Figure, value: Option<f64>) -> Sample {
        match value {
            Some(value) => self.with(figure, value),
            None => self,
        }
    }

    /// With what processes used in between, and hold now; nothing where that could not be read.
    pub fn with_cost(self, before: Option<Usage>, after: Option<Usage>, took: Duration) -> Sample {
        let Some((before, after)) = before.zip(after) else {
            return self;
        };
        let percent = after.cpu_since(&before) / took.as_secs_f64() * 100.0;
        self.with(Figure::CpuPercent, percent)
            .with(Figure::Resident, after.resident_mib())
    }

    pub fn with_errors(mut self, errors: u64, first: Option<String>) -> Sample {
        (self.errors, self.first_error) = (errors, first);
        self
    }
}
