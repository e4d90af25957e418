//! From [`LinkConfig`] back to a link file that reads the same. Only what is not a default is
//! written.

use super::{
    LinkConfig, Mechanism, Start, TlsMaterial, format_duration, format_timestamp, node::Node,
};
use crate::filter::{FilterType, NameFilter, PatternType};

impl LinkConfig {
    /// The settings as a link file: [`super::parse_link_file`] gives the same back. Secrets stand
    /// in it in the clear.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&to_node(self))
            .expect("text, numbers, lists and maps always have a YAML form")
    }
}

/// The settings as the tree of their link file.
pub(super) fn to_node(config: &LinkConfig) -> Node {
    let mut file = Map::default();
    file.push("name", text(config.name.as_str()));
    file.push("client_options", client(config));
    file.push_map("topic_metadata_sync_options", topics(config));
    let mut groups = Map::default();
    groups.duration("interval", config.groups.interval_ms);
    groups.flag("paused", config.groups.paused);
    groups.filters("group_filters", &config.groups.filters);
    file.push_map("consumer_offset_sync_options", groups);
    Node::Map(file.0)
}

#[derive(Default)]
struct Map(Vec<(String, Node)>);

impl Map {
    fn push(&mut self, key: &str, node: Node) {
        self.0.push((key.to_owned(), node));
    }

    fn push_map(&mut self, key: &str, map: Map) {
        if !map.0.is_empty() {
            self.push(key, Node::Map(map.0));
        }
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(key, text(value));
        }
    }

    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.push(key, Node::Bool(true));
        }
    }

    fn number(&mut self, key: &str, value: i32) {
        if value != 0 {
            self.push(key, Node::Int(value.into()));
        }
    }

    fn duration(&mut self, key: &str, ms: u64) {
        if ms != 0 {
            self.push(key, Node::Text(format_duration(ms)));
        }
    }

    fn filters(&mut self, key: &str, filters: &[NameFilter]) {
        if !filters.is_empty() {
            self.push(key, Node::List(filters.iter().map(filter).collect()));
        }
    }
}

fn text(value: &str) -> Node {
    Node::Text(value.to_owned())
}

fn texts(values: &[String]) -> Node {
    Node::List(values.iter().map(|v| text(v)).collect())
}

fn filter(filter: &NameFilter) -> Node {
    let mut map = Map::default();
    map.push(
        "pattern_type",
        text(match filter.pattern_type {
            PatternType::Literal => "LITERAL",
            PatternType::Prefix => "PREFIX",
        }),
    );
    map.push(
        "filter_type",
        text(match filter.filter_type {
            FilterType::Include => "INCLUDE",
            FilterType::Exclude => "EXCLUDE",
        }),
    );
    map.push("name", text(&filter.name));
    Node::Map(map.0)
}

fn client(config: &LinkConfig) -> Node {
    let client = &config.client;
    let mut map = Map::default();
    map.push("bootstrap_servers", texts(&client.bootstrap_servers));
    map.text("source_cluster_id", client.source_cluster_id.as_deref());
    if let Some(tls) = &client.tls {
        let mut fields = Map::default();
        fields.push("enabled", Node::Bool(tls.enabled));
        fields.flag("do_not_set_sni_hostname", tls.do_not_set_sni_hostname);
        let mut material = Map::default();
        match &tls.material {
            None => {}
            Some(TlsMaterial::Files {
                ca_path,
                key_path,
                cert_path,
            }) => {
                material.text("ca_path", ca_path.as_deref());
                material.text("key_path", key_path.as_deref());
                material.text("cert_path", cert_path.as_deref());
                fields.push("tls_file_settings", Node::Map(material.0));
            }
            Some(TlsMaterial::Pem { ca, key, cert }) => {
                material.text("ca", ca.as_deref());
                material.text("key", key.as_ref().map(|key| key.0.as_str()));
                material.text("cert", cert.as_deref());
                fields.push("tls_pem_settings", Node::Map(material.0));
            }
        }
        map.push("tls_settings", Node::Map(fields.0));
    }
    if let Some(auth) = &client.authentication {
        let mut fields = Map::default();
        fields.push("username", text(&auth.username));
        fields.push("password", text(&auth.password.0));
        let kind = match auth.mechanism {
            Mechanism::Plain => "plain_configuration",
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => "scram_configuration",
        };
        match auth.mechanism {
            Mechanism::Plain => {}
            Mechanism::ScramSha256 => fields.push("scram_mechanism", text("SCRAM-SHA-256")),
            Mechanism::ScramSha512 => fields.push("scram_mechanism", text("SCRAM-SHA-512")),
        }
        map.push(
            "authentication_configuration",
            Node::Map(vec![(kind.to_owned(), Node::Map(fields.0))]),
        );
    }
    map.number("metadata_max_age_ms", client.metadata_max_age_ms);
    map.number("connection_timeout_ms", client.connection_timeout_ms);
    map.number("retry_backoff_ms", client.retry_backoff_ms);
    map.number("fetch_wait_max_ms", client.fetch_wait_max_ms);
    map.number("fetch_min_bytes", client.fetch_min_bytes);
    map.number("fetch_max_bytes", client.fetch_max_bytes);
    map.number(
        "fetch_partition_max_bytes",
        client.fetch_partition_max_bytes,
    );
    Node::Map(map.0)
}

fn topics(config: &LinkConfig) -> Map {
    let topics = &config.topics;
    let mut map = Map::default();
    map.duration("interval", topics.interval_ms);
    map.flag("paused", topics.paused);
    map.filters("auto_create_shadow_topic_filters", &topics.filters);
    if !topics.synced_properties.is_empty() {
        map.push(
            "synced_shadow_topic_properties",
            texts(&topics.synced_properties),
        );
    }
    map.flag("exclude_default", topics.exclude_default);
    match topics.start {
        Start::Earliest => {}
        Start::Latest => map.push("start_at_latest", Node::Map(Vec::new())),
        Start::TimestampMs(ms) => map.push("start_at_timestamp", Node::Text(format_timestamp(ms))),
    }
    map
}
