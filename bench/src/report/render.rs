//! A report as a document: the same pieces as text and as Markdown.

use super::{Report, Row, Section, plot::Plot, table::ReportTable};
use crate::{canary::Reading, figure::Figure, peers::PeerName};

/// A piece of a document.
enum Piece {
    Heading(String),
    Line(String),
    Table(ReportTable),
    Plot(String),
}

/// At the 99th percentile: above this share of the latency a run is not one of open loop any more.
const GENERATOR_SHARE_MAX: f64 = 0.5;

/// The whole report for a terminal.
pub fn text(report: &Report) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Heading(heading) => {
            format!("\n{heading}\n{}\n", "=".repeat(heading.chars().count()))
        }
        Piece::Line(line) => format!("{line}\n"),
        Piece::Table(table) => format!("{}\n", table.text()),
        Piece::Plot(_) => String::new(),
    };
    document(report, &[]).iter().map(piece).collect()
}

/// The whole report with its plots.
pub fn markdown(report: &Report, plots: &[Plot]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Heading(heading) => format!("\n## {heading}\n\n"),
        Piece::Line(line) => format!("{line}  \n"),
        Piece::Table(table) => format!("\n{}\n", table.markdown()),
        Piece::Plot(file) => format!("![]({file})\n"),
    };
    "# gnomon-bench\n\n".to_owned()
        + &document(report, plots)
            .iter()
            .map(piece)
            .collect::<String>()
}

fn document(report: &Report, plots: &[Plot]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = report
        .conditions
        .lines()
        .into_iter()
        .map(Piece::Line)
        .collect();
    if let Some(why) = report.reservation {
        pieces.push(Piece::Line(format!("NOT TO BE QUOTED: {why}")));
    }
    for absent in &report.absent {
        pieces.push(Piece::Line(format!(
            "skipped: {}: {}",
            absent.peer.name(),
            one_line(&absent.why)
        )));
    }
    pieces.extend(
        report
            .not_asked
            .iter()
            .map(|scenario| Piece::Line(format!("skipped: {scenario}"))),
    );
    for (number, section) in report.sections.iter().enumerate() {
        add_section(&mut pieces, report, section);
        pieces.extend(
            plots
                .iter()
                .filter(|plot| plot.section == number)
                .map(|plot| Piece::Plot(plot.file.clone())),
        );
    }
    let goals: Vec<&Section> = report
        .sections
        .iter()
        .filter(|section| !section.goals.is_empty())
        .collect();
    if goals.len() > 1 {
        pieces.push(Piece::Heading("all goals".to_owned()));
        pieces.push(Piece::Table(goals_of(&goals)));
    }
    pieces
}

fn add_section(pieces: &mut Vec<Piece>, report: &Report, section: &Section) {
    pieces.push(Piece::Heading(section.heading()));
    pieces.extend(section.load.iter().map(|load| Piece::Line(load.line())));
    let readings = |all: bool| {
        let blocks = section.blocks.iter().filter(move |block| all || block.kept);
        blocks
            .flat_map(|block| [&block.before, &block.after])
            .collect::<Vec<&Reading>>()
    };
    // Of a section of which nothing stood, those that say why.
    let shown = if readings(false).is_empty() {
        readings(true)
    } else {
        readings(false)
    };
    pieces.push(Piece::Line(format!(
        "canaries: {}",
        Reading::mean(&shown).line()
    )));
    for block in section.blocks.iter().filter(|block| block.moved.is_some()) {
        let what = if block.kept {
            "NOT TO BE QUOTED: kept though the machine moved"
        } else {
            "a block was thrown away, the machine moved"
        };
        pieces.push(Piece::Line(format!(
            "{what}: {}",
            block.moved.as_deref().unwrap_or_default()
        )));
    }
    pieces.push(Piece::Table(rows_of(report, section)));
    pieces.extend(remarks(section).into_iter().map(Piece::Line));
    if !section.goals.is_empty() {
        pieces.push(Piece::Table(goals_of(&[section])));
    }
}

/// A row for each peer: its conditions, the figures that any of them has, the spread of the leading
/// one, errors.
fn rows_of(report: &Report, section: &Section) -> ReportTable {
    let mut figures: Vec<Figure> = section
        .rows
        .iter()
        .flat_map(|row| row.figures.keys().copied())
        .collect();
    figures.sort();
    figures.dedup();
    let heads = ["peer", "acknowledged", "codec", "bytes"]
        .into_iter()
        .chain(figures.iter().map(|figure| figure.head()));
    let leading = leading(&figures);
    let spread = leading.map(|figure| format!("{}, lowest-highest", figure.head()));
    let heads = heads
        .map(str::to_owned)
        .chain(spread)
        .chain(["runs".to_owned(), "errors".to_owned()]);
    let mut table = ReportTable::new(3, heads.collect());
    let (codec, bytes) = section
        .load
        .as_ref()
        .map_or(("-".to_owned(), "-".to_owned()), |load| {
            (load.codec.clone(), load.record_bytes.to_string())
        });
    for row in &section.rows {
        let mut cells = vec![
            row.name(),
            row.durability.name().to_owned(),
            codec.clone(),
            bytes.clone(),
        ];
        cells.extend(figures.iter().map(|&figure| {
            row.median(figure)
                .map_or("-".to_owned(), |value| figure.text(value))
        }));
        cells.extend(leading.map(|figure| {
            let spread = row.figures.get(&figure);
            spread.map_or("-".to_owned(), |spread| {
                format!(
                    "{}-{}",
                    figure.text(spread.lowest),
                    figure.text(spread.highest)
                )
            })
        }));
        cells.extend([row.runs.to_string(), row.errors.to_string()]);
        table.row(cells);
    }
    for absent in &report.absent {
        let mut cells = vec!["-".to_owned(); table_width(&figures)];
        (cells[0], cells[1]) = (absent.peer.name().to_owned(), "skipped".to_owned());
        table.row(cells);
    }
    table
}

/// The figure that a section is about: a latency's tail, or what stands first.
fn leading(figures: &[Figure]) -> Option<Figure> {
    if figures.contains(&Figure::P99) {
        Some(Figure::P99)
    } else {
        figures.first().copied()
    }
}

/// Four of conditions, the figures with the spread of one, two of counts.
fn table_width(figures: &[Figure]) -> usize {
    4 + figures.len() + usize::from(!figures.is_empty()) + 2
}

/// Remarks beside the table.
fn remarks(section: &Section) -> Vec<String> {
    let mut remarks: Vec<String> = Vec::new();
    if !section.blocks.is_empty() && section.blocks.iter().all(|block| !block.kept) {
        remarks
            .push("no figures: every block was thrown away; run it on a machine that does nothing else, or with --keep-moved".to_owned());
    }
    for row in &section.rows {
        remarks.extend(
            row.failure
                .as_ref()
                .map(|why| format!("FAILED: {}: {}", row.name(), one_line(why))),
        );
        remarks.extend(
            row.first_error
                .as_ref()
                .map(|why| format!("first error of {}: {}", row.name(), one_line(why))),
        );
        if generator_to_blame(row) {
            remarks.push(format!(
                "NOT TO BE QUOTED: {}: the generator itself was late by much of the latency",
                row.name()
            ));
        }
    }
    remarks.extend(comparison(section));
    remarks
}

/// Whether the tail of the latency is that of the generator, which had no turn on a busy machine,
/// rather than of the broker.
fn generator_to_blame(row: &Row) -> bool {
    let late = row
        .median(Figure::GeneratorP99)
        .zip(row.median(Figure::P99));
    late.is_some_and(|(late, p99)| late > p99 * GENERATOR_SHARE_MAX)
}

/// Gnomon's throughput as a multiple of each other peer's.
fn comparison(section: &Section) -> Option<String> {
    let rate = |row: &Row| row.median(Figure::Rate).filter(|&rate| rate > 0.0);
    let ours = section
        .rows
        .iter()
        .find(|row| row.peer == PeerName::Gnomon)
        .and_then(rate)?;
    let others = section
        .rows
        .iter()
        .filter(|row| row.peer != PeerName::Gnomon);
    let multiples: Vec<String> = others
        .filter_map(|row| Some(format!("{:.2} x {}", ours / rate(row)?, row.name())))
        .collect();
    (!multiples.is_empty()).then(|| format!("gnomon: {}", multiples.join(", ")))
}

fn goals_of(sections: &[&Section]) -> ReportTable {
    let heads = [
        "goal", "where", "of", "figure", "to reach", "verdict", "found", "that is",
    ];
    let mut table = ReportTable::new(6, heads.map(str::to_owned).to_vec());
    for section in sections {
        for goal in &section.goals {
            let number =
                |value: Option<f64>| value.map_or("-".to_owned(), |value| goal.figure.text(value));
            table.row(vec![
                goal.row.to_owned(),
                section.heading(),
                goal.subject.clone(),
                goal.figure.head().to_owned(),
                goal.limit.clone(),
                goal.verdict.text(),
                number(goal.value),
                number(goal.limit_value),
            ]);
        }
    }
    table
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        canary::Bird,
        case::{Load, Sample},
        goal::{Judgement, Verdict},
        peers::Durability,
        report::{Absent, Block, Conditions, rows},
    };

    fn report() -> Report {
        let load = Load {
            tool: "rdkafka_performance",
            records: 1000,
            record_bytes: 100,
            partitions: 4,
            rate: None,
            acks: "all".into(),
            codec: "none".into(),
            options: vec!["linger.ms=5".into()],
        };
        let run = |rate| vec![Sample::new([(Figure::Rate, rate)])];
        let mut all = rows(
            PeerName::Gnomon,
            Durability::Fsync,
            &[run(600.0), run(620.0), run(590.0)],
            None,
        );
        all.extend(rows(
            PeerName::Kfake,
            Durability::Fsync,
            &[run(400.0)],
            None,
        ));
        all.extend(rows(
            PeerName::Mock,
            Durability::Nothing,
            &[],
            Some("no\nroom".into()),
        ));
        let reading = Reading([(Bird::Sync, 0.3)].into_iter().collect());
        let block = |moved: Option<String>| Block {
            before: reading.clone(),
            after: reading.clone(),
            kept: moved.is_none(),
            moved,
        };
        let goal = Judgement {
            row: "P2",
            subject: "gnomon".into(),
            figure: Figure::Rate,
            value: Some(600.0),
            limit: ">= 1.5 x best of kafka, kfake".into(),
            limit_value: Some(600.0),
            verdict: Verdict::Met,
        };
        let section = Section {
            scenario: "produce",
            title: "acks=all".into(),
            durability: Durability::Fsync,
            load: Some(load),
            rows: all,
            goals: vec![goal],
            blocks: vec![block(None), block(Some("fdatasync p50 ms 0.3 -> 3".into()))],
        };
        let absent = vec![Absent {
            peer: PeerName::Kafka,
            why: "no Java".into(),
        }];
        Report {
            conditions: Conditions::now(3),
            reservation: Some("a quick run"),
            absent,
            not_asked: vec!["kill: no".into()],
            sections: vec![section],
        }
    }

    #[test]
    fn a_table_states_conditions_figures_and_who_is_missing() {
        let text = text(&report());
        for part in [
            "NOT TO BE QUOTED: a quick run\n",
            "skipped: kafka: no Java\n",
            "skipped: kill: no\n",
            "produce, acks=all, fsync\n=======",
            "rdkafka_performance: 1000 records of 100 bytes, 4 partition(s), as fast as it goes, acks=all, no compression, linger.ms=5\n",
            "canaries: fdatasync p50 ms 0.30\n",
            "a block was thrown away, the machine moved: fdatasync p50 ms 0.3 -> 3\n",
            "gnomon  fsync         none     100        600                    590-620     3       0\n",
            "kafka   skipped       -          -          -",
            "FAILED: mock: no room\n",
            "gnomon: 1.50 x kfake\n",
            ">= 1.5 x best of kafka, kfake",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn markdown_shows_the_plots_of_a_section() {
        let plots = [Plot {
            section: 0,
            file: "rate.svg".into(),
            svg: String::new(),
        }];
        let markdown = markdown(&report(), &plots);
        assert!(
            markdown.contains("## produce, acks=all, fsync\n")
                && markdown.contains("![](rate.svg)\n"),
            "{markdown}"
        );
        assert!(
            markdown.contains("| gnomon | fsync | none | 100 | 600 | 590-620 | 3 | 0 |\n"),
            "{markdown}"
        );
    }

    #[test]
    fn a_section_without_a_block_that_stood_says_so() {
        let mut report = report();
        report.sections[0].blocks.remove(0);
        let text = text(&report);
        assert!(
            text.contains("no figures: every block was thrown away")
                && text.contains("canaries: fdatasync p50 ms 0.30"),
            "{text}"
        );
    }

    #[test]
    fn a_late_generator_is_named() {
        let late = |ms: f64| {
            let sample = Sample::new([(Figure::P99, 2.0), (Figure::GeneratorP99, ms)]);
            rows(PeerName::Gnomon, Durability::Fsync, &[vec![sample]], None).remove(0)
        };
        assert!(generator_to_blame(&late(1.5)) && !generator_to_blame(&late(0.5)));
    }
}
