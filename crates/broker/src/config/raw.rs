//! The configuration as written: `gnomon.toml`, then flags over it. Unknown keys and bad values are
//! named.
//!
//! Every default stands here.

use super::{Config, Endpoint, Listener, limits};
use serde::{Deserialize, Serialize};
use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

/// The longest name of a topic (Kafka's `MAX_NAME_LENGTH`).
const TOPIC_NAME_BYTES_MAX: usize = 249;

/// `gnomon.toml`; also what `pair` writes. Relative paths start at the file's folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RawConfig {
    /// Data directory. Default `gnomon-data`, in the working directory of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Kafka address to bind. Default `127.0.0.1:9092`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Address that clients are told. Default: the bound one, or on all addresses of the machine
    /// the one that a client connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// Admin address to bind. Default `127.0.0.1:9644`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Whether `admin` may be an address that other machines reach. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_allow_remote: Option<bool>,
    /// Names of the site that operators use in place of its address. Default: none but localhost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admin_host: Vec<String>,
    /// Short name of the site. Default `gnomon`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_name: Option<String>,
    /// Prefixes of the topics this site owns. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owns: Vec<String>,
    /// Link files. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<PathBuf>,
    /// 1 to 4095, another one at each site. Default: drawn at the first start, and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_tag: Option<u16>,
    /// This broker's id. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_id: Option<i32>,
    /// Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_create_topics: Option<bool>,
    /// Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_partitions: Option<i32>,
    /// Default false: records are fsynced before anyone sees them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_caching: Option<bool>,
    /// `full` or `header`. Default `full`: every record is looked at before it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_validation: Option<String>,
    /// Milliseconds. Default 3000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_initial_rebalance_delay_ms: Option<u64>,
    /// Bytes. Default 104857600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes_max: Option<usize>,
    /// A flag only: it is meant for one start, and a file would accept later losses as well.
    #[serde(skip)]
    pub accept_loss: bool,
}

/// An error in a configuration, with its place.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path}: {why}")]
    Parse {
        path: PathBuf,
        /// Where and why, as the parser says it.
        why: String,
    },
    /// A value is out of range or malformed.
    #[error("{key} = {value}: {why}")]
    Value {
        /// The key, as in the file.
        key: &'static str,
        value: String,
        /// The rule that the value breaks.
        why: String,
    },
}

impl RawConfig {
    /// Reads `gnomon.toml`; its relative paths are made to start at its folder. What it does not
    /// say stays `None`.
    pub fn read(path: &Path) -> Result<RawConfig, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        RawConfig::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<RawConfig, ConfigError> {
        let mut raw: RawConfig = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        // The parent of a bare file name is empty, and names no folder.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let below = |given: PathBuf| match given.as_path() == Path::new(".") {
            true => folder.to_owned(),
            false => folder.join(given),
        };
        raw.data = raw.data.map(below);
        raw.link = raw.link.into_iter().map(below).collect();
        Ok(raw)
    }

    /// `self` wherever it says something, else `below`.
    pub fn over(self, below: RawConfig) -> RawConfig {
        RawConfig {
            data: self.data.or(below.data),
            listen: self.listen.or(below.listen),
            advertise: self.advertise.or(below.advertise),
            admin: self.admin.or(below.admin),
            admin_allow_remote: self.admin_allow_remote.or(below.admin_allow_remote),
            admin_host: if self.admin_host.is_empty() {
                below.admin_host
            } else {
                self.admin_host
            },
            site_name: self.site_name.or(below.site_name),
            owns: if self.owns.is_empty() {
                below.owns
            } else {
                self.owns
            },
            link: if self.link.is_empty() {
                below.link
            } else {
                self.link
            },
            producer_tag: self.producer_tag.or(below.producer_tag),
            broker_id: self.broker_id.or(below.broker_id),
            auto_create_topics: self.auto_create_topics.or(below.auto_create_topics),
            default_partitions: self.default_partitions.or(below.default_partitions),
            write_caching: self.write_caching.or(below.write_caching),
            record_validation: self.record_validation.or(below.record_validation),
            group_initial_rebalance_delay_ms: self
                .group_initial_rebalance_delay_ms
                .or(below.group_initial_rebalance_delay_ms),
            request_bytes_max: self.request_bytes_max.or(below.request_bytes_max),
            accept_loss: self.accept_loss || below.accept_loss,
        }
    }

    /// Checks every value and fills in the defaults.
    pub fn check(self) -> Result<Config, ConfigError> {
        let site_name = self.site_name.unwrap_or_else(|| "gnomon".into());
        if site_name.is_empty()
            || site_name.len() > 64
            || !site_name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        {
            return Err(bad(
                "site-name",
                site_name,
                "must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
            ));
        }
        self.owns.iter().try_for_each(|prefix| owned(prefix))?;
        let admin = self.admin.as_deref().unwrap_or("127.0.0.1:9644");
        let admin = admin_address(admin, self.admin_allow_remote.unwrap_or(false))?;
        let producer_tag = self
            .producer_tag
            .map(|tag| in_range("producer-tag", tag, 1..=4095))
            .transpose()?;
        Ok(Config {
            data: self.data.unwrap_or_else(|| "gnomon-data".into()),
            listeners: vec![Listener {
                name: "PLAINTEXT".into(),
                bind: address("listen", self.listen.as_deref().unwrap_or("127.0.0.1:9092"))?,
                advertise: self
                    .advertise
                    .as_deref()
                    .map(|text| endpoint("advertise", text))
                    .transpose()?,
            }],
            admin,
            admin_hosts: self.admin_host,
            site_name,
            owns: self.owns,
            link_files: self.link,
            producer_tag,
            broker_id: in_range("broker-id", self.broker_id.unwrap_or(1), 0..=i32::MAX)?,
            auto_create_topics: self.auto_create_topics.unwrap_or(true),
            default_partitions: in_range(
                "default-partitions",
                self.default_partitions.unwrap_or(1),
                1..=limits::PARTITIONS_PER_TOPIC_MAX,
            )?,
            write_caching: self.write_caching.unwrap_or(false),
            record_validation: match self.record_validation.as_deref() {
                None | Some("full") => true,
                Some("header") => false,
                Some(other) => {
                    return Err(bad("record-validation", other, "must be full or header"));
                }
            },
            group_initial_rebalance_delay_ms: in_range(
                "group-initial-rebalance-delay-ms",
                self.group_initial_rebalance_delay_ms.unwrap_or(3_000),
                0..=600_000,
            )?,
            request_bytes_max: in_range(
                "request-bytes-max",
                self.request_bytes_max.unwrap_or(limits::REQUEST_BYTES_MAX),
                1_024..=i32::MAX as usize,
            )?,
            accept_loss: self.accept_loss,
        })
    }
}

/// A prefix that names of topics can begin with.
fn owned(prefix: &str) -> Result<(), ConfigError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if prefix.is_empty() {
        return Err(bad("owns", prefix, "an empty prefix would own every topic"));
    }
    if prefix.len() > TOPIC_NAME_BYTES_MAX || !prefix.bytes().all(legal) {
        return Err(bad(
            "owns",
            format!("{prefix:?}"),
            "no topic can begin with that: names of topics have up to 249 characters of A-Z a-z 0-9 . _ -; \
             give each prefix as a value of its own, as in --owns a_ --owns b_",
        ));
    }
    Ok(())
}

fn bad(key: &'static str, value: impl ToString, why: impl ToString) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        why: why.to_string(),
    }
}

fn in_range<T: PartialOrd + ToString + Copy>(
    key: &'static str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(bad(
        key,
        value.to_string(),
        format!(
            "must be from {} to {}",
            range.start().to_string(),
            range.end().to_string()
        ),
    ))
}

fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| bad(key, text, format!("must be HOST:PORT ({error})")))?;
    found.next().ok_or_else(|| bad(key, text, "has no address"))
}

/// There is no authentication yet: an address that other machines reach must be asked for.
fn admin_address(text: &str, allow_remote: bool) -> Result<SocketAddr, ConfigError> {
    let admin = address("admin", text)?;
    if admin.ip().to_canonical().is_loopback() || allow_remote {
        return Ok(admin);
    }
    Err(bad(
        "admin",
        text,
        "other machines may reach this address, and it asks for no password; use one of this machine only, such as 127.0.0.1:9644, or add --admin-allow-remote (admin-allow-remote = true in the file) and let a firewall say who reaches it",
    ))
}

fn endpoint(key: &'static str, text: &str) -> Result<Endpoint, ConfigError> {
    let wrong = || {
        bad(
            key,
            text,
            "must be HOST:PORT, with a host that clients can reach",
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host == "0.0.0.0" || host == "::" {
        return Err(wrong());
    }
    Ok(Endpoint {
        host: host.to_owned(),
        port: port.parse().map_err(|_| wrong())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        let config = RawConfig::default().check().expect("defaults");
        assert_eq!(
            (config.broker_id, config.producer_tag, config.write_caching),
            (1, None, false)
        );
    }

    #[test]
    fn a_bad_value_is_named_with_its_key() {
        let error = RawConfig {
            producer_tag: Some(5000),
            ..RawConfig::default()
        }
        .check()
        .expect_err("out of range")
        .to_string();
        assert_eq!(error, "producer-tag = 5000: must be from 1 to 4095");
        let error = RawConfig {
            advertise: Some("0.0.0.0:9092".into()),
            ..RawConfig::default()
        }
        .check()
        .expect_err("unreachable")
        .to_string();
        assert!(error.starts_with("advertise = 0.0.0.0:9092"), "{error}");
    }

    #[test]
    fn paths_in_a_file_start_at_its_folder_and_a_missing_one_stays_the_default() {
        let data = |file: &str, text: &str| {
            let raw = RawConfig::parse(Path::new(file), text).expect("a configuration");
            raw.check().expect("valid").data
        };
        for file in ["/etc/site/gnomon.toml", "gnomon.toml"] {
            assert_eq!(data(file, ""), Path::new("gnomon-data"));
            assert_eq!(data(file, "data = \"/d\""), Path::new("/d"));
        }
        for (text, beside, bare) in [
            ("data = \".\"", "/etc/site", "."),
            ("data = \"d\"", "/etc/site/d", "./d"),
        ] {
            assert_eq!(data("/etc/site/gnomon.toml", text), Path::new(beside));
            assert_eq!(data("gnomon.toml", text), Path::new(bare));
        }
    }

    #[test]
    fn a_prefix_that_no_topic_can_have_is_refused() {
        for wrong in ["", "a b", "a_*", "a,b", "ä"] {
            let error = RawConfig {
                owns: vec!["ok_".into(), wrong.into()],
                ..RawConfig::default()
            }
            .check()
            .expect_err("not a prefix")
            .to_string();
            assert!(error.starts_with("owns = "), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_admin_address_that_others_reach_must_be_asked_for() {
        let raw = |admin: &str, allow| RawConfig {
            admin: Some(admin.to_owned()),
            admin_allow_remote: allow,
            ..RawConfig::default()
        };
        for admin in [
            "127.0.0.1:9644",
            "127.1.2.3:0",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            raw(admin, None).check().expect(admin);
        }
        for admin in ["0.0.0.0:9644", "[::]:9644", "10.0.0.1:9644"] {
            for allow in [None, Some(false)] {
                let error = raw(admin, allow).check().expect_err(admin).to_string();
                assert!(
                    error.starts_with(&format!("admin = {admin}: other machines may reach"))
                        && error.contains("--admin-allow-remote"),
                    "{error}"
                );
            }
            raw(admin, Some(true)).check().expect("asked for");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = RawConfig {
            site_name: Some("a".into()),
            owns: vec!["a_".into()],
            ..RawConfig::default()
        };
        let flags = RawConfig {
            site_name: Some("b".into()),
            ..RawConfig::default()
        };
        let both = flags.over(file);
        assert_eq!((both.site_name.as_deref(), both.owns.len()), (Some("b"), 1));
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<RawConfig>("listne = \"x\"")
            .expect_err("unknown key")
            .to_string();
        assert!(error.contains("listne"), "{error}");
    }
}
