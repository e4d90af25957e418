//! Retention, against a table of when each offset may go: no offset is erased before its time, and
//! none is left one check after it.

use crate::{
    site::GroupSite,
    words::{id, name},
};
use gnomon_groups::*;
use gnomon_machine::replay_law::Rng;
use std::collections::{BTreeMap, BTreeSet};

const RETENTION_MS: i64 = 40_000;
const CHECK_MS: i64 = 7_000;
const GROUPS: [&str; 3] = ["g", "h", "k"];
const TOPICS: [&str; 2] = ["t", "u"];

/// The time from which an offset's retention is counted.
#[derive(Clone, Copy)]
struct Kept {
    since_ms: i64,
    /// The end that the commit named itself.
    until_ms: Option<i64>,
}

struct RetentionRun {
    site: GroupSite,
    dice: Rng,
    expected: BTreeMap<(&'static str, &'static str, i32), Kept>,
    /// Groups and topics whose offsets a link keeps.
    linked: BTreeSet<(&'static str, &'static str)>,
    expired: u32,
}

impl RetentionRun {
    fn now(&self) -> i64 {
        self.site.now.wall.0
    }

    /// An administrator's commit: in groups without members anybody may commit.
    fn commit(&mut self, group: &'static str, topic: &'static str, partition: i32) {
        let kept_ms = self
            .dice
            .percent(30)
            .then(|| self.dice.below(90_000) as i64);
        let reply = self.site.ask(Event::Commit(Commit {
            group: name(group),
            member_id: name(""),
            instance_id: None,
            generation: -1,
            retention_ms: kept_ms,
            offsets: vec![CommitOffset {
                topic: name(topic),
                topic_id: id(1),
                is_current: true,
                partition,
                offset: 1,
                leader_epoch: -1,
                metadata: name(""),
                paired: false,
            }],
        }));
        assert_eq!(reply.into_committed().unwrap()[0].result, Ok(()));
        let now = self.now();
        let until_ms = kept_ms.map(|kept_ms| now + kept_ms);
        let kept = Kept {
            since_ms: now,
            until_ms,
        };
        self.expected.insert((group, topic, partition), kept);
        if self.linked.remove(&(group, topic)) {
            self.count_from_now(group, topic);
        }
    }

    /// The link releases the topic: its offsets, perhaps written long ago, have a whole retention
    /// from now.
    fn count_from_now(&mut self, group: &str, topic: &str) {
        let now = self.now();
        for ((of, on, _), kept) in &mut self.expected {
            if (*of, *on) == (group, topic) {
                kept.since_ms = now;
            }
        }
    }

    fn link_brings(&mut self, group: &'static str, topic: &'static str, partition: i32) {
        let reply = self.site.ask(Event::SyncOffsets(SyncOffsets {
            link: name("from-a"),
            group: name(group),
            offsets: vec![SyncOffset {
                topic: name(topic),
                topic_id: id(1),
                is_current: true,
                partition,
                offset: self.dice.below(9) as i64,
                leader_epoch: -1,
                metadata: name(""),
            }],
            complete: false,
            last: false,
            validate_only: false,
        }));
        let synced = reply.into_offsets_synced().unwrap();
        if synced[0].outcome == SyncOutcome::Applied {
            let kept = Kept {
                since_ms: self.now(),
                until_ms: None,
            };
            self.expected.insert((group, topic, partition), kept);
        }
        // The mark is the whole topic's: the link keeps all of its offsets from now on.
        self.linked.insert((group, topic));
    }

    fn link_ends(&mut self) {
        let reply = self.site.ask(Event::SyncEnded(SyncEnded {
            link: name("from-a"),
            topics: None,
        }));
        assert_eq!(reply.into_done(), Ok(true));
        for (group, topic) in std::mem::take(&mut self.linked) {
            self.count_from_now(group, topic);
        }
    }

    fn check(&mut self, seed: u64) {
        let (now, mut gone) = (self.site.now.wall.0, Vec::new());
        for (key @ (group, topic, partition), kept) in &self.expected {
            let there = self.site.durable.committed(group, topic, *partition);
            let due = kept.until_ms.unwrap_or(kept.since_ms + RETENTION_MS);
            if self.linked.contains(&(*group, *topic)) {
                assert!(there.is_some(), "seed {seed}: the link's {key:?} is gone");
            } else if now < due {
                assert!(
                    there.is_some(),
                    "seed {seed}: {key:?} is gone at {now} of {due}"
                );
            } else if now > due.max(kept.since_ms) + CHECK_MS {
                assert!(
                    there.is_none(),
                    "seed {seed}: {key:?} is left at {now} of {due}"
                );
            }
            if there.is_none() {
                gone.push(*key);
            }
        }
        for key in gone {
            self.expected.remove(&key);
            self.expired += 1;
        }
    }
}

#[test]
fn an_offset_is_kept_for_its_retention_and_for_one_check_longer_at_most() {
    let mut expired = 0;
    for seed in 0..40 {
        let mut run = RetentionRun {
            site: GroupSite::new(GroupConfig {
                offsets_retention_ms: RETENTION_MS as u64,
                offsets_check_interval_ms: CHECK_MS as u64,
                ..GroupConfig::default()
            }),
            dice: Rng::new(seed),
            expected: BTreeMap::new(),
            linked: BTreeSet::new(),
            expired: 0,
        };
        for _ in 0..200 {
            let (group, topic) = (*run.dice.pick(&GROUPS), *run.dice.pick(&TOPICS));
            let partition = run.dice.below(3) as i32;
            match run.dice.below(10) {
                0..=3 => run.commit(group, topic, partition),
                4..=5 => run.link_brings(group, topic, partition),
                6 => run.link_ends(),
                _ => {}
            }
            run.check(seed);
            let pause = run.dice.below(9_000);
            run.site.pass(pause);
            run.check(seed);
        }
        expired += run.expired;
    }
    assert!(expired > 500, "{expired}");
}
