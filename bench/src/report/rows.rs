//! From the samples of a peer's runs to its rows: medians, pooled latencies, summed errors.

use super::Row;
use crate::{
    case::Sample,
    figure::Figure,
    latency::Latencies,
    peers::{Durability, PeerName},
    stats::Spread,
};

/// One row for each part; one without figures for a peer that has none.
pub fn rows(
    peer: PeerName,
    durability: Durability,
    runs: &[Vec<Sample>],
    failure: Option<String>,
) -> Vec<Row> {
    let mut parts: Vec<&'static str> = Vec::new();
    for sample in runs.iter().flatten() {
        if !parts.contains(&sample.part) {
            parts.push(sample.part);
        }
    }
    if parts.is_empty() {
        parts.push("");
    }
    let row = |part| {
        let samples: Vec<&Sample> = runs
            .iter()
            .flatten()
            .filter(|sample| sample.part == part)
            .collect();
        Row {
            peer,
            durability,
            part,
            runs: samples.len(),
            figures: figures(&samples),
            errors: samples.iter().map(|sample| sample.errors).sum(),
            first_error: samples.iter().find_map(|sample| sample.first_error.clone()),
            failure: failure.clone(),
            distribution: distribution(&samples),
            memory: samples
                .last()
                .map(|sample| sample.memory.clone())
                .unwrap_or_default(),
        }
    };
    parts.into_iter().map(row).collect()
}

fn figures(samples: &[&Sample]) -> std::collections::BTreeMap<Figure, Spread> {
    let mut taken: Vec<Figure> = samples
        .iter()
        .flat_map(|sample| sample.figures.keys().copied())
        .collect();
    taken.sort();
    taken.dedup();
    let spread = |figure| {
        Spread::of(
            samples
                .iter()
                .filter_map(|sample| sample.figures.get(&figure).copied()),
        )
    };
    taken
        .into_iter()
        .filter_map(|figure| Some((figure, spread(figure)?)))
        .collect()
}

fn distribution(samples: &[&Sample]) -> Vec<(f64, f64)> {
    let mut pooled: Option<Latencies> = None;
    for latencies in samples
        .iter()
        .filter_map(|sample| sample.latencies.as_ref())
        .filter(|latencies| latencies.count() > 0)
    {
        match &mut pooled {
            Some(pooled) => pooled.merge(latencies),
            None => pooled = Some(latencies.clone()),
        }
    }
    pooled
        .map(|pooled| pooled.distribution())
        .unwrap_or_default()
}

/// A run on one line, while the bench goes on.
pub fn in_short(samples: &[Sample]) -> String {
    let short = |sample: &Sample| {
        let part = if sample.part.is_empty() {
            String::new()
        } else {
            format!("{}: ", sample.part)
        };
        let figures: Vec<String> = sample
            .figures
            .iter()
            .map(|(figure, &value)| format!("{} {}", figure.head(), figure.text(value)))
            .collect();
        let errors = if sample.errors == 0 {
            String::new()
        } else {
            format!(", {} ERRORS", sample.errors)
        };
        part + &figures.join(", ") + &errors
    };
    samples.iter().map(short).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(part: &'static str, rate: f64, errors: u64) -> Sample {
        let latencies = Latencies::of([1_000_000; 10]);
        Sample {
            part,
            errors,
            latencies: Some(latencies),
            ..Sample::default()
        }
        .with(Figure::Rate, rate)
    }

    #[test]
    fn parts_become_rows_of_medians() {
        let runs = [
            vec![sample("direct", 1.0, 0), sample("shadow", 9.0, 1)],
            vec![sample("direct", 3.0, 2), sample("shadow", 7.0, 0)],
        ];
        let rows = rows(PeerName::Gnomon, Durability::Fsync, &runs, None);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.name(), row.runs, row.median(Figure::Rate), row.errors))
            .collect();
        assert_eq!(
            seen,
            [
                ("gnomon, direct".to_owned(), 2, Some(2.0), 2),
                ("gnomon, shadow".to_owned(), 2, Some(8.0), 1)
            ]
        );
        assert_eq!(
            rows[0].distribution.len(),
            7,
            "ten values of each run, together"
        );
    }

    #[test]
    fn a_peer_that_failed_has_a_row_that_says_so() {
        let rows = rows(
            PeerName::Kafka,
            Durability::Fsync,
            &[],
            Some("no room".into()),
        );
        assert_eq!(
            (
                rows.len(),
                rows[0].runs,
                rows[0].failure.as_deref(),
                rows[0].median(Figure::Rate)
            ),
            (1, 0, Some("no room"), None)
        );
    }

    #[test]
    fn a_run_is_told_in_short() {
        assert_eq!(
            in_short(&[sample("", 5.4, 0), sample("shadow", 2.0, 3)]),
            "records/s 5; shadow: records/s 2, 3 ERRORS"
        );
    }
}
