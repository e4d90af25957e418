//! Topic settings as clients set and read them.

mod common;

use common::{make_topic_with, runtime};
use gnomon_testkit::{MemDisk, Site};

#[test]
fn an_empty_cleanup_policy_is_taken_and_answered_also_after_a_restart() {
    let disk = MemDisk::new();
    let policy = |site: &Site| {
        let client = site.client();
        runtime().block_on(async move {
            let described = client
                .describe_topic_configs(&["kept".to_owned()], Some(&["cleanup.policy"]))
                .await
                .expect("an answer");
            let configs = described["kept"].as_ref().expect("settings");
            configs["cleanup.policy"].value.clone()
        })
    };
    let site = Site::start(&disk).expect("a site");
    let client = site.client();
    runtime().block_on(make_topic_with(&client, "kept", &[("cleanup.policy", "")]));
    assert_eq!(policy(&site).as_deref(), Some(""));
    site.stop();
    let site = Site::start(&disk).expect("a site");
    assert_eq!(policy(&site).as_deref(), Some(""));
}
