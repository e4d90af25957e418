//! Doc comments that say too little, and those that open as a riddle.

use super::figures::{Figures, count};
use crate::source::SourceFile;

/// A doc comment of so few words repeats the name, more often than not.
const FEWEST_WORDS: usize = 5;

/// A sentence that opens so makes its reader wait for the noun.
const RIDDLES: &[&str] = &[
    "What", "Who", "Whom", "Whose", "Whoever", "Whatever", "Of", "That",
];

pub(super) fn measure(files: &[SourceFile], figures: &mut Figures) {
    for file in files {
        for comment in doc_comments(&file.text) {
            let words: Vec<&str> = comment.split_whitespace().collect();
            if words.len() < FEWEST_WORDS {
                count(figures, "short-doc", file.crate_name());
            }
            if words.first().is_some_and(|first| RIDDLES.contains(first)) {
                count(figures, "riddle", file.crate_name());
            }
        }
    }
}

/// Blocks of lines that open with `///` or `//!`, each as one text.
fn doc_comments(text: &str) -> Vec<String> {
    let mut comments: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim_start) {
        let doc = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"));
        match doc {
            Some(words) if inside => {
                if let Some(comment) = comments.last_mut() {
                    comment.push(' ');
                    comment.push_str(words);
                }
            }
            Some(words) => comments.push(words.to_owned()),
            None => {}
        }
        inside = doc.is_some();
    }
    comments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_comments_and_riddles_are_counted_by_crate() {
        let text = "\
//! Bytes of a log, and where they end.

/// Four words stand here.
struct A;
/// What a reader of
/// this has to guess.
struct B;
// Not a doc comment.
struct C;
";
        let mut figures = Figures::new();
        measure(
            &[SourceFile::of("crates/storage/src/a.rs", text)],
            &mut figures,
        );
        let figures: Vec<(&str, usize)> = figures.iter().map(|(s, f)| (s.as_str(), *f)).collect();
        assert_eq!(figures, [("riddle storage", 1), ("short-doc storage", 1)]);
    }
}
