//! `/metrics`: read at each scrape from what the site knows; nothing is counted twice.
//!
//! Invariant: the length of a page grows with links, topics and groups. It grows with partitions
//! only where a scraper asks for them (`?partitions=true`). `docs/metrics.md` lists every family; a
//! test holds it together with the code.

mod disk;
mod groups;
mod links;
mod page;
mod requests;
mod site;

use self::page::{Format, Page};
use super::refused::Refused;
use crate::services::Services;
use axum::{
    extract::{Query, State},
    http::{
        HeaderMap,
        header::{CONTENT_TYPE, VARY},
    },
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::sync::Arc;

/// The parameters of a scrape. Others are ignored.
#[derive(Deserialize)]
pub struct ScrapeParameters {
    /// Series by partition in place of totals by topic.
    #[serde(default)]
    partitions: bool,
}

pub async fn scrape(
    State(services): State<Arc<Services>>,
    Query(asked): Query<ScrapeParameters>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let format = Format::negotiate(&headers);
    let lags = groups::lags(&services).await;
    let partitions = services.partitions.clone();
    // Sizes of logs wait for writers, and the space of the disk for the disk.
    let written = partitions
        .blocking(move || {
            let mut page = Page::new(format);
            write(&mut page, &services, &lags, asked.partitions);
            page.finish()
        })
        .await;
    let text = written.map_err(|_| Refused::unavailable("the site stops"))?;
    let headers = [(CONTENT_TYPE, format.content_type()), (VARY, "Accept")];
    Ok((headers, text).into_response())
}

fn write(page: &mut Page, services: &Services, lags: &groups::Lags, by_partition: bool) {
    site::write(page, services);
    disk::write(page, services, by_partition);
    requests::write(page, &services.traffic);
    groups::write(page, lags);
    links::write(page, &services.links.statuses(), by_partition);
}

/// The number of a partition as the value of a label.
fn number(partition: i32) -> String {
    partition.to_string()
}
