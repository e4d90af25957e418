//! The stories of `testdata/`.

mod dialect;
mod support;

use dialect::CatalogWords;
use gnomon_machine::harness::run_scripts;

#[test]
fn scripts() {
    run_scripts(
        concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"),
        CatalogWords::default,
    );
}
