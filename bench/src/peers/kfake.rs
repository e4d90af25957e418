//! kfake, franz-go's Kafka in one Go process. Our `peers/kfake/main.go` starts it; its version is that of the go.mod beside it.

use super::{Durability, Peer, Running};
use crate::{
    Failure, place,
    process::{Process, log_file, output},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Listening takes milliseconds; the rest is for a busy machine.
const READY_MAX: Duration = Duration::from_secs(30);

pub struct Kfake {
    program: PathBuf,
}

impl Kfake {
    /// Builds it into `target/bench`; the first time Go downloads its modules.
    pub fn build() -> Result<Kfake, Failure> {
        let program = place::bench()?.join("kfake");
        eprintln!("building kfake");
        let source = place::workspace().join("bench/peers/kfake");
        output(
            "go build (kfake needs Go; leave it out with --peers)",
            Command::new("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(source),
        )?;
        Ok(Kfake { program })
    }
}

impl Peer for Kfake {
    fn name(&self) -> &'static str {
        "kfake"
    }

    fn offers(&self) -> &'static [Durability] {
        &[Durability::Fsync, Durability::PageCache]
    }

    fn start(&self, folder: &Path, durability: Durability) -> Result<Running, Failure> {
        let [port] = place::free_ports()?;
        let mut command = Command::new(&self.program);
        command.arg("-port").arg(port.to_string()).arg("-data").arg(folder.join("data"));
        if durability == Durability::Fsync {
            command.arg("-sync");
        }
        let mut process = Process::start("kfake", command, log_file(folder, "kfake"))?;
        process.wait_for_line("ready ", READY_MAX)?;
        Ok(Running { process: Some(process), bootstrap: format!("127.0.0.1:{port}"), client_options: Vec::new() })
    }
}
