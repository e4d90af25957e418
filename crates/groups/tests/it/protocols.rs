//! The protocol that a group chooses, against the rule written down a second time in the simplest
//! way.
//!
//! A member is admitted when one protocol is left that all support; each member votes for the first
//! of its own that all support; the most votes win, and of equal ones the leader's first.

use crate::{
    site::GroupSite,
    words::{name, subscription},
};
use gnomon_groups::*;
use gnomon_machine::replay_law::Rng;

const NAMES: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative"];

/// Some protocols, each once, in an order of preference.
fn preferences(dice: &mut Rng) -> Vec<&'static str> {
    let mut left = NAMES.to_vec();
    let count = 1 + dice.below(4);
    (0..count)
        .map(|_| left.remove(dice.below(left.len() as u64) as usize))
        .collect()
}

fn join(number: usize, preferences: &[&str], protocol_type: &str) -> Event {
    let protocols = preferences.iter().map(|protocol| Protocol {
        name: name(protocol),
        metadata: subscription("t"),
    });
    Event::Join(Join {
        group: name("g"),
        member_id: name(""),
        instance_id: None,
        fresh_member_id: name(&format!("m{number}")),
        client_id: name("c"),
        client_host: name("/h"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: name(protocol_type),
        protocols: protocols.collect(),
        require_known_member_id: false,
        supports_skip_assignment: false,
    })
}

fn common(members: &[Vec<&'static str>]) -> Vec<&'static str> {
    let all_can = |protocol: &&str| members.iter().all(|member| member.contains(protocol));
    NAMES.into_iter().filter(all_can).collect()
}

/// The rule, for members in the order of their ids; the first one leads.
fn expected(members: &[Vec<&'static str>]) -> &'static str {
    let common = common(members);
    let votes = |protocol: &str| {
        let first = |member: &&Vec<&str>| {
            member.iter().find(|offered| common.contains(offered)) == Some(&protocol)
        };
        members.iter().filter(first).count()
    };
    let most = common.iter().map(|protocol| votes(protocol)).max();
    let of_leader = members[0].iter().filter(|offered| common.contains(offered));
    of_leader
        .copied()
        .find(|protocol| Some(votes(protocol)) == most)
        .expect("every admitted member shares a protocol with all others")
}

#[test]
fn the_choice_is_the_most_votes_among_the_protocols_that_all_can_do() {
    let (mut refused, mut by_vote) = (0, 0);
    for seed in 0..300 {
        let (mut dice, mut members) = (Rng::new(seed), Vec::new());
        // All come within the initial delay: one generation with all of them.
        let mut site = GroupSite::new(GroupConfig::default());
        let mut tokens = Vec::new();
        for _ in 0..1 + dice.below(6) {
            let offered = preferences(&mut dice);
            let mut with = members.clone();
            with.push(offered.clone());
            let token = site.send(join(members.len(), &offered, "consumer"));
            match site.reply(token) {
                None => {
                    assert!(!common(&with).is_empty(), "seed {seed}: {with:?}");
                    members = with;
                    tokens.push(token);
                }
                Some(reply) => {
                    let error = reply.into_joined().unwrap_err();
                    assert!(
                        matches!(error, GroupError::InconsistentProtocol { .. }),
                        "seed {seed}: {error}"
                    );
                    assert!(common(&with).is_empty(), "seed {seed}: {with:?}");
                    refused += 1;
                }
            }
        }
        site.pass(10_000);
        for token in tokens {
            let joined = site.reply(token).unwrap().into_joined().unwrap();
            let chosen = joined.protocol.as_deref().unwrap();
            assert_eq!(chosen, expected(&members), "seed {seed}: {members:?}");
            let first = members[0]
                .iter()
                .find(|offered| common(&members).contains(offered));
            by_vote += u32::from(first != Some(&chosen));
        }
    }
    assert!(refused > 50 && by_vote > 20, "{refused} {by_vote}");
}

#[test]
fn the_type_of_a_group_is_that_of_its_members_and_free_again_without_them() {
    let mut site = GroupSite::new(GroupConfig {
        initial_rebalance_delay_ms: 0,
        ..GroupConfig::default()
    });
    let joined = site.ask(join(0, &["range"], "consumer"));
    assert_eq!(joined.into_joined().unwrap().generation, 1);
    let refused = site.ask(join(1, &["range"], "connect"));
    assert!(matches!(
        refused.into_joined(),
        Err(GroupError::InconsistentProtocol { .. })
    ));

    site.ask(Event::Leave(Leave {
        group: name("g"),
        members: vec![LeaveMember {
            member_id: name("m0"),
            instance_id: None,
        }],
    }));
    let joined = site.ask(join(2, &["range"], "connect")).into_joined();
    let joined = joined.unwrap();
    assert_eq!(joined.protocol_type.as_deref(), Some("connect"));
    assert_eq!(joined.generation, 3, "one generation was the empty group");
}
