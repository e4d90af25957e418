//! The admin address: its routes.

use super::{
    guard::{self, HostNames},
    links, metrics, server,
};
use crate::{net::network::Accept, services::Services};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use gnomon_driver::supervise::StopSignal;
use serde::Serialize;
use std::sync::Arc;

/// The site that answers.
#[derive(Serialize)]
struct SiteView {
    name: String,
    cluster_id: String,
    broker_id: i32,
    owns: Vec<String>,
    write_caching: bool,
    version: &'static str,
}

/// Serves until the site stops.
pub async fn serve(socket: Box<dyn Accept>, services: Arc<Services>, stop: StopSignal) {
    let names: HostNames = services.config.admin_hosts.clone().into();
    let routes = Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics::scrape))
        .route("/v1/site", get(describe))
        .route("/v1/links", get(links::list).post(links::create))
        .route("/v1/links/{name}", get(links::status))
        .route(
            "/v1/links/{name}/failover-report",
            post(links::failover_report),
        )
        .route("/v1/links/{name}/failover", post(links::failover))
        // Bodies are bounded before they come here.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(names, guard::check))
        .with_state(services);
    server::serve(socket, routes, stop).await;
}

async fn describe(State(services): State<Arc<Services>>) -> Json<SiteView> {
    Json(SiteView {
        name: services.config.site_name.clone(),
        cluster_id: services.metadata.image().cluster_id().to_owned(),
        broker_id: services.config.broker_id,
        owns: services.config.owns.clone(),
        write_caching: services.config.write_caching,
        version: env!("CARGO_PKG_VERSION"),
    })
}
