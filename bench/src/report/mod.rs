//! What a run leaves behind: all its figures with their conditions, as tables for people (text, Markdown), as JSON, as plots.
//!
//! Where is what: `rows` (from samples to medians), `table`, `render` (the texts), `plot` (what is drawn), `svg` (how),
//! `conditions` (of the machine), `publish` (files).

mod conditions;
mod plot;
mod publish;
mod render;
mod rows;
mod svg;
mod table;

pub use conditions::Conditions;
pub use publish::publish;
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
#[derive(Debug, Serialize)]
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
    /// Of all runs together: quantile, ms.
    pub distribution: Vec<(f64, f64)>,
    /// Of the last run: seconds, MiB.
    pub memory: Memory,
}

impl Section {
    /// As headings call it.
    pub fn heading(&self) -> String {
        let title = if self.title.is_empty() { String::new() } else { format!(", {}", self.title) };
        format!("{}{title}, {}", self.scenario, self.durability.name())
    }
}

impl Row {
    /// The peer, and its part when it has several.
    pub fn name(&self) -> String {
        if self.part.is_empty() { self.peer.name().to_owned() } else { format!("{}, {}", self.peer.name(), self.part) }
    }

    /// The median, if it was taken.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).map(|spread| spread.median)
    }
}

impl Report {
    /// What makes the process end with an error: peers of ours that failed, and records that were lost, failed or seen twice.
    pub fn trouble(&self) -> Option<String> {
        let rows = || self.sections.iter().flat_map(|section| section.rows.iter().map(move |row| (section, row)));
        let errors: u64 =
            rows().filter(|(_, row)| row.peer == PeerName::Gnomon || row.peer == PeerName::Given).map(|(_, row)| row.errors).sum();
        let failed: Vec<String> = rows()
            .filter(|(_, row)| row.failure.is_some())
            .map(|(section, row)| format!("{} in {}", row.peer.name(), section.heading()))
            .collect();
        let mut trouble = Vec::new();
        if errors > 0 {
            trouble.push(format!("{errors} records of gnomon were lost, failed or seen twice"));
        }
        if !failed.is_empty() {
            trouble.push(format!("not measured to the end: {}", failed.join("; ")));
        }
        (!trouble.is_empty()).then(|| trouble.join("; "))
    }
}
