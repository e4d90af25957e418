//! kfake, franz-go's Kafka in one Go process. Our `peers/kfake/main.go` starts it; its version is
//! that of the go.mod beside it.

use super::{
    name::{Durability, PeerName},
    peer::{Peer, fsync_or_page_cache},
    running::{Installed, Program},
};
use crate::{failure::Failure, place, process::output};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub struct Kfake {
    program: PathBuf,
}

impl Kfake {
    /// Builds it into `target/bench`; the first time Go downloads its modules.
    pub fn build() -> Result<Kfake, Failure> {
        let program = place::bench()?.join("kfake");
        eprintln!("building kfake");
        let mut go = Command::new("go");
        go.arg("build")
            .arg("-o")
            .arg(&program)
            .arg(".")
            .current_dir(place::workspace().join("bench/peers/kfake"));
        output("go build (kfake needs Go)", go)?;
        Ok(Kfake { program })
    }
}

impl Peer for Kfake {
    fn offers(&self, asked: Durability) -> Option<Durability> {
        fsync_or_page_cache(asked)
    }

    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        let [port] = place::free_ports()?;
        let program = Program::new(&self.program)
            .args(["-port", &port.to_string(), "-data"])
            .args([folder.join("data")]);
        let program = if durability == Durability::Fsync {
            program.args(["-sync"])
        } else {
            program
        };
        Ok(Installed::new(
            PeerName::Kfake,
            durability,
            program,
            format!("127.0.0.1:{port}"),
            folder,
        ))
    }
}
