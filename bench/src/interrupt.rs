//! Ctrl-C and SIGTERM: children are killed, folders of the run removed, and the process ends as one
//! that a signal ended.

use crate::{failure::Failure, place, process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::thread;

/// The exit code that a shell reports for a process that signal 0 would have ended.
const SIGNALLED: i32 = 128;

/// Starts the thread that waits for a signal.
pub fn watch() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\ngnomon-bench: stopped by a signal; ending what was started");
            process::kill_all();
            place::remove_run_folders();
            std::process::exit(SIGNALLED + signal);
        }
    });
    Ok(())
}
