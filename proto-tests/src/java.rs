//! Apache Kafka's Java client: one small JVM for the whole test process. Built by Maven once, and
//! again when its sources change.

use crate::driver::{Driver, Remote};
use crate::place;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where Maven put the jars: the driver, kafka-clients, and Apache Kafka itself.
pub fn jars() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let sources = place::workspace().join("proto-tests/clients/java");
        let folder = place::built("java");
        let _hold = place::hold(&folder);
        let stamp = folder.join("built-from");
        let fingerprint = place::fingerprint(&sources);
        if std::fs::read_to_string(&stamp).is_ok_and(|built_from| built_from == fingerprint) {
            return folder;
        }
        let output = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(sources.join("pom.xml"))
            .arg(format!("-Dbuild.dir={}", folder.display()))
            .arg("package")
            .output()
            .unwrap_or_else(|error| panic!("run mvn: {error}"));
        assert!(
            output.status.success(),
            "mvn package: {}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::write(&stamp, fingerprint)
            .unwrap_or_else(|error| panic!("write {}: {error}", stamp.display()));
        folder
    })
}

/// The class path of both the driver and the server.
pub fn class_path() -> String {
    let folder = jars().display();
    format!("{folder}/proto-tests-java-1.jar:{folder}/lib/*")
}

/// A `java` with a small heap and one collector thread.
pub fn java(heap: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap}"))
        .args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            "-cp",
        ])
        .arg(class_path());
    command
}

/// The Java client.
pub fn client() -> &'static Remote {
    static CLIENT: OnceLock<Remote> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let mut command = java("256m");
        command.arg("gnomon.Driver");
        Remote {
            driver: Driver::start("java", command),
        }
    })
}
