//! Which names a link selects: LITERAL or PREFIX, INCLUDE or EXCLUDE. Any EXCLUDE wins, else an
//! INCLUDE is needed, else a name is not selected.
//!
//! Invariant: no topic filter selects a reserved name (a broker's own topics, the schema
//! registry's), and `*` selects no internal one. What an overlap of two links means is in
//! `ownership.rs`.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// How a filter's name is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatternType {
    /// Exactly this name; `*` stands for every name.
    Literal,
    /// Every name that begins with this. Redpanda also spells it `PREFIXED`.
    #[serde(alias = "PREFIXED")]
    Prefix,
}

/// The effect of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilterType {
    /// Selected, unless something excludes it.
    Include,
    /// Never selected.
    Exclude,
}

/// One filter over topic or group names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameFilter {
    /// How `name` is compared.
    pub pattern_type: PatternType,
    /// The effect of a match.
    pub filter_type: FilterType,
    /// The name, the beginning of a name, or `*`.
    pub name: String,
}

impl NameFilter {
    /// Selects every name that begins with this.
    pub fn include_prefix(name: impl Into<String>) -> NameFilter {
        NameFilter {
            pattern_type: PatternType::Prefix,
            filter_type: FilterType::Include,
            name: name.into(),
        }
    }

    /// Selects this name, or all with `*`.
    pub fn include_literal(name: impl Into<String>) -> NameFilter {
        NameFilter {
            pattern_type: PatternType::Literal,
            filter_type: FilterType::Include,
            name: name.into(),
        }
    }

    /// Keeps out every name that begins with this.
    pub fn exclude_prefix(name: impl Into<String>) -> NameFilter {
        NameFilter {
            pattern_type: PatternType::Prefix,
            filter_type: FilterType::Exclude,
            name: name.into(),
        }
    }

    /// Keeps out this name.
    pub fn exclude_literal(name: impl Into<String>) -> NameFilter {
        NameFilter {
            pattern_type: PatternType::Literal,
            filter_type: FilterType::Exclude,
            name: name.into(),
        }
    }

    /// Whether this is the literal `*`.
    pub fn is_all(&self) -> bool {
        self.pattern_type == PatternType::Literal && self.name == "*"
    }

    /// Whether the pattern covers a name; what that means is up to `filter_type`, and what `*`
    /// leaves out to [`selects`].
    pub fn covers(&self, name: &str) -> bool {
        match self.pattern_type {
            PatternType::Literal => self.is_all() || self.name == name,
            PatternType::Prefix => name.starts_with(&self.name),
        }
    }
}

/// As the story lines write it: `a_*`, `orders`, `!a_tmp*`.
impl fmt::Display for NameFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.filter_type == FilterType::Exclude {
            "!"
        } else {
            ""
        };
        let star = if self.pattern_type == PatternType::Prefix {
            "*"
        } else {
            ""
        };
        write!(f, "{not}{}{star}", self.name)
    }
}

/// Filters as one word for a line of status: `a_*,!a_tmp*`, or `(nothing)`.
pub fn describe(filters: &[NameFilter]) -> String {
    if filters.is_empty() {
        return "(nothing)".to_owned();
    }
    filters
        .iter()
        .map(NameFilter::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// A topic that no filter selects, whatever it says: it belongs to a broker itself, or has its own
/// way of being synced.
pub fn is_reserved(topic: &str) -> bool {
    matches!(
        topic,
        "__consumer_offsets"
            | "__transaction_state"
            | "__cluster_metadata"
            | "__share_group_state"
            | "_schemas"
    ) || topic.starts_with("_redpanda")
        || topic.starts_with("__redpanda")
}

/// A topic that `*` does not select.
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with("__") || is_reserved(topic)
}

/// Whether these filters select a topic.
pub fn selects(filters: &[NameFilter], topic: &str) -> bool {
    !is_reserved(topic) && matches(filters, topic, |f| !(f.is_all() && is_internal(topic)))
}

/// Whether these filters select a consumer group. Groups know no internal names.
pub fn selects_group(filters: &[NameFilter], group: &str) -> bool {
    matches(filters, group, |_| true)
}

fn matches(filters: &[NameFilter], name: &str, may_include: impl Fn(&NameFilter) -> bool) -> bool {
    let mut included = false;
    for filter in filters.iter().filter(|f| f.covers(name)) {
        match filter.filter_type {
            FilterType::Exclude => return false,
            FilterType::Include => included |= may_include(filter),
        }
    }
    included && !name.is_empty()
}

/// The names that two filter sets are about: it decides what a name is and what `*` leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    Topics,
    Groups,
}

impl Names {
    /// Whether filters over these names select one.
    pub fn selects(self, filters: &[NameFilter], name: &str) -> bool {
        match self {
            Names::Topics => selects(filters, name),
            Names::Groups => selects_group(filters, name),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Names::Topics => "topic",
            Names::Groups => "group",
        })
    }
}

/// Every character that a topic's name may have, best readable first.
const NAME_CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

/// A name that both sets select, if there is one: the shortest, so that a refusal can show it.
/// Names in `released` count as excluded by both.
///
/// Exact for topics: below the longer of two including prefixes, only names that begin an excluded
/// one have to be looked at one by one.
pub fn overlap(
    names: Names,
    a: &[NameFilter],
    b: &[NameFilter],
    released: &BTreeSet<&str>,
) -> Option<String> {
    let both =
        |name: &str| names.selects(a, name) && names.selects(b, name) && !released.contains(name);
    let mut starts: BTreeSet<&str> = BTreeSet::new();
    for x in a.iter().filter(|f| f.filter_type == FilterType::Include) {
        for y in b.iter().filter(|f| f.filter_type == FilterType::Include) {
            starts.extend(common_start(x, y));
        }
    }
    let mut level: BTreeSet<String> = BTreeSet::new();
    for start in starts {
        if both(start) {
            return Some(start.to_owned());
        }
        level.insert(start.to_owned());
    }
    // A name longer than all that is written down, below an including prefix, is selected or lies
    // below an excluding prefix as a whole.
    let written = || {
        a.iter()
            .chain(b)
            .map(|f| f.name.as_str())
            .chain(released.iter().copied())
    };
    let excluded_whole = |name: &str| {
        a.iter().chain(b).any(|f| {
            f.filter_type == FilterType::Exclude
                && (f.pattern_type == PatternType::Prefix || f.is_all())
                && f.covers(name)
        })
    };
    while !level.is_empty() {
        let mut next = BTreeSet::new();
        for start in level.iter().filter(|s| !excluded_whole(s)) {
            for c in NAME_CHARACTERS.chars() {
                let name = format!("{start}{c}");
                if both(&name) {
                    return Some(name);
                }
                if written().any(|w| w.starts_with(&name))
                    || (names == Names::Topics && begins_reserved(&name))
                {
                    next.insert(name);
                }
            }
        }
        level = next;
    }
    None
}

/// Reserved and internal names are holes in a topic filter too: below their first characters a
/// selectable name may still be found.
fn begins_reserved(name: &str) -> bool {
    [
        "__consumer_offsets",
        "__transaction_state",
        "__cluster_metadata",
        "__share_group_state",
        "_schemas",
        "_redpanda",
        "__redpanda",
    ]
    .iter()
    .any(|reserved| reserved.starts_with(name))
}

/// Where the names that both including filters cover begin. A literal gives the name itself.
fn common_start<'a>(x: &'a NameFilter, y: &'a NameFilter) -> Option<&'a str> {
    let open = |f: &'a NameFilter| match f.pattern_type {
        PatternType::Prefix => Some(f.name.as_str()),
        PatternType::Literal => f.is_all().then_some(""),
    };
    match (open(x), open(y)) {
        (Some(p), Some(q)) if p.starts_with(q) => Some(p),
        (Some(p), Some(q)) if q.starts_with(p) => Some(q),
        (Some(_), Some(_)) => None,
        (Some(_), None) => x.covers(&y.name).then_some(&y.name),
        (None, Some(_)) => y.covers(&x.name).then_some(&x.name),
        (None, None) => (x.name == y.name).then_some(&x.name),
    }
}
