//! The tools that a test needs on the machine beside Rust. A test whose tools are missing is
//! skipped with a sentence; under `CI=true` it fails instead, because all of these can be installed
//! and a gate that skips is not a gate.

use std::process::{Command, Stdio};

/// A tool that a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// kcat, with whatever librdkafka the system has: usually an old one, which is the point.
    Kcat,
    /// A Java 17 runtime and Maven.
    Java,
    /// Go, for franz-go.
    Go,
}

impl Tool {
    fn commands(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Tool::Kcat => &[("kcat", "-V")],
            Tool::Java => &[("java", "-version"), ("mvn", "-v")],
            Tool::Go => &[("go", "version")],
        }
    }

    fn install(self) -> &'static str {
        match self {
            Tool::Kcat => "apt-get install kcat",
            Tool::Java => "apt-get install openjdk-17-jdk-headless maven",
            Tool::Go => "https://go.dev/dl",
        }
    }
}

fn runs(command: &str, argument: &str) -> bool {
    Command::new(command)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether all of them are there. `false` means: skip, and it has been said why.
///
/// # Panics
/// Under `CI=true` when one is missing.
pub fn have(tools: &[Tool]) -> bool {
    let missing: Vec<String> = tools
        .iter()
        .filter(|tool| {
            !tool
                .commands()
                .iter()
                .all(|(command, argument)| runs(command, argument))
        })
        .map(|tool| format!("{tool:?} ({})", tool.install()))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let sentence = format!("missing here: {}", missing.join(", "));
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{sentence}; under CI=true nothing is skipped"
    );
    eprintln!("SKIPPED: {sentence}");
    false
}
