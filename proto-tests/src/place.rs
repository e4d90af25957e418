//! Where things of a test run are: the workspace's target folder for what is built once, addresses
//! for what listens.
//!
//! Each server gets a loopback address of its own, so that ports are fixed, survive a restart, and
//! cannot be taken by an outgoing connection of somebody else in between.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The workspace's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a crate of a workspace has a folder above it")
}

/// A folder of our own below the target folder that this test was built into, made if it is
/// missing.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .map_or_else(|| workspace().join("target"), Path::to_path_buf);
    let folder = target.join("proto-tests").join(name);
    std::fs::create_dir_all(&folder)
        .unwrap_or_else(|error| panic!("make {}: {error}", folder.display()));
    folder
}

/// A loopback address that no other server of this or another running test process has.
pub fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(host < 250, "a test process starts at most 249 servers");
    let process = std::process::id();
    // 127.0.x.x is left to people, and to tests that name 127.0.0.1 themselves.
    format!("127.{}.{}.{}", 1 + process / 250 % 250, process % 250, host)
}

/// An exclusive hold on a folder that several test processes fill: released when dropped, or when
/// the process dies.
pub struct Hold(
    #[expect(dead_code, reason = "the lock lives as long as its file is open")] std::fs::File,
);

/// Waits for the hold.
pub fn hold(folder: &Path) -> Hold {
    let path = folder.join(".lock");
    let file = std::fs::File::create(&path)
        .unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .unwrap_or_else(|error| panic!("lock {}: {error}", path.display()));
    Hold(file)
}

/// Names and contents of all files below, in order: changes when one of them does.
pub fn fingerprint(folder: &Path) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)
            .unwrap_or_else(|error| panic!("list {}: {error}", next.display()))
            .flatten()
        {
            if entry.path().is_dir() {
                folders.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(&file)
            .unwrap_or_else(|error| panic!("read {}: {error}", file.display()))
            .hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
