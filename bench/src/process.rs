//! Children of a scenario: their output in a file, killed when dropped, and killed by the kernel when this process ends.
//!
//! Not here: what runs in them. All are started from the main thread, because the kernel ties the death signal to the thread
//! that made the child.

use crate::{Failure, usage::Usage};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::{
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How often a child is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A clean stop takes at most this long; then the child is killed, and that is said.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Lines of a child's output that an error quotes.
const QUOTED_LINES: usize = 20;

/// A running child.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, standard output and error into the new file `log`.
    pub fn start(name: &str, mut command: Command, log: PathBuf) -> Result<Process, Failure> {
        let file = File::create(&log).map_err(|error| format!("cannot make {}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        die_with_us(&mut command);
        let child = command.spawn().map_err(|error| format!("cannot start {name} ({}): {error}", command.get_program().display()))?;
        Ok(Process { name: name.to_owned(), child, log })
    }

    /// Waits until it prints a line with this beginning.
    pub fn wait_for_line(&mut self, beginning: &str, patience: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            // A last line without its end may still be growing.
            let printed = self.printed();
            if printed.split_inclusive('\n').any(|line| line.ends_with('\n') && line.starts_with(beginning)) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended with {status} before it was ready:\n{}", self.name, self.last_lines()).into());
            }
            if start.elapsed() > patience {
                return Err(format!("{} was not ready within {patience:?}:\n{}", self.name, self.last_lines()).into());
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// CPU and memory up to now. An error when it has ended: then its figures mean nothing.
    pub fn usage(&mut self) -> Result<Usage, Failure> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("{} ended with {status} under load:\n{}", self.name, self.last_lines()).into());
        }
        Usage::of(self.child.id())
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(mut self) -> Result<(), Failure> {
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        match self.wait(STOP_MAX)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{} stopped with {status}:\n{}", self.name, self.last_lines()).into()),
            None => Err(format!("{} did not stop within {STOP_MAX:?} of SIGTERM and was killed", self.name).into()),
        }
    }

    fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>, Failure> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(None)
    }

    fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn last_lines(&self) -> String {
        last_lines(&self.printed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end and returns what it printed; `what` names it in the error.
pub fn output(what: &str, command: &mut Command) -> Result<String, Failure> {
    die_with_us(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {what} ({}): {error}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!(
            "{what} ended with {}:\n{}{}",
            output.status,
            last_lines(&text(&output.stdout)),
            last_lines(&text(&output.stderr))
        )
        .into());
    }
    Ok(text(&output.stdout))
}

fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only this one system call is made.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].iter().map(|line| format!("  {line}\n")).collect()
}

/// Where the data and the log of a child named `name` are, below the folder of a run.
pub fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_is_awaited_measured_and_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "trap 'exit 0' TERM; echo ready now; while :; do sleep 0.01; done";
        let mut child = Process::start("loop", shell(script), log_file(folder.path(), "loop")).expect("sh starts");
        child.wait_for_line("ready", Duration::from_secs(10)).expect("it prints");
        assert!(child.usage().expect("it runs").resident_bytes > 0);
        child.stop().expect("it traps the signal");
    }

    #[test]
    fn a_child_that_ends_early_is_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Process::start("liar", shell("echo no room >&2; exit 3"), log_file(folder.path(), "liar")).expect("sh starts");
        let failure = child.wait_for_line("ready", Duration::from_secs(10)).expect_err("it is never ready").to_string();
        assert!(failure.contains("liar") && failure.contains("exit status: 3") && failure.contains("no room"), "{failure}");
    }
}
