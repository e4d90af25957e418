//! Somebody who looks at groups from the outside: where a link brought their positions, the data
//! must be there already.

use super::goes_on;
use crate::sim::{check::groups, model::SITES, rng::Rng, world::World};
use gnomon_client::{Client, ClientError, fetcher::Isolation, offsets::LATEST};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::{Instant, sleep};

/// Looks until `until`.
pub async fn watch(world: Arc<World>, mut rng: Rng, until: Instant) {
    let clients = SITES.map(|site| world.client(site, "watcher"));
    while goes_on(&world, until) {
        sleep(rng.millis(100..2_000)).await;
        let site = rng.index(SITES.len());
        if let Err(error) = look(&world, &clients[site], site).await {
            world.tell("watcher", format!("failed: {error}"));
        }
    }
}

/// R9, R12: positions are fetched first, ends of logs afterwards.
async fn look(world: &Arc<World>, client: &Client, site: usize) -> Result<(), ClientError> {
    let names: Vec<String> = client.list_groups().await?.into_keys().collect();
    let mut positions = Vec::new();
    for (group, offsets) in client.fetch_group_offsets(&names).await? {
        for (place, committed) in offsets? {
            positions.push((group.clone(), place, committed.offset));
        }
    }
    let wanted = positions
        .iter()
        .map(|(_, place, _)| (place.clone(), LATEST))
        .collect::<BTreeMap<_, _>>();
    let ends = client
        .list_offsets(&wanted, Isolation::ReadUncommitted)
        .await;
    world.tell(
        "watcher",
        format!("{} positions at {}", positions.len(), SITES[site]),
    );
    for (group, place, offset) in positions {
        let Some(Ok(end)) = ends.get(&place) else {
            continue;
        };
        world.hold("watcher", |model| {
            if !model.may_commit(site, &place) {
                return Ok(());
            }
            groups::r9_within_the_data(offset, end.offset)?;
            model.brought(site, &group, &place, offset)
        });
    }
    Ok(())
}
