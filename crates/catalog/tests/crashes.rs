//! A failover that dies at every point and is taken up again ends exactly as one that did not.

mod support;

use gnomon_catalog::*;
use gnomon_links::{
    ClientOptions, GroupSync, LinkConfig, LinkName, TopicState, TopicSync, plan_topics::*,
};
use gnomon_machine::{DurableRecord, EncodedRecord, Machine, Mono, Now, ReplyToken, Wall};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch};
use std::collections::VecDeque;
use support::{filter, id_of};

const NOW: Now = Now {
    mono: Mono(0),
    wall: Wall(0),
};

/// A site whose partitions answer every action at once, through an encoded log.
#[derive(Default)]
struct Site {
    image: Image,
    soft: Soft,
    log: Vec<EncodedRecord>,
    events: VecDeque<Event>,
    told: Vec<Reply>,
    tokens: u64,
}

impl Site {
    fn ask(&mut self, event: Event) {
        self.tokens += 1;
        let effects = Catalog::step(
            &self.image,
            &mut self.soft,
            NOW,
            event,
            ReplyToken(self.tokens),
        );
        self.take(effects);
    }

    fn take(&mut self, effects: gnomon_machine::Effects<Catalog>) {
        for record in &effects.records {
            self.log.push(record.encode());
            self.image.apply(record);
        }
        self.told
            .extend(effects.replies.into_iter().map(|(_, reply)| reply));
        for action in effects.actions {
            match action {
                Action::Cut {
                    topic, partitions, ..
                } => {
                    self.events
                        .extend(partitions.into_iter().map(|partition| Event::CutReached {
                            topic,
                            partition,
                            end: 100 + i64::from(partition),
                            last_epoch: BatchEpoch(partition),
                            highest_seen: 65_536 * partition,
                        }))
                }
                Action::AbortOpen {
                    topic, partitions, ..
                } => {
                    self.events.extend(
                        partitions
                            .into_iter()
                            .map(|(partition, _)| Event::MarkersWritten { topic, partition }),
                    );
                }
                Action::ApplyOffsets { link, topics } => self
                    .events
                    .push_back(Event::OffsetsApplied { link, topics }),
                Action::DropTopic { .. } => {}
            }
        }
    }

    /// The process dies: what is in the log is all there is. `reports` in flight arrive late, after
    /// the start, or never.
    fn crash(&mut self, late: bool) {
        let late: Vec<Event> = self.events.drain(..).filter(|_| late).collect();
        self.image = Image::default();
        self.soft = Soft::default();
        for EncodedRecord { key, value } in &self.log {
            self.image
                .apply(&Record::decode(key.as_deref(), value.as_deref()).unwrap());
        }
        let effects = Catalog::led(&self.image, &mut self.soft, NOW);
        self.take(effects);
        self.events.extend(late);
    }

    /// Goes on until nothing is under way; gives the number of events that it took.
    fn settle(&mut self, at_most: usize) -> usize {
        for taken in 0..at_most {
            let Some(event) = self.events.pop_front() else {
                return taken;
            };
            self.ask(event);
        }
        at_most
    }
}

fn with_shadows(topics: usize) -> Site {
    let mut site = Site::default();
    let link = LinkId(id_of("link"));
    site.ask(Event::Register(Register {
        fresh_cluster_id: id_of("cluster"),
        name: "b".to_owned(),
        broker_id: 0,
        producer_tag: Some(2),
        owns: Vec::new(),
        endpoints: Vec::new(),
    }));
    site.ask(Event::CreateLink {
        id: link,
        config: Box::new(LinkConfig {
            name: LinkName::new("from-a").unwrap(),
            client: ClientOptions {
                bootstrap_servers: vec!["a:9092".to_owned()],
                ..ClientOptions::default()
            },
            topics: TopicSync {
                filters: vec![filter("a_*")],
                ..TopicSync::default()
            },
            groups: GroupSync::default(),
        }),
        source: LinkSource::Command,
    });
    let topics: Vec<SourceTopic> = (0..topics)
        .map(|n| SourceTopic {
            name: format!("a_{n}"),
            id: None,
            internal: false,
            partitions: (0..1 + n as i32 % 3)
                .map(|index| SourcePartition {
                    index,
                    leader_epoch: LeaderEpoch(3),
                })
                .collect(),
            configs: Default::default(),
            origin: None,
        })
        .collect();
    let fresh_ids = topics
        .iter()
        .map(|topic| (topic.name.clone(), id_of(&topic.name)))
        .collect();
    site.ask(Event::Discovered(Discovered {
        link,
        topics,
        fresh_ids,
        complete: true,
    }));
    site.told.clear();
    site
}

fn fail_over_all() -> Event {
    Event::FailOver(FailOver {
        link: "from-a".to_owned(),
        which: Which::All,
    })
}

fn is_through(reply: Option<&Reply>) -> bool {
    matches!(reply, Some(Reply::FailOver(Ok(done))) if done.whole && done.topics.iter().all(|topic| topic.stuck.is_none()))
}

#[test]
fn every_crash_point_ends_alike() {
    let mut straight = with_shadows(4);
    straight.ask(fail_over_all());
    let events = straight.settle(usize::MAX);
    assert!(is_through(straight.told.last()), "{:?}", straight.told);
    assert!(straight.image.topics.values().all(|topic| {
        topic
            .shadow
            .as_ref()
            .is_some_and(|s| s.state == TopicState::FailedOver)
    }));
    assert!(events > 10);

    for first in 0..=events {
        for second in [0, 1, 3, usize::MAX] {
            for late in [false, true] {
                let mut site = with_shadows(4);
                site.ask(fail_over_all());
                site.settle(first);
                site.crash(late);
                if second != usize::MAX {
                    site.settle(second);
                    site.crash(late);
                }
                site.settle(usize::MAX);
                assert_eq!(
                    site.image, straight.image,
                    "crash after {first} and {second} reports, late reports {late}"
                );
                site.ask(fail_over_all());
                assert!(is_through(site.told.last()));
                assert!(site.events.is_empty());
            }
        }
    }
}

#[test]
fn a_command_that_was_not_durable_was_never_taken() {
    let mut site = with_shadows(3);
    let durable = site.log.len();
    site.ask(fail_over_all());
    site.log.truncate(durable);
    site.crash(true);
    site.settle(usize::MAX);
    assert!(site.image.topics.values().all(|topic| {
        topic
            .shadow
            .as_ref()
            .is_some_and(|s| s.state == TopicState::Active)
    }));
}

/// 10,000 partitions are three record lists and no time.
#[test]
fn a_large_failover_is_three_record_lists() {
    let mut site = with_shadows(5_000);
    let lists = |site: &mut Site| {
        let mut lists = 0;
        loop {
            let before = site.log.len();
            let Some(event) = site.events.pop_front() else {
                return lists;
            };
            site.ask(event);
            lists += usize::from(site.log.len() > before);
        }
    };
    site.ask(fail_over_all());
    assert_eq!(
        lists(&mut site),
        2,
        "cut with epoch, and done; the fence was the command's own"
    );
    assert!(is_through(site.told.last()));
}
