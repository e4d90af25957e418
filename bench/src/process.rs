//! Children: each in a process group of its own, output in a file, ended when dropped, when a
//! signal ends this process (`interrupt`), and by the kernel when it is killed.
//!
//! Not here: what runs in them. All are started from the main thread, because the kernel ties the
//! death signal to the thread that made the child.
#![expect(unsafe_code, reason = "a hook between fork and exec")]

use crate::{failure::Failure, place::RunFolder};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group,
    set_parent_process_death_signal, setrlimit,
};
use std::{
    collections::BTreeSet,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How often a child is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A clean stop takes at most this long; then the child is killed, and that is said.
const STOP_MAX: Duration = Duration::from_secs(120);

/// After SIGKILL a child is gone within this, or is the kernel's affair.
const KILL_MAX: Duration = Duration::from_secs(5);

/// Lines of a child's output that an error quotes.
const QUOTED_LINES: usize = 20;

/// Process ids of children that have not been waited for; each leads its group.
static CHILDREN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A running child.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts it, standard output and error at the end of the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Process, Failure> {
        let file = File::options()
            .append(true)
            .create(true)
            .open(log)
            .map_err(|error| format!("cannot make {}: {error}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        // SAFETY: between fork and exec only this one system call is made.
        unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
        command.process_group(0);
        // Held over the spawn, so that a signal between the two does not miss it.
        let mut children = children();
        let child = command.spawn().map_err(|error| {
            format!(
                "cannot start {name} ({}): {error}",
                command.get_program().display()
            )
        })?;
        children.insert(child.id() as i32);
        Ok(Process {
            name: name.to_owned(),
            child,
            log: log.to_path_buf(),
            ended: None,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error that quotes its output when it has ended.
    pub fn must_run(&mut self) -> Result<(), Failure> {
        match self.try_wait()? {
            None => Ok(()),
            Some(status) => {
                Err(format!("{} ended with {status}:\n{}", self.name, self.last_lines()).into())
            }
        }
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM)?;
        match self.wait(STOP_MAX)? {
            // 143 is how a JVM says that SIGTERM ended it, after it has shut down.
            Some(status) if status.success() || status.code() == Some(143) => Ok(()),
            Some(status) => Err(format!(
                "{} stopped with {status}:\n{}",
                self.name,
                self.last_lines()
            )
            .into()),
            None => Err(format!(
                "{} did not stop within {STOP_MAX:?} of SIGTERM and was killed",
                self.name
            )
            .into()),
        }
    }

    /// SIGINT: the load tools then end with a summary.
    pub fn interrupt(&mut self) -> Result<(), Failure> {
        self.signal(Signal::INT)
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        if self.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), signal)?;
        }
        Ok(())
    }

    /// How it ended, or `None` when it still runs.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>, Failure> {
        let start = Instant::now();
        loop {
            let ended = self.try_wait()?;
            if ended.is_some() || start.elapsed() >= patience {
                return Ok(ended);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, Failure> {
        if self.ended.is_none() {
            let mut children = children();
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                children.remove(&(self.child.id() as i32));
            }
        }
        Ok(self.ended)
    }

    /// All that it has printed.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of it, for an error.
    pub fn last_lines(&self) -> String {
        last_lines(&self.printed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Both fail only for a child that has ended.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
            children().remove(&(self.child.id() as i32));
        }
    }
}

/// As many open files as this user may have, for this process and all that it starts: thousands of
/// connections, or of partitions, need them.
pub fn raise_file_limit() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .map_err(|error| {
        format!(
            "cannot raise the limit of open files to {:?}: {error}",
            limit.maximum
        )
        .into()
    })
}

/// Runs a command to its end and returns what it printed; `what` names it in the error.
pub fn output(what: &str, command: Command) -> Result<String, Failure> {
    let folder = RunFolder::new()?;
    let mut process = Process::start(what, command, &folder.path().join("output.log"))?;
    match process.wait(Duration::MAX)? {
        Some(status) if status.success() => Ok(process.printed()),
        _ => process.must_run().map(|()| String::new()),
    }
}

/// Ends all children and what they have started: for when a signal ends this process. No further
/// child can be started.
pub fn kill_all() {
    let children = children();
    let each = || children.iter().filter_map(|&pid| Pid::from_raw(pid));
    for pid in each() {
        // It fails only for a group that is gone.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let start = Instant::now();
    while each().any(is_alive) && start.elapsed() < KILL_MAX {
        thread::sleep(LOOK_EVERY);
    }
    // A later start would wait for a lock that nobody releases.
    std::mem::forget(children);
}

fn children() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A zombie has written its last byte.
fn is_alive(pid: Pid) -> bool {
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rfind(") ")
        .is_some_and(|end| !stat[end + 2..].starts_with('Z'))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..]
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect()
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
    fn a_child_runs_until_it_is_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let script = "trap 'exit 0' TERM; echo ready now; while :; do sleep 0.01; done";
        let mut child = Process::start("loop", shell(script), &log).expect("sh starts");
        let start = Instant::now();
        while !child.printed().contains("ready") && start.elapsed() < Duration::from_secs(20) {
            thread::sleep(LOOK_EVERY);
        }
        child.must_run().expect("it runs");
        child.stop().expect("it traps the signal");
    }

    #[test]
    fn a_child_that_ends_early_is_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Process::start(
            "liar",
            shell("echo no room >&2; exit 3"),
            &folder.path().join("log"),
        )
        .expect("sh starts");
        child
            .wait(Duration::from_secs(20))
            .expect("it can be waited for");
        let failure = child.must_run().expect_err("it has ended").to_string();
        assert!(
            failure.contains("liar")
                && failure.contains("exit status: 3")
                && failure.contains("no room"),
            "{failure}"
        );
        let failure = output("liar", shell("echo full; exit 4"))
            .expect_err("it fails")
            .to_string();
        assert!(
            failure.contains("exit status: 4") && failure.contains("full"),
            "{failure}"
        );
        assert_eq!(
            output("sayer", shell("echo yes")).expect("it runs"),
            "yes\n"
        );
    }

    #[test]
    fn what_a_child_has_started_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let child = Process::start(
            "parent",
            shell("sleep 600 & echo $!; wait"),
            &folder.path().join("log"),
        )
        .expect("sh starts");
        let grandchild = loop {
            if let Some(pid) = child
                .printed()
                .lines()
                .next()
                .and_then(|line| line.parse().ok())
                .and_then(Pid::from_raw)
            {
                break pid;
            }
            thread::sleep(LOOK_EVERY);
        };
        assert!(is_alive(grandchild));
        drop(child);
        while is_alive(grandchild) {
            thread::sleep(LOOK_EVERY);
        }
    }
}
