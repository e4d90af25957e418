//! Bounds: requests that are too large are refused with their numbers, and large amounts are erased
//! in parts.

use crate::{
    site::GroupSite,
    words::{id, name, subscription},
};
use gnomon_groups::*;
use gnomon_machine::{Machine, Mono, Now, ReplyToken, Wall};

const NOW: Now = Now {
    mono: Mono(0),
    wall: Wall(0),
};

fn ask(durable: &mut Durable, soft: &mut Soft, event: Event) -> Reply {
    let effects = Groups::step(durable, soft, NOW, event, ReplyToken(1));
    for record in &effects.records {
        Groups::replay(durable, record);
    }
    effects.replies.into_iter().next().unwrap().1
}

fn commit(group: &str, offsets: impl IntoIterator<Item = (i32, String)>) -> Event {
    let one = |(partition, metadata): (i32, String)| CommitOffset {
        topic: name("t"),
        topic_id: id(1),
        is_current: true,
        partition,
        offset: 1,
        leader_epoch: -1,
        metadata: name(&metadata),
        paired: false,
    };
    let offsets = offsets.into_iter().map(one).collect();
    Event::Commit(Commit {
        group: name(group),
        member_id: name(""),
        instance_id: None,
        generation: -1,
        retention_ms: None,
        offsets,
    })
}

fn join(member_id: &str, topic: &str) -> Event {
    Event::Join(Join {
        group: name("g"),
        member_id: name(""),
        instance_id: None,
        fresh_member_id: name(member_id),
        client_id: name("c"),
        client_host: name("/h"),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 6_000,
        protocol_type: name("consumer"),
        protocols: vec![Protocol {
            name: name("range"),
            metadata: subscription(topic),
        }],
        require_known_member_id: false,
        supports_skip_assignment: false,
    })
}

#[test]
fn a_partition_with_too_long_metadata_is_refused_and_the_others_are_committed() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    let event = commit("g", [(0, "x".repeat(4_096)), (1, "x".repeat(4_097))]);
    let outcomes = ask(&mut durable, &mut soft, event)
        .into_committed()
        .unwrap();
    assert_eq!(outcomes[0].result, Ok(()));
    assert_eq!(
        outcomes[1].result,
        Err(GroupError::MetadataTooLarge {
            bytes: 4_097,
            max: 4_096
        })
    );
    assert!(durable.committed("g", "t", 0).is_some() && durable.committed("g", "t", 1).is_none());
}

#[test]
fn a_name_that_does_not_fit_into_a_record_is_refused() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    let long = "x".repeat(32_768);
    let refused = Err(GroupError::NameTooLong {
        bytes: 32_768,
        max: 32_767,
    });
    assert_eq!(
        ask(&mut durable, &mut soft, commit(&long, [(0, String::new())]))
            .into_committed()
            .map(drop),
        refused
    );

    let Event::Join(requested) = join("m", "t") else {
        unreachable!()
    };
    let join = Event::Join(Join {
        instance_id: Some(name(&long)),
        ..requested
    });
    assert_eq!(
        ask(&mut durable, &mut soft, join).into_joined().map(drop),
        refused
    );
    assert_eq!(soft.counts(), (0, 0));
}

#[test]
fn a_request_too_large_for_one_batch_is_refused() {
    let (mut durable, mut soft) = (
        Durable::default(),
        Soft::new(GroupConfig {
            batch_bytes_max: 10_000,
            ..GroupConfig::default()
        }),
    );
    let many = |count: i32| (0..count).map(|partition| (partition, String::new()));
    assert!(
        ask(&mut durable, &mut soft, commit("g", many(100)))
            .into_committed()
            .is_ok()
    );
    let refused = Err(GroupError::CommitTooLarge {
        bytes: 13_200,
        max: 10_000,
    });
    assert_eq!(
        ask(&mut durable, &mut soft, commit("g", many(200)))
            .into_committed()
            .map(drop),
        refused
    );

    let refused = ask(&mut durable, &mut soft, join("m", &"t".repeat(9_990)))
        .into_joined()
        .map(drop);
    assert!(
        matches!(refused, Err(GroupError::GroupTooLarge { max: 10_000, .. })),
        "{refused:?}"
    );

    soft.set_config(GroupConfig {
        initial_rebalance_delay_ms: 0,
        ..soft.config().clone()
    });
    let joined = ask(&mut durable, &mut soft, join("m", "t"))
        .into_joined()
        .unwrap();
    let sync = |bytes: usize| {
        let assignments = vec![
            (name("m"), vec![0; bytes].into()),
            (name("stranger"), vec![0; 20_000].into()),
        ];
        let (member_id, generation) = (name("m"), joined.generation);
        Event::Sync(Sync {
            group: name("g"),
            member_id,
            instance_id: None,
            generation,
            protocol_type: None,
            protocol: None,
            assignments,
        })
    };
    let refused = ask(&mut durable, &mut soft, sync(10_000))
        .into_synced()
        .map(drop);
    assert!(
        matches!(refused, Err(GroupError::GroupTooLarge { max: 10_000, .. })),
        "{refused:?}"
    );
    assert_eq!(
        ask(&mut durable, &mut soft, sync(9_000))
            .into_synced()
            .unwrap()
            .assignment
            .len(),
        9_000
    );
}

/// Members' protocols are compared with each other, each with each: two members with a million of
/// them would hold every group up.
#[test]
fn a_join_with_too_many_protocols_is_refused() {
    let (mut durable, mut soft) = (
        Durable::default(),
        Soft::new(GroupConfig {
            initial_rebalance_delay_ms: 0,
            ..GroupConfig::default()
        }),
    );
    let with = |count: usize| {
        let Event::Join(requested) = join("m", "t") else {
            unreachable!()
        };
        let protocols = (0..count)
            .map(|n| Protocol {
                name: name(&n.to_string()),
                metadata: Default::default(),
            })
            .collect();
        Event::Join(Join {
            protocols,
            ..requested
        })
    };
    let refused = ask(&mut durable, &mut soft, with(PROTOCOLS_MAX + 1))
        .into_joined()
        .map(drop);
    assert!(
        matches!(refused, Err(GroupError::InconsistentProtocol { .. })),
        "{refused:?}"
    );
    assert_eq!(soft.counts(), (0, 0));
    assert!(
        ask(&mut durable, &mut soft, with(PROTOCOLS_MAX))
            .into_joined()
            .is_ok()
    );
}

#[test]
fn many_expired_offsets_are_erased_in_parts() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    Groups::led(&durable, &mut soft, NOW);
    for group in 0..4 {
        ask(
            &mut durable,
            &mut soft,
            commit(
                &format!("g{group}"),
                (0..3_000).map(|partition| (partition, String::new())),
            ),
        );
    }
    let mut parts = Vec::new();
    let week = 7 * 24 * 3_600_000;
    let mut now = Now {
        mono: Mono(week),
        wall: Wall(week as i64),
    };
    while parts.iter().sum::<usize>() < 12_000 {
        assert!(Groups::deadline(&soft).unwrap() <= now.mono);
        let effects = Groups::tick(&durable, &mut soft, now);
        for record in &effects.records {
            Groups::replay(&mut durable, record);
        }
        parts.push(effects.records.len());
        now.mono = now.mono.after(100);
    }
    assert_eq!(parts, [6_000, 6_000]);
    assert_eq!(durable, Durable::default());
}

#[test]
fn many_deleted_or_released_offsets_are_written_in_parts() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    for group in 0..4 {
        ask(
            &mut durable,
            &mut soft,
            commit(
                &format!("g{group}"),
                (0..3_000).map(|partition| (partition, String::new())),
            ),
        );
    }
    let deleted = Event::TopicsDeleted(TopicsDeleted {
        topics: vec![DeletedTopic {
            name: name("t"),
            id: Some(id(1)),
        }],
    });
    assert_eq!(
        ask(&mut durable, &mut soft, deleted.clone()),
        Reply::DoneInPart
    );
    assert!(durable.committed("g1", "t", 0).is_none() && durable.committed("g2", "t", 0).is_some());
    assert_eq!(ask(&mut durable, &mut soft, deleted), Reply::Done);
    assert_eq!(durable, Durable::default());

    for group in 0..3 {
        let offset = |partition| SyncOffset {
            topic: name("t"),
            topic_id: id(1),
            is_current: true,
            partition,
            offset: 1,
            leader_epoch: -1,
            metadata: name(""),
        };
        let offsets = (0..3_000).map(offset).collect();
        let (link, group) = (name("from-a"), name(&format!("g{group}")));
        let brought = SyncOffsets {
            link,
            group,
            offsets,
            complete: false,
            last: false,
            validate_only: false,
        };
        ask(&mut durable, &mut soft, Event::SyncOffsets(brought));
    }
    let ended = Event::SyncEnded(SyncEnded {
        link: name("from-a"),
        topics: None,
    });
    let answers: Vec<_> = (0..3)
        .map(|_| ask(&mut durable, &mut soft, ended.clone()))
        .collect();
    assert_eq!(answers, [Reply::DoneInPart, Reply::DoneInPart, Reply::Done]);
    assert!(durable.topics().all(|(_, _, origin)| origin.is_none()));
}

/// A first join of a member that must come again with its id.
fn first_join(group: &str, member_id: &str) -> Event {
    let Event::Join(request) = join(member_id, "t") else {
        unreachable!("it is a join")
    };
    Event::Join(Join {
        group: name(group),
        require_known_member_id: true,
        ..request
    })
}

/// The second join, with the id.
fn second_join(group: &str, member_id: &str) -> Event {
    let Event::Join(request) = first_join(group, "unused") else {
        unreachable!("it is a join")
    };
    Event::Join(Join {
        member_id: name(member_id),
        ..request
    })
}

fn refusal(reply: Reply) -> GroupError {
    match reply {
        Reply::Refused(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ids_that_are_never_used_do_not_grow_a_group_beyond_its_maximum() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    let max = soft.config().pending_members_max;
    for number in 0..3 * max {
        let reply = ask(
            &mut durable,
            &mut soft,
            first_join("g", &format!("m-{number:06}")),
        );
        assert!(matches!(
            refusal(reply),
            GroupError::MemberIdRequired { .. }
        ));
        assert!(soft.pending().0 <= max);
    }
    assert_eq!(soft.pending().0, max);
    soft.check(&durable).unwrap();
    // The oldest has to ask for another id, the newest has a place.
    let forgotten = ask(&mut durable, &mut soft, second_join("g", "m-000000"));
    assert!(matches!(
        refusal(forgotten),
        GroupError::UnknownMember { .. }
    ));
    let newest = format!("m-{:06}", 3 * max - 1);
    let effects = Groups::step(
        &durable,
        &mut soft,
        NOW,
        second_join("g", &newest),
        ReplyToken(2),
    );
    assert!(effects.replies.is_empty(), "it waits for the others");
    assert_eq!(soft.counts(), (1, 1));
}

#[test]
fn long_ids_in_many_groups_do_not_take_more_memory_than_the_maximum() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    let bytes_max = soft.config().pending_bytes_max;
    let long = "x".repeat(NAME_BYTES_MAX - 10);
    for number in 0..500 {
        let event = first_join(&format!("g-{number}"), &format!("{long}-{number}"));
        ask(&mut durable, &mut soft, event);
        assert!(soft.pending().1 <= bytes_max);
    }
    let (count, _) = soft.pending();
    assert!((1..bytes_max / long.len() + 1).contains(&count), "{count}");
    assert_eq!(soft.counts().0, count, "a group without anybody is gone");
    soft.check(&durable).unwrap();
}

/// One that fills its own share costs the members of other groups nothing.
#[test]
fn a_group_with_too_many_ids_forgets_its_own_and_no_other_group_s() {
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    ask(&mut durable, &mut soft, first_join("quiet", "q-1"));
    for number in 0..5_000 {
        ask(
            &mut durable,
            &mut soft,
            first_join("g", &format!("m-{number}")),
        );
    }
    let effects = Groups::step(
        &durable,
        &mut soft,
        NOW,
        second_join("quiet", "q-1"),
        ReplyToken(2),
    );
    assert!(effects.replies.is_empty(), "it is a member, and waits");
}

#[test]
fn a_long_client_id_is_cut_between_two_characters() {
    assert_eq!(kept_client_id("consumer-1"), "consumer-1");
    let kept = CLIENT_ID_BYTES_MAX;
    assert_eq!(kept_client_id(&"x".repeat(40_000)).len(), kept);
    let umlauts = "\u{e4}".repeat(kept);
    assert_eq!(kept_client_id(&umlauts).len(), kept - 1);
}

/// Joining, choosing a protocol and leaving together take work in proportion to the number of
/// protocols of all members.
#[test]
fn many_members_with_many_protocols_choose_one_and_leave_together() {
    const MEMBERS: usize = 500;
    let (mut durable, mut soft) = (Durable::default(), Soft::default());
    let member = |number: usize| format!("m{number:03}");
    let protocols = |number: usize| {
        let offered = |place| Protocol {
            name: name(&format!("p{:02}", (number + place) % PROTOCOLS_MAX)),
            metadata: Default::default(),
        };
        (0..PROTOCOLS_MAX).map(offered).collect()
    };
    let mut step = |event: Option<Event>, now: Now, token: u64| {
        let effects = match event {
            Some(event) => Groups::step(&durable, &mut soft, now, event, ReplyToken(token)),
            None => Groups::tick(&durable, &mut soft, now),
        };
        for record in &effects.records {
            Groups::replay(&mut durable, record);
        }
        if !effects.replies.is_empty() {
            soft.check(&durable).expect("invariants hold");
        }
        effects.replies
    };
    for number in 0..MEMBERS {
        let Event::Join(requested) = join(&member(number), "t") else {
            unreachable!()
        };
        let protocols = protocols(number);
        let replies = step(
            Some(Event::Join(Join {
                protocols,
                ..requested
            })),
            NOW,
            number as u64,
        );
        assert!(replies.is_empty(), "the first join phase is open");
    }
    // The first join phase is held open for as long as its members' rebalance timeout.
    let later = Now {
        mono: Mono(6_000),
        wall: Wall(6_000),
    };
    let mut replies = step(
        None,
        Now {
            mono: Mono(3_000),
            wall: Wall(3_000),
        },
        0,
    );
    replies.extend(step(None, later, 0));
    assert_eq!(replies.len(), MEMBERS);
    for (_, reply) in replies {
        let joined = reply.into_joined().expect("joined");
        assert_eq!(joined.leader, name("m000"));
        // Of the votes, which are equal, the leader's counts.
        assert_eq!(joined.protocol, Some(name("p00")));
    }
    let gone = (0..MEMBERS - 1).map(|number| LeaveMember {
        member_id: name(&member(number)),
        instance_id: None,
    });
    let leave = Leave {
        group: name("g"),
        members: gone.collect(),
    };
    let replies = step(Some(Event::Leave(leave)), later, 1);
    assert!(replies.into_iter().any(|(_, reply)| {
        reply
            .into_left()
            .is_ok_and(|left| left.iter().all(|left| left.result.is_ok()))
    }));
    let last = member(MEMBERS - 1);
    let Event::Join(requested) = join(&last, "t") else {
        unreachable!()
    };
    let again = Join {
        member_id: name(&last),
        protocols: protocols(1),
        ..requested
    };
    let replies = step(Some(Event::Join(again)), later, 2);
    let (_, reply) = replies.into_iter().next().expect("it is alone");
    let joined = reply.into_joined().expect("joined");
    assert_eq!(
        (joined.leader, joined.protocol),
        (name(&last), Some(name("p01")))
    );
}

/// A group's name is in each record: a log takes a batch of some MiB, and a batch that it refuses
/// costs all groups of the partition their members.
#[test]
fn erasing_offsets_of_a_group_with_a_long_name_makes_no_batch_larger_than_a_mebibyte() {
    let (long, partitions) = ("g".repeat(30_000), 200);
    let group = |at: i32| format!("{long}{at}");
    let filled = |site: &mut GroupSite| {
        for at in 0..2 {
            let many = (0..partitions).map(|partition| (partition, String::new()));
            site.ask(commit(&group(at), many)).into_committed().unwrap();
        }
        assert_eq!(site.durable.topics().count(), 2);
        site.log.len()
    };
    let largest = |site: &GroupSite, from: usize| {
        let ends = site.batches.iter().map(|(end, _)| *end);
        let mut begin = from;
        let sizes = ends.filter(|end| *end > from).map(|end| {
            let records = &site.log[std::mem::replace(&mut begin, end)..end];
            let sizes = records
                .iter()
                .map(|record| record.key.as_ref().unwrap().len());
            sizes.sum::<usize>()
        });
        sizes.max().unwrap()
    };

    let mut site = GroupSite::new(GroupConfig::default());
    let from = filled(&mut site);
    site.pass(8 * 24 * 3_600_000);
    assert_eq!(site.durable.topics().count(), 0, "all have expired");
    let bytes = largest(&site, from);
    assert!(bytes <= 1 << 20, "a batch of {bytes} bytes");

    let mut site = GroupSite::new(GroupConfig::default());
    let from = filled(&mut site);
    let deleted = || {
        Event::TopicsDeleted(TopicsDeleted {
            topics: vec![DeletedTopic {
                name: name("t"),
                id: Some(id(1)),
            }],
        })
    };
    let mut times = 1;
    while !site.ask(deleted()).into_done().unwrap() {
        times += 1;
        assert!(times < 100, "each time erases some");
    }
    assert_eq!(site.durable.topics().count(), 0);
    let bytes = largest(&site, from);
    assert!(bytes <= 1 << 20, "a batch of {bytes} bytes");
}

#[test]
fn releasing_offsets_with_long_metadata_makes_no_batch_larger_than_a_mebibyte() {
    let mut site = GroupSite::new(GroupConfig::default());
    let brought = |partition| SyncOffset {
        topic: name("t"),
        topic_id: id(1),
        is_current: true,
        partition,
        offset: 1,
        leader_epoch: -1,
        metadata: name(&"x".repeat(4_000)),
    };
    for group in 0..30 {
        site.ask(Event::SyncOffsets(SyncOffsets {
            link: name("from-a"),
            group: name(&format!("g{group}")),
            offsets: (0..100).map(brought).collect(),
            complete: false,
            last: false,
            validate_only: false,
        }));
    }
    let mut end = site.log.len();
    loop {
        let done = site.ask(Event::SyncEnded(SyncEnded {
            link: name("from-a"),
            topics: None,
        }));
        let values = site.log[end..]
            .iter()
            .filter_map(|record| record.value.as_ref());
        let bytes: usize = values.map(|value| value.len()).sum();
        assert!(bytes <= 1 << 20, "a batch of {bytes} bytes");
        end = site.log.len();
        if done.into_done().unwrap() {
            break;
        }
    }
    assert!(site.durable.topics().all(|(_, _, origin)| origin.is_none()));
}

#[test]
fn deleting_groups_with_many_offsets_is_finished_by_sending_the_request_again() {
    let mut site = GroupSite::new(GroupConfig::default());
    let long = "g".repeat(30_000);
    let groups: Vec<Name> = (0..3).map(|at| name(&format!("{long}{at}"))).collect();
    for group in &groups {
        let many = (0..100).map(|partition| (partition, String::new()));
        site.ask(commit(group, many)).into_committed().unwrap();
    }
    let (mut left, mut times, mut end) = (groups, 0, site.log.len());
    while !left.is_empty() {
        let reply = site.ask(Event::DeleteGroups(DeleteGroups {
            groups: left.clone(),
        }));
        left.clear();
        for Deletion { group, result } in reply.into_deleted().unwrap() {
            match result {
                Ok(()) => {}
                Err(GroupError::DeletionUnfinished) => left.push(group),
                Err(other) => panic!("{other}"),
            }
        }
        let keys = site.log[end..].iter().map(|record| record.key.as_ref());
        let bytes: usize = keys.map(|key| key.unwrap().len()).sum();
        assert!(bytes <= 1 << 20, "a batch of {bytes} bytes");
        (end, times) = (site.log.len(), times + 1);
        assert!(times < 20, "each time erases some");
    }
    assert!(times > 5, "{times}");
    assert_eq!(site.durable.topics().count(), 0);
}
