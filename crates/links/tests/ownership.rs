//! Rules of names: which site may make them, which links conflict, and what a first contact may not
//! be: each refusal's sentence.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::{Command, commands, filters, run_scripts};
use gnomon_links::{
    LinkState, NameFilter, TopicState,
    contact::{self, Contact, OurSite},
    ownership::{Claim, Owner, Write, advice, check_links, may_create, refuse_write, source_label},
    peer::{self, PeerLink, PeerSite, TopicOrigin},
};
use std::collections::{BTreeMap, BTreeSet};

/// A link of the script.
struct LinkClaim {
    name: String,
    source: String,
    state: LinkState,
    topics: Vec<NameFilter>,
    groups: Vec<NameFilter>,
    released: BTreeSet<String>,
}

impl LinkClaim {
    fn of(command: &Command) -> LinkClaim {
        LinkClaim {
            name: command.words[0].clone(),
            source: command.get("source").unwrap_or("site 'a'").to_owned(),
            state: if command.flag("failed-over") {
                LinkState::FailedOver
            } else {
                LinkState::Active
            },
            topics: filters(command.get("topics").unwrap_or_default()),
            groups: filters(command.get("groups").unwrap_or_default()),
            released: command.list("released").into_iter().collect(),
        }
    }

    fn claim(&self) -> Claim<'_> {
        let LinkClaim {
            name,
            source,
            state,
            topics,
            groups,
            released,
        } = self;
        Claim {
            link: name,
            source,
            state: *state,
            topics,
            groups,
            released,
        }
    }
}

#[derive(Default)]
struct OwnershipCase {
    links: Vec<LinkClaim>,
    ours: Vec<String>,
    others: Vec<(String, Vec<String>)>,
    peer: Vec<PeerLink>,
}

impl OwnershipCase {
    fn answer(&mut self, command: &Command) -> Option<String> {
        let sentence =
            |result: Result<(), String>| Some(result.err().unwrap_or_else(|| "ok".to_owned()));
        match command.name.as_str() {
            "link" => {
                let link = LinkClaim::of(command);
                let claims: Vec<_> = self.links.iter().map(LinkClaim::claim).collect();
                let checked = check_links(&link.claim(), &claims).map_err(|e| e.to_string());
                if checked.is_ok() {
                    self.links.retain(|l| l.name != link.name);
                    self.links.push(link);
                }
                sentence(checked)
            }
            "owns" => {
                self.ours = command.words.clone();
                None
            }
            "site" => {
                self.others
                    .push((command.words[0].clone(), command.words[1..].to_vec()));
                None
            }
            "create" => {
                let claims: Vec<_> = self.links.iter().map(LinkClaim::claim).collect();
                let others: Vec<_> = self
                    .others
                    .iter()
                    .map(|(site, prefixes)| Owner { site, prefixes })
                    .collect();
                sentence(
                    may_create(&command.words[0], &claims, &self.ours, &others)
                        .map_err(|e| e.to_string()),
                )
            }
            "peer-link" => {
                let link = LinkClaim::of(command);
                self.peer.push(PeerLink {
                    name: link.name,
                    source_cluster_id: command.get("from").map(str::to_owned),
                    state: link.state,
                    topic_filters: link.topics,
                    group_filters: link.groups,
                    released: link.released.into_iter().collect(),
                });
                None
            }
            "contact" => {
                let link = self
                    .links
                    .iter()
                    .find(|l| l.name == command.words[0])
                    .expect("a link");
                let site = command.get("site").map(|name| PeerSite {
                    name: name.to_owned(),
                    cluster_id: command.get("id").unwrap_or_default().to_owned(),
                    producer_tag: command.number("tag", 1).unwrap(),
                    owns: Vec::new(),
                });
                let found = Contact {
                    cluster_id: command.get("id"),
                    site: site.as_ref(),
                    links: &self.peer,
                };
                let ours = OurSite {
                    name: "b",
                    cluster_id: "cluster-b",
                    producer_tag: 2,
                };
                let checked = contact::check(
                    &link.claim(),
                    ours,
                    command.get("configured"),
                    command.get("pinned"),
                    found,
                );
                sentence(checked.map_err(|e| e.to_string()))
            }
            other => panic!("{other} is not a command"),
        }
    }
}

#[test]
fn scripts() {
    run_scripts("ownership", || {
        let mut world = OwnershipCase::default();
        move |block: &str| {
            commands(block)
                .iter()
                .filter_map(|command| world.answer(command))
                .collect::<Vec<_>>()
                .join("\n")
        }
    });
}

#[test]
fn a_refused_write_says_what_to_do() {
    let source = source_label(Some("a"), Some("cluster-a"), &[]);
    assert_eq!(
        refuse_write(Write::Produce, "a_orders", "from-a", &source),
        "topic 'a_orders' is a read-only shadow: link 'from-a' copies it from site 'a'. Produce at site 'a', or end the shadow with \
         `gnomon link failover from-a --topic a_orders`"
    );
    let source = source_label(None, None, &["h:1".to_owned(), "i:2".to_owned()]);
    assert_eq!(
        advice(Write::AlterConfig, "l", &source),
        "Change it at the cluster at h:1,i:2, or end the shadow with `gnomon link failover l --topic NAME`"
    );
    assert_eq!(source_label(None, Some("x"), &[]), "cluster x");
}

#[test]
fn what_sites_tell_each_other_reads_as_it_was_written() {
    let site = PeerSite {
        name: "a".into(),
        cluster_id: "c".into(),
        producer_tag: 7,
        owns: vec!["a_".into()],
    };
    assert_eq!(
        site.to_config(),
        r#"{"name":"a","cluster_id":"c","producer_tag":7,"owns":["a_"]}"#
    );
    assert_eq!(PeerSite::from_config(&site.to_config()), Ok(site));
    let newer = r#"{"name":"a","cluster_id":"c","producer_tag":7,"more":{"x":1}}"#;
    assert_eq!(
        PeerSite::from_config(newer).unwrap().owns,
        Vec::<String>::new()
    );
    assert!(
        PeerSite::from_config("")
            .unwrap_err()
            .to_string()
            .starts_with("config gnomon.site of the source reads \"\": ")
    );

    let links = vec![PeerLink {
        name: "from-b".into(),
        source_cluster_id: None,
        state: LinkState::Active,
        topic_filters: filters("b_*"),
        group_filters: Vec::new(),
        released: vec!["b_x".into()],
    }];
    let text = peer::links_to_config(&links);
    assert_eq!(
        text,
        r#"[{"name":"from-b","source_cluster_id":null,"state":"ACTIVE","topic_filters":[{"pattern_type":"PREFIX","filter_type":"INCLUDE","name":"b_"}],"group_filters":[],"released":["b_x"]}]"#
    );
    assert_eq!(peer::links_from_config(&text), Ok(links));

    let origin = TopicOrigin {
        cluster_id: "c".into(),
        link: "from-a".into(),
        state: TopicState::FailedOver,
        cuts: BTreeMap::from([(0, 10), (1, 0)]),
        epochs: BTreeMap::from([(0, 65_536), (1, 65_536)]),
    };
    let configs = origin.to_configs();
    assert_eq!(configs[peer::SHADOW_CUT], "0:10,1:0");
    assert_eq!(configs[peer::SHADOW_EPOCH], "0:65536,1:65536");
    assert_eq!(
        TopicOrigin::from_configs(|key| configs.get(key).map(String::as_str)),
        Ok(Some(origin))
    );
    assert_eq!(TopicOrigin::from_configs(|_| None), Ok(None));
    let broken = |key: &str| (key == peer::SHADOW_ORIGIN).then_some("c");
    assert!(TopicOrigin::from_configs(broken).is_err());
}
