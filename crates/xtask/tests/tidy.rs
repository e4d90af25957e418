//! How our source files look: each opens by saying what it is for, and the pure crates stay away
//! from clocks, files and unordered maps.

use std::{
    fs,
    path::{Path, PathBuf},
};
use xtask::source::{files_ending, root};

/// Names that a pure crate may not use (see the layering law in `docs/architecture.md`).
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "SystemTime",
    "Instant::now",
    "tokio::",
    "HashMap",
    "HashSet",
    "thread_rng",
    "rand::",
];

const PURE_CRATES: &[&str] = &["protocol", "machine", "links", "catalog", "groups"];

fn rust_files(below: &Path, found: &mut Vec<PathBuf>) {
    files_ending(below, &["rs"], found);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let mut files = Vec::new();
    for folder in ["crates", "proto-tests", "bench"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(
        files.len() > 10,
        "the walk found only {} files",
        files.len()
    );
    for file in files {
        let text = fs::read_to_string(&file).expect("readable file");
        assert!(
            text.starts_with("//!"),
            "{} does not open with `//!` and its purpose",
            file.display()
        );
    }
}

/// Pages that a program writes when it runs.
const GENERATED_PAGES: &[&str] = &["report.md"];

/// Every page (a file with the ending `md`) that a source file or a page names is in the repository.
#[test]
fn cited_pages_exist() {
    let root = root();
    let mut files = Vec::new();
    for folder in ["crates", "proto-tests", "bench", "docs", "deploy"] {
        files_ending(&root.join(folder), &["rs", "md"], &mut files);
    }
    files.push(root.join("README.md"));
    for file in files {
        let text = fs::read_to_string(&file).expect("readable file");
        let cited = text.split(|c: char| !(c.is_alphanumeric() || "-_./".contains(c)));
        for page in cited.filter(|word| word.len() > 3 && word.ends_with(".md")) {
            if GENERATED_PAGES.contains(&page) {
                continue;
            }
            let beside = file
                .ancestors()
                .skip(1)
                .any(|folder| folder.join(page).exists());
            let in_docs = root.join("docs").join(page).exists();
            assert!(
                beside || in_docs,
                "{} names {page}, which is not there",
                file.display()
            );
        }
    }
}

/// `println!` panics when its reader has gone or the device is full.
const PRINTING: &[&str] = &[
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "stdout()",
    "stderr()",
];

#[test]
fn the_command_line_prints_through_its_output_seam_only() {
    let source = root().join("crates/gnomon/src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.contains(&source.join("output.rs")), "the seam");
    files.retain(|file| !file.ends_with("src/output.rs"));
    for file in files {
        let text = fs::read_to_string(&file).expect("readable file");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // Logs find out by themselves whether a person reads them.
            let code = code.replace("stderr().is_terminal()", "");
            if let Some(word) = PRINTING.iter().find(|word| code.contains(**word)) {
                panic!(
                    "{}:{}: {word} outside of crates/gnomon/src/output.rs",
                    file.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn pure_crates_name_nothing_impure() {
    for name in PURE_CRATES {
        let mut files = Vec::new();
        rust_files(&root().join("crates").join(name).join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).expect("readable file");
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in IMPURE {
                    assert!(
                        !code.contains(word),
                        "{}:{}: {word} in a pure crate",
                        file.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

/// Files with `unsafe`, each with its reason at its top.
const UNSAFE_FILES: &[&str] = &[
    "bench/src/process.rs",
    "crates/failpoints/src/environment.rs",
    "crates/gnomon/src/pair/children.rs",
    "crates/storage/src/disk/real.rs",
    "proto-tests/src/process.rs",
];

#[test]
fn unsafe_code_is_forbidden_outside_of_the_files_that_are_listed() {
    let mut files = Vec::new();
    for folder in ["crates", "proto-tests", "bench"] {
        rust_files(&root().join(folder), &mut files);
    }
    for file in files {
        let path = file.strip_prefix(root()).expect("below the root");
        let text = fs::read_to_string(&file).expect("readable file");
        if ["lib.rs", "main.rs"]
            .iter()
            .any(|name| path.ends_with(format!("src/{name}")))
        {
            let lint = ["#![forbid(unsafe_code)]", "#![deny(unsafe_code)]"];
            assert!(
                lint.iter().any(|lint| text.contains(lint)),
                "{} neither forbids nor denies unsafe code",
                path.display()
            );
        }
        let lifted = ["allow(unsafe_code", "expect(unsafe_code"]
            .iter()
            .any(|lint| text.contains(lint));
        assert!(
            !lifted
                || UNSAFE_FILES.iter().any(|listed| path == Path::new(listed))
                || path.ends_with("tests/tidy.rs"),
            "{} allows unsafe code and is not listed in {}",
            path.display(),
            file!()
        );
    }
}
