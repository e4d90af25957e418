//! franz-go: one process for the whole test process, built by `go build` (which knows itself when
//! there is nothing to do).

use crate::driver::{Driver, Remote};
use crate::place;
use std::process::Command;
use std::sync::OnceLock;

/// The franz-go client.
pub fn client() -> &'static Remote {
    static CLIENT: OnceLock<Remote> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let folder = place::built("franz");
        let binary = folder.join("franz");
        let _hold = place::hold(&folder);
        let output = Command::new("go")
            .args(["build", "-buildvcs=false", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(place::workspace().join("proto-tests/clients/go"))
            .output()
            .unwrap_or_else(|error| panic!("run go: {error}"));
        assert!(
            output.status.success(),
            "go build: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Remote {
            driver: Driver::start("franz-go", Command::new(binary)),
        }
    })
}
