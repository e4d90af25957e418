//! What readers of a shadow asked that only its source can decide, and what the source has said
//! since. Pure.
//!
//! Asks are counted, and a word of the source says up to which ask it counts: "asked after the
//! request came" is a comparison of two numbers. Invariant: a word decides no ask that came after
//! its question was put. What was true then may have become false while the reader read on at the
//! source. What a word means for a position is `standing.rs`'s.

use gnomon_protocol::ids::{BatchEpoch, Offset};
use std::collections::BTreeMap;

/// One ask of a reader. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask(u64);

/// What a reader wants to know of the source's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Where it ends.
    End,
    /// Where this epoch ends.
    Epoch(BatchEpoch),
}

/// What is to be put to the source now, and up to which ask the answer counts. One epoch at a time:
/// that is how Kafka is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    upto: Ask,
    /// The epoch whose end is wanted, beside the end of the log.
    pub epoch: Option<BatchEpoch>,
}

/// Where an epoch ends at the source: the largest epoch at or below the one asked for, and its
/// (exclusive) end; `-1` and `-1` if it knows none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceEpochEnd {
    /// That epoch.
    pub epoch: BatchEpoch,
    /// The first offset that is not its own.
    pub end: Offset,
}

/// The source's answer to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceWord {
    /// Its high watermark.
    pub high_watermark: Offset,
    /// The end of the epoch that the question named.
    pub epoch_end: Option<SourceEpochEnd>,
}

/// Epochs that are asked for at once, at most. One more has to wait until another one was answered:
/// its reader, who is told "not here yet", asks again. (If it took the place of one that waits,
/// readers of more epochs than these could keep each other from ever being answered.)
const EPOCHS_WANTED_MAX: usize = 64;

/// Epochs whose ends are remembered, at most; of more the one that was answered first is forgotten.
/// Enough for every epoch that is asked for at once to be answered while the first reader comes
/// back for his.
const EPOCHS_KNOWN_MAX: usize = 2 * EPOCHS_WANTED_MAX;

/// The asks of one partition and the words on them.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    count: u64,
    /// The newest ask that nothing was said on yet, by what it is about.
    end_wanted: Option<Ask>,
    epochs_wanted: BTreeMap<BatchEpoch, Ask>,
    /// The newest words, and up to which ask each counts.
    end: Option<(Ask, Offset)>,
    epochs: BTreeMap<BatchEpoch, (Ask, SourceEpochEnd)>,
}

impl Asked {
    /// A reader asks. An earlier ask of the same reader about the same thing stands while nothing
    /// has been said on it, unless it was put before the partition was opened again.
    pub(crate) fn ask(&mut self, about: About, earlier: Option<Ask>) -> Ask {
        let ask = match earlier.filter(|ask| ask.0 <= self.count && !self.answered(about, *ask)) {
            Some(earlier) => earlier,
            None => {
                self.count += 1;
                Ask(self.count)
            }
        };
        match about {
            About::End => self.end_wanted = self.end_wanted.max(Some(ask)),
            About::Epoch(epoch) => {
                if let Some(wanted) = self.epochs_wanted.get_mut(&epoch) {
                    *wanted = ask.max(*wanted);
                } else if self.epochs_wanted.len() < EPOCHS_WANTED_MAX {
                    self.epochs_wanted.insert(epoch, ask);
                }
            }
        }
        ask
    }

    /// What has to be put to the source, if anything.
    pub(crate) fn question(&self) -> Option<Question> {
        let longest_waiting = self
            .epochs_wanted
            .iter()
            .min_by_key(|(_, ask)| **ask)
            .map(|(epoch, _)| *epoch);
        let wanted = self.end_wanted.is_some() || longest_waiting.is_some();
        wanted.then_some(Question {
            upto: Ask(self.count),
            epoch: longest_waiting,
        })
    }

    /// The source's answer.
    pub(crate) fn said(&mut self, question: Question, word: SourceWord) {
        let upto = question.upto;
        if self.end.is_none_or(|(known, _)| known <= upto) {
            self.end = Some((upto, word.high_watermark));
        }
        self.end_wanted = self.end_wanted.filter(|ask| *ask > upto);
        let (Some(epoch), Some(end)) = (question.epoch, word.epoch_end) else {
            return;
        };
        if self
            .epochs
            .get(&epoch)
            .is_none_or(|(known, _)| *known <= upto)
        {
            self.epochs.insert(epoch, (upto, end));
            forget_oldest(&mut self.epochs, |(upto, _)| *upto);
        }
        if self
            .epochs_wanted
            .get(&epoch)
            .is_some_and(|ask| *ask <= upto)
        {
            self.epochs_wanted.remove(&epoch);
        }
    }

    /// Where the source's log ended when it was asked after this ask.
    pub(crate) fn end(&self, ask: Ask) -> Option<Offset> {
        self.end
            .filter(|(upto, _)| *upto >= ask)
            .map(|(_, end)| end)
    }

    /// Where the epoch ended there, likewise.
    pub(crate) fn epoch_end(&self, epoch: BatchEpoch, ask: Ask) -> Option<SourceEpochEnd> {
        self.epochs
            .get(&epoch)
            .filter(|(upto, _)| *upto >= ask)
            .map(|(_, end)| *end)
    }

    fn answered(&self, about: About, ask: Ask) -> bool {
        match about {
            About::End => self.end(ask).is_some(),
            About::Epoch(epoch) => self.epoch_end(epoch, ask).is_some(),
        }
    }
}

fn forget_oldest<V>(of: &mut BTreeMap<BatchEpoch, V>, age: impl Fn(&V) -> Ask) {
    if of.len() > EPOCHS_KNOWN_MAX
        && let Some(oldest) = of
            .iter()
            .min_by_key(|(_, value)| age(value))
            .map(|(epoch, _)| *epoch)
    {
        of.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: BatchEpoch = BatchEpoch(7);

    fn word(high_watermark: Offset) -> SourceWord {
        SourceWord {
            high_watermark,
            epoch_end: None,
        }
    }

    fn word_on(epoch: i32, end: Offset) -> SourceWord {
        SourceWord {
            high_watermark: end,
            epoch_end: Some(SourceEpochEnd {
                epoch: BatchEpoch(epoch),
                end,
            }),
        }
    }

    #[test]
    fn a_word_counts_for_the_asks_before_its_question_only() {
        let mut asked = Asked::default();
        assert_eq!(asked.question(), None);
        let before = asked.ask(About::End, None);
        let question = asked.question().expect("somebody asks");
        let during = asked.ask(About::End, None);
        asked.said(question, word(30));
        assert_eq!((asked.end(before), asked.end(during)), (Some(30), None));
        let question = asked.question().expect("the later ask is still open");
        asked.said(question, word(40));
        assert_eq!((asked.end(before), asked.end(during)), (Some(40), Some(40)));
        assert_eq!(asked.question(), None);
    }

    #[test]
    fn an_ask_stands_until_it_is_answered() {
        let mut asked = Asked::default();
        let first = asked.ask(About::End, None);
        assert_eq!(asked.ask(About::End, Some(first)), first);
        let question = asked.question().expect("somebody asks");
        asked.said(question, word(5));
        let second = asked.ask(About::End, Some(first));
        assert!(
            second > first,
            "what was said on the first says nothing on the request that comes now"
        );
        assert_eq!(asked.end(second), None);
    }

    #[test]
    fn an_ask_of_another_life_is_asked_anew() {
        let mut before = Asked::default();
        for _ in 0..10 {
            before.ask(About::End, None);
        }
        let old = before.ask(About::End, None);
        let mut asked = Asked::default();
        let ask = asked.ask(About::End, Some(old));
        asked.said(asked.question().expect("somebody asks"), word(5));
        assert_eq!(asked.end(ask), Some(5));
    }

    #[test]
    fn an_answer_that_comes_late_does_not_hide_a_newer_one() {
        let mut asked = Asked::default();
        asked.ask(About::End, None);
        let slow = asked.question().expect("somebody asks");
        let second = asked.ask(About::End, None);
        let quick = asked.question().expect("somebody asks");
        asked.said(quick, word(50));
        asked.said(slow, word(10));
        assert_eq!(asked.end(second), Some(50));
    }

    #[test]
    fn epochs_are_asked_one_at_a_time_the_longest_waiting_first() {
        let mut asked = Asked::default();
        let seven = asked.ask(About::Epoch(SEVEN), None);
        let six = asked.ask(About::Epoch(BatchEpoch(6)), None);
        let question = asked.question().expect("somebody asks");
        assert_eq!(question.epoch, Some(SEVEN));
        asked.said(question, word_on(6, 60));
        assert_eq!(
            asked.epoch_end(SEVEN, seven),
            Some(SourceEpochEnd {
                epoch: BatchEpoch(6),
                end: 60
            })
        );
        assert_eq!(asked.epoch_end(BatchEpoch(6), six), None);
        assert_eq!(
            asked.question().and_then(|question| question.epoch),
            Some(BatchEpoch(6))
        );
    }

    #[test]
    fn a_word_without_the_epoch_leaves_it_open() {
        let mut asked = Asked::default();
        let ask = asked.ask(About::Epoch(SEVEN), None);
        let question = asked.question().expect("somebody asks");
        asked.said(question, word(3));
        assert_eq!(asked.epoch_end(SEVEN, ask), None);
        assert_eq!(
            asked.question().and_then(|question| question.epoch),
            Some(SEVEN)
        );
    }

    #[test]
    fn however_many_epochs_are_asked_for_few_are_remembered() {
        let mut asked = Asked::default();
        for round in 0..100 {
            for epoch in 0..1_000 {
                asked.ask(About::Epoch(BatchEpoch(1_000 * round + epoch)), None);
            }
            assert!(asked.epochs_wanted.len() <= EPOCHS_WANTED_MAX);
            while let Some(question) = asked.question() {
                asked.said(question, word_on(0, 0));
            }
        }
        assert!(asked.epochs.len() <= EPOCHS_KNOWN_MAX && asked.epochs_wanted.is_empty());
    }

    /// Readers of many epochs come back with their asks while the source answers one question after
    /// another.
    #[test]
    fn readers_of_many_epochs_are_all_answered() {
        for (readers, comes_back_after) in [(17, 1), (17, 16), (60, 40), (200, 3)] {
            let mut asked = Asked::default();
            let mut waiting: Vec<(BatchEpoch, Option<Ask>)> = (0..readers)
                .map(|epoch| (BatchEpoch(epoch), None))
                .collect();
            let mut rounds = 0;
            while !waiting.is_empty() {
                rounds += 1;
                assert!(
                    rounds < 10 * readers,
                    "{} of {readers} readers are never answered",
                    waiting.len()
                );
                waiting.retain_mut(|(epoch, ask)| {
                    if ask.is_some_and(|ask| asked.epoch_end(*epoch, ask).is_some()) {
                        return false;
                    }
                    *ask = Some(asked.ask(About::Epoch(*epoch), *ask));
                    true
                });
                for _ in 0..comes_back_after {
                    if let Some(question) = asked.question() {
                        asked.said(question, word_on(0, 0));
                    }
                }
            }
        }
    }
}
