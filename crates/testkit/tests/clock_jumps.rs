//! The wall clock steps back and forth, while a site runs and between its lives: nothing that was
//! promised is lost, nothing is stored twice, and the site goes on. Timers run by the monotonic
//! clock, which does not step.
//!
//! Not here: retention and expiry, which are told by the wall clock what is old, as in Apache
//! Kafka; the topic keeps everything.
#![expect(
    clippy::disallowed_methods,
    reason = "sites of this test run in real time"
)]

mod common;
mod lives;

use common::{make_topic_with, runtime};
use gnomon_client::{Client, fetcher::Isolation};
use gnomon_testkit::{MemDisk, Site};
use lives::{Observed, TOPIC, check, live};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

/// Steps, in milliseconds: a second, an hour, a day, ten years, and to before the first time of
/// Unix.
const STEPS: [i64; 9] = [
    0,
    1_000,
    -1_000,
    3_600_000,
    -3_600_000,
    86_400_000,
    -86_400_000,
    315_360_000_000,
    -4_000_000_000_000,
];

fn step(random: &mut StdRng) {
    let ms = STEPS[random.random_range(0..STEPS.len())];
    fail::cfg("wall_clock", &format!("return({ms})")).expect("a fail point");
}

/// Whether a record says that it was appended years from now: else no clock was ever stepped.
async fn from_the_future(client: &Client) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock behind 1970")
        .as_millis() as i64;
    let asked = BTreeMap::from([((TOPIC.to_owned(), 0), now + STEPS[7] / 2)]);
    let listed = client
        .list_offsets(&asked, Isolation::ReadUncommitted)
        .await;
    listed
        .values()
        .all(|found| found.as_ref().is_ok_and(|found| found.offset >= 0))
}

/// Some lives of one site; what is wrong after any of them, and whether a record is from the
/// future.
fn jumping(seed: u64, append_time: bool, stepped: &mut bool) -> Vec<String> {
    let disk = MemDisk::new();
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = Observed::default();
    let runtime = runtime();
    for life in 0..3 {
        step(&mut random);
        let site = match Site::start(&disk) {
            Ok(site) => site,
            Err(error) => {
                return vec![format!(
                    "seed {seed}, life {life}: the site does not start: {error}"
                )];
            }
        };
        let client = site.client();
        let wrong = runtime.block_on(async {
            if life == 0 {
                let kind = if append_time {
                    "LogAppendTime"
                } else {
                    "CreateTime"
                };
                let configs = [
                    ("retention.ms", "-1"),
                    ("message.timestamp.type", kind),
                    ("message.timestamp.after.max.ms", "9223372036854775807"),
                ];
                make_topic_with(&client, TOPIC, &configs).await;
            }
            for _ in 0..4 {
                step(&mut random);
                live(&client, &mut told, &mut random).await;
            }
            step(&mut random);
            *stepped |= from_the_future(&client).await;
            check(&client, &told).await
        });
        if !wrong.is_empty() {
            return wrong
                .into_iter()
                .map(|wrong| format!("seed {seed}, life {life}: {wrong}"))
                .collect();
        }
        // Nothing that was promised to survive the power alone is in question here.
        if random.random() {
            site.stop()
        } else {
            site.kill()
        }
    }
    Vec::new()
}

#[test]
fn the_wall_clock_may_step_as_it_likes() {
    let seeds = if std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full") {
        200
    } else {
        6
    };
    let mut stepped = false;
    for seed in 0..seeds {
        let wrong = jumping(seed, seed % 2 == 1, &mut stepped);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    assert!(stepped, "no clock was stepped");
    println!("faults: lives with a clock that steps: {}", 3 * seeds);
}
