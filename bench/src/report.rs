//! What a scenario leaves behind: a table for people, and the same figures as JSON in `target/bench/`.

use crate::{Failure, place};
use serde::Serialize;
use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// Under which conditions figures were taken.
#[derive(Debug, Serialize)]
pub struct Conditions {
    /// What was typed.
    pub command: String,
    /// Seconds since 1970.
    pub taken_at: u64,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// Of the last minute, before the scenario began: others at work spoil figures.
    pub load_average: f64,
}

impl Conditions {
    /// Those of now. What the kernel does not say is 0 or empty.
    pub fn now() -> Conditions {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory_kib: u64 = read("/proc/meminfo").split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).unwrap_or(0);
        Conditions {
            command: std::iter::once("gnomon-bench".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" "),
            taken_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").split_whitespace().next().and_then(|figure| figure.parse().ok()).unwrap_or(0.0),
        }
    }

    /// As one line.
    pub fn line(&self) -> String {
        format!("machine: {} cores, {} MiB, Linux {}, load {:.2} before", self.cores, self.memory_mib, self.kernel, self.load_average)
    }
}

/// Columns as wide as their widest cell; the first ones of text to the left, figures to the right.
pub struct Table {
    text_columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The first `text_columns` of the heads are text.
    pub fn new<const N: usize>(text_columns: usize, heads: [&str; N]) -> Table {
        Table { text_columns, rows: vec![heads.map(str::to_owned).to_vec()] }
    }

    /// Adds a row of as many cells as there are heads.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row has a cell for each head");
        self.rows.push(cells);
    }

    /// Lines, each ended.
    pub fn text(&self) -> String {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line += if column == 0 { "" } else { "  " };
                line += &if column < self.text_columns { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// The middle of the values, or the mean of the two in the middle. `None` of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// Prints the text and leaves it, with the JSON, as `NAME.txt` and `NAME.json`; says where.
pub fn publish(name: &str, text: &str, json: &impl Serialize) -> Result<(), Failure> {
    let folder = place::bench()?;
    let write = |extension: &str, content: &str| -> Result<PathBuf, Failure> {
        let path = folder.join(format!("{name}.{extension}"));
        fs::write(&path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    };
    print!("{text}");
    write("txt", text)?;
    let json = write("json", &serde_json::to_string_pretty(json)?)?;
    println!("\nalso in {}, and as .txt", json.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(1, ["peer", "k msg/s"]);
        table.row(vec!["gnomon".into(), "1200".into()]);
        table.row(vec!["k".into(), "7".into()]);
        assert_eq!(table.text(), "peer    k msg/s\ngnomon     1200\nk             7\n");
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
