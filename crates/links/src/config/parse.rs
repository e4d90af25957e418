//! From the text of a link file to [`LinkConfig`]: every key of Redpanda's file is known, a key
//! that is not is refused with its path.
//!
//! Enums are taken in any case, with or without Redpanda's long prefix (`PREFIX`, `prefixed`,
//! `PATTERN_TYPE_PREFIX`). The sections of things that Gnomon does not have yet are accepted while
//! they ask for nothing. Which settings are refused as a whole is in `supported.rs`.

use super::{
    Authentication, ClientOptions, ConfigError, GroupSync, LinkConfig, Mechanism, Secret, Start,
    Tls, TlsMaterial, TopicSync,
    node::{Fields, Node},
    supported::check_supported,
    time::parse_timestamp,
};
use crate::{
    filter::{FilterType, NameFilter, Names, PatternType},
    name::LinkName,
    plan_configs::is_never_synced,
};
use std::fmt;

/// Where a secret stands, instead of in the file itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `${env:NAME}`: an environment variable.
    Env(String),
    /// `${file:PATH}`: the contents of a file.
    File(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "${{env:{name}}}"),
            SecretRef::File(path) => write!(f, "${{file:{path}}}"),
        }
    }
}

type Resolve<'a> = &'a dyn Fn(&SecretRef) -> Result<String, String>;

/// Reads a link file. `resolve` fetches a secret that stands elsewhere; its error is a sentence
/// that names the place.
pub fn parse_link_file(yaml: &str, resolve: Resolve<'_>) -> Result<LinkConfig, ConfigError> {
    let node: Node =
        serde_saphyr::from_str(yaml).map_err(|e| ConfigError::Yaml(first_line(&e.to_string())))?;
    let mut file = Fields::of(
        "",
        node,
        &[
            "name",
            "client_options",
            "topic_metadata_sync_options",
            "consumer_offset_sync_options",
            "security_sync_options",
            "role_sync_options",
            "schema_registry_sync_options",
        ],
    )?;
    let name = file.text("name")?.ok_or_else(|| ConfigError::Missing {
        path: "name".to_owned(),
    })?;
    let name = LinkName::new(name).map_err(|e| ConfigError::invalid("name", e.to_string()))?;
    let config = LinkConfig {
        name,
        client: client(&mut file, resolve)?,
        topics: topics(&mut file)?,
        groups: groups(&mut file)?,
    };
    security(&mut file)?;
    roles(&mut file)?;
    registry(&mut file)?;
    check_supported(&config)?;
    Ok(config)
}

/// The sentence of a YAML error, with its place; not the library's picture of it, nor its advice to
/// programmers.
fn first_line(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ")
        .replace(", set DuplicateKeyPolicy in Options if acceptable", "")
}

/// Reads a link file that came over the network: every secret stands in the text itself. A
/// reference is refused, because it would be read with the rights of the site and not of its
/// sender.
pub fn parse_link_file_plain(yaml: &str) -> Result<LinkConfig, ConfigError> {
    parse_link_file(yaml, &|reference| {
        Err(format!(
            "{reference} is not read for a request; send the secret itself, as gnomon link create -f FILE does after it has read {reference} on its own side"
        ))
    })
}

fn client(file: &mut Fields, resolve: Resolve<'_>) -> Result<ClientOptions, ConfigError> {
    let mut options = file.map(
        "client_options",
        &[
            "bootstrap_servers",
            "source_cluster_id",
            "tls_settings",
            "authentication_configuration",
            "metadata_max_age_ms",
            "connection_timeout_ms",
            "retry_backoff_ms",
            "fetch_wait_max_ms",
            "fetch_min_bytes",
            "fetch_max_bytes",
            "fetch_partition_max_bytes",
        ],
    )?;
    let path = options.at("bootstrap_servers");
    let bootstrap_servers = options.take("bootstrap_servers").texts(&path)?;
    if bootstrap_servers.is_empty() {
        return Err(ConfigError::Missing { path });
    }
    for (at, server) in bootstrap_servers.iter().enumerate() {
        if !is_host_and_port(server) {
            return Err(ConfigError::invalid(
                format!("{path}[{at}]"),
                format!("{server:?} is not HOST:PORT"),
            ));
        }
    }
    Ok(ClientOptions {
        bootstrap_servers,
        source_cluster_id: options.text("source_cluster_id")?,
        tls: tls(&mut options, resolve)?,
        authentication: authentication(&mut options, resolve)?,
        metadata_max_age_ms: options.number("metadata_max_age_ms")?,
        connection_timeout_ms: options.number("connection_timeout_ms")?,
        retry_backoff_ms: options.number("retry_backoff_ms")?,
        fetch_wait_max_ms: options.number("fetch_wait_max_ms")?,
        fetch_min_bytes: options.number("fetch_min_bytes")?,
        fetch_max_bytes: options.number("fetch_max_bytes")?,
        fetch_partition_max_bytes: options.number("fetch_partition_max_bytes")?,
    })
}

/// `host:9092`, `10.0.0.1:9092`, `[::1]:9092`.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty()
        && !host.contains([':', '/', '[', ']', ','])
        && !host.contains(char::is_whitespace);
    (bracketed || plain)
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn secret(
    fields: &mut Fields,
    key: &str,
    resolve: Resolve<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let Some(text) = fields.text(key)? else {
        return Ok(None);
    };
    let Some(inner) = text.strip_prefix("${").and_then(|t| t.strip_suffix('}')) else {
        return Ok(Some(Secret(text)));
    };
    let reference = match inner.split_once(':') {
        Some(("env", name)) if !name.is_empty() => SecretRef::Env(name.to_owned()),
        Some(("file", path)) if !path.is_empty() => SecretRef::File(path.to_owned()),
        Some(_) | None => {
            return Err(ConfigError::invalid(
                fields.at(key),
                "a secret that stands elsewhere is ${env:NAME} or ${file:PATH}",
            ));
        }
    };
    match resolve(&reference) {
        // Empty text counts as not given: the link would go on without a secret.
        Ok(value) if value.is_empty() => Err(ConfigError::invalid(
            fields.at(key),
            format!("the secret in {reference} is empty"),
        )),
        Ok(value) => Ok(Some(Secret(value))),
        Err(why) => Err(ConfigError::invalid(fields.at(key), why)),
    }
}

fn tls(options: &mut Fields, resolve: Resolve<'_>) -> Result<Option<Tls>, ConfigError> {
    if !options.stands("tls_settings") {
        return Ok(None);
    }
    let mut tls = options.map(
        "tls_settings",
        &[
            "enabled",
            "do_not_set_sni_hostname",
            "tls_file_settings",
            "tls_pem_settings",
        ],
    )?;
    let (files, pem) = (
        tls.stands("tls_file_settings"),
        tls.stands("tls_pem_settings"),
    );
    if files && pem {
        return Err(ConfigError::invalid(
            tls.at("tls_pem_settings"),
            "tls_file_settings stands there too; give one of them",
        ));
    }
    let material = if files {
        let mut files = tls.map("tls_file_settings", &["ca_path", "key_path", "cert_path"])?;
        Some(TlsMaterial::Files {
            ca_path: files.text("ca_path")?,
            key_path: files.text("key_path")?,
            cert_path: files.text("cert_path")?,
        })
    } else if pem {
        let mut pem = tls.map("tls_pem_settings", &["ca", "key", "cert"])?;
        Some(TlsMaterial::Pem {
            ca: pem.text("ca")?,
            key: secret(&mut pem, "key", resolve)?,
            cert: pem.text("cert")?,
        })
    } else {
        None
    };
    let enabled = match (tls.flag("enabled")?, &material) {
        (Some(enabled), _) => enabled,
        (None, None) => false,
        // Left out it would be false, and the link would go in the clear though somebody wrote down
        // keys.
        (None, Some(_)) => {
            return Err(ConfigError::Missing {
                path: tls.at("enabled"),
            });
        }
    };
    Ok(Some(Tls {
        enabled,
        do_not_set_sni_hostname: tls.flag("do_not_set_sni_hostname")?.unwrap_or(false),
        material,
    }))
}

fn authentication(
    options: &mut Fields,
    resolve: Resolve<'_>,
) -> Result<Option<Authentication>, ConfigError> {
    let mut auth = options.map(
        "authentication_configuration",
        &["scram_configuration", "plain_configuration"],
    )?;
    let (scram, plain) = (
        auth.stands("scram_configuration"),
        auth.stands("plain_configuration"),
    );
    if scram && plain {
        return Err(ConfigError::invalid(
            auth.at("plain_configuration"),
            "scram_configuration stands there too; give one of them",
        ));
    }
    let (mut fields, mechanism) = if scram {
        let mut fields = auth.map(
            "scram_configuration",
            &["username", "password", "scram_mechanism"],
        )?;
        let mechanism = match fields.text("scram_mechanism")? {
            Some(word) => scram_mechanism(&word).ok_or_else(|| {
                ConfigError::invalid(
                    fields.at("scram_mechanism"),
                    format!("{word:?} is not SCRAM-SHA-256 or SCRAM-SHA-512"),
                )
            })?,
            None => Mechanism::ScramSha256,
        };
        (fields, mechanism)
    } else if plain {
        (
            auth.map("plain_configuration", &["username", "password"])?,
            Mechanism::Plain,
        )
    } else {
        return Ok(None);
    };
    match (
        fields.text("username")?,
        secret(&mut fields, "password", resolve)?,
    ) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => Ok(Some(Authentication {
            mechanism,
            username,
            password,
        })),
        (None, Some(_)) => Err(ConfigError::Missing {
            path: fields.at("username"),
        }),
        (Some(_), None) => Err(ConfigError::Missing {
            path: fields.at("password"),
        }),
    }
}

fn scram_mechanism(word: &str) -> Option<Mechanism> {
    match enum_word(word, "SCRAM_MECHANISM_").as_str() {
        "SCRAM_SHA_256" => Some(Mechanism::ScramSha256),
        "SCRAM_SHA_512" => Some(Mechanism::ScramSha512),
        _ => None,
    }
}

/// Upper case, underscores, without the long prefix.
fn enum_word(word: &str, prefix: &str) -> String {
    let word = word.to_ascii_uppercase().replace('-', "_");
    word.strip_prefix(prefix)
        .map_or(word.clone(), str::to_owned)
}

fn topics(file: &mut Fields) -> Result<TopicSync, ConfigError> {
    let mut options = file.map(
        "topic_metadata_sync_options",
        &[
            "interval",
            "paused",
            "auto_create_shadow_topic_filters",
            "synced_shadow_topic_properties",
            "exclude_default",
            "start_at_earliest",
            "start_at_latest",
            "start_at_timestamp",
        ],
    )?;
    let path = options.at("synced_shadow_topic_properties");
    let synced_properties = options
        .take("synced_shadow_topic_properties")
        .texts(&path)?;
    if let Some((at, key)) = synced_properties
        .iter()
        .enumerate()
        .find(|(_, key)| key.is_empty() || is_never_synced(key))
    {
        return Err(ConfigError::invalid(
            format!("{path}[{at}]"),
            format!("{key:?} tells about one cluster only and is never synced"),
        ));
    }
    Ok(TopicSync {
        interval_ms: options.duration("interval")?,
        paused: options.flag("paused")?.unwrap_or(false),
        filters: filters(
            &mut options,
            "auto_create_shadow_topic_filters",
            Names::Topics,
        )?,
        synced_properties,
        exclude_default: options.flag("exclude_default")?.unwrap_or(false),
        start: start(&mut options)?,
    })
}

fn start(options: &mut Fields) -> Result<Start, ConfigError> {
    let given: Vec<&str> = ["start_at_earliest", "start_at_latest", "start_at_timestamp"]
        .into_iter()
        .filter(|key| options.stands(key))
        .collect();
    match given[..] {
        [] => Ok(Start::Earliest),
        ["start_at_timestamp"] => {
            let path = options.at("start_at_timestamp");
            let text = options
                .text("start_at_timestamp")?
                .ok_or_else(|| ConfigError::Missing { path: path.clone() })?;
            parse_timestamp(&text)
                .map(Start::TimestampMs)
                .map_err(|why| ConfigError::invalid(path, why))
        }
        [key] => {
            options.map(key, &[])?;
            Ok(if key == "start_at_latest" {
                Start::Latest
            } else {
                Start::Earliest
            })
        }
        [first, second, ..] => Err(ConfigError::invalid(
            options.at(second),
            format!("{first} stands there too; give one of them"),
        )),
    }
}

fn groups(file: &mut Fields) -> Result<GroupSync, ConfigError> {
    let mut options = file.map(
        "consumer_offset_sync_options",
        &["interval", "paused", "group_filters"],
    )?;
    Ok(GroupSync {
        interval_ms: options.duration("interval")?,
        paused: options.flag("paused")?.unwrap_or(false),
        filters: filters(&mut options, "group_filters", Names::Groups)?,
    })
}

fn filters(options: &mut Fields, key: &str, names: Names) -> Result<Vec<NameFilter>, ConfigError> {
    let path = options.at(key);
    let list = options.take(key).list(&path)?;
    list.into_iter()
        .enumerate()
        .map(|(at, node)| filter(&format!("{path}[{at}]"), node, names))
        .collect()
}

/// One filter. `name` alone is a LITERAL INCLUDE.
fn filter(path: &str, node: Node, names: Names) -> Result<NameFilter, ConfigError> {
    let mut fields = Fields::of(path, node, &["pattern_type", "filter_type", "name"])?;
    let pattern_type = match fields.text("pattern_type")? {
        None => PatternType::Literal,
        Some(word) => match enum_word(&word, "PATTERN_TYPE_").as_str() {
            "LITERAL" => PatternType::Literal,
            "PREFIX" | "PREFIXED" => PatternType::Prefix,
            _ => {
                return Err(ConfigError::invalid(
                    fields.at("pattern_type"),
                    format!("{word:?} is not LITERAL or PREFIX"),
                ));
            }
        },
    };
    let filter_type = match fields.text("filter_type")? {
        None => FilterType::Include,
        Some(word) => match enum_word(&word, "FILTER_TYPE_").as_str() {
            "INCLUDE" => FilterType::Include,
            "EXCLUDE" => FilterType::Exclude,
            _ => {
                return Err(ConfigError::invalid(
                    fields.at("filter_type"),
                    format!("{word:?} is not INCLUDE or EXCLUDE"),
                ));
            }
        },
    };
    let path = fields.at("name");
    let name = fields
        .text("name")?
        .ok_or_else(|| ConfigError::Missing { path: path.clone() })?;
    let filter = NameFilter {
        pattern_type,
        filter_type,
        name,
    };
    match check_filter(&filter, names) {
        Ok(()) => Ok(filter),
        Err(why) => Err(ConfigError::invalid(path, why)),
    }
}

/// Refuses what can never match, or must never be copied.
fn check_filter(filter: &NameFilter, names: Names) -> Result<(), String> {
    let name = filter.name.as_str();
    if filter.pattern_type == PatternType::Prefix && name == "*" {
        return Err("\"*\" stands for every name only as a LITERAL".to_owned());
    }
    if names == Names::Groups || filter.is_all() {
        return Ok(());
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    {
        let hint = match name.strip_suffix('*') {
            Some(prefix) => format!(
                "; for every name that begins with {prefix:?} write pattern_type: PREFIX, name: {prefix}"
            ),
            None => String::new(),
        };
        return Err(format!(
            "{name:?} is in no topic's name: those have A-Z a-z 0-9 . - _ only{hint}"
        ));
    }
    let refused = filter.filter_type == FilterType::Include
        && match filter.pattern_type {
            PatternType::Literal => crate::filter::is_reserved(name),
            PatternType::Prefix => name.starts_with("_redpanda") || name.starts_with("__redpanda"),
        };
    if refused {
        return Err(format!(
            "{name:?} belongs to the cluster itself and cannot be shadowed by a topic filter"
        ));
    }
    Ok(())
}

fn security(file: &mut Fields) -> Result<(), ConfigError> {
    let mut options = file.map(
        "security_sync_options",
        &["interval", "paused", "acl_filters"],
    )?;
    options.duration("interval")?;
    options.flag("paused")?;
    let path = options.at("acl_filters");
    if !options.take("acl_filters").list(&path)?.is_empty() {
        return Err(ConfigError::not_supported(
            path,
            "syncing ACLs; leave the filters out",
        ));
    }
    Ok(())
}

fn roles(file: &mut Fields) -> Result<(), ConfigError> {
    let mut options = file.map(
        "role_sync_options",
        &["interval", "paused", "role_name_filters"],
    )?;
    options.duration("interval")?;
    options.flag("paused")?;
    let path = options.at("role_name_filters");
    if !options.take("role_name_filters").list(&path)?.is_empty() {
        return Err(ConfigError::invalid(
            path,
            "Gnomon has no roles; leave the filters out",
        ));
    }
    Ok(())
}

fn registry(file: &mut Fields) -> Result<(), ConfigError> {
    let known = ["shadow_schema_registry_topic", "shadow_schema_registry_api"];
    let options = file.map("schema_registry_sync_options", &known)?;
    match known.into_iter().find(|key| options.stands(key)) {
        Some(key) => Err(ConfigError::not_supported(
            options.at(key),
            "shadowing a schema registry; leave it out",
        )),
        None => Ok(()),
    }
}
