//! A failover whose source still answers is refused until the operator says to know it: clients could
//! go on writing there, and both sites would take writes.

mod common;
#[path = "common/http.rs"]
mod http;

use common::{make_topic, pair, runtime};
use gnomon_testkit::{MemDisk, Site};
use serde_json::{Value, json};
use std::{thread::sleep, time::Duration};

const TOPIC: &str = "a_orders";

/// The status of a failover request, and the answer.
fn fail_over(site: &Site, body: &Value) -> (String, Value) {
    let headers = [
        &*format!("Host: {}", site.admin()),
        "Content-Type: application/json",
    ];
    let path = "/v1/links/from-a/failover";
    let answer = http::ask(site.admin(), "POST", path, &headers, &body.to_string());
    let status = answer.get(9..12).unwrap_or_default().to_owned();
    let (_, body) = answer.split_once("\r\n\r\n").expect("a header");
    (status, serde_json::from_str(body).expect("JSON"))
}

/// Two sites, and a shadow of one topic that is there.
fn shadowed() -> (Site, Site, tempfile::NamedTempFile) {
    let (source, shadow, file) = pair(&MemDisk::new(), &MemDisk::new());
    runtime().block_on(make_topic(&source.client(), TOPIC));
    let headers = [&*format!("Host: {}", shadow.admin())];
    for _ in 0..600 {
        let links = http::ask(shadow.admin(), "GET", "/v1/links", &headers, "");
        if links.contains(TOPIC) {
            return (source, shadow, file);
        }
        sleep(Duration::from_millis(50));
    }
    panic!("the link found no topic within half a minute");
}

#[test]
fn a_failover_is_refused_while_the_source_answers_unless_the_operator_knows_it() {
    let (source, shadow, _file) = shadowed();
    let one = |source_alive: bool| json!({ "topics": [TOPIC], "source_alive": source_alive });
    for body in [
        json!({ "topics": [TOPIC] }),
        json!({ "all": true }),
        one(false),
    ] {
        let (status, refusal) = fail_over(&shadow, &body);
        assert_eq!(status, "400", "{refusal}");
        let message = refusal["message"].as_str().unwrap_or_default();
        for named in ["site 'a' answers", "both sites", "\"source_alive\": true"] {
            assert!(message.contains(named), "{named}: {message}");
        }
    }
    let (status, done) = fail_over(&shadow, &one(true));
    assert_eq!(status, "200", "{done}");
    assert_eq!(done["topics"][0]["state"], "FAILED_OVER", "{done}");
    // Nothing is left that both sites would take writes for, so it may be asked for again.
    let (status, again) = fail_over(&shadow, &json!({ "topics": [TOPIC] }));
    assert_eq!(status, "200", "{again}");
    shadow.stop();
    source.stop();
}

#[test]
fn a_failover_from_a_source_that_is_gone_needs_no_word_about_it() {
    let (source, shadow, _file) = shadowed();
    source.kill();
    let (status, done) = fail_over(&shadow, &json!({ "all": true }));
    assert_eq!(status, "200", "{done}");
    assert_eq!(done["topics"][0]["state"], "FAILED_OVER", "{done}");
    shadow.stop();
}
