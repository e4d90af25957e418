//! Gnomon: the workspace's binary of the profile `dist`, as the container has it, or the one that `GNOMON_BIN`
//! names.

use super::{
    name::{Durability, PeerName},
    peer::{Peer, fsync_or_page_cache},
    running::{Installed, Program},
};
use crate::{failure::Failure, place, process::output};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A built binary.
#[derive(Clone)]
pub struct Gnomon {
    program: PathBuf,
}

/// One site to run.
pub struct Site<'a> {
    pub name: &'a str,
    pub kafka: String,
    /// Prefixes of topics.
    pub owns: &'a [&'a str],
    /// Link files.
    pub links: &'a [PathBuf],
    /// Another one at each site.
    pub producer_tag: u16,
    pub durability: Durability,
}

impl Gnomon {
    /// `cargo build --profile dist -p gnomon` in the target folder of this program.
    pub fn build() -> Result<Gnomon, Failure> {
        if let Some(given) = std::env::var_os("GNOMON_BIN") {
            // Brokers are started in folders of their own.
            let program = fs::canonicalize(&given)
                .map_err(|error| format!("GNOMON_BIN names {}: {error}", given.display()))?;
            return Ok(Gnomon { program });
        }
        eprintln!("building gnomon");
        let target = place::target()?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--profile", "dist", "-p", "gnomon", "--target-dir"])
            .arg(&target)
            .current_dir(place::workspace());
        output("cargo build --profile dist -p gnomon", cargo)?;
        Ok(Gnomon {
            program: target.join("dist/gnomon"),
        })
    }

    /// A site below `folder`.
    pub fn site(&self, folder: &Path, site: &Site<'_>) -> Result<Installed, Failure> {
        let [admin] = place::free_ports()?;
        let mut program = Program::new(&self.program)
            .args(["serve", "--data"])
            .args([folder.join(site.name)])
            .args([
                "--listen",
                &site.kafka,
                "--advertise",
                &site.kafka,
                "--admin",
                &format!("127.0.0.1:{admin}"),
            ])
            .args([
                "--site-name",
                site.name,
                "--producer-tag",
                &site.producer_tag.to_string(),
            ]);
        for prefix in site.owns {
            program = program.args(["--owns", prefix]);
        }
        for link in site.links {
            program = program.args(["--link"]).args([link]);
        }
        if site.durability == Durability::PageCache {
            program = program.args(["--write-caching"]);
        }
        Ok(Installed::new(
            PeerName::Gnomon,
            site.durability,
            program,
            site.kafka.clone(),
            folder,
        ))
    }
}

impl Peer for Gnomon {
    fn offers(&self, asked: Durability) -> Option<Durability> {
        fsync_or_page_cache(asked)
    }

    fn install(&self, folder: &Path, durability: Durability) -> Result<Installed, Failure> {
        let [kafka] = place::free_ports()?;
        let site = Site {
            name: "bench",
            kafka: format!("127.0.0.1:{kafka}"),
            owns: &[],
            links: &[],
            producer_tag: 1,
            durability,
        };
        self.site(folder, &site)
    }
}
