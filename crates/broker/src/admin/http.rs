//! The admin address: routes, and how refusals look.
//!
//! A refusal is `{"code": "...", "message": "..."}` with the codes of the Connect protocol, as
//! `rpk` expects them.

use super::{links, metrics};
use crate::{
    config::limits::ADMIN_BODY_BYTES_MAX,
    net::network::{Accept, Accepted, Reader, Writer},
    services::Services,
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gnomon_driver::supervise::StopSignal;
use serde::Serialize;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{io::Join, time::sleep};
use tracing::{error, warn};

/// A request that is not carried out.
#[derive(Debug, Serialize)]
pub struct Refused {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refused {
    /// There is no such thing.
    pub fn not_found(message: impl ToString) -> Refused {
        Refused {
            status: StatusCode::NOT_FOUND,
            code: "not_found",
            message: message.to_string(),
        }
    }

    /// It is there already.
    pub fn already_exists(message: impl ToString) -> Refused {
        Refused {
            status: StatusCode::CONFLICT,
            code: "already_exists",
            message: message.to_string(),
        }
    }

    /// What was sent is wrong.
    pub fn invalid_argument(message: impl ToString) -> Refused {
        Refused {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_argument",
            message: message.to_string(),
        }
    }

    /// Not in this state.
    pub fn failed_precondition(message: impl ToString) -> Refused {
        Refused {
            status: StatusCode::BAD_REQUEST,
            code: "failed_precondition",
            message: message.to_string(),
        }
    }

    /// Not now.
    pub fn unavailable(message: impl ToString) -> Refused {
        Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "unavailable",
            message: message.to_string(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// Who answers here.
#[derive(Serialize)]
struct SiteView {
    name: String,
    cluster_id: String,
    broker_id: i32,
    owns: Vec<String>,
    write_caching: bool,
    version: &'static str,
}

/// Serves until `stopping` says so.
pub async fn serve(socket: Box<dyn Accept>, services: Arc<Services>, mut stop: StopSignal) {
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
        .layer(DefaultBodyLimit::max(ADMIN_BODY_BYTES_MAX))
        .with_state(services);
    let serving = axum::serve(Incoming(socket), routes).into_future();
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        ended = serving => if let Err(failure) = ended {
            error!("the admin address answers no more: {failure}");
        }
    }
}

/// Connections for the HTTP server.
struct Incoming(Box<dyn Accept>);

impl axum::serve::Listener for Incoming {
    type Io = Join<Reader, Writer>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(Accepted {
                    reader,
                    writer,
                    peer,
                    ..
                }) => return (tokio::io::join(reader, writer), peer),
                Err(failure) => {
                    // Out of file handles, most likely: wait for some to be given back rather than
                    // spin.
                    warn!("cannot accept a connection on the admin address: {failure}");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
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
