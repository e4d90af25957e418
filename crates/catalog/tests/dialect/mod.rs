//! The words in which the scripts of `testdata/` speak to the metadata machine.
//!
//! A source has the same topic configs as this site, but for those that `configs=` names; with
//! `silent` it reports only the named ones.
//!
//! A topic is written `name` or, when it is made a second time, `name#2`: its id follows from that.
//! Filters are written as status lines write them: `a_*`, `orders`, `!a_tmp*`.

use crate::support::{filter, id_of};
use gnomon_catalog::*;
use gnomon_links::{
    ClientOptions, GroupSync, LinkConfig, LinkName, LinkState, TopicState, TopicSync,
    failover::EpochPolicy,
    peer::{PeerLink, PeerSite, TopicOrigin},
    plan_topics::{SourcePartition, SourceTopic},
};
use gnomon_machine::harness::{Command, Dialect};
use gnomon_protocol::ids::{BatchEpoch, LeaderEpoch, TopicId};
use std::collections::BTreeMap;

fn name_of(topic: &str) -> String {
    topic.split('#').next().unwrap_or_default().to_owned()
}

fn pairs(list: Vec<String>) -> Result<BTreeMap<String, String>, String> {
    list.into_iter()
        .map(|pair| {
            pair.split_once(':')
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .ok_or_else(|| format!("{pair:?} is not KEY:VALUE"))
        })
        .collect()
}

fn number(text: &str) -> Result<i32, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

/// The configs that a source reports: those of this site, over them the ones that the command gives.
fn source_configs(
    command: &Command,
    site: &SiteDefaults,
) -> Result<BTreeMap<String, String>, String> {
    let given = pairs(command.list("configs"))?;
    if command.flag("silent") {
        return Ok(given);
    }
    let ours = CONFIG_KEYS.iter().map(|key| {
        let value = site.get(key.name).unwrap_or(key.default);
        (key.name.to_owned(), value.to_owned())
    });
    Ok(ours.chain(given).collect())
}

/// `name:E0/E1/...` with leader epochs, `@ID` after the name for a source topic id.
fn source_topic(
    text: &str,
    configs: &BTreeMap<String, String>,
    origin: Option<&TopicOrigin>,
) -> Result<SourceTopic, String> {
    let (name, epochs) = text.split_once(':').unwrap_or((text, "0"));
    let (name, id) = name
        .split_once('@')
        .map_or((name, None), |(name, id)| (name, Some(id_of(id))));
    let partitions = epochs
        .split('/')
        .zip(0..)
        .map(|(epoch, index)| {
            Ok(SourcePartition {
                index,
                leader_epoch: LeaderEpoch(number(epoch)?),
            })
        })
        .collect::<Result<_, String>>()?;
    Ok(SourceTopic {
        name: name.to_owned(),
        id,
        internal: false,
        partitions,
        configs: configs.clone(),
        origin: origin.cloned(),
    })
}

fn origin(command: &Command) -> Result<Option<TopicOrigin>, String> {
    let Some(cluster_id) = command.get("origin") else {
        return Ok(None);
    };
    let state = command.get("state").unwrap_or("ACTIVE");
    let numbers = |key: &str| -> Result<Vec<(i32, i64)>, String> {
        pairs(command.list(key))?
            .iter()
            .map(|(p, n)| Ok((number(p)?, i64::from(number(n)?))))
            .collect()
    };
    Ok(Some(TopicOrigin {
        cluster_id: cluster_id.to_owned(),
        link: command.get("link").unwrap_or("from-us").to_owned(),
        state: TopicState::from_name(state).ok_or("not a state")?,
        cuts: numbers("cuts")?.into_iter().collect(),
        epochs: numbers("epochs")?
            .into_iter()
            .map(|(p, e)| (p, e as i32))
            .collect(),
    }))
}

fn link_config(command: &Command) -> Result<LinkConfig, String> {
    Ok(LinkConfig {
        name: LinkName::new(command.word(0)?).map_err(|error| error.to_string())?,
        client: ClientOptions {
            bootstrap_servers: vec![command.get("at").unwrap_or("a:9092").to_owned()],
            source_cluster_id: command.get("source-cluster-id").map(str::to_owned),
            ..ClientOptions::default()
        },
        topics: TopicSync {
            filters: command
                .list("topics")
                .iter()
                .map(|text| filter(text))
                .collect(),
            ..TopicSync::default()
        },
        groups: GroupSync {
            filters: command
                .list("groups")
                .iter()
                .map(|text| filter(text))
                .collect(),
            ..GroupSync::default()
        },
    })
}

fn peer(command: &Command) -> Result<Option<SourceSite>, String> {
    let Some(name) = command.get("site") else {
        return Ok(None);
    };
    let site = PeerSite {
        name: name.to_owned(),
        cluster_id: command.get("id").unwrap_or_default().to_owned(),
        producer_tag: command.number("tag", 7)?,
        owns: command.list("owns"),
    };
    let links = command.get("back").map(|back| PeerLink {
        name: back.to_owned(),
        source_cluster_id: command.get("back-from").map(str::to_owned),
        state: LinkState::Active,
        topic_filters: command
            .list("back-topics")
            .iter()
            .map(|text| filter(text))
            .collect(),
        group_filters: command
            .list("back-groups")
            .iter()
            .map(|text| filter(text))
            .collect(),
        released: Vec::new(),
    });
    Ok(Some(SourceSite {
        site,
        links: links.into_iter().collect(),
    }))
}

/// Words and print of the metadata machine.
#[derive(Default)]
pub struct CatalogWords {
    names: BTreeMap<TopicId, String>,
}

impl CatalogWords {
    fn topic(&mut self, text: &str) -> TopicId {
        let id = id_of(text);
        self.names.insert(id, text.to_owned());
        id
    }

    fn name(&self, id: TopicId) -> String {
        self.names
            .get(&id)
            .cloned()
            .unwrap_or_else(|| id.to_string())
    }

    fn new_topics(&mut self, command: &Command) -> Result<Event, String> {
        let configs: Vec<(String, Option<String>)> = command
            .list("configs")
            .iter()
            .map(|pair| match pair.split_once(':') {
                Some((key, value)) => (key.to_owned(), Some(value.replace(';', ","))),
                None => (pair.clone(), None),
            })
            .collect();
        let mut assignments = Vec::new();
        for (partition, broker) in pairs(command.list("assign"))? {
            assignments.push((number(&partition)?, vec![number(&broker)?]));
        }
        let flags = ["auto", "site", "validate"];
        let topics = command
            .words
            .iter()
            .filter(|word| !flags.contains(&word.as_str()));
        let topics = topics
            .map(|word| {
                Ok(NewTopic {
                    name: name_of(word),
                    id: self.topic(word),
                    partitions: command.number("partitions", -1)?,
                    replication_factor: command.number("rf", -1)?,
                    configs: configs.clone(),
                    assignments: assignments.clone(),
                })
            })
            .collect::<Result<_, String>>()?;
        let origin = match (command.flag("auto"), command.flag("site")) {
            (true, _) => Origin::AutoCreate,
            (_, true) => Origin::Site,
            _ => Origin::Client,
        };
        Ok(Event::CreateTopics(CreateTopics {
            topics,
            origin,
            validate_only: command.flag("validate"),
        }))
    }
}

impl Dialect for CatalogWords {
    type M = Catalog;

    fn events(&mut self, command: &Command, soft: &mut Soft) -> Result<Vec<Event>, String> {
        let partition = || number(command.word(1)?);
        let event = match command.name.as_str() {
            "policy" => {
                soft.settings.epoch_policy = if command.flag("plus-one") {
                    EpochPolicy::PlusOne
                } else {
                    EpochPolicy::NextStride
                };
                return Ok(Vec::new());
            }
            "site-default" => {
                let (key, value) = (command.word(0)?.to_owned(), command.word(1)?.to_owned());
                soft.settings
                    .site_defaults
                    .set(&key, &value)
                    .map_err(|error| error.to_string())?;
                return Ok(Vec::new());
            }
            "register" => Event::Register(Register {
                fresh_cluster_id: id_of(command.get("fresh").unwrap_or("cluster")),
                name: command.word(0)?.to_owned(),
                broker_id: command.number("broker", 1)?,
                producer_tag: match command.get("tag") {
                    Some("drawn") => None,
                    _ => Some(command.number("tag", 5)?),
                },
                owns: command.list("owns"),
                endpoints: vec![Endpoint {
                    listener: "plain".to_owned(),
                    host: "localhost".to_owned(),
                    port: 9092,
                }],
            }),
            "incarnate" => Event::Incarnate,
            "ids" => Event::AllocateProducerIds {
                count: command.number("count", 1000)?,
            },
            "create" => self.new_topics(command)?,
            "delete" => Event::DeleteTopics {
                ids: command.words.iter().map(|word| self.topic(word)).collect(),
            },
            "alter" => Event::AlterTopicConfigs(AlterTopicConfigs {
                id: self.topic(command.word(0)?),
                set: pairs(command.list("set"))?,
                unset: command.list("unset"),
                validate_only: command.flag("validate"),
            }),
            "create-link" => Event::CreateLink {
                id: LinkId(id_of(command.get("as").unwrap_or(command.word(0)?))),
                config: Box::new(link_config(command)?),
                source: if command.flag("file") {
                    LinkSource::File
                } else {
                    LinkSource::Command
                },
            },
            "delete-link" => Event::DeleteLink {
                name: command.word(0)?.to_owned(),
            },
            "contact" => Event::LinkContact {
                link: LinkId(id_of(command.word(0)?)),
                cluster_id: command.get("id").map(str::to_owned),
                peer: peer(command)?,
            },
            "discover" => {
                let (configs, origin) = (
                    source_configs(command, &soft.settings.site_defaults)?,
                    origin(command)?,
                );
                let topics: Vec<SourceTopic> = command
                    .list("topics")
                    .iter()
                    .map(|text| source_topic(text, &configs, origin.as_ref()))
                    .collect::<Result<_, _>>()?;
                let again = command
                    .get("again")
                    .map_or(String::new(), |again| format!("#{again}"));
                let fresh_ids = topics
                    .iter()
                    .map(|topic| {
                        (
                            topic.name.clone(),
                            self.topic(&format!("{}{again}", topic.name)),
                        )
                    })
                    .collect();
                let complete = !command.flag("partial");
                Event::Discovered(Discovered {
                    link: LinkId(id_of(command.word(0)?)),
                    topics,
                    fresh_ids,
                    complete,
                })
            }
            "epochs" => {
                let topic = self.topic(command.word(0)?);
                let epochs = command
                    .list("seen")
                    .into_iter()
                    .zip(0..)
                    .map(|(epoch, p)| Ok((topic, p, LeaderEpoch(number(&epoch)?))));
                Event::EpochsSeen {
                    epochs: epochs.collect::<Result<_, String>>()?,
                }
            }
            "fault" => Event::TopicFaulted {
                topic: self.topic(command.word(0)?),
                reason: command.get("why").unwrap_or("it diverged").to_owned(),
                gap: command.get("gap").map(gap).transpose()?,
            },
            "reopening" => Event::Reopening {
                topic: self.topic(command.word(0)?),
                partition: partition()?,
                used: LeaderEpoch(command.number("used", 0)?),
            },
            "recover" => Event::TopicRecovered {
                topic: self.topic(command.word(0)?),
            },
            "taken-over" => Event::TakenOver {
                reports: vec![TakeoverReport {
                    topic: self.topic(command.word(0)?),
                    by: command.need("by")?.to_owned(),
                    cluster_id: "peer".to_owned(),
                    origin: origin(command)?.ok_or("origin= is missing")?,
                }],
            },
            "failover" => {
                let which = match (command.flag("all"), command.get("prefix")) {
                    (true, _) => Which::All,
                    (false, Some(prefix)) => Which::Prefix(prefix.to_owned()),
                    (false, None) => Which::Topics(command.list("topics")),
                };
                Event::FailOver(FailOver {
                    link: command.word(0)?.to_owned(),
                    which,
                })
            }
            "cut" => Event::CutReached {
                topic: self.topic(command.word(0)?),
                partition: partition()?,
                end: command.number("end", 0)?,
                last_epoch: BatchEpoch(command.number("last", -1)?),
                highest_seen: command.number("seen", -1)?,
            },
            "cut-failed" => Event::CutFailed {
                topic: self.topic(command.word(0)?),
                partition: partition()?,
                why: command
                    .get("why")
                    .unwrap_or("the disk is broken")
                    .to_owned(),
            },
            "markers" => Event::MarkersWritten {
                topic: self.topic(command.word(0)?),
                partition: partition()?,
            },
            "markers-failed" => Event::MarkersFailed {
                topic: self.topic(command.word(0)?),
                partition: partition()?,
                why: command.get("why").unwrap_or("the disk is full").to_owned(),
            },
            "offsets" => Event::OffsetsApplied {
                link: LinkId(id_of(command.word(0)?)),
                topics: command
                    .list("topics")
                    .iter()
                    .map(|word| self.topic(word))
                    .collect(),
            },
            other => return Err(format!("{other} is not a command")),
        };
        Ok(vec![event])
    }

    fn record(&mut self, record: &Record) -> String {
        match record {
            Record::Site(site) => {
                let Site {
                    cluster_id,
                    name,
                    broker_id,
                    producer_tag,
                    owns,
                } = site;
                format!(
                    "site {name}, cluster {cluster_id}, broker {broker_id}, tag {producer_tag}, owns [{}]",
                    owns.join(" ")
                )
            }
            Record::Broker(broker) => {
                format!("broker {}, {} endpoints", broker.id, broker.endpoints.len())
            }
            Record::Incarnated(incarnated) => format!("incarnation {}", incarnated.incarnation),
            Record::Topic(topic) => format!("topic {}", topic_line(topic)),
            Record::TopicDeleted(deleted) => format!("topic {} deleted", self.name(deleted.id)),
            Record::Epochs(epochs) => {
                let moved = epochs
                    .epochs
                    .iter()
                    .map(|e| format!(" {}-{}={}", self.name(e.topic), e.partition, e.epoch.0));
                format!("epochs{}", moved.collect::<String>())
            }
            Record::Link(link) => format!("link {}", link_line(link)),
            Record::LinkNames(names) => format!(
                "link names {}",
                names.iter().cloned().collect::<Vec<_>>().join(" ")
            ),
            Record::TakenOver(record) => {
                let TakenOver {
                    by,
                    link,
                    cuts,
                    epochs,
                    ..
                } = &record.taken_over;
                format!(
                    "topic {} taken over by {by} through {link}, cuts {cuts:?}, epochs {epochs:?}",
                    self.name(record.topic)
                )
            }
            Record::ProducerIds(ids) => format!("producer ids from {}", ids.next),
            Record::LinkDeleted(_) => "link deleted".to_owned(),
        }
    }

    fn reply(&mut self, reply: &Reply) -> String {
        fn or<T, E: std::fmt::Display>(
            result: &Result<T, E>,
            show: impl Fn(&T) -> String,
        ) -> String {
            result
                .as_ref()
                .map_or_else(|error| format!("REFUSED {error}"), show)
        }
        match reply {
            Reply::Register(result) => or(result, |r| {
                format!("registered, cluster {}, first {}", r.cluster_id, r.first)
            }),
            Reply::Incarnate(result) => or(result, |n| format!("incarnation {n}")),
            Reply::CreateTopics(topics) => {
                let show =
                    |t: &CreatedTopic| format!("{} partitions, {:?}", t.partitions, t.configs);
                topics
                    .iter()
                    .map(|topic| format!("{}: {}\n", topic.name, or(&topic.result, show)))
                    .collect()
            }
            Reply::DeleteTopics(topics) => topics
                .iter()
                .map(|(id, result)| {
                    format!(
                        "{}: {}\n",
                        self.name(*id),
                        or(result, |name| format!("{name} deleted"))
                    )
                })
                .collect(),
            Reply::AlterTopicConfigs(result) => or(result, |()| "altered".to_owned()),
            Reply::CreateLink(result) => or(result, |created| format!("{:?}", created.outcome)),
            Reply::DeleteLink(result) => or(result, |_| "deleted".to_owned()),
            Reply::LinkContact(result) => or(result, |fault| {
                fault
                    .as_ref()
                    .map_or("good".to_owned(), |fault| format!("FAULT {fault}"))
            }),
            Reply::Discovered(result) => or(result, |d| {
                let mut lines = String::new();
                let mut line = |word: &str, what: &dyn std::fmt::Debug, any: bool| {
                    if any {
                        lines.push_str(&format!("{word} {what:?}\n"));
                    }
                };
                line("created", &d.created, !d.created.is_empty());
                line("grown", &d.grown, !d.grown.is_empty());
                line("configured", &d.configured, !d.configured.is_empty());
                line("faulted", &d.faulted, !d.faulted.is_empty());
                line("missing", &d.missing, !d.missing.is_empty());
                line("unselected", &d.unselected, !d.unselected.is_empty());
                if lines.is_empty() {
                    "nothing new".to_owned()
                } else {
                    lines
                }
            }),
            Reply::EpochsSeen => "epochs seen".to_owned(),
            Reply::Topic(result) => or(result, |()| "done".to_owned()),
            Reply::FailOver(result) => or(result, |f| {
                let topics = f.topics.iter().map(|t| {
                    let stuck = t
                        .stuck
                        .as_ref()
                        .map_or(String::new(), |why| format!(", STUCK {why}"));
                    let cuts = t
                        .cuts
                        .iter()
                        .map(|cut| format!(" {}@{}", cut.end, cut.epoch.0))
                        .collect::<String>();
                    format!("\n{}:{cuts}{stuck}", t.name)
                });
                format!(
                    "failed over {}, whole {}{}",
                    f.link,
                    f.whole,
                    topics.collect::<String>()
                )
            }),
            Reply::Noted => "noted".to_owned(),
            Reply::AllocateProducerIds(result) => or(result, |b| {
                format!("{:#x} and {} more", b.start, b.count - 1)
            }),
            Reply::NotLeader => "NOT LEADER".to_owned(),
        }
    }

    fn action(&mut self, action: &Action) -> String {
        match action {
            Action::Cut {
                name,
                fence,
                partitions,
                ..
            } => format!("cut {name} {partitions:?} under fence {fence}"),
            Action::AbortOpen {
                name, partitions, ..
            } => {
                let cuts = partitions
                    .iter()
                    .map(|(p, cut)| format!(" {p}:{}@{}", cut.end, cut.epoch.0))
                    .collect::<String>();
                format!("abort open {name}{cuts}")
            }
            Action::ApplyOffsets { topics, .. } => {
                format!(
                    "apply offsets {}",
                    topics
                        .iter()
                        .map(|id| self.name(*id))
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            }
            Action::DropTopic {
                name, partitions, ..
            } => format!("drop {name} of {partitions} partitions"),
        }
    }

    fn show(&mut self, command: &Command, image: &Image, _: &Soft) -> Result<String, String> {
        match command.word(0)? {
            "topics" => Ok(image
                .topics
                .values()
                .map(|topic| format!("{}\n", topic_line(topic)))
                .collect()),
            "links" => Ok(image
                .links
                .values()
                .map(|link| format!("{}\n", link_line(link)))
                .collect()),
            "writers" => Ok(image
                .topics
                .values()
                .map(|topic| {
                    format!(
                        "{}: {:?}, copies {:?}\n",
                        topic.name,
                        image.writers(topic),
                        image.copies(topic)
                    )
                })
                .collect()),
            "shadow-configs" => Ok(image
                .topics
                .values()
                .map(|topic| {
                    format!(
                        "{}: {}\n",
                        topic.name,
                        shadow_configs(topic)
                            .iter()
                            .map(|(k, v)| format!("{k}={v} "))
                            .collect::<String>()
                            .trim()
                    )
                })
                .collect()),
            other => Err(format!("show {other}?")),
        }
    }
}

/// `PARTITION:FROM-TO`.
fn gap(text: &str) -> Result<Gap, String> {
    let wrong = || format!("gap={text}: PARTITION:FROM-TO");
    let (partition, range) = text.split_once(':').ok_or_else(wrong)?;
    let (from, to) = range.split_once('-').ok_or_else(wrong)?;
    let numbers = (partition.parse(), from.parse(), to.parse());
    let (Ok(partition), Ok(from), Ok(to)) = numbers else {
        return Err(wrong());
    };
    Ok(Gap {
        partition,
        from,
        to,
        how: "lost".to_owned(),
    })
}

fn topic_line(topic: &Topic) -> String {
    let epochs = topic
        .partitions
        .iter()
        .map(|p| p.leader_epoch.0.to_string())
        .collect::<Vec<_>>()
        .join("/");
    let mut line = format!("{} epochs {epochs}", topic.name);
    if topic.internal {
        line.push_str(", internal");
    }
    if !topic.configs.is_empty() {
        line.push_str(&format!(", {:?}", topic.configs));
    }
    if let Some(shadow) = &topic.shadow {
        line.push_str(&format!(
            ", {} of {} fence {}",
            shadow.state, shadow.link_name, shadow.fence
        ));
        if shadow.source_missing {
            line.push_str(", source missing");
        }
        if let Some(step) = shadow.step {
            line.push_str(&format!(", step {step:?}"));
        }
        if let Some(reason) = &shadow.reason {
            line.push_str(&format!(", because {reason}"));
        }
        for gap in &shadow.gaps {
            line.push_str(&format!(
                ", gap {}:{}-{} at {} ({})",
                gap.partition, gap.from, gap.to, gap.at_ms, gap.reason
            ));
        }
    }
    let cuts: Vec<String> = topic
        .partitions
        .iter()
        .filter_map(|p| p.cut)
        .map(|c| format!("{}({})@{}", c.end, c.last_epoch.0, c.epoch.0))
        .collect();
    if !cuts.is_empty() {
        line.push_str(&format!(", cuts {}", cuts.join(" ")));
    }
    line
}

fn link_line(link: &Link) -> String {
    let mut line = format!("{} {}", link.name(), link.state);
    if link.ending {
        line.push_str(", ending");
    }
    line.push_str(&format!(", source {}", link.source()));
    if link.made_from_file {
        line.push_str(", from file");
    }
    if let Some(fault) = &link.fault {
        line.push_str(&format!(", FAULT {fault}"));
    }
    if !link.unselected.is_empty() {
        line.push_str(&format!(", unselected {:?}", link.unselected));
    }
    if !link.released.is_empty() {
        line.push_str(&format!(", released {:?}", link.released));
    }
    line
}
