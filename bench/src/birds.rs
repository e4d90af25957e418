//! Makes the canaries sing: short measurements of the machine, without any broker.

use crate::{
    canary::{Bird, Reading},
    failure::Failure,
    latency::Latencies,
    usage::Usage,
    warm,
};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Instant,
};

const MEMCPY_BYTES: usize = 256 << 20;
const STREAM_WRITES: usize = 4096;
const STREAM_WRITE_BYTES: usize = 128 << 10;
const ROUND_TRIPS: usize = 2000;
const FILE_BYTES: usize = 256 << 20;
const FILE_WRITE_BYTES: usize = 1 << 20;
const SYNCS: usize = 200;
const SYNC_BYTES: usize = 4096;
const TOUCH_BYTES: usize = 128 << 20;
const PAGE_BYTES: usize = 4096;

/// All of them, in `folder`, where brokers will write. Takes about two seconds.
pub fn sing(folder: &Path) -> Result<Reading, Failure> {
    let syncs = fdatasync(folder)?;
    let birds = [
        (Bird::FirstTouch, first_touch()?),
        (Bird::Memcpy, memcpy()),
        (Bird::Loopback, loopback()?),
        (Bird::RoundTrip, round_trips()?.ms(0.5)),
        (Bird::Write, write(folder)?),
        (Bird::Sync, syncs.ms(0.5)),
        (Bird::SyncP99, syncs.ms(0.99)),
    ];
    Ok(Reading(birds.into_iter().collect()))
}

/// GiB/s, into pages that are there.
fn memcpy() -> f64 {
    let (source, mut target) = (vec![1_u8; MEMCPY_BYTES / 2], vec![2_u8; MEMCPY_BYTES / 2]);
    let start = Instant::now();
    for _ in 0..2 {
        std::hint::black_box(&mut target).copy_from_slice(std::hint::black_box(&source));
    }
    MEMCPY_BYTES as f64 / (1 << 30) as f64 / start.elapsed().as_secs_f64()
}

/// GB/s.
fn loopback() -> Result<f64, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let receiver = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = vec![0; STREAM_WRITE_BYTES];
        while stream.read(&mut buffer)? > 0 {}
        stream.write_all(&[1])
    });
    let mut stream = TcpStream::connect(address)?;
    let data = vec![7; STREAM_WRITE_BYTES];
    let start = Instant::now();
    for _ in 0..STREAM_WRITES {
        stream.write_all(&data)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_exact(&mut [0])?;
    let took = start.elapsed();
    receiver
        .join()
        .map_err(|_| "the receiver of the loopback canary panicked")??;
    Ok((STREAM_WRITES * STREAM_WRITE_BYTES) as f64 / 1e9 / took.as_secs_f64())
}

fn round_trips() -> Result<Latencies, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let echo = thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    drop(stream);
    echo.join()
        .map_err(|_| "the echo of the round trip canary panicked")??;
    Ok(Latencies::of(times))
}

/// GB/s, over pages that were just touched.
fn write(folder: &Path) -> Result<f64, Failure> {
    warm::touch_pages(folder, FILE_BYTES as u64)?;
    let path = folder.join("canary-write");
    let mut file = fs::File::create(&path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let data = vec![3; FILE_WRITE_BYTES];
    let start = Instant::now();
    for _ in 0..FILE_BYTES / FILE_WRITE_BYTES {
        file.write_all(&data)?;
    }
    let took = start.elapsed();
    drop(file);
    fs::remove_file(&path)?;
    Ok(FILE_BYTES as f64 / 1e9 / took.as_secs_f64())
}

/// Latency of fdatasync after appending 4 KiB.
fn fdatasync(folder: &Path) -> Result<Latencies, Failure> {
    let path = folder.join("canary-sync");
    let mut file = fs::File::create(&path)
        .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0x5a; SYNC_BYTES])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    drop(file);
    fs::remove_file(&path)?;
    Ok(Latencies::of(times))
}

/// CPU-s/GB of this process while it touches memory that it has just been given.
fn first_touch() -> Result<f64, Failure> {
    let before = Usage::of(std::process::id())?.cpu_seconds;
    // Zeroed memory of this size is mapped and not touched by the allocator.
    let mut memory = vec![0_u8; TOUCH_BYTES];
    for page in memory.chunks_mut(PAGE_BYTES) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    Ok((Usage::of(std::process::id())?.cpu_seconds - before) * 1e9 / TOUCH_BYTES as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_takes_time_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = fdatasync(folder.path()).expect("a file that can be synced");
        assert!(
            found.count() == SYNCS as u64 && found.max_ms() > 0.0005,
            "{found:?}"
        );
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
    }

    #[test]
    fn a_byte_comes_back() {
        assert_eq!(round_trips().expect("loopback").count(), ROUND_TRIPS as u64);
    }
}
