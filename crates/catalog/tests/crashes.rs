//! Every series of recorded steps, disturbed at two of them: it ends as an undisturbed one does.
//!
//! A process dies, and the next one is a new incarnation; or an append to the metadata log is
//! refused, and the machine is led again in the same process.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod support;

use gnomon_catalog::*;
use gnomon_links::{
    ClientOptions, GroupSync, LinkConfig, LinkName, TopicState, TopicSync, plan_topics::*,
};
use gnomon_machine::{DurableRecord, EncodedRecord, Machine, Mono, Now, ReplyToken, Wall};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use support::{filter, id_of};

const NOW: Now = Now {
    mono: Mono(0),
    wall: Wall(0),
};

/// A disturbance of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The process dies. Reports that were under way arrive after the next start, or never.
    Dies { late: bool },
    /// The next append to the metadata log is refused.
    Refused,
}

const BLOWS: [Blow; 3] = [
    Blow::Dies { late: false },
    Blow::Dies { late: true },
    Blow::Refused,
];

/// A site whose partitions answer every action at once, through an encoded log.
#[derive(Default)]
struct CrashingSite {
    image: Image,
    soft: Soft,
    log: Vec<EncodedRecord>,
    events: VecDeque<Event>,
    told: Vec<Reply>,
    tokens: u64,
    /// The next append is refused.
    refuse: bool,
    /// By partition: the cut, and the newest epoch that its markers were written under.
    aborted: BTreeMap<(TopicId, i32), (Cut, LeaderEpoch)>,
    files: BTreeSet<TopicId>,
}

impl CrashingSite {
    /// Whether it was decided: false if what it changes could not be recorded.
    fn ask(&mut self, event: Event) -> bool {
        self.tokens += 1;
        let effects = Catalog::step(
            &self.image,
            &mut self.soft,
            NOW,
            event,
            ReplyToken(self.tokens),
        );
        if !effects.records.is_empty() && std::mem::take(&mut self.refuse) {
            self.soft = Soft::default();
            self.lead();
            return false;
        }
        self.take(effects);
        true
    }

    fn lead(&mut self) {
        let effects = Catalog::led(&self.image, &mut self.soft, NOW);
        self.take(effects);
    }

    fn take(&mut self, effects: gnomon_machine::Effects<Catalog>) {
        for record in &effects.records {
            self.log.push(record.encode());
            self.image.apply(record);
            if let Record::Topic(topic) = record {
                self.files.insert(topic.id);
            }
        }
        self.told
            .extend(effects.replies.into_iter().map(|(_, reply)| reply));
        for action in effects.actions {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Cut {
                topic, partitions, ..
            } => self
                .events
                .extend(partitions.into_iter().map(|partition| Event::CutReached {
                    topic,
                    partition,
                    end: 100 + i64::from(partition),
                    last_epoch: BatchEpoch(partition),
                    highest_seen: 65_536 * partition,
                })),
            Action::AbortOpen {
                topic, partitions, ..
            } => {
                for (partition, cut) in partitions {
                    self.abort(topic, partition, cut);
                    self.events
                        .push_back(Event::MarkersWritten { topic, partition });
                }
            }
            Action::ApplyOffsets { link, topics } => self
                .events
                .push_back(Event::OffsetsApplied { link, topics }),
            Action::DropTopic { id, .. } => drop(self.files.remove(&id)),
        }
    }

    /// Abort markers are written under the partition's epoch as it is now.
    fn abort(&mut self, topic: TopicId, partition: i32, cut: Cut) {
        let epoch = self.image.topics[&topic]
            .partition(partition)
            .unwrap()
            .leader_epoch;
        assert!(epoch >= cut.epoch, "it is never below the cut's");
        if let Some((before, used)) = self.aborted.insert((topic, partition), (cut, epoch)) {
            assert_eq!(cut, before, "a cut that is recorded stands");
            assert!(epoch >= used, "an epoch never goes back");
        }
    }

    fn suffer(&mut self, blow: Blow) {
        match blow {
            Blow::Dies { late } => self.crash(late),
            Blow::Refused => self.refuse = true,
        }
    }

    /// The process dies: what is in the log is all there is. `reports` in flight arrive late, after
    /// the start, or never.
    fn crash(&mut self, late: bool) {
        let late: Vec<Event> = self.events.drain(..).filter(|_| late).collect();
        self.refuse = false;
        self.image = Image::default();
        self.soft = Soft::default();
        for EncodedRecord { key, value } in &self.log {
            self.image
                .apply(&Record::decode(key.as_deref(), value.as_deref()).unwrap());
        }
        // As the broker does at a start with files of topics that are not there.
        self.files = self.image.topics.keys().copied().collect();
        self.lead();
        self.ask(Event::Incarnate);
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

    /// The image without the epochs of its incarnations, which are above those of the cuts.
    fn essence(&self) -> Image {
        let mut image = self.image.clone();
        image.incarnation = 0;
        for topic in Arc::make_mut(&mut image.topics).values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                if let Some(cut) = partition.cut {
                    assert!(partition.leader_epoch >= cut.epoch);
                    partition.leader_epoch = cut.epoch;
                }
            }
        }
        image
    }
}

fn with_shadows(topics: usize) -> CrashingSite {
    let mut site = CrashingSite::default();
    site.ask(register());
    site.ask(create_link());
    site.ask(discovered(topics));
    site.told.clear();
    site
}

fn register() -> Event {
    Event::Register(Register {
        fresh_cluster_id: id_of("cluster"),
        name: "b".to_owned(),
        broker_id: 0,
        producer_tag: Some(2),
        owns: Vec::new(),
        endpoints: Vec::new(),
    })
}

fn create_link() -> Event {
    Event::CreateLink {
        id: LinkId(id_of("link")),
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
    }
}

fn discovered(topics: usize) -> Event {
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
    Event::Discovered(Discovered {
        link: LinkId(id_of("link")),
        topics,
        fresh_ids,
        complete: true,
    })
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

/// Every ordered pair of events, the same one twice included, and every pair of blows.
#[test]
fn a_failover_disturbed_at_any_two_steps_ends_as_an_undisturbed_one() {
    let mut straight = with_shadows(2);
    straight.ask(fail_over_all());
    let events = straight.settle(usize::MAX);
    assert!(is_through(straight.told.last()), "{:?}", straight.told);
    assert!(straight.image.topics.values().all(|topic| {
        topic
            .shadow
            .as_ref()
            .is_some_and(|s| s.state == TopicState::FailedOver)
    }));
    assert_eq!(
        events, 7,
        "three partitions cut and aborted, and the offsets"
    );

    let blows = || {
        BLOWS
            .into_iter()
            .flat_map(|one| BLOWS.map(|two| (one, two)))
    };
    for (first, second) in (0..=events).flat_map(|one| (0..=events).map(move |two| (one, two))) {
        for (one, two) in blows() {
            let mut site = with_shadows(2);
            site.ask(fail_over_all());
            for (taken, blow) in [(first, one), (second, two)] {
                site.settle(taken);
                site.suffer(blow);
            }
            site.settle(usize::MAX);
            assert_eq!(
                site.essence(),
                straight.essence(),
                "{one:?} after {first} reports, {two:?} after {second} more"
            );
            site.refuse = false;
            site.ask(fail_over_all());
            assert!(is_through(site.told.last()));
            assert!(site.events.is_empty());
        }
    }
}

/// From the first start to the deletion of a link. A command is given again when the process died
/// before the answer, or could not record it.
fn life_of_a_link() -> Vec<Event> {
    let mut own = NewTopic::named("b_own", id_of("b_own"));
    own.partitions = 2;
    vec![
        register(),
        Event::CreateTopics(CreateTopics {
            topics: vec![own],
            origin: Origin::Client,
            validate_only: false,
        }),
        create_link(),
        Event::LinkContact {
            link: LinkId(id_of("link")),
            cluster_id: Some("cluster-a".to_owned()),
            peer: None,
        },
        discovered(2),
        Event::EpochsSeen {
            epochs: vec![(id_of("a_1"), 0, LeaderEpoch(7))],
        },
        fail_over_all(),
        Event::DeleteTopics {
            ids: vec![id_of("b_own"), id_of("a_0"), id_of("a_1")],
        },
        Event::DeleteLink {
            name: "from-a".to_owned(),
        },
    ]
}

/// Runs the commands, with blows after so many events of the site; gives the number of events.
fn run(commands: &[Event], blows: &[(usize, Blow)]) -> (CrashingSite, usize) {
    let mut site = CrashingSite::default();
    let (mut events, mut at) = (0, 0);
    // Whether the process died.
    let mut due = |site: &mut CrashingSite| {
        let mut died = false;
        for (_, blow) in blows.iter().filter(|(after, _)| *after == events) {
            site.suffer(*blow);
            died |= matches!(blow, Blow::Dies { .. });
        }
        events += 1;
        died
    };
    while let Some(command) = commands.get(at) {
        site.told.clear();
        let taken = !due(&mut site) && site.ask(command.clone());
        let mut died = !taken || due(&mut site);
        while !died && let Some(event) = site.events.pop_front() {
            site.ask(event);
            died = due(&mut site);
        }
        let answered = site.told.iter().any(|reply| *reply != Reply::Noted);
        at += usize::from(answered && !died);
    }
    (site, events)
}

#[test]
fn the_life_of_a_link_disturbed_at_any_two_steps_ends_as_an_undisturbed_one() {
    let commands = life_of_a_link();
    let (straight, events) = run(&commands, &[]);
    assert!(straight.image.topics.is_empty() && straight.image.links.is_empty());
    assert!(straight.image.link_names.contains("from-a"));
    assert!(events > 2 * commands.len());
    let blows = [Blow::Dies { late: true }, Blow::Refused];
    for (first, second) in (0..events).flat_map(|one| (one..events + 2).map(move |two| (one, two)))
    {
        for (one, two) in blows
            .into_iter()
            .flat_map(|one| blows.map(|two| (one, two)))
        {
            let (mut site, _) = run(&commands, &[(first, one), (second, two)]);
            let case = format!("{one:?} after event {first}, {two:?} after event {second}");
            assert_eq!(site.essence(), straight.essence(), "{case}");
            assert_eq!(site.files, straight.files, "{case}");
            site.crash(false);
            assert_eq!(site.essence(), straight.essence(), "{case}, read back");
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
    let lists = |site: &mut CrashingSite| {
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
