//! Says which synced settings the source does not report, or reports with values that this version
//! does not understand: in the log once, and in the link's status for as long as it is so.
//!
//! Only words: which value counts instead is decided in `links::plan_configs` and
//! `catalog::topic_config`. Memory is bounded by the shadows of the link and their synced settings.

use crate::link_shared::LinkShared;
use gnomon_catalog::{Image, check_config, config_key};
use gnomon_links::{
    plan_configs::{keeping, missing_in_words, odd_in_words},
    plan_topics::SourceTopic,
};
use std::collections::{BTreeMap, BTreeSet};

/// Topics named in one sentence of the status; of the others only the number is given.
const NAMED_MAX: usize = 3;

/// A setting, a topic, and the value that is not understood; `None`: it is not reported.
type Finding = (String, String, Option<String>);

/// Warnings that are in the log already.
#[derive(Default)]
pub(super) struct SaidSettings {
    said: BTreeSet<Finding>,
}

impl SaidSettings {
    /// Looks at the settings of the source's topics that are shadows of this link.
    pub fn look(&mut self, link: &LinkShared, image: &Image, topics: &[SourceTopic]) {
        let name = link.config.name.as_str();
        let ours: BTreeSet<&str> = image
            .topics_of(link.id)
            .filter(|topic| topic.is_shadow())
            .map(|topic| topic.name.as_str())
            .collect();
        let mut found = BTreeSet::new();
        for topic in topics.iter().filter(|t| ours.contains(t.name.as_str())) {
            for key in link.config.topics.synced_keys() {
                if let Some(value) = finding(topic, key) {
                    found.insert((key.to_owned(), topic.name.clone(), value));
                }
            }
        }
        for (key, topic, value) in found.difference(&self.said) {
            if let Some(value) = value {
                let why = odd_in_words(key, value);
                tracing::warn!(link = name, topic, setting = key, value, "{why}");
            }
        }
        for (key, topics) in missing(found.difference(&self.said)) {
            let why = missing_in_words(key);
            tracing::warn!(
                link = name,
                topics = listed(&topics),
                setting = key,
                "{why}"
            );
        }
        self.show(link, &found);
        self.said = found;
    }

    fn show(&self, link: &LinkShared, found: &BTreeSet<Finding>) {
        let mut odd: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (key, topic, value) in found {
            if let Some(value) = value {
                odd.entry((key, value)).or_default().push(topic);
            }
        }
        let odd = odd.into_iter().map(|((key, value), topics)| {
            format!("{}: {}", listed(&topics), odd_in_words(key, value))
        });
        let missing = missing(found.iter())
            .into_iter()
            .map(|(key, topics)| format!("{}: {}", listed(&topics), missing_in_words(key)));
        let unknown = link
            .config
            .topics
            .synced_keys()
            .into_iter()
            .filter(|key| config_key(key).is_none())
            .map(|key| format!("the setting {key} is not known to this version and is not synced"));
        let mut warnings = link.warnings.lock();
        for (about, sentences) in [
            ("settings not understood", odd.collect::<Vec<_>>()),
            ("settings not reported", missing.collect()),
            ("settings not known", unknown.collect()),
        ] {
            if sentences.is_empty() {
                warnings.remove(about);
            } else {
                warnings.insert(about, sentences.join("; "));
            }
        }
    }
}

/// The value that is not understood; `Some(None)`: the setting is not reported, and that matters.
fn finding(topic: &SourceTopic, key: &str) -> Option<Option<String>> {
    config_key(key)?;
    match topic.configs.get(key) {
        Some(value) => check_config(key, value)
            .is_err()
            .then(|| Some(value.clone())),
        None => keeping(key).map(|_| None),
    }
}

/// The topics of each setting that is not reported.
fn missing<'a>(found: impl Iterator<Item = &'a Finding>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, topic, _) in found.filter(|(_, _, value)| value.is_none()) {
        by_key.entry(key).or_default().push(topic);
    }
    by_key
}

/// The first topics by name, and how many there are beside them.
fn listed(topics: &[&str]) -> String {
    let named = topics[..topics.len().min(NAMED_MAX)].join(", ");
    let word = if topics.len() == 1 { "topic" } else { "topics" };
    match topics.len().saturating_sub(NAMED_MAX) {
        0 => format!("{word} {named}"),
        more => format!("{word} {named} and {more} more"),
    }
}
