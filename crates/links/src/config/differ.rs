//! Where a link file says something else than the link works with: a line per setting, for log and
//! status.

use super::{LinkConfig, node::Node, write::to_node};
use std::collections::BTreeMap;

impl LinkConfig {
    /// Where `file` says something else than these settings, a line each: `PATH: is X, the file
    /// says Y`. A secret is not shown.
    pub fn differences(&self, file: &LinkConfig) -> Vec<String> {
        let (ours, theirs) = (flat(self), flat(file));
        let mut paths: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
            .into_iter()
            .filter(|path| ours.get(*path) != theirs.get(*path))
            .map(|path| {
                if path.ends_with(".password") || path.ends_with(".key") {
                    return format!("{path}: the file has another one");
                }
                let show = |side: &BTreeMap<String, String>| {
                    side.get(path)
                        .cloned()
                        .unwrap_or_else(|| "(default)".to_owned())
                };
                format!(
                    "{path}: is {}, the file says {}",
                    show(&ours),
                    show(&theirs)
                )
            })
            .collect()
    }
}

fn flat(config: &LinkConfig) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten(String::new(), &to_node(config), &mut found);
    found
}

fn flatten(path: String, node: &Node, found: &mut BTreeMap<String, String>) {
    match node {
        Node::Map(entries) if !entries.is_empty() => {
            for (key, node) in entries {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(path, node, found);
            }
        }
        node => {
            found.insert(path, show(node));
        }
    }
}

fn show(node: &Node) -> String {
    match node {
        Node::Null => "nothing".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Int(value) => value.to_string(),
        Node::Float(value) => value.to_string(),
        Node::Text(value) => value.clone(),
        Node::List(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(", ")),
        Node::Map(entries) => {
            format!(
                "{{{}}}",
                entries
                    .iter()
                    .map(|(key, node)| format!("{key}: {}", show(node)))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}
