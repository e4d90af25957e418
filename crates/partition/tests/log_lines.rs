//! Log lines of a partition name its topic and its index: an operator knows no ids.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::*;
use gnomon_partition::{Role, Settings};
use gnomon_storage::disk::Fault;
use std::{
    io::{self, Write},
    sync::{Mutex, Once},
};

/// Everything that the process logged. A subscriber for one thread would be switched off for a line
/// that another thread logs first, because tracing remembers for the process who wants a line.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Collector;

impl Write for Collector {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Collector)
            .init();
    });
}

/// The lines about a topic that contain `words`.
fn lines(topic: &str, words: &str) -> Vec<String> {
    let logged = String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap();
    let about = format!("topic={topic} partition=0");
    logged
        .lines()
        .filter(|line| line.contains(&about) && line.contains(words))
        .map(str::to_owned)
        .collect()
}

fn named(topic: &str) -> Settings {
    Settings {
        name: topic.into(),
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_error_and_what_follows_are_told_by_topic_and_partition() {
    collect();
    let disk = disk();
    let handle = open(&disk, Role::leader(1), named("a_orders"));
    append(&handle, plain(3, 0));
    disk.fail_next(Fault::Sync);
    handle.control().flush().await.unwrap_err();
    assert_eq!(lines("a_orders", "closed to writing").len(), 1);
    let successor = handle
        .control()
        .reopen(Role::leader(2), named("a_orders"))
        .unwrap();
    handle.control().succeeded_by(&successor);
    assert_eq!(lines("a_orders", "ended=3").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_once_by_topic_and_partition() {
    collect();
    let disk = disk();
    let handle = open(&disk, Role::leader(1), named("a_payments"));
    append(&handle, plain(1, 0));
    disk.set_capacity(Some(disk.used_bytes() + 20));
    for _ in 0..3 {
        handle
            .appender()
            .append(plain(100, 1), CLIENT, NOW)
            .unwrap_err();
    }
    disk.set_capacity(None);
    append(&handle, plain(1, 1));
    assert_eq!(lines("a_payments", "refuses writes").len(), 1);
    assert_eq!(lines("a_payments", "takes writes again").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_start_finds_is_told_by_topic_and_partition() {
    collect();
    let disk = disk();
    let handle = open(&disk, Role::leader(1), named("a_refunds"));
    append(&handle, plain(3, 0));
    handle.control().flush().await.unwrap();
    drop(handle);
    open_after_power_loss(&disk, Role::leader(2), named("a_refunds"));
    assert_eq!(lines("a_refunds", "read back").len(), 1);
}
