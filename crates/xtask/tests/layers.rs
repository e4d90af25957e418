//! The layering law: which crate may import which. Think hard before changing the table, because it
//! is the architecture.
//!
//! It holds for normal dependencies; dev-dependencies may also name `gnomon-testkit` and another
//! crate's `fakes`.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};

/// Each layer may import the layers below it, and nothing beside or above.
const LAYERS: &[&[&str]] = &[
    &["gnomon-protocol"],
    &["gnomon-links", "gnomon-machine", "gnomon-auth"],
    &["gnomon-catalog", "gnomon-groups", "gnomon-transactions"],
    &["gnomon-failpoints"],
    &["gnomon-storage"],
    &["gnomon-client", "gnomon-partition"],
    &["gnomon-driver", "gnomon-replication"],
    &["gnomon-host", "gnomon-registry"],
    &["gnomon-broker", "gnomon-inspect"],
    &["gnomon-testkit", "gnomon", "gnomon-bench", "proto-tests"],
];

/// These layers are pure: no runtime, no file, no socket, no clock, no randomness.
const PURE_LAYERS: usize = 3;

/// Libraries from outside the workspace that a pure crate may use.
const PURE_LIBRARIES: &[&str] = &[
    "bytes",
    "crc-fast",
    "flate2",
    "kafka-protocol",
    "lz4_flex",
    "serde",
    "serde-saphyr",
    "serde_json",
    "snap",
    "thiserror",
    "uuid",
    "zstd",
];

/// The broker is assembly: only the binary and the test kit may name it.
const MAY_IMPORT_BROKER: &[&str] = &["gnomon", "gnomon-testkit"];

/// These reach a broker over the wire only.
const OVER_THE_WIRE_ONLY: &[(&str, &[&str])] = &[("gnomon-bench", &[]), ("proto-tests", &[])];

fn workspace() -> BTreeMap<String, Package> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata");
    metadata
        .packages
        .into_iter()
        .map(|package| (package.name.to_string(), package))
        .collect()
}

fn normal_dependencies(package: &Package) -> BTreeSet<&str> {
    package
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal)
        .map(|d| d.name.as_str())
        .collect()
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

#[test]
fn every_crate_has_a_layer() {
    for name in workspace().keys().filter(|name| *name != "xtask") {
        assert!(
            layer_of(name).is_some(),
            "{name} stands in no layer: add it to LAYERS in {}",
            file!()
        );
    }
}

#[test]
fn imports_point_down_only() {
    let workspace = workspace();
    for (name, package) in &workspace {
        let Some(layer) = layer_of(name) else {
            continue;
        };
        for dependency in normal_dependencies(package) {
            let Some(below) = layer_of(dependency) else {
                continue;
            };
            assert!(
                below < layer,
                "{name} imports {dependency}, which stands beside or above it"
            );
        }
    }
}

#[test]
fn nobody_imports_the_broker_but_its_owners() {
    for (name, package) in &workspace() {
        let imports = normal_dependencies(package).contains("gnomon-broker");
        assert!(
            !imports || MAY_IMPORT_BROKER.contains(&name.as_str()),
            "{name} imports gnomon-broker"
        );
    }
}

#[test]
fn black_boxes_use_the_wire() {
    let workspace = workspace();
    for (name, allowed) in OVER_THE_WIRE_ONLY {
        for dependency in normal_dependencies(&workspace[*name]) {
            assert!(
                layer_of(dependency).is_none() || allowed.contains(&dependency),
                "{name} imports {dependency}: it reaches the broker over the wire only"
            );
        }
    }
}

#[test]
fn pure_crates_use_pure_libraries() {
    for (name, package) in &workspace() {
        if layer_of(name).is_none_or(|layer| layer >= PURE_LAYERS) {
            continue;
        }
        for dependency in normal_dependencies(package) {
            assert!(
                layer_of(dependency).is_some() || PURE_LIBRARIES.contains(&dependency),
                "{name} is pure and imports {dependency}"
            );
        }
    }
}

#[test]
fn storage_knows_no_runtime() {
    assert!(!normal_dependencies(&workspace()["gnomon-storage"]).contains("tokio"));
}

#[test]
fn release_builds_have_no_fail_points() {
    for (name, package) in &workspace() {
        for dependency in package.dependencies.iter().filter(|d| d.name == "fail") {
            let optional_here = name == "gnomon-failpoints" && dependency.optional;
            assert!(
                optional_here || dependency.kind == DependencyKind::Development,
                "{name} depends on the library of fail points: use gnomon_failpoints::fail_point!"
            );
        }
    }
}
