//! A broker that has been set up, and one that runs: started, asked until it answers, killed,
//! started again.

use super::name::{Durability, PeerName};
use crate::{failure::Failure, process::Process, usage::Usage, wire::Wire};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// From exec to the first answer: recovery of a large log included.
const ANSWERS_MAX: Duration = Duration::from_secs(300);

/// Between two tries of a broker that starts.
const TRY_EVERY: Duration = Duration::from_micros(200);

/// How to start a program, again and again.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, String)>,
}

/// A broker set up on a folder.
#[derive(Clone, Debug)]
pub struct Installed {
    pub peer: PeerName,
    pub durability: Durability,
    /// `None`: it is not ours to start.
    pub program: Option<Program>,
    pub bootstrap: String,
    /// Additional options of librdkafka.
    pub client_options: Vec<String>,
    /// Where it keeps data and what it printed.
    pub folder: PathBuf,
    /// The process of a broker that is not ours, where it is known.
    pub foreign_pid: Option<u32>,
}

impl Program {
    pub fn new(path: impl Into<PathBuf>) -> Program {
        Program {
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Program {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Ready to run.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }
}

impl Installed {
    /// One that listens, and keeps its data below `folder`.
    pub fn new(
        peer: PeerName,
        durability: Durability,
        program: Program,
        bootstrap: String,
        folder: &Path,
    ) -> Installed {
        Installed {
            peer,
            durability,
            program: Some(program),
            bootstrap,
            client_options: Vec::new(),
            folder: folder.to_path_buf(),
            foreign_pid: None,
        }
    }

    /// Executes it and does not wait for anything.
    pub fn exec(&self) -> Result<Running, Failure> {
        let process = match &self.program {
            Some(program) => {
                let log = self.folder.join(format!("{}.log", self.peer.name()));
                let mut command = program.command();
                command.current_dir(&self.folder);
                Some(Process::start(self.peer.name(), command, &log)?)
            }
            None => None,
        };
        Ok(Running {
            installed: self.clone(),
            process,
            foreign_topics: Vec::new(),
        })
    }

    /// Executes it and waits until it can create topics.
    pub fn start(&self) -> Result<Running, Failure> {
        let mut running = self.exec()?;
        if !self.is_inside_the_client() {
            running.wait_until("it answers", || {
                let mut wire = Wire::connect(&self.bootstrap)?;
                wire.api_versions()?;
                let metadata = wire.metadata(None)?;
                if metadata.brokers.is_empty() {
                    Err("it knows no broker".into())
                } else {
                    Ok(())
                }
            })?;
        }
        Ok(running)
    }

    /// Nothing listens: it lives in the load tool.
    pub fn is_inside_the_client(&self) -> bool {
        self.peer == PeerName::Mock
    }
}

/// A started broker; killed when dropped.
pub struct Running {
    pub installed: Installed,
    process: Option<Process>,
    /// Made by us on a broker that is not ours: deleted at the end.
    foreign_topics: Vec<String>,
}

impl Running {
    pub fn bootstrap(&self) -> &str {
        &self.installed.bootstrap
    }

    /// The processes that its CPU and memory are read from; empty when they cannot be.
    pub fn pids(&self) -> Vec<u32> {
        self.process
            .as_ref()
            .map(Process::pid)
            .or(self.installed.foreign_pid)
            .into_iter()
            .collect()
    }

    /// The one of them, for scenarios about memory.
    pub fn pid(&self) -> Result<u32, Failure> {
        self.pids()
            .first()
            .copied()
            .ok_or_else(|| "its process is not known (--pid tells it)".into())
    }

    /// CPU and memory; `None` when they cannot be read.
    pub fn usage(&mut self) -> Result<Option<Usage>, Failure> {
        if let Some(process) = &mut self.process {
            process.must_run()?;
        }
        let pids = self.pids();
        if pids.is_empty() {
            Ok(None)
        } else {
            Usage::sum(&pids).map(Some)
        }
    }

    /// Tries until it succeeds, and returns what it returned. An error when the process ends, or it
    /// takes too long.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        mut tried: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        loop {
            let failure = match tried() {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            if let Some(process) = &mut self.process {
                process.must_run()?;
            }
            if start.elapsed() > ANSWERS_MAX {
                let last_lines = self
                    .process
                    .as_ref()
                    .map_or(String::new(), Process::last_lines);
                return Err(format!(
                    "waited {ANSWERS_MAX:?} until {what}: {failure}\n{last_lines}"
                )
                .into());
            }
            thread::sleep(TRY_EVERY);
        }
    }

    /// Makes a topic and waits until all its partitions have a leader.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> Result<(), Failure> {
        if self.installed.is_inside_the_client() {
            return Ok(());
        }
        let mut wire = Wire::connect(self.bootstrap())?;
        if self.installed.peer == PeerName::Given {
            self.foreign_topics.push(topic.to_owned());
        }
        wire.create_topics(&[(topic.to_owned(), partitions)])?;
        self.wait_until("the topic has leaders", || match wire.led(topic)? {
            led if led == partitions => Ok(()),
            led => Err(format!("{led} of {partitions} partitions of {topic} have a leader").into()),
        })
    }

    /// Writes a record to each partition of a topic; a leader that does not know yet that it is one
    /// is asked again.
    pub fn write_to_each(&mut self, topic: &str, partitions: i32) -> Result<(), Failure> {
        let mut wire = Wire::connect(self.bootstrap())?;
        (0..partitions).try_for_each(|partition| {
            self.wait_until("a record is acknowledged", || {
                wire.produce(topic, partition, b"first")
            })
            .map(drop)
        })
    }

    /// Stops it cleanly, if it is ours.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.process.take().map_or(Ok(()), Process::stop)
    }

    /// `kill -9`, if it is ours.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.foreign_topics.is_empty()
            && let Err(failure) = Wire::connect(self.bootstrap())
                .and_then(|mut wire| wire.delete_topics(&self.foreign_topics))
        {
            eprintln!(
                "gnomon-bench: these topics are left at {}: {}: {failure}",
                self.bootstrap(),
                self.foreign_topics.join(", ")
            );
        }
    }
}
