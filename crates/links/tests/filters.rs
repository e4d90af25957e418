//! Filters: what is selected, and that an overlap is found exactly when there is one.

mod common;

use common::{Seed, filters};
use gnomon_links::{
    NameFilter,
    filter::{FilterType, Names, PatternType, describe, overlap, selects, selects_group},
};
use std::collections::BTreeSet;

#[test]
fn any_exclude_wins_else_an_include_is_needed() {
    let f = filters("a_*,orders,!a_tmp*,!a_x");
    for (topic, selected) in [
        ("a_orders", true),
        ("orders", true),
        ("a_tmp", false),
        ("a_tmp9", false),
        ("a_x", false),
        ("a_xx", true),
        ("b_orders", false),
        ("orders2", false),
        ("", false),
    ] {
        assert_eq!(selects(&f, topic), selected, "{topic}");
    }
    assert!(!selects(&[], "a"));
    assert!(!selects(&filters("!a"), "b"));
    assert!(!selects(&filters("a,!*"), "a"));
    assert_eq!(describe(&f), "a_*,orders,!a_tmp*,!a_x");
    assert_eq!(describe(&[]), "(nothing)");
}

#[test]
fn a_star_leaves_internal_topics_out_and_nothing_selects_a_reserved_one() {
    let all = filters("*");
    for (topic, by_star, by_prefix) in [
        ("orders", true, false),
        ("_mine", true, true),
        ("__mine", false, true),
        ("__consumer_offsets", false, false),
        ("__transaction_state", false, false),
        ("_schemas", false, false),
        ("_redpanda.audit_log", false, false),
        ("__redpanda.x", false, false),
    ] {
        assert_eq!(selects(&all, topic), by_star, "* {topic}");
        assert_eq!(
            selects(&[NameFilter::include_prefix("_")], topic),
            by_prefix,
            "_* {topic}"
        );
    }
    assert!(selects_group(&all, "__group") && selects_group(&all, "_schemas"));
}

#[test]
fn an_overlap_names_an_example() {
    let example =
        |a: &str, b: &str| overlap(Names::Topics, &filters(a), &filters(b), &BTreeSet::new());
    assert_eq!(example("a_*", "b_*"), None);
    assert_eq!(example("a_*", "a_x*"), Some("a_x".to_owned()));
    assert_eq!(example("a_*", "a_orders"), Some("a_orders".to_owned()));
    assert_eq!(example("a_*", "*,!a_*"), None);
    assert_eq!(example("*", "*"), Some("a".to_owned()));
    assert_eq!(example("*", "_schemas"), None);
    assert_eq!(example("a,b", "b,c"), Some("b".to_owned()));
    assert_eq!(example("a_*,!a_x*", "a_x*"), None);
    assert_eq!(example("_*", "__*"), Some("__".to_owned()));
    assert_eq!(example("_schemas*", "_*"), Some("_schemasa".to_owned()));
    let released = BTreeSet::from(["a_orders"]);
    assert_eq!(
        overlap(
            Names::Topics,
            &filters("a_*"),
            &filters("a_orders"),
            &released
        ),
        None
    );
    assert_eq!(
        overlap(
            Names::Groups,
            &filters("_schemas"),
            &filters("*"),
            &BTreeSet::new()
        ),
        Some("_schemas".to_owned())
    );
}

const LETTERS: [char; 3] = ['a', 'b', '_'];

fn random_filters(seed: &mut Seed) -> Vec<NameFilter> {
    (0..seed.below(5))
        .map(|_| {
            let all = seed.chance(8);
            NameFilter {
                pattern_type: if all || seed.chance(40) {
                    PatternType::Literal
                } else {
                    PatternType::Prefix
                },
                filter_type: if seed.chance(60) {
                    FilterType::Include
                } else {
                    FilterType::Exclude
                },
                name: if all {
                    "*".to_owned()
                } else {
                    seed.word(&LETTERS, 1, 3)
                },
            }
        })
        .collect()
}

fn all_names(longest: usize) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut last = names.clone();
    for _ in 0..longest {
        last = last
            .iter()
            .flat_map(|n| LETTERS.iter().map(move |c| format!("{n}{c}")))
            .collect();
        names.extend(last.iter().cloned());
    }
    names
}

#[test]
fn an_overlap_is_found_exactly_when_there_is_one() {
    let names = all_names(5);
    let (mut found, mut none) = (0, 0);
    for n in 0..3_000 {
        let seed = &mut Seed::new(n);
        let (a, b) = (random_filters(seed), random_filters(seed));
        let released: Vec<String> = (0..seed.below(3))
            .map(|_| seed.word(&LETTERS, 1, 3))
            .collect();
        let released: BTreeSet<&str> = released.iter().map(String::as_str).collect();
        for over in [Names::Topics, Names::Groups] {
            let both = |name: &str| {
                over.selects(&a, name) && over.selects(&b, name) && !released.contains(name)
            };
            match overlap(over, &a, &b, &released) {
                Some(example) => {
                    assert!(
                        both(&example),
                        "seed {n}: {} and {} do not both select {example}",
                        describe(&a),
                        describe(&b)
                    );
                    found += 1;
                }
                None => {
                    let missed = names.iter().find(|name| both(name));
                    assert_eq!(
                        missed,
                        None,
                        "seed {n}: {} and {}",
                        describe(&a),
                        describe(&b)
                    );
                    none += 1;
                }
            }
        }
    }
    assert!(
        found > 500 && none > 500,
        "{found} overlaps, {none} without"
    );
}
