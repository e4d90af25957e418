//! The files in `deploy/` are what their readers expect: they parse, and they name flags that
//! `gnomon serve` has.

use serde_json::Value;
use std::{fs, path::PathBuf};

fn read(path: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn the_sample_configuration_of_the_unit_has_keys_that_exist_and_writes_where_the_unit_may() {
    let sample = read("systemd/gnomon.toml");
    let flags = serve_flags();
    let keys: Vec<&str> = sample
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(key, _)| key))
        // A key that is commented out stands there to be used.
        .map(|key| key.trim_start_matches("# "))
        .filter(|key| !key.contains(' '))
        .collect();
    assert!(keys.len() >= 6, "{keys:?}");
    for key in &keys {
        assert!(flags.contains(&format!("--{key}")), "no setting {key}");
    }
    let data = sample
        .lines()
        .find_map(|line| line.strip_prefix("data = "))
        .expect("a data directory")
        .trim_matches('"');
    let unit = read("systemd/gnomon.service");
    assert!(unit.contains(&format!("ReadWritePaths={data}\n")), "{data}");
}

/// Flags of `gnomon serve`, from the one place that defines them.
fn serve_flags() -> Vec<String> {
    let args =
        fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gnomon/src/args.rs"))
            .expect("args.rs");
    let serve = args
        .split("pub struct Serve {")
        .nth(1)
        .and_then(|rest| rest.split("\n}").next())
        .expect("the flags of serve");
    serve
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next())
        .map(|field| format!("--{}", field.replace('_', "-")))
        .collect()
}

#[test]
fn the_systemd_unit_has_its_sections() {
    let unit = read("systemd/gnomon.service");
    let mut section = String::new();
    let mut settings = Vec::new();
    for line in unit
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(name) => section = name.to_owned(),
            None => {
                let (key, value) = line
                    .split_once('=')
                    .unwrap_or_else(|| panic!("{line:?} is no setting"));
                settings.push((section.clone(), key.to_owned(), value.to_owned()));
            }
        }
    }
    let get = |section: &str, key: &str| {
        settings
            .iter()
            .find(|(s, k, _)| s == section && k == key)
            .map(|(.., value)| value.as_str())
    };
    assert!(
        get("Service", "ExecStart")
            .is_some_and(|command| command.starts_with("/usr/bin/gnomon serve --config "))
    );
    assert_eq!(get("Service", "KillSignal"), Some("SIGTERM"));
    assert!(get("Unit", "Description").is_some() && get("Install", "WantedBy").is_some());
}

#[test]
fn the_container_and_the_bench_build_the_profile_with_link_time_optimisation() {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = |path: &str| fs::read_to_string(workspace.join(path)).expect("readable file");
    let manifest = text("Cargo.toml");
    let dist = manifest.split("[profile.dist]").nth(1).expect("a profile");
    assert!(dist.contains("lto = \"thin\""), "{dist}");
    assert!(text("deploy/container/Dockerfile").contains("cargo build --profile dist "));
    assert!(text("bench/src/peers/gnomon.rs").contains(r#""--profile", "dist""#));
}

#[test]
fn the_compose_pair_links_both_ways_with_flags_that_exist() {
    let compose: Value = serde_saphyr::from_str(&read("compose/pair.yaml")).expect("YAML");
    let flags = serve_flags();
    let mut tags = Vec::new();
    for (name, other) in [("site-a", "b"), ("site-b", "a")] {
        let command: Vec<&str> = compose["services"][name]["command"]
            .as_array()
            .expect("a command")
            .iter()
            .map(|word| word.as_str().expect("text"))
            .collect();
        assert_eq!(command[0], "serve");
        for word in &command[1..] {
            let flag = word.split('=').next().expect("a flag").to_owned();
            assert!(flags.contains(&flag), "{name}: gnomon serve has no {flag}");
        }
        assert!(
            command.contains(&format!("--link=/links/from-{other}.yaml").as_str()),
            "{command:?}"
        );
        admin_is_published_for_this_machine_only(&compose["services"][name], name, &command);
        tags.extend(
            command
                .iter()
                .filter(|word| word.starts_with("--producer-tag"))
                .map(|word| (*word).to_owned()),
        );
    }
    assert!(
        tags.len() == 2 && tags[0] != tags[1],
        "each site has a tag of its own: {tags:?}"
    );
}

/// The admin address has no authentication: inside the container it must listen on all addresses,
/// and outside only the host itself reaches it.
fn admin_is_published_for_this_machine_only(service: &Value, name: &str, command: &[&str]) {
    for flag in ["--admin-allow-remote", &format!("--admin-host={name}")] {
        assert!(command.contains(&flag), "{name}: {command:?} lacks {flag}");
    }
    let ports: Vec<&str> = service["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| port.as_str().expect("text"))
        .filter(|port| port.ends_with(":9644"))
        .collect();
    assert!(
        ports.len() == 1 && ports[0].starts_with("127.0.0.1:"),
        "{name}: {ports:?}"
    );
}

#[test]
fn the_link_files_of_the_compose_pair_shadow_the_other_site() {
    for (site, other) in [("a", "b"), ("b", "a")] {
        let link: Value =
            serde_saphyr::from_str(&read(&format!("compose/links/{site}/from-{other}.yaml")))
                .expect("YAML");
        assert_eq!(link["name"], format!("from-{other}"));
        assert_eq!(
            link["client_options"]["bootstrap_servers"][0],
            format!("site-{other}:9092")
        );
        let filter = &link["topic_metadata_sync_options"]["auto_create_shadow_topic_filters"][0];
        assert_eq!(
            (filter["pattern_type"].as_str(), filter["name"].as_str()),
            (Some("PREFIX"), Some(format!("{other}_").as_str()))
        );
    }
}
