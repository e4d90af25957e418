//! Children that die with the test, whatever way it ends.
//!
//! The kernel ties a death signal to the *thread* that made the child, and a test is a thread: all
//! children are made by one thread that never ends, so that those shared by several tests live as
//! long as the process.
#![expect(unsafe_code, reason = "a hook between fork and exec")]

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a child that the kernel kills when this process ends.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in queue {
                    // SAFETY: between fork and exec only this one system call is made.
                    unsafe {
                        command
                            .pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?))
                    };
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("a thread that starts children");
        Mutex::new(orders)
    });
    let (answer, child) = mpsc::channel();
    spawner
        .lock()
        .expect("the spawner's queue")
        .send((command, answer))
        .expect("the spawner never ends");
    child.recv().expect("the spawner answers")
}

/// A server under test, its output in a file.
pub struct Process {
    child: Child,
    log: PathBuf,
    log_from: u64,
}

impl Process {
    /// Starts it; standard output and error are appended to `log`.
    pub fn start(mut command: Command, log: &Path) -> Process {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("open {}: {error}", log.display()));
        let log_from = file.metadata().expect("the length of a log").len();
        let twin = file.try_clone().expect("a second handle of a log");
        command.stdin(Stdio::null()).stdout(file).stderr(twin);
        let shown = format!("{command:?}");
        let child = spawn(command).unwrap_or_else(|error| panic!("start {shown}: {error}"));
        Process {
            child,
            log: log.to_path_buf(),
            log_from,
        }
    }

    /// The output since this start.
    pub fn printed(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[(self.log_from as usize).min(bytes.len())..]).into_owned()
    }

    /// Waits for a printed line that pleases, and returns it.
    ///
    /// # Panics
    /// When the process ends before, or after `patience`, with all that was printed.
    pub fn wait_for_line(&mut self, patience: Duration, pleases: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let printed = self.printed();
            // The last line may still be growing: only finished ones count.
            let finished = &printed[..printed.rfind('\n').map_or(0, |end| end + 1)];
            if let Some(line) = finished.lines().find(|line| pleases(line)) {
                return line.to_owned();
            }
            if let Some(status) = self.ended() {
                panic!("ended with {status} before it was ready:\n{printed}");
            }
            assert!(
                start.elapsed() < patience,
                "not ready within {patience:?}:\n{printed}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its exit, when it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal; a process that has ended already is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {pid:?}: {error}"));
        }
    }

    /// `kill -9`, and waits until the kernel has taken it down.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end by itself.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Resident memory in KiB, file pages included (`VmRSS`).
    pub fn resident_kib(&self) -> u64 {
        memory(self.pid(), "VmRSS:")
    }

    /// Resident anonymous memory in KiB (`RssAnon`): what the program holds itself, the page cache
    /// of mapped files not counted.
    pub fn anonymous_kib(&self) -> u64 {
        memory(self.pid(), "RssAnon:")
    }
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_else(|error| panic!("memory of {pid}: {error}"));
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .unwrap_or_else(|| panic!("{field} of {pid}"));
    line.split_whitespace()
        .nth(1)
        .and_then(|figure| figure.parse().ok())
        .unwrap_or_else(|| panic!("a figure: {line}"))
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let printed = self.printed();
            let lines: Vec<&str> = printed.lines().collect();
            eprintln!("--- the last lines of {}", self.log.display());
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("{line}");
            }
        }
        self.kill();
    }
}

/// Runs a command to its end, at most `patience` long, with `input` on its standard input.
pub fn run(mut command: Command, input: Option<&[u8]>, patience: Duration) -> CommandResult {
    use std::io::{Read, Write};
    let shown = format!("{command:?}");
    command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = spawn(command).unwrap_or_else(|error| panic!("start {shown}: {error}"));
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        let input = input.to_vec();
        std::thread::spawn(move || pipe.write_all(&input));
    }
    let reader = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = reader(Box::new(child.stdout.take().expect("a pipe was asked for")));
    let err = reader(Box::new(child.stderr.take().expect("a pipe was asked for")));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("the state of a child") {
            break Some(status);
        }
        if start.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    CommandResult {
        command: shown,
        status,
        out: out.join().unwrap_or_default(),
        err: err.join().unwrap_or_default(),
    }
}

/// How a command went.
#[derive(Debug)]
pub struct CommandResult {
    pub command: String,
    /// `None`: it did not end in time and was killed.
    pub status: Option<ExitStatus>,
    pub out: String,
    pub err: String,
}

impl CommandResult {
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Its output.
    ///
    /// # Panics
    /// When it failed, with what it said.
    pub fn expect(self, what: &str) -> String {
        assert!(
            self.succeeded(),
            "{what}: {} ended with {:?}\n{}{}",
            self.command,
            self.status,
            self.out,
            self.err
        );
        self.out
    }
}
