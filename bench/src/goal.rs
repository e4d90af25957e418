//! The figures to reach: a limit is an expression over the other peers of the same run and the
//! machine's canaries, so that goals are ratios taken side by side wherever they can be. Pure.
//!
//! Invariant: a verdict is never better than its evidence. What was not measured makes it "untold",
//! a strange machine, a short run or a row that nobody has proved possible makes it "provisional".

use crate::{canary::Bird, figure::Figure, peers::PeerName};
use serde::Serialize;

/// A figure that Gnomon is to reach in a case.
#[derive(Clone, Debug)]
pub struct Goal {
    /// The row of the table of goals in `bench/README.md`: P1 and so on.
    pub row: &'static str,
    pub figure: Figure,
    /// Which part of a sample; empty for those of one part.
    pub part: &'static str,
    pub limit: Limit,
    /// Nobody has measured yet what is possible.
    pub provisional: bool,
}

/// A number that others decide.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// A number; for a figure that depends on the machine's speed it holds only where the canaries
    /// stand in their ranges.
    Fixed(f64),
    Times(f64, Reference),
    Sum(Vec<Limit>),
    /// Whichever is easier to keep.
    Easier(Vec<Limit>),
}

/// The figure that a limit is a multiple of: the same figure in the same case.
#[derive(Clone, Debug, PartialEq)]
pub enum Reference {
    Peer(PeerName),
    /// The best of those that were measured.
    Best(&'static [PeerName]),
    Canary(Bird),
}

/// The figures that a limit is looked up in.
pub trait Evidence {
    /// The peer's figure in the goal's part of the case.
    fn figure(&self, peer: PeerName, part: &str, figure: Figure) -> Option<f64>;
    /// The mean over the blocks that were kept.
    fn canary(&self, bird: Bird) -> Option<f64>;
    /// Whether absolute limits do not hold here.
    fn strange_machine(&self) -> bool;
    /// Why nothing of this run settles a goal, such as its shortness.
    fn reservation(&self) -> Option<&'static str>;
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    Met,
    NotMet,
    Provisional { met: bool, why: String },
    Untold { why: String },
}

impl Verdict {
    /// As the tables say it.
    pub fn text(&self) -> String {
        match self {
            Verdict::Met => "met".to_owned(),
            Verdict::NotMet => "NOT MET".to_owned(),
            Verdict::Provisional { met, why } => format!(
                "provisional: {} ({why})",
                if *met { "met" } else { "not met" }
            ),
            Verdict::Untold { why } => format!("cannot be told: {why}"),
        }
    }
}

/// A goal and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    pub row: &'static str,
    pub subject: String,
    pub figure: Figure,
    pub value: Option<f64>,
    /// As an expression.
    pub limit: String,
    /// As a number, where it could be told.
    pub limit_value: Option<f64>,
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl Goal {
    /// A settled goal about a sample of one part.
    pub fn new(row: &'static str, figure: Figure, limit: Limit) -> Goal {
        Goal {
            row,
            figure,
            part: "",
            limit,
            provisional: false,
        }
    }

    pub fn of_part(mut self, part: &'static str) -> Goal {
        self.part = part;
        self
    }

    pub fn provisional(mut self) -> Goal {
        self.provisional = true;
        self
    }

    /// Judges `subject` by it.
    pub fn judge(&self, subject: PeerName, evidence: &impl Evidence) -> Judgement {
        let better = self.figure.better();
        let value = evidence.figure(subject, self.part, self.figure);
        let mut missing = Vec::new();
        let limit_value = self.value(&self.limit, evidence, &mut missing);
        let verdict = match (value, limit_value) {
            (None, _) => Verdict::Untold {
                why: "it was not measured".to_owned(),
            },
            (Some(_), None) => Verdict::Untold {
                why: format!("without {}", missing.join(", ")),
            },
            (Some(value), Some(limit)) => {
                let met = better.keeps(value, limit);
                // What is missing could only have made the limit easier.
                if !met && !missing.is_empty() {
                    Verdict::Untold {
                        why: format!("without {}", missing.join(", ")),
                    }
                } else {
                    self.reserve(met, evidence)
                }
            }
        };
        let part = if self.part.is_empty() {
            String::new()
        } else {
            format!(", {}", self.part)
        };
        let limit = format!("{} {}", better.sign(), self.limit.text());
        Judgement {
            row: self.row,
            subject: subject.name().to_owned() + &part,
            figure: self.figure,
            value,
            limit,
            limit_value,
            verdict,
        }
    }

    fn reserve(&self, met: bool, evidence: &impl Evidence) -> Verdict {
        let mut reservations: Vec<String> = evidence
            .reservation()
            .map(str::to_owned)
            .into_iter()
            .collect();
        if self.provisional {
            reservations.push("the row is provisional".to_owned());
        }
        if self.figure.is_of_speed() && self.limit.is_absolute() && evidence.strange_machine() {
            reservations.push("another class of machine, see canaries".to_owned());
        }
        match (reservations.is_empty(), met) {
            (false, met) => Verdict::Provisional {
                met,
                why: reservations.join("; "),
            },
            (true, true) => Verdict::Met,
            (true, false) => Verdict::NotMet,
        }
    }

    /// The limit as far as it can be told; what it would need beside is added to `missing`.
    fn value(
        &self,
        limit: &Limit,
        evidence: &impl Evidence,
        missing: &mut Vec<String>,
    ) -> Option<f64> {
        let better = self.figure.better();
        let peer = |peer: PeerName| evidence.figure(peer, self.part, self.figure);
        match limit {
            Limit::Fixed(value) => Some(*value),
            Limit::Times(factor, reference) => {
                let found = match reference {
                    Reference::Peer(name) => peer(*name),
                    Reference::Best(names) => names
                        .iter()
                        .filter_map(|&name| peer(name))
                        .reduce(|one, other| better.best(one, other)),
                    Reference::Canary(bird) => evidence.canary(*bird),
                };
                if found.is_none() {
                    missing.push(reference.text());
                }
                Some(factor * found?)
            }
            Limit::Sum(parts) => {
                let parts: Vec<Option<f64>> = parts
                    .iter()
                    .map(|part| self.value(part, evidence, missing))
                    .collect();
                parts.into_iter().sum()
            }
            Limit::Easier(ways) => {
                let ways: Vec<Option<f64>> = ways
                    .iter()
                    .map(|way| self.value(way, evidence, missing))
                    .collect();
                ways.into_iter()
                    .flatten()
                    .reduce(|one, other| better.easier(one, other))
            }
        }
    }
}

impl Limit {
    /// A multiple of one peer's figure.
    pub fn of(factor: f64, peer: PeerName) -> Limit {
        Limit::Times(factor, Reference::Peer(peer))
    }

    fn is_absolute(&self) -> bool {
        match self {
            Limit::Fixed(_) => true,
            Limit::Times(..) => false,
            Limit::Sum(parts) | Limit::Easier(parts) => parts.iter().any(Limit::is_absolute),
        }
    }

    fn text(&self) -> String {
        let join = |parts: &[Limit], between: &str| {
            parts
                .iter()
                .map(Limit::text)
                .collect::<Vec<_>>()
                .join(between)
        };
        match self {
            Limit::Fixed(value) => value.to_string(),
            Limit::Times(factor, reference) => format!("{factor} x {}", reference.text()),
            Limit::Sum(parts) => join(parts, " + "),
            Limit::Easier(ways) => join(ways, " or "),
        }
    }
}

impl Reference {
    fn text(&self) -> String {
        match self {
            Reference::Peer(peer) => peer.name().to_owned(),
            Reference::Best(peers) => format!(
                "best of {}",
                peers
                    .iter()
                    .map(|peer| peer.name())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Reference::Canary(bird) => bird.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PeerName::{Gnomon, Kafka, Kfake, Mock};

    #[derive(Default)]
    struct FoundFigure {
        rates: Vec<(PeerName, f64)>,
        sync_ms: Option<f64>,
        strange: bool,
        quick: bool,
    }

    impl Evidence for FoundFigure {
        fn figure(&self, peer: PeerName, part: &str, figure: Figure) -> Option<f64> {
            assert_eq!((part, figure.head()), ("", self.head()));
            self.rates
                .iter()
                .find(|found| found.0 == peer)
                .map(|found| found.1)
        }
        fn canary(&self, bird: Bird) -> Option<f64> {
            assert_eq!(bird, Bird::Sync);
            self.sync_ms
        }
        fn strange_machine(&self) -> bool {
            self.strange
        }
        fn reservation(&self) -> Option<&'static str> {
            self.quick.then_some("a quick run")
        }
    }

    impl FoundFigure {
        fn head(&self) -> &'static str {
            if self.sync_ms.is_some() {
                "p50 ms"
            } else {
                "records/s"
            }
        }
    }

    const OTHERS: &[PeerName] = &[Kafka, Kfake];

    fn p1() -> Goal {
        Goal::new(
            "P1",
            Figure::Rate,
            Limit::Easier(vec![
                Limit::of(0.85, Mock),
                Limit::Times(1.8, Reference::Best(OTHERS)),
            ]),
        )
    }

    fn verdict(goal: &Goal, rates: &[(PeerName, f64)]) -> Verdict {
        goal.judge(
            Gnomon,
            &FoundFigure {
                rates: rates.to_vec(),
                ..FoundFigure::default()
            },
        )
        .verdict
    }

    #[test]
    fn the_easier_of_two_ways_is_enough() {
        // 0.85 x 1000 = 850, 1.8 x 600 = 1080.
        let others = [(Mock, 1000.0), (Kafka, 500.0), (Kfake, 600.0)];
        assert_eq!(
            verdict(&p1(), &[&others[..], &[(Gnomon, 900.0)]].concat()),
            Verdict::Met
        );
        assert_eq!(
            verdict(&p1(), &[&others[..], &[(Gnomon, 800.0)]].concat()),
            Verdict::NotMet
        );
    }

    #[test]
    fn what_is_missing_is_named_unless_it_could_not_change_the_verdict() {
        let kfake_alone = [(Kfake, 100.0), (Gnomon, 200.0)];
        assert_eq!(verdict(&p1(), &kfake_alone), Verdict::Met);
        assert_eq!(
            verdict(&p1(), &[(Kfake, 100.0), (Gnomon, 170.0)]).text(),
            "cannot be told: without mock"
        );
        assert_eq!(
            verdict(&p1(), &[(Gnomon, 170.0)]).text(),
            "cannot be told: without mock, best of kafka, kfake"
        );
        assert_eq!(
            verdict(&p1(), &[(Mock, 170.0)]).text(),
            "cannot be told: it was not measured"
        );
    }

    #[test]
    fn a_sum_of_canaries_is_a_limit() {
        let goal = Goal::new(
            "P6",
            Figure::P50,
            Limit::Sum(vec![
                Limit::Fixed(0.2),
                Limit::Times(2.0, Reference::Canary(Bird::Sync)),
            ]),
        );
        let evidence = |ms: f64, strange| FoundFigure {
            rates: vec![(Gnomon, ms)],
            sync_ms: Some(0.3),
            strange,
            quick: false,
        };
        let judged = goal.judge(Gnomon, &evidence(0.7, false));
        assert_eq!(
            (judged.limit.as_str(), judged.verdict),
            ("<= 0.2 + 2 x fdatasync p50 ms", Verdict::Met)
        );
        assert!((judged.limit_value.expect("told") - 0.8).abs() < 1e-9);
        assert_eq!(
            goal.judge(Gnomon, &evidence(0.9, false)).verdict,
            Verdict::NotMet
        );
        assert_eq!(
            goal.judge(Gnomon, &evidence(0.9, true)).verdict.text(),
            "provisional: not met (another class of machine, see canaries)"
        );
    }

    #[test]
    fn what_memory_holds_does_not_mind_a_strange_machine() {
        struct Holds;
        impl Evidence for Holds {
            fn figure(&self, _: PeerName, _: &str, _: Figure) -> Option<f64> {
                Some(5.0)
            }
            fn canary(&self, _: Bird) -> Option<f64> {
                None
            }
            fn strange_machine(&self) -> bool {
                true
            }
            fn reservation(&self) -> Option<&'static str> {
                None
            }
        }
        let verdict = |figure| {
            Goal::new("P11", figure, Limit::Fixed(6.0))
                .judge(Gnomon, &Holds)
                .verdict
                .text()
        };
        assert_eq!(
            (verdict(Figure::Anonymous), verdict(Figure::Accept)),
            (
                "met".to_owned(),
                "provisional: met (another class of machine, see canaries)".to_owned()
            )
        );
    }

    #[test]
    fn a_ratio_does_not_mind_a_strange_machine_but_a_short_run() {
        let goal = Goal::new("P2", Figure::Rate, Limit::of(0.5, Mock));
        let found = |quick| FoundFigure {
            rates: vec![(Gnomon, 600.0), (Mock, 1000.0)],
            strange: true,
            quick,
            ..FoundFigure::default()
        };
        assert_eq!(goal.judge(Gnomon, &found(false)).verdict, Verdict::Met);
        assert_eq!(
            goal.judge(Gnomon, &found(true)).verdict.text(),
            "provisional: met (a quick run)"
        );
        assert_eq!(
            goal.provisional()
                .judge(Gnomon, &found(false))
                .verdict
                .text(),
            "provisional: met (the row is provisional)"
        );
    }
}
