//! The shadow's own disk fails: the copy goes on from what is left of it, also when nothing new
//! comes from the source.

use crate::site::LinkedSites;
use gnomon_storage::disk::Fault;
use std::time::Duration;
use uuid::Uuid;

#[tokio::test(start_paused = true)]
async fn what_a_failed_sync_took_is_copied_again_though_the_source_is_silent() {
    let world = LinkedSites::start().await;
    world.source.create("a_orders", Uuid::from_u128(1), 1);
    world.source.partition("a_orders", 0, |p| {
        (0..5).for_each(|n| p.append(&["x", &n.to_string()]))
    });
    world.copied("a_orders", 0, 10).await;

    world.site.disk.set_forgetful(true);
    world.site.disk.fail_next(Fault::Sync);
    world
        .source
        .partition("a_orders", 0, |p| p.append(&["y", "lost"]));
    world
        .until("a failed sync", Duration::from_secs(5), |world| {
            world.handle("a_orders", 0).control().failed().is_some()
        })
        .await;
    assert_eq!(world.high_watermark("a_orders", 0), 10);

    world.reopen("a_orders", 0);
    assert_eq!(
        world.handle("a_orders", 0).offsets().end,
        10,
        "the disk never had it"
    );
    world.copied("a_orders", 0, 12).await;
    assert!(world.bytes("a_orders", 0) == world.source_bytes("a_orders", 0));
}
