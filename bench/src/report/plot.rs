//! The plots of a report: throughput, CPU, latency distributions (lag among them), memory over
//! time.

use super::{Report, Row, Section, svg};
use crate::{failure::Failure, figure::Figure};

/// A drawing of a section.
#[derive(Debug)]
pub struct Plot {
    /// Its number in the report.
    pub section: usize,
    /// Its name in the report's folder.
    pub file: String,
    pub svg: String,
}

/// Figures that are drawn as bars.
const BARS: [Figure; 9] = [
    Figure::Rate,
    Figure::Megabytes,
    Figure::CpuPerGb,
    Figure::FirstAck,
    Figure::FirstFetch,
    Figure::Restart,
    Figure::Anonymous,
    Figure::AnonymousEach,
    Figure::DiskPerByte,
];

/// All that the figures are there for.
pub fn plots(report: &Report) -> Result<Vec<Plot>, Failure> {
    let mut plots = Vec::new();
    for (number, section) in report.sections.iter().enumerate() {
        let heading = section.heading();
        let mut add = |kind: &str, svg: String| {
            plots.push(Plot {
                section: number,
                file: format!("{:02}-{}-{kind}.svg", number + 1, slug(&heading)),
                svg,
            });
        };
        for figure in BARS {
            let bars: Vec<svg::Bar> = section
                .rows
                .iter()
                .filter_map(|row| bar(row, figure))
                .collect();
            if !bars.is_empty() && !says_nothing(section, figure) {
                add(
                    &slug(figure.head()),
                    svg::bars(&heading, figure.head(), &bars)?,
                );
            }
        }
        let distributions = series(section, |row| &row.distribution);
        if !distributions.is_empty() {
            add("latency", svg::distributions(&heading, &distributions)?);
        }
        let memory = series(section, |row| &row.memory);
        if !memory.is_empty() {
            add(
                "memory",
                svg::lines(&heading, "seconds", "resident MiB", &memory)?,
            );
        }
    }
    Ok(plots)
}

/// A rate that was asked for, and megabytes beside records: they look the same.
fn says_nothing(section: &Section, figure: Figure) -> bool {
    match figure {
        Figure::Rate => section
            .load
            .as_ref()
            .is_some_and(|load| load.rate.is_some()),
        Figure::Megabytes => section
            .rows
            .iter()
            .any(|row| row.figures.contains_key(&Figure::Rate)),
        _ => false,
    }
}

fn bar(row: &Row, figure: Figure) -> Option<svg::Bar> {
    row.figures.get(&figure).map(|&spread| svg::Bar {
        name: row.name(),
        text: figure.text(spread.median),
        spread,
    })
}

/// One line for each row that has more than a point.
fn series<'a>(
    section: &'a Section,
    of: impl Fn(&'a Row) -> &'a Vec<(f64, f64)>,
) -> Vec<svg::Series<'a>> {
    let rows = section.rows.iter().filter(|row| of(row).len() > 1);
    rows.map(|row| svg::Series {
        name: row.name(),
        points: of(row),
    })
    .collect()
}

/// For a file's name.
fn slug(text: &str) -> String {
    let letters = text.chars().map(|letter| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    let slug: String = letters.collect();
    slug.split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        case::Sample,
        latency::Latencies,
        peers::{Durability, PeerName},
        report::{Conditions, rows},
    };

    #[test]
    fn file_names_are_plain() {
        assert_eq!(
            slug("produce, acks=all, page cache CPU-s/GB"),
            "produce-acks-all-page-cache-cpu-s-gb"
        );
    }

    #[test]
    fn what_was_measured_is_drawn_and_nothing_else() {
        let latencies = Latencies::of((1..1000).map(|us| us * 1000));
        let sample = Sample {
            memory: vec![(0.0, 3.0), (0.1, 4.0)],
            ..Sample::of_latencies("", latencies)
        }
        .with(Figure::Rate, 12.0);
        let section = Section {
            scenario: "e2e",
            title: String::new(),
            durability: Durability::Fsync,
            load: None,
            rows: rows(PeerName::Gnomon, Durability::Fsync, &[vec![sample]], None),
            goals: vec![],
            blocks: vec![],
        };
        let report = Report {
            conditions: Conditions::now(1),
            reservation: None,
            absent: vec![],
            not_asked: vec![],
            sections: vec![section],
        };
        let plots = plots(&report).expect("they can be drawn");
        let files: Vec<&str> = plots.iter().map(|plot| plot.file.as_str()).collect();
        assert_eq!(
            files,
            [
                "01-e2e-fsync-records-s.svg",
                "01-e2e-fsync-latency.svg",
                "01-e2e-fsync-memory.svg"
            ]
        );
        assert!(
            plots
                .iter()
                .all(|plot| plot.svg.starts_with("<svg") && plot.svg.contains("gnomon")),
            "{plots:?}"
        );
    }
}
