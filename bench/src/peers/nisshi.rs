//! nisshi, formerly Tansu: a broker in Rust over storage engines of others, here SQLite in a file.
//! Built from its package in Rust's registry, which takes half an hour, so only when somebody asks
//! for it.

use super::{
    name::{Durability, PeerName},
    peer::Peer,
    running::{Installed, Program},
};
use crate::{failure::Failure, place, process::output};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The newest whose dependencies build with Rust 1.95: those of 0.7 and later ask for 1.96.
const VERSION: &str = "0.6.0";

pub struct Nisshi {
    program: PathBuf,
}

impl Nisshi {
    /// `cargo install` into `target/bench`, for this machine's own processor, unless it is there.
    pub fn build() -> Result<Nisshi, Failure> {
        let root = place::bench()?.join(format!("nisshi-{VERSION}"));
        let program = root.join("bin/nisshi");
        if !program.exists() {
            eprintln!("building nisshi {VERSION}, which takes about half an hour");
            let mut cargo =
                Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args([
                "install",
                "nisshi",
                "--version",
                VERSION,
                "--locked",
                "--no-default-features",
                "--features",
                "libsql",
                "--root",
            ]);
            cargo
                .arg(&root)
                .env("RUSTFLAGS", "-C target-cpu=native")
                .current_dir(root.parent().unwrap_or(&root));
            output("cargo install nisshi", cargo)?;
        }
        Ok(Nisshi { program })
    }
}

impl Peer for Nisshi {
    /// Its SQLite commits without waiting for the disk at each batch.
    fn offers(&self, asked: Durability) -> Option<Durability> {
        (asked == Durability::PageCache).then_some(asked)
    }

    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        let [port] = place::free_ports()?;
        let bootstrap = format!("127.0.0.1:{port}");
        let program = Program::new(&self.program)
            .args([
                "broker",
                "--silent",
                "--listener-url",
                &format!("tcp://{bootstrap}"),
            ])
            .args(["--advertised-listener-url", &format!("tcp://{bootstrap}")])
            // Below the folder that it is started in.
            .args(["--storage-engine", "sqlite://nisshi.db"]);
        Ok(Installed::new(
            PeerName::Nisshi,
            durability,
            program,
            bootstrap,
            folder,
        ))
    }
}
