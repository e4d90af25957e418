//! Any prefix of the log is a state that was: the one that decided the batch after it. And a
//! snapshot may replace any prefix: the rest of the log leads from it to the same end.

use crate::{
    law::Clients,
    site::{GroupSite, rebuild},
};
use gnomon_groups::Groups;
use gnomon_machine::{
    DurableRecord, EncodedRecord, Machine,
    replay_law::{Rng, World},
};

/// A coordinator after some hundred random requests, with restarts between.
fn lived(seed: u64) -> GroupSite {
    let (mut clients, mut dice) = (Clients::default(), Rng::new(seed));
    let mut site = GroupSite::new(clients.config());
    for _ in 0..400 {
        let event = clients.event(&mut dice, &site.durable, site.now);
        let token = site.send(event);
        if let Some(reply) = site.reply(token) {
            clients.told(token, reply);
        }
        site.pass(dice.below(400));
        if dice.percent(1) {
            site.restart();
        }
    }
    site
}

#[test]
fn a_start_from_any_prefix_of_batches_gives_the_state_of_that_moment() {
    let mut batches = 0;
    for seed in 0..12 {
        let site = lived(seed);
        for (end, durable) in &site.batches {
            let rebuilt = rebuild(&site.log[..*end]);
            assert_eq!(&rebuilt, durable, "seed {seed}, {end} records");
        }
        batches += site.batches.len();
    }
    assert!(batches > 500, "{batches} batches");
}

#[test]
fn a_snapshot_in_place_of_any_prefix_leads_to_the_same_end() {
    for seed in 100..106 {
        let site = lived(seed);
        for (end, durable) in &site.batches {
            let snapshot = Groups::snapshot(durable);
            let encoded = snapshot.iter().map(DurableRecord::encode);
            let log: Vec<EncodedRecord> = encoded.chain(site.log[*end..].iter().cloned()).collect();
            assert_eq!(rebuild(&log), site.durable, "seed {seed}, {end} records");
        }
    }
}

/// Compaction keeps the last record of each key. The rest must rebuild the same state, or a log
/// cleaner would change committed offsets.
#[test]
fn the_last_record_of_each_key_alone_gives_the_same_state() {
    for seed in 200..212 {
        let site = lived(seed);
        let is_last = |at: usize| {
            let key = &site.log[at].key;
            site.log[at + 1..].iter().all(|later| &later.key != key)
        };
        let compacted: Vec<EncodedRecord> = (0..site.log.len())
            .filter(|at| is_last(*at))
            .map(|at| site.log[at].clone())
            .collect();
        assert!(compacted.len() < site.log.len() / 2, "seed {seed}");
        assert_eq!(rebuild(&compacted), site.durable, "seed {seed}");

        // Tombstones may be gone as well.
        let living: Vec<EncodedRecord> = compacted
            .into_iter()
            .filter(|record| record.value.is_some())
            .collect();
        assert_eq!(rebuild(&living), site.durable, "seed {seed}");
    }
}

/// A batch that was not appended is as if it had not been decided: a start from the prefix before
/// it leads the same members, and they can join again.
#[test]
fn a_start_from_any_prefix_can_be_led() {
    for seed in 300..306 {
        let site = lived(seed);
        for (end, _) in &site.batches {
            let mut again = GroupSite::new(Clients::default().config());
            again.log = site.log[..*end].to_vec();
            again.now = site.now;
            again.restart();
            // An hour without a sign of life: nobody is left, and nothing was parked for ever.
            again.pass(3_600_000);
            let (_, members) = again.soft.counts();
            assert_eq!(members, 0, "seed {seed}, {end} records");
        }
    }
}
