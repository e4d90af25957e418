//! The figures that measures produce.

use std::collections::BTreeMap;

/// By measure and subject, for instance `long-file crates/storage/src/log.rs`.
pub(super) type Figures = BTreeMap<String, usize>;

pub(super) fn count(figures: &mut Figures, measure: &str, subject: &str) {
    *figures.entry(format!("{measure} {subject}")).or_default() += 1;
}
