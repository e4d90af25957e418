//! A disk that fails under a running site: `shim/disk_faults.c`, compiled once, preloaded, and its
//! orders.
//!
//! Orders are given and taken back while the site runs; they survive it. Invariant: numbers count
//! calls of the ordered kinds from the order on.

use crate::place;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Calls that change files below the site's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// write, writev, pwrite, pwritev.
    Write = 1,
    /// fsync, fdatasync.
    Sync = 2,
    /// ftruncate.
    Truncate = 4,
    Rename = 8,
    /// open of a file that may be made.
    Open = 16,
}

// Where the orders' fields stand, as in the C source.
const SEEN: u64 = 0;
const FAILED: u64 = 8;
const FROM: u64 = 16;
const COUNT: u64 = 24;
const KIND: u64 = 32;
const ERROR: u64 = 36;
const BYTES: u64 = 40;

/// The orders of one site.
pub struct Shim {
    file: PathBuf,
    orders: File,
}

fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = place::built("shim");
        let _hold = place::hold(&folder);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/disk_faults.c");
        let library = folder.join("disk_faults.so");
        let output = Command::new("cc")
            .args([
                "-shared",
                "-fPIC",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-D_LARGEFILE64_SOURCE",
                "-o",
            ])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .output()
            .unwrap_or_else(|error| panic!("run cc: {error}"));
        assert!(
            output.status.success(),
            "cc: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        library
    })
}

impl Shim {
    /// Orders in a file below `root`; none yet.
    pub fn new(root: &Path) -> Shim {
        let file = root.join("disk-faults");
        let orders = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&file)
            .expect("a file for orders");
        orders.set_len(BYTES).expect("room for orders");
        Shim { file, orders }
    }

    /// The environment of a process whose files below `folder` are to fail.
    pub fn environment(&self, folder: &Path) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library()),
            ("DISK_FAULTS", self.file.as_path()),
            ("DISK_FAULTS_BELOW", folder),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .into()
    }

    fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.orders.read_exact_at(&mut bytes, at).expect("orders");
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.orders.write_all_at(bytes, at).expect("orders");
    }

    /// Makes calls of these kinds fail with this error: from the `nth` from now on, `count` in all.
    pub fn fail(&self, kinds: &[Kind], nth: u64, count: u64, error: rustix::io::Errno) {
        self.heal();
        self.put(FROM, &(self.get(SEEN) + nth).to_ne_bytes());
        self.put(COUNT, &count.to_ne_bytes());
        self.put(ERROR, &error.raw_os_error().to_ne_bytes());
        self.put(
            KIND,
            &kinds
                .iter()
                .fold(0, |all, kind| all | *kind as u32)
                .to_ne_bytes(),
        );
    }

    /// Nothing fails from now on.
    pub fn heal(&self) {
        self.put(KIND, &0_u32.to_ne_bytes());
    }

    /// How many calls were made to fail so far.
    pub fn failed(&self) -> u64 {
        self.get(FAILED)
    }
}
