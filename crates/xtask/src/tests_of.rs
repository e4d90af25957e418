//! Builds test programs once and runs single tests of them, each in a process of its own with a
//! deadline.
//!
//! Invariant: a test that was not run never counts as passed: a request for a name that matches
//! nothing is told so.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A test: package, test program (`lib` for the unit tests), and what its name begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// The cargo package.
    pub package: &'static str,
    /// The file in its `tests/`, or `lib`.
    pub program: &'static str,
    /// A part of the test's name; everything that has is run.
    pub filter: &'static str,
}

/// How a run went.
#[derive(Debug)]
pub enum TestResult {
    /// At least one test ran, and all that ran passed. What they printed.
    Passed(String),
    /// One failed. What they printed.
    Failed(String),
    /// Not done in time, and killed.
    Hung,
    /// No test has such a name.
    NotFound,
}

/// The built programs: by package and program, the file and the folder to run it in.
pub struct Programs(BTreeMap<(String, String), (PathBuf, PathBuf)>);

/// Builds what these tests need, with this feature of each package where there is one.
pub fn build(tests: &[Test], feature: Option<&str>) -> Result<Programs, String> {
    let mut packages: Vec<&str> = tests.iter().map(|test| test.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "test",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    for package in &packages {
        cargo.args(["--package", package]);
    }
    if let Some(feature) = feature {
        cargo.arg("--features").arg(
            packages
                .iter()
                .map(|package| format!("{package}/{feature}"))
                .collect::<Vec<_>>()
                .join(","),
        );
    }
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("run cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".into());
    }
    let mut programs = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let (Some(executable), Some(manifest)) = (
            message["executable"].as_str(),
            message["manifest_path"].as_str(),
        ) else {
            continue;
        };
        let Some(folder) = PathBuf::from(manifest).parent().map(PathBuf::from) else {
            continue;
        };
        let kind = message["target"]["kind"][0].as_str().unwrap_or_default();
        let program = if kind == "lib" {
            "lib"
        } else {
            message["target"]["name"].as_str().unwrap_or_default()
        };
        let package = packages.iter().find(|package| {
            message["package_id"]
                .as_str()
                .is_some_and(|id| is_of(id, package))
        });
        if let Some(package) = package {
            programs.insert(
                ((*package).to_owned(), program.to_owned()),
                (PathBuf::from(executable), folder),
            );
        }
    }
    Ok(Programs(programs))
}

/// Whether a package id, such as `path+file:///src/crates/storage#gnomon-storage@0.1.0`, is of that
/// package.
fn is_of(id: &str, package: &str) -> bool {
    let fragment = id.rsplit('#').next().unwrap_or_default();
    let name = fragment.split('@').next().unwrap_or_default();
    // Where folder and package have the same name the fragment is the version alone.
    name == package
        || id
            .split('#')
            .next()
            .is_some_and(|path| path.ends_with(&format!("/{package}")))
}

impl Programs {
    /// Runs a test, with these variables in its environment.
    pub fn run(
        &self,
        test: &Test,
        environment: &[(&str, &str)],
        deadline: Duration,
    ) -> Result<TestResult, String> {
        let key = (test.package.to_owned(), test.program.to_owned());
        let Some((program, folder)) = self.0.get(&key) else {
            return Ok(TestResult::NotFound);
        };
        let mut command = Command::new(program);
        command
            .args([test.filter, "--nocapture", "--test-threads=1"])
            .current_dir(folder)
            .env("CARGO", env!("CARGO"));
        command
            .env_remove("FAILPOINTS")
            .envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("run {}: {error}", program.display()))?;
        let printed = [reader(child.stdout.take()), reader(child.stderr.take())];
        let passed = wait(&mut child, deadline)
            .map_err(|error| format!("wait for {}: {error}", program.display()))?;
        let printed: String = printed
            .into_iter()
            .map(|reader| reader.join().unwrap_or_default())
            .collect();
        Ok(match passed {
            None => TestResult::Hung,
            Some(_) if printed.contains("running 0 tests") => TestResult::NotFound,
            Some(true) => TestResult::Passed(printed),
            Some(false) => TestResult::Failed(printed),
        })
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has given all that it had.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether it succeeded; `None` if it had to be killed.
fn wait(child: &mut Child, deadline: Duration) -> io::Result<Option<bool>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if began.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}
