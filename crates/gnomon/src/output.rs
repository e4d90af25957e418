//! The one way to standard output and standard error.
//!
//! Invariant: a write that fails never ends the process by a panic, as `println!` does. A reader
//! that has gone ends a command quietly; any other failure ends it with an error. Nothing else in
//! this crate names `println!` or `stdout()` (`crates/xtask/tests/tidy.rs`).

use gnomon_broker::SiteInfo;
use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
};

/// Why standard output takes no more.
#[derive(Debug)]
pub enum OutputError {
    /// Its reader has gone, as `head` does when it has seen enough.
    Closed,
    /// A full device, for instance.
    Failed(io::Error),
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputError::Closed => f.write_str("standard output was closed"),
            OutputError::Failed(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

impl std::error::Error for OutputError {}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> OutputError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => OutputError::Closed,
            _ => OutputError::Failed(error),
        }
    }
}

/// Standard output, buffered. `write!` and `writeln!` work on it. Before a command waits for
/// something it calls [`Output::flush`]; `main` flushes at the end.
pub struct Output<W: Write = Stdout> {
    to: BufWriter<W>,
    /// A person sees each line at once.
    by_line: bool,
}

impl Output {
    pub fn standard() -> Output {
        let stdout = io::stdout();
        Output {
            by_line: stdout.is_terminal(),
            to: BufWriter::new(stdout),
        }
    }
}

impl<W: Write> Output<W> {
    /// Called by `write!`.
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> Result<(), OutputError> {
        self.to.write_fmt(text)?;
        if self.by_line { self.flush() } else { Ok(()) }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        Ok(self.to.write_all(bytes)?)
    }

    /// Everything written so far reaches the reader.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.to.flush()?)
    }
}

#[cfg(test)]
impl Output<Vec<u8>> {
    pub fn memory() -> Output<Vec<u8>> {
        Output {
            to: BufWriter::new(Vec::new()),
            by_line: false,
        }
    }

    /// All that was written.
    pub fn text(mut self) -> String {
        self.flush().expect("memory takes everything");
        String::from_utf8(self.to.into_inner().expect("flushed")).expect("text")
    }
}

/// A line on standard error. If that fails there is nobody left to tell.
pub fn complain(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The line that says a site is ready.
pub fn site_line(site: &SiteInfo, pid: u32) -> String {
    let owns = if site.owns.is_empty() {
        "nothing".to_owned()
    } else {
        site.owns
            .iter()
            .map(|prefix| format!("{prefix}*"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let caching = if site.write_caching {
        "   write.caching: power loss may take acknowledged records"
    } else {
        ""
    };
    format!(
        "site {}  kafka {}   admin {}   owns {owns}   pid {pid}   data {}{caching}",
        site.name,
        site.kafka,
        site.admin,
        site.data.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed_to(kind: io::ErrorKind) -> OutputError {
        let mut out = Output {
            to: BufWriter::new(Broken(kind)),
            by_line: true,
        };
        writeln!(out, "a line").expect_err("nothing is taken")
    }

    #[test]
    fn a_reader_that_has_gone_is_told_from_a_device_that_is_full() {
        assert!(matches!(
            printed_to(io::ErrorKind::BrokenPipe),
            OutputError::Closed
        ));
        let full = printed_to(io::ErrorKind::StorageFull);
        assert!(
            full.to_string()
                .starts_with("cannot write to standard output: "),
            "{full}"
        );
    }
}
