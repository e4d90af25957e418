//! One Gnomon site: the built binary, its data directory, its addresses. Started, killed and
//! started again by a test.

use crate::place;
use crate::process::{self, CommandResult, Process};
use crate::status::Status;
use crate::wait::PATIENCE;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

/// From exec to the ready line, on a machine that is busy.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);

/// The binary, with failpoints compiled in: built once per test process, or the one that
/// `GNOMON_BIN` names.
pub fn gnomon() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(given) = std::env::var_os("GNOMON_BIN") {
            return given.into();
        }
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "-q",
                "-p",
                "gnomon",
                "--features",
                "failpoints",
                "--message-format=json",
            ])
            .current_dir(place::workspace())
            // What the outer cargo set for this package must not reach the inner one.
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_PKG_NAME")
            .output()
            .unwrap_or_else(|error| panic!("run cargo: {error}"));
        assert!(
            output.status.success(),
            "cargo build -p gnomon: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        keep(&executable(&output.stdout))
    })
}

/// Where cargo put the binary, in what it said of its build.
fn executable(messages: &[u8]) -> PathBuf {
    let lines = String::from_utf8_lossy(messages);
    let messages = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let found = messages
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back();
    found.expect("cargo names the binary that it built")
}

/// A copy that no later build, without failpoints perhaps, puts another binary in the place of.
fn keep(built: &Path) -> PathBuf {
    let folder = place::built("gnomon");
    let (kept, new) = (
        folder.join("gnomon"),
        folder.join(format!("gnomon.{}", std::process::id())),
    );
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::copy(built, &new))
        .and_then(|_| std::fs::rename(&new, &kept))
        .expect("a copy of the binary");
    kept
}

/// A site, running or not. Killed when dropped.
pub struct Site {
    pub name: String,
    /// Address for clients.
    pub kafka: String,
    /// Address for operators.
    pub admin: String,
    /// Its data directory.
    pub data: PathBuf,
    owns: Vec<String>,
    links: Vec<PathBuf>,
    producer_tag: Option<u16>,
    environment: Vec<(String, String)>,
    /// Bytes of a file system of its own.
    disk: Option<u64>,
    log: PathBuf,
    process: Option<Process>,
}

impl Site {
    /// Addresses and folders below `root`; nothing runs yet.
    pub fn new(root: &Path, name: &str, producer_tag: u16) -> Site {
        let host = place::address();
        Site {
            name: name.into(),
            kafka: format!("{host}:9092"),
            admin: format!("{host}:9644"),
            data: root.join(name),
            owns: Vec::new(),
            links: Vec::new(),
            producer_tag: Some(producer_tag),
            environment: Vec::new(),
            disk: None,
            log: root.join(format!("{name}.log")),
            process: None,
        }
    }

    /// It draws its tag itself.
    #[must_use]
    pub fn without_producer_tag(self) -> Site {
        Site {
            producer_tag: None,
            ..self
        }
    }

    #[must_use]
    pub fn owns(mut self, prefix: &str) -> Site {
        self.owns.push(prefix.into());
        self
    }

    /// Takes a link file at the next start.
    pub fn link(&mut self, file: PathBuf) {
        self.links.push(file);
    }

    /// More for the environment of its processes, from the next start on.
    pub fn environment(&mut self, variables: Vec<(String, String)>) {
        self.environment.extend(variables);
    }

    /// Its data directory is a file system of so many bytes that goes with the process. Only root
    /// may ask for it.
    pub fn on_a_disk_of(&mut self, bytes: u64) {
        self.disk = Some(bytes);
    }

    /// The binary, on a file system of its own if it is to have one: mounted where only this
    /// process and its children see it.
    fn binary(&self) -> Command {
        let Some(bytes) = self.disk else {
            return Command::new(gnomon());
        };
        std::fs::create_dir_all(&self.data).expect("a place to mount on");
        let mut command = Command::new("unshare");
        let script = r#"mount -t tmpfs -o size="$1" gnomon "$2" && shift 2 && exec "$@""#;
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        command.arg(bytes.to_string()).arg(&self.data).arg(gnomon());
        command
    }

    fn serve(&self) -> Command {
        let mut command = self.binary();
        command.arg("serve").arg("--data").arg(&self.data);
        command.args([
            "--listen",
            &self.kafka,
            "--advertise",
            &self.kafka,
            "--admin",
            &self.admin,
            "--site-name",
            &self.name,
        ]);
        if let Some(tag) = self.producer_tag {
            command.args(["--producer-tag", &tag.to_string()]);
        }
        for prefix in &self.owns {
            command.args(["--owns", prefix]);
        }
        for link in &self.links {
            command.arg("--link").arg(link);
        }
        command
            .env(
                "GNOMON_LOG",
                std::env::var("GNOMON_LOG").unwrap_or_else(|_| "info".into()),
            )
            .env("RUST_BACKTRACE", "1")
            .env_remove("FAILPOINTS")
            .envs(self.environment.iter().cloned());
        command
    }

    /// Starts and waits until it says that it is ready.
    pub fn start(&mut self) {
        self.start_with("");
    }

    /// As `start`, with failpoints: `name=action;name=action` (crate `fail`).
    pub fn start_with(&mut self, failpoints: &str) {
        self.start_process(failpoints);
        let ready = format!("site {}", self.name);
        self.running()
            .wait_for_line(START, |line| line.starts_with(&ready));
    }

    /// Starts, and does not wait: for a start that is meant to fail or to be killed.
    pub fn start_process(&mut self, failpoints: &str) {
        assert!(self.process.is_none(), "site {} runs already", self.name);
        let mut command = self.serve();
        if !failpoints.is_empty() {
            command.env("FAILPOINTS", failpoints);
        }
        self.process = Some(Process::start(command, &self.log));
    }

    pub fn running(&mut self) -> &mut Process {
        let name = &self.name;
        self.process
            .as_mut()
            .unwrap_or_else(|| panic!("site {name} does not run"))
    }

    /// Whether it was started and has not ended.
    pub fn alive(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.ended().is_none())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and its exit.
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self
            .process
            .take()
            .unwrap_or_else(|| panic!("site {} does not run", self.name));
        process.signal(Signal::TERM);
        process
            .wait(STOP)
            .unwrap_or_else(|| panic!("site {}: no clean stop within {STOP:?}", self.name))
    }

    /// `kill -9` and start.
    pub fn crash(&mut self) {
        self.kill();
        self.start();
    }

    /// SIGTERM and start.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Runs a second `serve` on the same data directory, at other addresses, for as long as it
    /// lives.
    pub fn second_on_the_same_data(&self) -> CommandResult {
        let host = place::address();
        let twin = Site {
            kafka: format!("{host}:9092"),
            admin: format!("{host}:9644"),
            links: Vec::new(),
            owns: self.owns.clone(),
            environment: Vec::new(),
            disk: None,
            producer_tag: self.producer_tag,
            ..Site::new(&self.data, "twin", 0)
        };
        process::run(
            Site {
                data: self.data.clone(),
                name: self.name.clone(),
                ..twin
            }
            .serve(),
            None,
            START,
        )
    }

    /// Runs `gnomon ARGUMENTS`.
    pub fn gnomon(&self, arguments: &[&str]) -> CommandResult {
        self.gnomon_within(arguments, PATIENCE)
    }

    fn gnomon_within(&self, arguments: &[&str], patience: Duration) -> CommandResult {
        let mut command = Command::new(gnomon());
        command.args(arguments).env_remove("FAILPOINTS");
        process::run(command, None, patience)
    }

    /// `gnomon link status NAME --format json`.
    pub fn status(&self, link: &str) -> Result<Status, String> {
        let outcome = self.gnomon(&[
            "link",
            "status",
            link,
            "--admin",
            &self.admin,
            "--format",
            "json",
        ]);
        if !outcome.succeeded() {
            return Err(format!("{}{}", outcome.out, outcome.err));
        }
        Status::parse(&outcome.out)
    }

    /// `gnomon link status NAME` as a person sees it.
    pub fn status_text(&self, link: &str) -> String {
        self.gnomon(&["link", "status", link, "--admin", &self.admin])
            .expect("link status")
    }

    /// `gnomon link failover NAME --topic T --yes --source-alive`, or `--all`; waits until done.
    /// The source may live or not.
    pub fn failover(&self, link: &str, topics: &[&str]) -> CommandResult {
        let mut arguments = vec!["link", "failover", link, "--yes", "--source-alive"];
        arguments.extend(["--admin", &self.admin]);
        if topics.is_empty() {
            arguments.push("--all");
        }
        for topic in topics {
            arguments.extend(["--topic", topic]);
        }
        self.gnomon_within(&arguments, Duration::from_secs(60))
    }

    /// `gnomon log hash DIR TOPIC-PARTITION [--to OFFSET]`: the sha256 alone.
    pub fn hash(&self, topic: &str, partition: i32, to: Option<i64>) -> Result<String, String> {
        let data = self.data.display().to_string();
        let partition = format!("{topic}-{partition}");
        let to = to.map(|offset| offset.to_string());
        let mut arguments = vec!["log", "hash", &data, &partition];
        if let Some(to) = &to {
            arguments.extend(["--to", to]);
        }
        let outcome = self.gnomon(&arguments);
        let hash = outcome
            .out
            .split_whitespace()
            .find(|word| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit()))
            .map(Into::into);
        hash.filter(|_| outcome.succeeded())
            .ok_or_else(|| format!("{outcome:?}"))
    }

    /// The metrics page.
    pub fn metrics(&self) -> String {
        http_get(&self.admin, "/metrics")
    }
}

/// `GET` over a socket: enough of HTTP for a test, and nothing to depend on.
pub fn http_get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address)
        .unwrap_or_else(|error| panic!("connect {address}: {error}"));
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a timeout");
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap_or_else(|error| panic!("ask {address}: {error}"));
    let mut answer = Vec::new();
    socket
        .read_to_end(&mut answer)
        .unwrap_or_else(|error| panic!("read {address}: {error}"));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "{address}{path}: {answer}"
    );
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default()
}
