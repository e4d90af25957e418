//! Settings of a source that this version does not understand, or that the source does not report:
//! no data is deleted because of them, before and after a failover, and the status says so.

use crate::site::LinkedSites;
use gnomon_catalog::{Event, FailOver, SiteDefaults, TopicConfig, Which};
use gnomon_replication::Site;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// Every synced setting as a usual source reports it.
const USUAL: [(&str, &str); 9] = [
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.type", "CreateTime"),
    ("min.compaction.lag.ms", "0"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
];

fn topic(world: &LinkedSites, name: &str, id: u128, configs: BTreeMap<String, String>) {
    world.source.create(name, Uuid::from_u128(id), 1);
    world.source.partition(name, 0, |p| p.append(&["x"]));
    world.source.set(|cluster| {
        cluster.topics.get_mut(name).unwrap().configs = configs;
    });
}

fn usual_but(key: &str, value: Option<&str>) -> BTreeMap<String, String> {
    let mut configs: BTreeMap<String, String> = USUAL
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    match value {
        Some(value) => drop(configs.insert(key.to_owned(), value.to_owned())),
        None => drop(configs.remove(key)),
    }
    configs
}

/// The settings in force for the shadow; this site's own defaults delete after seven days.
fn in_force(world: &LinkedSites, name: &str) -> TopicConfig {
    let configs = &world.topic(name).unwrap().configs;
    TopicConfig::resolve(configs, &SiteDefaults::default())
}

fn warnings(world: &LinkedSites) -> String {
    world.service.statuses()[0].warnings.join("\n")
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_not_understood_deletes_nothing_and_is_told() {
    let world = LinkedSites::start().await;
    for (at, (key, _)) in USUAL.iter().enumerate() {
        topic(
            &world,
            &format!("a_odd_{at}"),
            at as u128 + 1,
            usual_but(key, Some("odd")),
        );
    }
    topic(
        &world,
        "a_empty",
        100,
        usual_but("cleanup.policy", Some("")),
    );
    topic(
        &world,
        "a_usual",
        101,
        usual_but("cleanup.policy", Some("delete")),
    );
    for at in 0..USUAL.len() {
        world.copied(&format!("a_odd_{at}"), 0, 1).await;
    }
    world.copied("a_empty", 0, 1).await;
    world.copied("a_usual", 0, 1).await;
    world.source.set(|cluster| cluster.down = true);
    let said = warnings(&world);
    for (at, (key, _)) in USUAL.iter().enumerate() {
        let sentence = format!("topic a_odd_{at}: the source has {key}=\"odd\"");
        assert!(said.contains(&sentence), "{sentence}: {said}");
    }
    assert!(
        !said.contains("a_empty") && !said.contains("a_usual"),
        "{said}"
    );

    let failover = FailOver {
        link: "from-a".into(),
        which: Which::All,
    };
    world.site.submit(Event::FailOver(failover)).await.unwrap();
    let of = |key: &str| {
        let at = USUAL.iter().position(|(k, _)| *k == key).unwrap();
        in_force(&world, &format!("a_odd_{at}"))
    };
    assert!(!of("cleanup.policy").deleted);
    assert_eq!(of("retention.ms").retention_ms, None);
    assert_eq!(of("retention.bytes").retention_bytes, None);
    assert_eq!(of("delete.retention.ms").delete_retention_ms, i64::MAX);
    assert_eq!(of("min.compaction.lag.ms").min_compaction_lag_ms, i64::MAX);
    assert_eq!(of("max.compaction.lag.ms").max_compaction_lag_ms, i64::MAX);
    assert_eq!(of("max.message.bytes").max_message_bytes, 1_048_588);
    assert!(!in_force(&world, "a_empty").deleted);
    let usual = in_force(&world, "a_usual");
    assert!(usual.deleted, "a policy that is understood counts");
    let shadow = world.topic("a_empty").unwrap();
    assert_eq!(
        shadow.configs.get("cleanup.policy").map(String::as_str),
        Some(""),
        "as at the source"
    );
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_the_source_does_not_report_deletes_nothing_and_is_told() {
    let world = LinkedSites::start().await;
    for (at, (key, _)) in USUAL.iter().enumerate() {
        topic(
            &world,
            &format!("a_without_{at}"),
            at as u128 + 1,
            usual_but(key, None),
        );
    }
    topic(&world, "a_silent", 100, BTreeMap::new());
    for at in 0..USUAL.len() {
        world.copied(&format!("a_without_{at}"), 0, 1).await;
    }
    world.copied("a_silent", 0, 1).await;
    let said = warnings(&world);
    for (at, (key, _)) in USUAL.iter().enumerate() {
        // It refuses, and deletes nothing.
        if *key != "max.message.bytes" {
            let sentence = format!("a_without_{at}: the source does not report {key}");
            assert!(said.contains(&sentence), "{sentence}: {said}");
        }
    }
    let of = |key: &str| {
        let at = USUAL.iter().position(|(k, _)| *k == key).unwrap();
        in_force(&world, &format!("a_without_{at}"))
    };
    assert!(!of("cleanup.policy").deleted);
    assert_eq!(of("retention.ms").retention_ms, None);
    assert_eq!(of("retention.bytes").retention_bytes, None);
    assert!(!in_force(&world, "a_silent").deleted);

    // Reported later, it counts, and the status says no more.
    world.source.set(|cluster| {
        for topic in cluster.topics.values_mut() {
            topic.configs = usual_but("retention.ms", Some("7000"));
        }
    });
    world
        .until("nothing is missing", Duration::from_secs(90), |w| {
            warnings(w).is_empty()
        })
        .await;
    let silent = in_force(&world, "a_silent");
    assert_eq!((silent.deleted, silent.retention_ms), (true, Some(7_000)));
}
