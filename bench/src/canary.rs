//! What the machine under the brokers can do at this moment. A figure is only as good as the canary beside it.
//!
//! So far one bird: fdatasync. Memory copies, loopback and first touch come with the side-by-side runs that need them.

use crate::{Failure, latency::Summary};
use std::{fs, io::Write, path::Path, time::Instant};

const SYNCS: usize = 200;
const BYTES: usize = 4096;

/// Latency of fdatasync after appending 4 KiB, in the folder where brokers will write.
pub fn fdatasync(folder: &Path) -> Result<Summary, Failure> {
    let path = folder.join("canary");
    let mut file = fs::File::create(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0x5a; BYTES])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    fs::remove_file(&path)?;
    Ok(Summary::of(times))
}
