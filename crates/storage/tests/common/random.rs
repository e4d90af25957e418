//! A random life of one log, by seed, against a `Vec`: append, flush, truncate, trim, retain, roll,
//! reopen, lose power.
//!
//! What must hold: a process that dies loses nothing; a power loss takes nothing below what was
//! called flushed, and what it takes is a tail of whole batches; everything else reads back byte
//! for byte.

use super::{LogModel, batch, check, read_all};
use gnomon_protocol::ids::{BatchEpoch, Offset};
use gnomon_storage::{
    Boot, CheckpointExtra, FlushPoint, Log, LogOptions, MemDisk, RetentionLimits,
};
use std::{path::PathBuf, sync::Arc};

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

struct Life {
    rng: Rng,
    disk: MemDisk,
    options: LogOptions,
    log: Option<Log>,
    model: LogModel,
    /// Taken some steps ago and not carried out yet.
    point: Option<FlushPoint>,
    story: Vec<String>,
    power_losses: u64,
}

/// Lives one life, and says how often it lost its power; panics, with its story, when the log and
/// the model part.
pub fn live(seed: u64, steps: usize) -> u64 {
    let mut rng = Rng(seed);
    let options = LogOptions {
        segment_bytes: 1_500 + rng.below(20_000),
        segment_ms: (rng.below(2) == 0).then(|| 100 + rng.below(1_000) as i64),
        index_interval_bytes: rng.below(1_500) as u32,
        index_bytes_max: 40 + rng.below(400) as u32,
        checkpoint_bytes: 3_000 + rng.below(20_000),
        ..LogOptions::default()
    };
    let disk = MemDisk::new();
    let start = rng.below(3) as i64 * 7;
    let log = Log::create(Arc::new(disk.clone()), dir(), options.clone(), start).expect("created");
    let model = LogModel {
        start,
        end: start,
        ..LogModel::default()
    };
    let mut life = Life {
        rng,
        disk,
        options,
        log: Some(log),
        model,
        point: None,
        story: Vec::new(),
        power_losses: 0,
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            life.step();
        }
        life.power_loss();
    }));
    if let Err(panic) = outcome {
        eprintln!("seed {seed}, the last of its {} steps:", life.story.len());
        life.story
            .iter()
            .rev()
            .take(25)
            .rev()
            .for_each(|line| eprintln!("  {line}"));
        std::panic::resume_unwind(panic);
    }
    life.power_losses
}

fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

impl Life {
    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open")
    }

    fn note(&mut self, what: String) {
        self.story.push(what);
    }

    fn step(&mut self) {
        match self.rng.below(40) {
            0..=17 => self.append(),
            18..=21 => self.flush(),
            22 => {
                self.point = Some(self.log().flush_point());
                self.note("take a flush point".into());
            }
            23 | 24 => self.finish_point(),
            25 | 26 => self.checkpoint(),
            27 => self.truncate(),
            28 => self.trim(),
            29 => self.retain(),
            30 => self.advance(),
            31..=33 => self.reopen(Boot::Same),
            34..=36 => self.power_loss(),
            _ => self.read(),
        }
    }

    fn append(&mut self) {
        let mut batches = Vec::new();
        let mut end = self.model.end;
        for _ in 0..1 + self.rng.below(6) {
            let jump = if self.rng.below(30) == 0 {
                self.rng.below(50) as i64
            } else {
                0
            };
            let salt = self.rng.below(1 << 40);
            let bytes = if self.rng.below(8) == 0 {
                self.rng.below(6_000)
            } else {
                self.rng.below(300)
            };
            let batch = batch(
                end + jump,
                1 + self.rng.below(4) as i32,
                bytes as usize / 4,
                salt,
            );
            end = batch.next_offset();
            batches.push(batch);
        }
        self.log().append(&batches).expect("appended");
        batches.iter().for_each(|batch| self.model.push(batch));
        self.note(format!("append {} batches up to {end}", batches.len()));
    }

    fn flush(&mut self) {
        let point = self.log().flush_point();
        point.sync().expect("synced");
        let end = self.model.end;
        assert_eq!(self.log().flushed_to(&point), end);
        self.note(format!("flush to {end}"));
    }

    fn finish_point(&mut self) {
        if let Some(point) = self.point.take() {
            point.sync().expect("synced");
            let flushed = self.log().flushed_to(&point);
            assert!(flushed <= self.model.end);
            self.note(format!(
                "finish the point of {}: flushed to {flushed}",
                point.end()
            ));
        }
    }

    fn checkpoint(&mut self) {
        let end = self.model.end;
        let extra = CheckpointExtra {
            epochs: vec![(BatchEpoch(0), self.model.start)],
            producer_snapshot_at: end,
        };
        self.log().checkpoint(extra).expect("written");
        let flushed = self.log().flushed();
        self.note(format!("checkpoint, flushed {flushed}"));
    }

    fn somewhere(&mut self) -> Offset {
        let (start, end) = (self.model.start, self.model.end);
        start - 3 + self.rng.below((end - start + 6) as u64) as i64
    }

    fn truncate(&mut self) {
        let end = self.somewhere().max(0);
        let got = self.log().truncate_to(end).expect("truncated");
        self.model.truncate(end);
        self.note(format!("truncate to {end}: {got}"));
        assert_eq!(got, self.model.end);
    }

    fn trim(&mut self) {
        let start = self.somewhere();
        self.log().trim_to(start).expect("trimmed");
        self.model.trim(start);
        self.note(format!("trim to {start}"));
    }

    fn retain(&mut self) {
        let limits = RetentionLimits {
            bytes: Some(self.rng.below(40_000)),
            before_timestamp: Some(1_000 + self.somewhere()),
        };
        let bound = self.somewhere();
        let start = self.log().retain(limits, bound).expect("retained");
        if let Some(start) = start {
            assert!(start <= bound.max(self.model.start));
            self.model.trim(start);
        }
        self.note(format!("retain {limits:?} below {bound}: {start:?}"));
    }

    fn advance(&mut self) {
        let to = self.model.end + self.rng.below(20) as i64;
        self.log().advance_end(to).expect("advanced");
        self.model.end = to;
        self.note(format!("advance to {to}"));
    }

    fn reopen(&mut self, boot: Boot) {
        self.point = None;
        if boot == Boot::Same && self.rng.below(2) == 0 {
            self.log().release_reserved();
        }
        self.log = None;
        let opened = Log::open(
            Arc::new(self.disk.clone()),
            dir(),
            self.options.clone(),
            boot,
        )
        .expect("opened");
        self.note(format!(
            "open: {:?}, end {}",
            opened.recovered,
            opened.log.end()
        ));
        assert_eq!(opened.recovered.damaged, [], "nothing was damaged");
        if boot == Boot::Same {
            assert_eq!(opened.recovered.cut, None, "nothing was torn");
        }
        self.log = Some(opened.log);
        if boot == Boot::Same {
            check(self.log.as_ref().expect("open"), &self.model);
        }
    }

    fn power_loss(&mut self) {
        let flushed = self.log().flushed();
        let seed = self.rng.below(u64::MAX);
        self.note(format!(
            "power loss {seed}, flushed {flushed} of {}",
            self.model.end
        ));
        self.disk.power_loss(seed);
        self.power_losses += 1;
        self.reopen(Boot::Other);
        let end = self.log().end();
        assert!(
            end >= flushed,
            "the log ends at {end}, but {flushed} was flushed"
        );
        assert!(
            end <= self.model.end,
            "the log ends at {end}, but only {} was written",
            self.model.end
        );
        self.model.truncate(end);
        assert_eq!(self.model.end, end, "the log ends between batches");
        check(self.log.as_ref().expect("open"), &self.model);
    }

    fn read(&mut self) {
        let (start, end) = (self.model.start, self.model.end);
        let from = start + self.rng.below((end - start + 1) as u64) as i64;
        let upper = start + self.rng.below((end - start + 1) as u64) as i64;
        let bytes_max = self.rng.below(5_000) as usize;
        let (got, damaged) = read_all(&self.log().reader(), from, upper, bytes_max);
        let wanted: Vec<_> = self
            .model
            .batches
            .iter()
            .filter(|(_, next, _)| *next > from && *next <= upper)
            .map(|(_, _, bytes)| bytes.clone())
            .collect();
        assert_eq!(damaged, []);
        super::same(&got, &wanted, &format!("read {from} to {upper}"));
    }
}
