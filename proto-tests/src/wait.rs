//! Waiting for what must become true, with a deadline and a sentence for the day it does not.

use std::time::{Duration, Instant};

/// How long a test waits for something that normally takes well under a second: a loaded machine of
/// two cores is slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the answer is `Ok`, and panics with the last `Err` after `patience`.
pub fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(not_yet) if start.elapsed() >= patience => {
                panic!("{what}: not within {patience:?}: {not_yet}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(25)),
        }
    }
}

/// `Ok` when it holds, else the words to show.
pub fn holds(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise()) }
}
