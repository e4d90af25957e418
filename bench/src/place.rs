//! Where things of a bench are: what is built once and what is reported in `bench/` of the target
//! folder, data of a run in a temporary folder beside it, so that every peer writes to the file
//! system that the workspace is on.

use crate::failure::Failure;
use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Folders of a run that was cut off carry this, and the id of the process that made them.
const RUN_PREFIX: &str = "run-";

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a crate of a workspace has a folder above it")
}

/// The target folder that this program was built into; cargo marks it with a file.
pub fn target() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?;
    let marked = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists());
    Ok(marked.map_or_else(|| workspace().join("target"), Path::to_path_buf))
}

/// `target/bench`, made if it is missing.
pub fn bench() -> Result<PathBuf, Failure> {
    let folder = target()?.join("bench");
    fs::create_dir_all(&folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// A temporary folder for the data of a run, removed when dropped.
pub struct RunFolder(PathBuf);

/// Those that are there now, for when a signal ends us.
static RUN_FOLDERS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

impl RunFolder {
    /// A new one. What runs that were cut off have left goes first.
    pub fn new() -> Result<RunFolder, Failure> {
        let bench = bench()?;
        for entry in fs::read_dir(&bench)?.flatten() {
            let name = entry.file_name();
            let maker = name.to_str().and_then(made_by);
            if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                // A leftover that cannot be removed costs space, not correctness.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let prefix = format!("{RUN_PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&bench)
            .map_err(|error| format!("cannot make a folder in {}: {error}", bench.display()))?
            .keep();
        RUN_FOLDERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(folder.clone());
        Ok(RunFolder(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // What stays goes with the next run.
        let _ = fs::remove_dir_all(&self.0);
        RUN_FOLDERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.0);
    }
}

/// Removes all run folders: for when a signal ends this process.
pub fn remove_run_folders() {
    for folder in RUN_FOLDERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        // What stays goes with the next run.
        let _ = fs::remove_dir_all(folder);
    }
}

/// A folder of this name below, made.
pub fn folder(below: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = below.join(name);
    fs::create_dir(&folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// Bytes that can still be written below `folder`.
pub fn free_bytes(folder: &Path) -> Result<u64, Failure> {
    let found = rustix::fs::statvfs(folder)
        .map_err(|error| format!("how full is {}: {error}", folder.display()))?;
    Ok(found.f_bavail * found.f_frsize)
}

/// Whether `first` was made after `second`; when one is missing it was not.
pub fn newer(first: &Path, second: &Path) -> bool {
    let changed = |path: &Path| {
        fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    matches!((changed(first), changed(second)), (Some(first), Some(second)) if first >= second)
}

fn made_by(name: &str) -> Option<u32> {
    name.strip_prefix(RUN_PREFIX)?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

/// Ports of 127.0.0.1 that were free a moment ago, all different.
pub fn free_ports<const N: usize>() -> Result<[u16; N], Failure> {
    // All are held until the last is known, so that none is handed out twice.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| format!("no free port at 127.0.0.1: {error}"))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maker_of_a_run_folder_is_in_its_name() {
        assert_eq!(made_by("run-4711-AbC"), Some(4711));
        for other in ["run-", "run-x-AbC", "run-4711", "kfake", "produce.json"] {
            assert_eq!(made_by(other), None, "{other}");
        }
    }

    #[test]
    fn a_run_folder_goes_when_it_is_dropped() {
        let folder = RunFolder::new().expect("a folder");
        let path = folder.path().to_path_buf();
        assert!(free_bytes(&path).expect("a file system") > 0 && path.exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_missing_is_not_newer() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(
            newer(&file, &file)
                && !newer(&file, &folder.path().join("missing"))
                && !newer(&folder.path().join("missing"), &file)
        );
    }

    #[test]
    fn free_ports_differ() {
        let [a, b, c] = free_ports::<3>().expect("three free ports");
        assert!(a != b && b != c && a != c);
    }
}
