//! Link files: what they mean, how they are refused, and that writing and reading give the same
//! back.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails with a place")]

mod common;

use common::{Seed, run_scripts};
use gnomon_links::{
    LinkConfig, LinkName, NameFilter, Start, TopicSync,
    config::{
        Authentication, ConfigError, Mechanism, Secret, SecretRef, Tls, TlsMaterial,
        check_supported, parse_link_file, parse_link_file_plain,
    },
    config::{ClientOptions, GroupSync},
};

/// Each block is a link file; the answer is the file as we would write it, or the refusal.
#[test]
fn link_files() {
    run_scripts("config", || {
        |yaml: &str| match parse_link_file_plain(yaml) {
            Ok(config) => format!(
                "{}selects {}",
                config.to_yaml(),
                gnomon_links::filter::describe(&config.topics.filters)
            ),
            Err(error) => error.to_string(),
        }
    });
}

fn resolve(secret: &SecretRef) -> Result<String, String> {
    match secret {
        SecretRef::Env(name) if name == "PW" => Ok("hunter2".to_owned()),
        SecretRef::Env(name) => Err(format!("environment variable {name} is not set")),
        SecretRef::File(path) => Ok(format!("contents of {path}")),
    }
}

const HEAD: &str = "name: l\nclient_options:\n  bootstrap_servers: [\"h:1\"]\n";

#[test]
fn secrets_come_from_elsewhere() {
    let key = |value: &str| {
        format!(
            "{HEAD}  tls_settings: {{ enabled: false, tls_pem_settings: {{ key: \"{value}\" }} }}\n"
        )
    };
    let read = |value: &str| {
        parse_link_file(&key(value), &resolve).map(|config| config.client.tls.unwrap().material)
    };
    let pem = |text: &str| {
        Ok(Some(TlsMaterial::Pem {
            ca: None,
            key: Some(Secret(text.to_owned())),
            cert: None,
        }))
    };
    assert_eq!(read("${env:PW}"), pem("hunter2"));
    assert_eq!(read("${file:/k.pem}"), pem("contents of /k.pem"));
    assert_eq!(read("in the clear"), pem("in the clear"));
    assert_eq!(
        read("${env:NO}").unwrap_err().to_string(),
        "client_options.tls_settings.tls_pem_settings.key: environment variable NO is not set"
    );
    assert!(matches!(
        read("${vault:x}"),
        Err(ConfigError::Invalid { .. })
    ));
    assert_eq!(format!("{:?}", Secret("x".to_owned())), "Secret(..)");
}

#[test]
fn a_reference_in_a_link_that_came_over_the_network_is_refused_with_what_to_do() {
    for reference in ["${file:/etc/passwd}", "${env:HOME}"] {
        let yaml = format!(
            "{HEAD}  tls_settings:\n    enabled: false\n    tls_pem_settings:\n      key: \"{reference}\"\n"
        );
        let refused = parse_link_file_plain(&yaml).unwrap_err().to_string();
        assert!(
            refused.starts_with("client_options.tls_settings.tls_pem_settings.key: ")
                && refused.contains(&format!("{reference} is not read for a request"))
                && refused.contains("gnomon link create -f FILE"),
            "{refused}"
        );
    }
}

#[test]
fn a_resolved_secret_stays_one_text_whatever_stands_in_it() {
    let yaml = format!(
        "{HEAD}  tls_settings:\n    enabled: false\n    tls_pem_settings:\n      key: \"${{env:PW}}\"\n"
    );
    let mut seed = Seed::new(12);
    let nasty = [
        "x\nname: other".to_owned(),
        "-----BEGIN KEY-----\nabc\n-----END KEY-----".to_owned(),
        "  leading: {a: [b]} # no comment".to_owned(),
        "null".to_owned(),
        "~".to_owned(),
        "0x1f".to_owned(),
        "1e3".to_owned(),
        "yes".to_owned(),
        "'\"\\".to_owned(),
        "\u{1}\u{85}\u{2028}\u{feff}\t\r\n.".to_owned(),
    ];
    for secret in nasty
        .into_iter()
        .chain((0..300).map(|_| random_text(&mut seed)))
    {
        let resolved = parse_link_file(&yaml, &|_| Ok(secret.clone())).unwrap();
        let sent = resolved.to_yaml();
        assert_eq!(
            parse_link_file_plain(&sent).as_ref(),
            Ok(&resolved),
            "{secret:?} was sent as {sent}"
        );
    }
}

#[test]
fn numbers_given_as_zero_are_defaults() {
    let config = parse_link_file_plain(&format!(
        "{HEAD}  fetch_min_bytes: 0\n  fetch_max_bytes: 1000\n"
    ))
    .unwrap();
    let client = config.client.effective();
    assert_eq!(
        (
            client.fetch_min_bytes,
            client.fetch_max_bytes,
            client.fetch_partition_max_bytes
        ),
        (1, 1000, 5_242_880)
    );
    assert_eq!(
        (
            client.metadata_max_age_ms,
            client.connection_timeout_ms,
            client.retry_backoff_ms,
            client.fetch_wait_max_ms
        ),
        (10_000, 1_000, 100, 500)
    );
    assert_eq!(config.topics.interval().as_millis(), 1_000);
    assert_eq!(config.topics.synced_keys().len(), 9);
}

fn random_filters(seed: &mut Seed) -> Vec<NameFilter> {
    let name = |seed: &mut Seed| seed.word(&['a', 'b', '_', '.', '-', '7'], 1, 6);
    (0..seed.below(4))
        .map(|_| match seed.below(4) {
            0 => NameFilter::include_literal(name(seed)),
            1 => NameFilter::include_prefix(name(seed)),
            2 => NameFilter::exclude_literal(name(seed)),
            _ => NameFilter::exclude_prefix(name(seed)),
        })
        .collect()
}

fn random_text(seed: &mut Seed) -> String {
    seed.word(
        &[
            'a', ' ', ':', '#', '"', '\'', '\\', '\n', '-', '0', '~', '{', '[', '&', '*', '!', '|',
            '>', '%', '@', '`', 'é', '\t', 't', 'y', 'n',
        ],
        1,
        12,
    )
}

fn random_config(seed: &mut Seed) -> LinkConfig {
    let number = |seed: &mut Seed| {
        if seed.chance(50) {
            0
        } else {
            seed.below(i32::MAX as u64) as i32
        }
    };
    let optional = |seed: &mut Seed| {
        if seed.chance(50) {
            None
        } else {
            Some(random_text(seed))
        }
    };
    LinkConfig {
        name: LinkName::new(seed.word(&['a', 'Z', '0', '1', '.', '-', '_', 'n', 'o', 'e'], 1, 8))
            .unwrap(),
        client: ClientOptions {
            bootstrap_servers: (0..1 + seed.below(3))
                .map(|n| format!("host-{n}:{}", 1 + seed.below(65_535)))
                .collect(),
            source_cluster_id: optional(seed),
            tls: if seed.chance(70) {
                None
            } else {
                let material = match seed.below(3) {
                    0 => None,
                    1 => Some(TlsMaterial::Files {
                        ca_path: optional(seed),
                        key_path: optional(seed),
                        cert_path: optional(seed),
                    }),
                    _ => Some(TlsMaterial::Pem {
                        ca: optional(seed),
                        key: optional(seed).map(Secret),
                        cert: optional(seed),
                    }),
                };
                Some(Tls {
                    enabled: false,
                    do_not_set_sni_hostname: seed.chance(50),
                    material,
                })
            },
            authentication: None,
            metadata_max_age_ms: number(seed),
            connection_timeout_ms: number(seed),
            retry_backoff_ms: number(seed),
            fetch_wait_max_ms: number(seed),
            fetch_min_bytes: number(seed),
            fetch_max_bytes: number(seed),
            fetch_partition_max_bytes: number(seed),
        },
        topics: TopicSync {
            interval_ms: seed.below(100_000),
            paused: seed.chance(50),
            filters: random_filters(seed),
            synced_properties: (0..seed.below(3))
                .map(|_| format!("segment.{}", random_text(seed)))
                .collect(),
            exclude_default: seed.chance(50),
            start: match seed.below(3) {
                0 => Start::Earliest,
                1 => Start::Latest,
                _ => Start::TimestampMs(seed.below(1 << 30) as i64 * 1_001),
            },
        },
        groups: GroupSync {
            interval_ms: seed.below(100_000),
            paused: seed.chance(50),
            filters: random_filters(seed),
        },
    }
}

#[test]
fn what_is_written_reads_the_same() {
    for n in 0..3_000 {
        let config = random_config(&mut Seed::new(n));
        let yaml = config.to_yaml();
        match parse_link_file_plain(&yaml) {
            Ok(again) => assert_eq!(again, config, "seed {n}:\n{yaml}"),
            Err(error) => panic!("seed {n}: {error}\n{yaml}"),
        }
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<LinkConfig>(&json).unwrap(),
            config,
            "seed {n}"
        );
        assert_eq!(config.differences(&config), Vec::<String>::new());
        assert_eq!(check_supported(&config), Ok(()));
    }
}

#[test]
fn two_different_settings_differ_in_a_line() {
    for n in 0..1_000 {
        let (a, b) = (
            random_config(&mut Seed::new(n)),
            random_config(&mut Seed::new(n + 1)),
        );
        assert_eq!(a == b, a.differences(&b).is_empty(), "seed {n}");
    }
    let a = parse_link_file_plain(HEAD).unwrap();
    let mut b = a.clone();
    b.topics.interval_ms = 30_000;
    b.topics.filters = vec![NameFilter::include_prefix("a_")];
    assert_eq!(
        a.differences(&b),
        [
            "topic_metadata_sync_options.auto_create_shadow_topic_filters: is (default), the file says [{pattern_type: PREFIX, filter_type: INCLUDE, name: a_}]",
            "topic_metadata_sync_options.interval: is (default), the file says 30s",
        ]
    );
    let mut with = |password: &str| {
        b.client.authentication = Some(Authentication {
            mechanism: Mechanism::Plain,
            username: "u".into(),
            password: Secret(password.to_owned()),
        });
        b.clone()
    };
    let (one, other) = (with("one"), with("other"));
    assert_eq!(
        one.differences(&other),
        [
            "client_options.authentication_configuration.plain_configuration.password: the file has another one"
        ]
    );
}

/// Reading a file ends in a value or an error, whatever is in it.
#[test]
fn no_file_panics() {
    let good = random_config(&mut Seed::new(7)).to_yaml();
    for n in 0..3_000 {
        let seed = &mut Seed::new(n);
        let mut text: Vec<char> = good.chars().collect();
        for _ in 0..1 + seed.below(6) {
            let at = seed.below(text.len() as u64) as usize;
            match seed.below(3) {
                0 => {
                    text[at] = *seed.one_of(&[
                        '{', '}', '[', ']', ':', '-', '\n', ' ', '&', '*', '!', '9', '~', '\u{0}',
                        'é',
                    ])
                }
                1 => drop(text.remove(at)),
                _ => text.insert(at, *seed.one_of(&['\n', ' ', ':', '\'', '"', '|', '-'])),
            }
        }
        let _ = parse_link_file_plain(&text.into_iter().collect::<String>());
    }
}
