//! The language of the groups' scripts: command lines to events, effects to lines.
//!
//! Topics have the id 1 unless `id=` gives another, and only other ids are shown; `outdated` means
//! that another topic has the name now. Member ids are made as `<client>-<n>`, counting the joins
//! of a script. A consumer's metadata is written as its topics, joined by `+`.

use bytes::{BufMut, Bytes, BytesMut};
use gnomon_groups::*;
use gnomon_machine::harness::{Command, Dialect};
use gnomon_protocol::ids::{TopicId, Uuid};

#[derive(Default)]
pub struct GroupWords {
    config: GroupConfig,
    clients: u32,
}

pub fn id(number: u128) -> TopicId {
    Uuid::from_u128(number)
}

pub fn name(text: &str) -> Name {
    text.into()
}

/// A subscription as consumers write it; the text after `!` is the partitions that a sticky one
/// owned.
pub fn subscription(topics: &str) -> Bytes {
    let (topics, owned) = topics.split_once('!').unwrap_or((topics, ""));
    let topics: Vec<_> = topics
        .split('+')
        .filter(|topic| !topic.is_empty())
        .collect();
    let mut out = BytesMut::new();
    out.put_i16(1);
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(owned.len() as i32);
    out.put_slice(owned.as_bytes());
    out.freeze()
}

fn readable(bytes: &[u8]) -> String {
    let Some((_, rest)) = bytes
        .split_first_chunk::<2>()
        .filter(|(version, _)| *version == &[0, 1])
    else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let (mut rest, mut topics) = (&rest[4..], Vec::new());
    for _ in 0..i32::from_be_bytes(bytes[2..6].try_into().unwrap()) {
        let length = usize::from(rest[1]);
        topics.push(String::from_utf8_lossy(&rest[2..2 + length]).into_owned());
        rest = &rest[2 + length..];
    }
    topics.join("+")
}

impl GroupWords {
    fn join(&mut self, command: &Command) -> Result<Event, String> {
        self.clients += 1;
        let protocol_type = command.get("type").unwrap_or("consumer");
        let offered = |text: &str| {
            let (protocol, metadata) = text.split_once(':').unwrap_or((text, "t"));
            let metadata = if protocol_type == "consumer" {
                subscription(metadata)
            } else {
                Bytes::copy_from_slice(metadata.as_bytes())
            };
            Protocol {
                name: name(protocol),
                metadata,
            }
        };
        let protocols = command.get("protocols").unwrap_or("range");
        let client = command
            .get("client")
            .or(command.get("instance"))
            .unwrap_or("c");
        let session_timeout_ms = command.milliseconds("session", 10_000)? as i32;
        Ok(Event::Join(Join {
            group: name(command.word(0)?),
            member_id: name(command.words.get(1).map_or("", String::as_str)),
            instance_id: command.get("instance").map(name),
            fresh_member_id: name(&format!("{client}-{}", self.clients)),
            client_id: name(client),
            client_host: name("/127.0.0.1"),
            session_timeout_ms,
            rebalance_timeout_ms: command.milliseconds("rebalance", 60_000)? as i32,
            protocol_type: name(protocol_type),
            protocols: if protocols.is_empty() {
                Vec::new()
            } else {
                protocols.split(',').map(offered).collect()
            },
            require_known_member_id: command.get("version").is_none_or(|version| version != "3"),
            supports_skip_assignment: command.get("version") == Some("9"),
        }))
    }

    fn sync(&self, command: &Command) -> Result<Event, String> {
        let assigned = |text: &String| {
            text.split_once(':')
                .map(|(id, text)| (name(id), Bytes::copy_from_slice(text.as_bytes())))
        };
        Ok(Event::Sync(Sync {
            group: name(command.word(0)?),
            member_id: name(command.word(1)?),
            instance_id: command.get("instance").map(name),
            generation: command.number("gen", -1)?,
            protocol_type: command.get("type").map(name),
            protocol: command.get("protocol").map(name),
            assignments: command.list("assign").iter().filter_map(assigned).collect(),
        }))
    }

    fn config(&mut self, command: &Command, soft: &mut Soft) -> Result<(), String> {
        let config = &mut self.config;
        config.initial_rebalance_delay_ms =
            command.milliseconds("initial-delay", config.initial_rebalance_delay_ms)?;
        config.offsets_retention_ms =
            command.milliseconds("retention", config.offsets_retention_ms)?;
        config.members_max = command.number("members-max", config.members_max)?;
        config.pending_members_max = command.number("pending-max", config.pending_members_max)?;
        config.pending_bytes_max = command.number("pending-bytes", config.pending_bytes_max)?;
        soft.set_config(config.clone());
        Ok(())
    }
}

/// `topic/partition:offset@epoch#metadata`; epoch and metadata may be missing.
struct Position {
    topic: Name,
    partition: i32,
    offset: i64,
    epoch: i32,
    metadata: Name,
}

fn read_position(text: &String) -> Result<Position, String> {
    let wrong = || format!("{text} is not topic/partition:offset@epoch#metadata");
    let (left, metadata) = text.split_once('#').unwrap_or((text, ""));
    let (left, epoch) = left.split_once('@').unwrap_or((left, "-1"));
    let (left, offset) = left.split_once(':').unwrap_or((left, "0"));
    let (topic, partition) = left.split_once('/').ok_or_else(wrong)?;
    Ok(Position {
        topic: name(topic),
        partition: partition.parse().map_err(|_| wrong())?,
        offset: offset.parse().map_err(|_| wrong())?,
        epoch: epoch.parse().map_err(|_| wrong())?,
        metadata: name(metadata),
    })
}

impl Dialect for GroupWords {
    type M = Groups;

    fn events(&mut self, command: &Command, soft: &mut Soft) -> Result<Vec<Event>, String> {
        let group = |at: usize| command.word(at).map(name);
        let positions = || {
            command
                .list("at")
                .iter()
                .map(read_position)
                .collect::<Result<Vec<_>, _>>()
        };
        let topic_id = id(command.number("id", 1)?);
        let is_current = !command.flag("outdated");
        let names = |key: &str| {
            command
                .list(key)
                .iter()
                .map(|text| name(text))
                .collect::<Vec<_>>()
        };
        let event = match command.name.as_str() {
            "config" => return self.config(command, soft).map(|()| Vec::new()),
            "join" => self.join(command)?,
            "sync" => self.sync(command)?,
            "heartbeat" => Event::Heartbeat(Heartbeat {
                group: group(0)?,
                member_id: name(command.word(1)?),
                instance_id: command.get("instance").map(name),
                generation: command.number("gen", -1)?,
            }),
            "leave" => {
                let by_id = command.words[1..].iter().map(|id| LeaveMember {
                    member_id: name(id),
                    instance_id: None,
                });
                let by_instance = names("instances").into_iter().map(|id| LeaveMember {
                    member_id: name(""),
                    instance_id: Some(id),
                });
                Event::Leave(Leave {
                    group: group(0)?,
                    members: by_id.chain(by_instance).collect(),
                })
            }
            "commit" => Event::Commit(Commit {
                group: group(0)?,
                member_id: name(command.words.get(1).map_or("", String::as_str)),
                instance_id: command.get("instance").map(name),
                generation: command.number("gen", -1)?,
                retention_ms: command
                    .get("keep")
                    .map(|_| command.milliseconds("keep", 0))
                    .transpose()?
                    .map(|ms| ms as i64),
                offsets: positions()?
                    .into_iter()
                    .map(|at| CommitOffset {
                        topic: at.topic,
                        topic_id,
                        is_current,
                        partition: at.partition,
                        offset: at.offset,
                        leader_epoch: at.epoch,
                        metadata: at.metadata,
                        paired: command.get("topics") == Some("paired"),
                    })
                    .collect(),
            }),
            "fetch" => {
                let which = match command.get("at") {
                    None => OffsetSelection::All,
                    Some(_) => OffsetSelection::Partitions(
                        positions()?
                            .into_iter()
                            .map(|at| (at.topic, vec![at.partition]))
                            .collect(),
                    ),
                };
                Event::Fetch(Fetch {
                    group: group(0)?,
                    which,
                })
            }
            "list" => Event::List(List {
                states: command.get("states").map(|_| {
                    command
                        .list("states")
                        .iter()
                        .filter_map(|s| GroupState::from_name(s))
                        .collect()
                }),
            }),
            "describe" => Event::Describe(Describe {
                groups: command.words.iter().map(|group| name(group)).collect(),
            }),
            "delete" => Event::DeleteGroups(DeleteGroups {
                groups: command.words.iter().map(|group| name(group)).collect(),
            }),
            "topics-deleted" => {
                let deleted = |topic: &String| DeletedTopic {
                    name: name(topic),
                    id: Some(topic_id),
                };
                Event::TopicsDeleted(TopicsDeleted {
                    topics: command.words.iter().map(deleted).collect(),
                })
            }
            "sync-offsets" => Event::SyncOffsets(SyncOffsets {
                link: name(command.get("link").unwrap_or("from-a")),
                group: group(0)?,
                offsets: positions()?
                    .into_iter()
                    .map(|at| SyncOffset {
                        topic: at.topic,
                        topic_id,
                        is_current,
                        partition: at.partition,
                        offset: at.offset,
                        leader_epoch: at.epoch,
                        metadata: at.metadata,
                    })
                    .collect(),
                complete: command.flag("complete"),
                last: command.flag("last"),
                validate_only: command.flag("validate"),
            }),
            "sync-ended" => Event::SyncEnded(SyncEnded {
                link: name(command.get("link").unwrap_or("from-a")),
                topics: command.get("topics").map(|_| names("topics")),
            }),
            other => return Err(format!("{other} is not a command")),
        };
        Ok(vec![event])
    }

    fn record(&mut self, record: &Record) -> String {
        match record {
            Record::Group { group, value: None } => format!("group {group} is erased"),
            Record::Group {
                group,
                value: Some(value),
            } => {
                let members: Vec<_> = value
                    .members
                    .iter()
                    .map(|m| {
                        format!(
                            "{} ({}) has {:?}",
                            m.member_id,
                            readable(&m.subscription),
                            readable(&m.assignment)
                        )
                    })
                    .collect();
                format!(
                    "group {group}, generation {}, {} {}: {}",
                    value.generation,
                    value.protocol_type,
                    optional(&value.protocol),
                    members.join(", ")
                )
            }
            Record::Offset {
                group,
                topic,
                partition,
                value: None,
            } => format!("offset {group} {topic}/{partition} is erased"),
            Record::Offset {
                group,
                topic,
                partition,
                value: Some(value),
            } => {
                format!("offset {group} {topic}/{partition}: {}", position(value))
            }
            Record::Origin {
                group,
                topic,
                value,
            } => match value {
                None => format!("origin {group} {topic} is erased"),
                Some(Origin::Local) => format!("origin {group} {topic}: local"),
                Some(Origin::Link(link)) => format!("origin {group} {topic}: link {link}"),
            },
        }
    }

    fn reply(&mut self, reply: &Reply) -> String {
        match reply {
            Reply::Refused(error) => format!("refused: {error}"),
            Reply::Alive => "alive".to_owned(),
            Reply::Done => "done".to_owned(),
            Reply::DoneInPart => "done in part".to_owned(),
            Reply::Joined(joined) => {
                let skip = if joined.skip_assignment {
                    ", assigns nothing"
                } else {
                    ""
                };
                let mut text = format!(
                    "joined generation {} as {}, {}, leader {}{skip}",
                    joined.generation,
                    joined.member_id,
                    optional(&joined.protocol),
                    joined.leader
                );
                for member in &joined.members {
                    text += &format!(
                        "\n{} ({}){}",
                        member.member_id,
                        readable(&member.metadata),
                        instance(&member.instance_id)
                    );
                }
                text
            }
            Reply::Synced(synced) => format!(
                "assigned {:?}, {}",
                readable(&synced.assignment),
                optional(&synced.protocol)
            ),
            Reply::Left(left) => each(left.iter().map(|l| {
                (
                    format!("{}{}", l.member_id, instance(&l.instance_id)),
                    result(&l.result, "left"),
                )
            })),
            Reply::Committed(outcomes) => each(outcomes.iter().map(|o| {
                (
                    format!("{}/{}", o.topic, o.partition),
                    result(&o.result, "committed"),
                )
            })),
            Reply::Fetched(fetched) => {
                let all = fetched.topics.iter().flat_map(|topic| {
                    topic
                        .partitions
                        .iter()
                        .map(move |partition| (&topic.topic, partition))
                });
                each(all.map(|(topic, p)| {
                    (
                        format!("{topic}/{}", p.partition),
                        p.committed.as_ref().map_or("nothing".to_owned(), position),
                    )
                }))
            }
            Reply::Listed(listed) => each(listed.iter().map(|l| {
                (
                    format!("{} {}", l.group, l.protocol_type),
                    l.state.name().to_owned(),
                )
            })),
            Reply::Described(described) => {
                let mut text = String::new();
                for d in described {
                    text += &format!(
                        "\n{} is {}, {:?} {:?}",
                        d.group,
                        d.state.map_or("not there", GroupState::name),
                        &*d.protocol_type,
                        &*d.protocol
                    );
                    for m in &d.members {
                        let (metadata, assignment) =
                            (readable(&m.metadata), readable(&m.assignment));
                        text += &format!(
                            "\n  {}{} of {} at {} ({metadata}) has {assignment:?}",
                            m.member_id,
                            instance(&m.instance_id),
                            m.client_id,
                            m.client_host
                        );
                    }
                }
                text.trim_start().to_owned()
            }
            Reply::Deleted(deletions) => each(
                deletions
                    .iter()
                    .map(|d| (d.group.to_string(), result(&d.result, "deleted"))),
            ),
            Reply::OffsetsSynced(synced) => each(synced.iter().map(|s| {
                let outcome = match s.outcome {
                    SyncOutcome::Applied => "applied",
                    SyncOutcome::Unchanged => "unchanged",
                    SyncOutcome::Skipped(SkipReason::LiveMembers) => {
                        "skipped, the group has live members"
                    }
                    SyncOutcome::Skipped(SkipReason::Local) => {
                        "skipped, the group has committed here"
                    }
                    SyncOutcome::Skipped(SkipReason::TopicGone) => {
                        "skipped, its topic no longer has the name"
                    }
                };
                let stands = match (s.outcome, s.stands) {
                    (SyncOutcome::Skipped(_), Some(offset)) => format!(", stands at {offset}"),
                    (SyncOutcome::Skipped(_), None) => ", has no position".to_owned(),
                    (SyncOutcome::Applied | SyncOutcome::Unchanged, _) => String::new(),
                };
                (
                    format!("{}/{}", s.topic, s.partition),
                    format!("{outcome}{stands}"),
                )
            })),
        }
    }

    fn action(&mut self, action: &Action) -> String {
        match *action {}
    }

    fn show(&mut self, _: &Command, durable: &Durable, soft: &Soft) -> Result<String, String> {
        let (groups, members) = soft.counts();
        Ok(format!(
            "{groups} groups alive with {members} members, {} topics with offsets",
            durable.topics().count()
        ))
    }

    fn soft(&mut self) -> Soft {
        Soft::new(self.config.clone())
    }
}

fn each(items: impl Iterator<Item = (String, String)>) -> String {
    let items: Vec<_> = items
        .map(|(of, text)| format!("{}: {text}", of.trim()))
        .collect();
    if items.is_empty() {
        "nothing".to_owned()
    } else {
        items.join("\n")
    }
}

fn result(result: &Result<(), GroupError>, done: &str) -> String {
    result
        .as_ref()
        .map_or_else(|error| format!("refused: {error}"), |()| done.to_owned())
}

fn optional(name: &Option<Name>) -> &str {
    name.as_deref().unwrap_or("(none)")
}

fn instance(id: &Option<Name>) -> String {
    id.as_ref()
        .map(|id| format!(" instance {id}"))
        .unwrap_or_default()
}

fn position(value: &Committed) -> String {
    let mut text = format!("{}", value.offset);
    if value.leader_epoch >= 0 {
        text += &format!(", epoch {}", value.leader_epoch);
    }
    if !value.metadata.is_empty() {
        text += &format!(", {:?}", &*value.metadata);
    }
    if let Some(at) = value.expires_at_ms {
        text += &format!(", until {at}");
    }
    if let Some(on) = value.topic_id.filter(|on| *on != id(1)) {
        text += &format!(", on topic {}", on.as_u128());
    }
    text + &format!(", at {}", value.committed_at_ms)
}
