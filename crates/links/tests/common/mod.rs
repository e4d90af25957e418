//! Values that the tests of this crate share: scripts of blocks (input, `----`, output, an empty
//! line), filters in short, and a seeded generator.
//!
//! `UPDATE_SCRIPTS=1` rewrites what stands behind each `----`. An empty line of output is written
//! as a dot.
#![allow(dead_code)]

use gnomon_links::NameFilter;
pub use gnomon_machine::harness::Command;
use std::{env, fs, path::Path};

/// Runs every script of a folder below `testdata`. `fresh` makes what answers the blocks of one
/// script.
pub fn run_scripts<F: FnMut(&str) -> String>(folder: &str, mut fresh: impl FnMut() -> F) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("a folder of scripts")
        .map(|e| e.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in paths {
        let text = fs::read_to_string(&path).expect("a readable script");
        let found = run_script(&text, fresh());
        if env::var_os("UPDATE_SCRIPTS").is_some() {
            fs::write(&path, &found).expect("a writable script");
        } else {
            assert_eq!(
                text,
                found,
                "{}: run with UPDATE_SCRIPTS=1 and read the diff",
                path.display()
            );
        }
    }
}

fn run_script(text: &str, mut answer: impl FnMut(&str) -> String) -> String {
    let (mut out, mut input, mut skipping) = (String::new(), String::new(), false);
    for line in text.lines() {
        if skipping {
            if line.is_empty() {
                skipping = false;
                out.push('\n');
            }
            continue;
        }
        out += line;
        out.push('\n');
        if line == "----" {
            for line in answer(&input).trim_end().lines() {
                out += if line.is_empty() { "." } else { line };
                out.push('\n');
            }
            input.clear();
            skipping = true;
        } else if !line.starts_with('#') && !line.is_empty() {
            input += line;
            input.push('\n');
        }
    }
    out
}

/// The command lines of a block.
pub fn commands(block: &str) -> Vec<Command> {
    block
        .lines()
        .map(|line| Command::parse(line).expect("a command line"))
        .collect()
}

/// `a_*,!a_tmp*,orders` as filters.
pub fn filters(text: &str) -> Vec<NameFilter> {
    let one = |word: &str| {
        let (exclude, word) = word.strip_prefix('!').map_or((false, word), |w| (true, w));
        match (exclude, word.strip_suffix('*').filter(|p| !p.is_empty())) {
            (false, Some(prefix)) => NameFilter::include_prefix(prefix),
            (true, Some(prefix)) => NameFilter::exclude_prefix(prefix),
            (false, None) => NameFilter::include_literal(word),
            (true, None) => NameFilter::exclude_literal(word),
        }
    };
    text.split(',').filter(|w| !w.is_empty()).map(one).collect()
}

/// A small seeded generator (xorshift64*): the same seed, the same case.
pub struct Seed(u64);

impl Seed {
    pub fn new(seed: u64) -> Seed {
        Seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    pub fn one_of<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A word over these characters.
    pub fn word(&mut self, characters: &[char], least: u64, most: u64) -> String {
        let length = least + self.below(most - least + 1);
        (0..length).map(|_| *self.one_of(characters)).collect()
    }
}
