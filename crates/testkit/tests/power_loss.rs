//! Power loss over a whole broker on a simulated disk: metadata, records, commits and producer
//! state.
//!
//! In each round clients write with acks=all and acks=1, read, commit, make topics and idempotent
//! producers; then the power goes at a random moment, and the site comes back on what is left.
//! Nothing acknowledged with acks=all is lost, nothing that a consumer saw, no commit, no topic;
//! and no offset is used again under the same epoch.

mod common;
mod lives;

use common::{make_topic, runtime};
use gnomon_testkit::{MemDisk, Site};
use lives::{Observed, TOPIC, check, live};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Several lives on one disk, each ended by a power loss; what is wrong after any of them.
fn lives_of(seed: u64) -> Vec<String> {
    let disk = MemDisk::new();
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = Observed::default();
    let runtime = runtime();
    for life in 0..5 {
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
                make_topic(&client, TOPIC).await;
            }
            let wrong = check(&client, &told).await;
            if wrong.is_empty() {
                live(&client, &mut told, &mut random).await;
            }
            wrong
        });
        if !wrong.is_empty() {
            return wrong
                .into_iter()
                .map(|wrong| format!("seed {seed}, life {life}: {wrong}"))
                .collect();
        }
        site.lose_power(random.random());
    }
    Vec::new()
}

/// Seeds of the ordinary run, and of the whole one; `GNOMON_POWER_LOSS_SEEDS` asks for others.
fn seeds() -> u64 {
    let asked = std::env::var("GNOMON_POWER_LOSS_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let full = std::env::var("GNOMON_FAULTS").is_ok_and(|how| how == "full");
    asked.unwrap_or(if full { 1_000 } else { 25 })
}

#[test]
fn power_loss_takes_nothing_that_was_promised() {
    for seed in 0..seeds() {
        let wrong = lives_of(seed);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
    println!("faults: lives that lost power: {}", 5 * seeds());
}
