//! A link file as a tree of plain values that knows no settings, and the walk over it that names
//! every unknown or wrong key by its path.

use super::{ConfigError, time::parse_duration};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};
use std::fmt;

/// A YAML value. A key given with no value is [`Node::Null`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The kind of value, for an error.
    fn kind(&self) -> String {
        match self {
            Node::Null => "nothing".to_owned(),
            Node::Bool(value) => value.to_string(),
            Node::Int(value) => format!("the number {value}"),
            Node::Float(value) => format!("the number {value}"),
            Node::Text(value) => format!("{value:?}"),
            Node::List(_) => "a list".to_owned(),
            Node::Map(_) => "a map".to_owned(),
        }
    }

    pub(super) fn text(self, path: &str) -> Result<String, ConfigError> {
        match self {
            Node::Text(text) => Ok(text),
            Node::Bool(_) | Node::Int(_) | Node::Float(_) => Err(ConfigError::invalid(
                path,
                format!("must be text, not {}; put it in quotes", self.kind()),
            )),
            Node::Null | Node::List(_) | Node::Map(_) => Err(ConfigError::invalid(
                path,
                format!("must be text, not {}", self.kind()),
            )),
        }
    }

    pub(super) fn list(self, path: &str) -> Result<Vec<Node>, ConfigError> {
        match self {
            Node::List(list) => Ok(list),
            Node::Null => Ok(Vec::new()),
            other => Err(ConfigError::invalid(
                path,
                format!("must be a list, not {}", other.kind()),
            )),
        }
    }

    pub(super) fn texts(self, path: &str) -> Result<Vec<String>, ConfigError> {
        self.list(path)?
            .into_iter()
            .enumerate()
            .map(|(at, node)| node.text(&format!("{path}[{at}]")))
            .collect()
    }
}

/// A map of the file under the walk: every key is known, and taken by its type. A key with no
/// value, or with an empty text, counts as not given.
pub(super) struct Fields {
    path: String,
    entries: Vec<(String, Node)>,
}

impl Fields {
    /// Begins the walk over a map; `path` is empty for the file itself. A key that is not in
    /// `known` is refused.
    pub(super) fn of(path: &str, node: Node, known: &[&str]) -> Result<Fields, ConfigError> {
        let entries = match node {
            Node::Map(entries) => entries,
            Node::Null => Vec::new(),
            other => {
                let place = if path.is_empty() {
                    "the link file"
                } else {
                    path
                };
                return Err(ConfigError::invalid(
                    place,
                    format!("must be a map of settings, not {}", other.kind()),
                ));
            }
        };
        let fields = Fields {
            path: path.to_owned(),
            entries,
        };
        match fields
            .entries
            .iter()
            .find(|(key, _)| !known.contains(&key.as_str()))
        {
            Some((key, _)) => Err(ConfigError::UnknownKey {
                path: fields.at(key),
                known: known.join(", "),
            }),
            None => Ok(fields),
        }
    }

    /// The path of a key here.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Whether a key stands here at all, with or without a value.
    pub(super) fn stands(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k == key)
    }

    /// The value of a key, [`Node::Null`] if it is not there.
    pub(super) fn take(&mut self, key: &str) -> Node {
        self.entries
            .iter_mut()
            .find(|(k, _)| k == key)
            .map_or(Node::Null, |(_, node)| std::mem::replace(node, Node::Null))
    }

    /// The map below a key, empty if it is not there.
    pub(super) fn map(&mut self, key: &str, known: &[&str]) -> Result<Fields, ConfigError> {
        let node = self.take(key);
        Fields::of(&self.at(key), node, known)
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.take(key) {
            Node::Null => Ok(None),
            node => node
                .text(&self.at(key))
                .map(|text| Some(text).filter(|t| !t.is_empty())),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.take(key) {
            Node::Null => Ok(None),
            Node::Bool(value) => Ok(Some(value)),
            other => Err(ConfigError::invalid(
                self.at(key),
                format!("must be true or false, not {}", other.kind()),
            )),
        }
    }

    /// A number from 0 to 2^31-1; 0 if it is not there.
    pub(super) fn number(&mut self, key: &str) -> Result<i32, ConfigError> {
        let node = self.take(key);
        match node {
            Node::Null => Ok(0),
            Node::Int(value) if (0..=i64::from(i32::MAX)).contains(&value) => Ok(value as i32),
            other => Err(ConfigError::invalid(
                self.at(key),
                format!(
                    "must be a whole number from 0 to {}, not {}",
                    i32::MAX,
                    other.kind()
                ),
            )),
        }
    }

    /// A duration in milliseconds; 0 if it is not there.
    pub(super) fn duration(&mut self, key: &str) -> Result<u64, ConfigError> {
        match self.take(key) {
            Node::Null | Node::Int(0) => Ok(0),
            Node::Text(text) => {
                parse_duration(&text).map_err(|why| ConfigError::invalid(self.at(key), why))
            }
            other => Err(ConfigError::invalid(
                self.at(key),
                format!(
                    "must be a duration such as 500ms, 30s or 1m, not {}",
                    other.kind()
                ),
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        i64::try_from(value)
            .map(Node::Int)
            .map_err(|_| E::custom(format!("{value} is too large")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = access.next_element()? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => serializer.serialize_unit(),
            Node::Bool(value) => serializer.serialize_bool(*value),
            Node::Int(value) => serializer.serialize_i64(*value),
            Node::Float(value) => serializer.serialize_f64(*value),
            Node::Text(value) => serializer.serialize_str(value),
            Node::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                list.iter()
                    .try_for_each(|node| seq.serialize_element(node))?;
                seq.end()
            }
            Node::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries
                    .iter()
                    .try_for_each(|(key, node)| map.serialize_entry(key, node))?;
                map.end()
            }
        }
    }
}
