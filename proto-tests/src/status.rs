//! The answer of `gnomon link status --format json`, as far as tests ask.

use serde_json::Value;

/// A link's status.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

/// A partition of a shadow.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    pub partition: i64,
    pub source_high_watermark: Option<i64>,
    pub high_watermark: i64,
    pub lag: Option<i64>,
    pub lag_seconds: Option<f64>,
}

impl Status {
    pub fn parse(text: &str) -> Result<Status, String> {
        serde_json::from_str(text)
            .map(Status)
            .map_err(|error| format!("{error}: {text}"))
    }

    /// The link's own state: `ACTIVE`, `PAUSED`, `FAILED_OVER`.
    pub fn state(&self) -> String {
        self.0["state"].as_str().unwrap_or_default().into()
    }

    /// One shadow topic.
    pub fn topic(&self, name: &str) -> Option<&Value> {
        self.0["topics"]
            .as_array()?
            .iter()
            .find(|topic| topic["name"] == name)
    }

    /// A topic's state, empty when the link does not have it.
    pub fn topic_state(&self, name: &str) -> String {
        self.topic(name)
            .and_then(|topic| topic["state"].as_str())
            .unwrap_or_default()
            .into()
    }

    pub fn partitions(&self, topic: &str) -> Vec<Partition> {
        let list = self
            .topic(topic)
            .and_then(|topic| topic["partitions"].as_array())
            .cloned()
            .unwrap_or_default();
        list.iter()
            .map(|each| Partition {
                partition: each["partition"].as_i64().unwrap_or(-1),
                source_high_watermark: each["source_high_watermark"].as_i64(),
                high_watermark: each["high_watermark"].as_i64().unwrap_or(-1),
                lag: each["lag"]["records"].as_i64(),
                lag_seconds: each["lag"]["seconds"].as_f64(),
            })
            .collect()
    }

    /// The topics of ours that a peer has taken over: topic, by whom, and per partition the offset
    /// and the epoch.
    pub fn taken_over(&self, topic: &str) -> Option<(String, Vec<(i64, i64)>)> {
        let found = self.0["taken_over"]
            .as_array()?
            .iter()
            .find(|each| each["topic"] == topic)?;
        let partitions = found["partitions"].as_array()?;
        let places = partitions
            .iter()
            .filter_map(|each| Some((each["offset"].as_i64()?, each["epoch"].as_i64()?)))
            .collect();
        Some((found["by"].as_str()?.to_owned(), places))
    }
}
