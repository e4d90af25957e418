//! A table as text and as Markdown.

/// Columns as wide as their widest cell; the first ones of text to the left, figures to the right.
pub struct ReportTable {
    text_columns: usize,
    rows: Vec<Vec<String>>,
}

impl ReportTable {
    /// The first `text_columns` of the heads are text.
    pub fn new(text_columns: usize, heads: Vec<String>) -> ReportTable {
        ReportTable {
            text_columns,
            rows: vec![heads],
        }
    }

    /// Adds a row of as many cells as there are heads.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(
            cells.len(),
            self.rows[0].len(),
            "a row has a cell for each head"
        );
        self.rows.push(cells);
    }

    /// Lines, each ended.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(column, cell)| self.padded(column, cell, widths[column]))
                .collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    /// Lines of Markdown, each ended.
    pub fn markdown(&self) -> String {
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = (0..self.rows[0].len()).map(|column| {
            if column < self.text_columns {
                "---|"
            } else {
                "---:|"
            }
        });
        line(&self.rows[0])
            + "|"
            + &rule.collect::<String>()
            + "\n"
            + &self.rows[1..].iter().map(line).collect::<String>()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        (0..self.rows[0].len()).map(width).collect()
    }

    fn padded(&self, column: usize, cell: &str, width: usize) -> String {
        if column < self.text_columns {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ReportTable {
        let mut table = ReportTable::new(1, vec!["peer".into(), "records/s".into()]);
        table.row(vec!["gnomon".into(), "1200".into()]);
        table.row(vec!["a|b".into(), "7".into()]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            table().text(),
            "peer    records/s\ngnomon       1200\na|b             7\n"
        );
    }

    #[test]
    fn markdown_has_a_rule_and_no_stray_bars() {
        assert_eq!(
            table().markdown(),
            "| peer | records/s |\n|---|---:|\n| gnomon | 1200 |\n| a\\|b | 7 |\n"
        );
    }
}
