//! Gnomon: the workspace's release binary, built here as a user would, or the one that `GNOMON_BIN` names.

use super::{Durability, Peer, Running};
use crate::{
    Failure, place,
    process::{Process, log_file, output},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// From exec to the line that says it is ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// A built binary.
pub struct Gnomon {
    program: PathBuf,
}

/// One site to run.
pub struct Site<'a> {
    pub name: &'a str,
    pub kafka: String,
    pub admin: String,
    /// Prefixes of topics.
    pub owns: &'a [&'a str],
    /// Link files.
    pub links: &'a [PathBuf],
    /// Another one at each site.
    pub producer_tag: u16,
    pub write_caching: bool,
}

impl Gnomon {
    /// `cargo build --release -p gnomon` in the target folder of this program.
    pub fn build() -> Result<Gnomon, Failure> {
        if let Some(given) = std::env::var_os("GNOMON_BIN") {
            return Ok(Gnomon { program: given.into() });
        }
        eprintln!("building gnomon");
        let target = place::target()?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--release", "-p", "gnomon", "--target-dir"]).arg(&target).current_dir(place::workspace());
        output("cargo build --release -p gnomon", &mut cargo)?;
        Ok(Gnomon { program: target.join("release/gnomon") })
    }

    /// Starts a site below `folder` and returns when it says that it is ready.
    pub fn serve(&self, folder: &Path, site: &Site<'_>) -> Result<Process, Failure> {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--data").arg(folder.join(site.name));
        command.args(["--listen", &site.kafka, "--advertise", &site.kafka, "--admin", &site.admin, "--site-name", site.name]);
        command.args(["--producer-tag", &site.producer_tag.to_string()]);
        for prefix in site.owns {
            command.args(["--owns", prefix]);
        }
        for link in site.links {
            command.arg("--link").arg(link);
        }
        if site.write_caching {
            command.arg("--write-caching");
        }
        let mut process = Process::start(&format!("gnomon, site {}", site.name), command, log_file(folder, site.name))?;
        process.wait_for_line(&format!("site {}", site.name), READY_MAX)?;
        Ok(process)
    }
}

impl Peer for Gnomon {
    fn name(&self) -> &'static str {
        "gnomon"
    }

    fn offers(&self) -> &'static [Durability] {
        &[Durability::Fsync, Durability::PageCache]
    }

    fn start(&self, folder: &Path, durability: Durability) -> Result<Running, Failure> {
        let [kafka, admin] = place::free_ports()?.map(|port: u16| format!("127.0.0.1:{port}"));
        let site = Site {
            name: "bench",
            kafka: kafka.clone(),
            admin,
            owns: &[],
            links: &[],
            producer_tag: 1,
            write_caching: durability == Durability::PageCache,
        };
        Ok(Running { process: Some(self.serve(folder, &site)?), bootstrap: kafka, client_options: Vec::new() })
    }
}

/// Two sites that shadow each other: `a` owns `a_*`, `b` owns `b_*`.
pub struct Pair {
    pub a: Process,
    pub b: Process,
    /// Where clients connect.
    pub a_kafka: String,
    pub b_kafka: String,
}

impl Pair {
    /// Starts both below `folder`.
    pub fn start(gnomon: &Gnomon, folder: &Path, write_caching: bool) -> Result<Pair, Failure> {
        let [a_kafka, a_admin, b_kafka, b_admin] = place::free_ports()?.map(|port: u16| format!("127.0.0.1:{port}"));
        let [from_a, from_b] = [[link_file(folder, "a", &a_kafka)?], [link_file(folder, "b", &b_kafka)?]];
        let site = |name, kafka: &String, admin, owns, links, producer_tag| Site {
            name,
            kafka: kafka.clone(),
            admin,
            owns,
            links,
            producer_tag,
            write_caching,
        };
        let a = gnomon.serve(folder, &site("a", &a_kafka, a_admin, &["a_"], &from_b, 1))?;
        let b = gnomon.serve(folder, &site("b", &b_kafka, b_admin, &["b_"], &from_a, 2))?;
        Ok(Pair { a, b, a_kafka, b_kafka })
    }

    /// Stops both cleanly.
    pub fn stop(self) -> Result<(), Failure> {
        self.a.stop()?;
        self.b.stop()
    }
}

/// The file of a link that shadows what `source` owns; everything else at its default.
fn link_file(folder: &Path, source: &str, bootstrap: &str) -> Result<PathBuf, Failure> {
    let path = folder.join(format!("from-{source}.yaml"));
    let text = format!(
        "name: from-{source}\n\
         client_options:\n  bootstrap_servers: [\"{bootstrap}\"]\n\
         topic_metadata_sync_options:\n  auto_create_shadow_topic_filters:\n    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {source}_ }}\n\
         consumer_offset_sync_options:\n  group_filters:\n    - {{ pattern_type: PREFIX, filter_type: INCLUDE, name: {source}_ }}\n"
    );
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}
