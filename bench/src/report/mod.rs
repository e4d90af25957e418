//! The results of a run: all its figures with their conditions, as tables for people (text,
//! Markdown), as JSON, as plots.
//!
//! Where is what: `rows` (from samples to medians), `table`, `render` (the texts), `plot` (what is
//! drawn), `svg` (how), `conditions` (of the machine), `publish` (files).

mod conditions;
mod plot;
mod publish;
mod render;
mod rows;
mod svg;
mod table;

pub use conditions::Conditions;
pub use publish::save;
pub use render::text;
pub use rows::{in_short, rows};

use crate::{
    canary::Reading,
    case::Load,
    figure::Figure,
    goal::Judgement,
    peers::{Durability, PeerName},
    stats::Spread,
    watch::Memory,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    pub conditions: Conditions,
    /// Why no goal is settled by it.
    pub reservation: Option<&'static str>,
    pub absent: Vec<Absent>,
    /// Scenarios that nobody could be asked, as sentences.
    pub not_asked: Vec<String>,
    pub sections: Vec<Section>,
}

/// A peer that could not be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Absent {
    pub peer: PeerName,
    pub why: String,
}

/// A case of a scenario.
#[derive(Debug, Serialize)]
pub struct Section {
    pub scenario: &'static str,
    pub title: String,
    pub durability: Durability,
    pub load: Option<Load>,
    pub rows: Vec<Row>,
    pub goals: Vec<Judgement>,
    pub blocks: Vec<Block>,
}

/// A round of a case, between two readings of the canaries.
#[derive(Debug, Serialize)]
pub struct Block {
    pub before: Reading,
    pub after: Reading,
    /// Why it says little.
    pub moved: Option<String>,
    /// Its figures are in the rows.
    pub kept: bool,
}

/// A peer in a case, or one part of it.
#[derive(Debug, Serialize)]
pub struct Row {
    pub peer: PeerName,
    pub durability: Durability,
    pub part: &'static str,
    /// Runs that its figures are the medians of.
    pub runs: usize,
    pub figures: BTreeMap<Figure, Spread>,
    pub errors: u64,
    pub first_error: Option<String>,
    /// Why it was not measured to the end.
    pub failure: Option<String>,
    /// Latencies of all runs together: quantile, ms.
    pub distribution: Vec<(f64, f64)>,
    /// Memory in the last run: seconds, MiB.
    pub memory: Memory,
}

impl Section {
    /// As headings call it.
    pub fn heading(&self) -> String {
        let title = if self.title.is_empty() {
            String::new()
        } else {
            format!(", {}", self.title)
        };
        format!("{}{title}, {}", self.scenario, self.durability.name())
    }
}

impl Row {
    /// The peer, and its part when it has several.
    pub fn name(&self) -> String {
        if self.part.is_empty() {
            self.peer.name().to_owned()
        } else {
            format!("{}, {}", self.peer.name(), self.part)
        }
    }

    /// The median, if it was taken.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).map(|spread| spread.median)
    }
}

impl Report {
    /// The reason for which the process ends with an error: a peer that failed, Gnomon not there at
    /// all, and records of the measured broker that were lost, failed or seen twice.
    pub fn trouble(&self) -> Option<String> {
        let rows = || {
            self.sections
                .iter()
                .flat_map(|section| section.rows.iter().map(move |row| (section, row)))
        };
        let ours = |peer| peer == PeerName::Gnomon || peer == PeerName::Given;
        let mut trouble: Vec<String> = Vec::new();
        trouble.extend(
            self.absent
                .iter()
                .filter(|absent| ours(absent.peer))
                .map(|absent| format!("without {}", absent.peer.name())),
        );
        let failed = rows().filter(|(_, row)| row.failure.is_some());
        trouble.extend(failed.map(|(section, row)| {
            format!(
                "{} was not measured to the end in {}",
                row.peer.name(),
                section.heading()
            )
        }));
        let errors: u64 = rows()
            .filter(|(_, row)| ours(row.peer))
            .map(|(_, row)| row.errors)
            .sum();
        if errors > 0 {
            trouble.push(format!("{errors} records were lost, failed or seen twice"));
        }
        (!trouble.is_empty()).then(|| trouble.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Sample;

    fn trouble(rows: Vec<Row>, absent: Option<PeerName>) -> Option<String> {
        let section = Section {
            scenario: "disk",
            title: String::new(),
            durability: Durability::Fsync,
            load: None,
            rows,
            goals: vec![],
            blocks: vec![],
        };
        let absent = absent
            .into_iter()
            .map(|peer| Absent {
                peer,
                why: "no tool".into(),
            })
            .collect();
        Report {
            conditions: Conditions::now(1),
            reservation: None,
            absent,
            not_asked: vec![],
            sections: vec![section],
        }
        .trouble()
    }

    #[test]
    fn lost_records_and_failed_peers_are_trouble_and_a_missing_toolchain_is_not() {
        let lost = |peer| {
            rows(
                peer,
                Durability::Fsync,
                &[vec![Sample::default().with_errors(2, None)]],
                None,
            )
        };
        let failed = rows(
            PeerName::Kafka,
            Durability::Fsync,
            &[],
            Some("no room".into()),
        );
        assert_eq!(
            trouble(lost(PeerName::Gnomon), None).as_deref(),
            Some("2 records were lost, failed or seen twice")
        );
        assert_eq!(trouble(lost(PeerName::Kfake), Some(PeerName::Kafka)), None);
        assert_eq!(
            trouble(failed, None).as_deref(),
            Some("kafka was not measured to the end in disk, fsync")
        );
        assert_eq!(
            trouble(vec![], Some(PeerName::Gnomon)).as_deref(),
            Some("without gnomon")
        );
    }
}
