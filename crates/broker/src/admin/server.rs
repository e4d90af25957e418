//! Connections of the admin address: accepted up to a maximum, each served for a bounded time.
//!
//! Invariants: no client holds more than one of [`ADMIN_CONNECTIONS_MAX`] places, nor longer than a
//! header may take to arrive when it sends nothing; a connection that finds no place waits in the
//! kernel's queue, where it takes none of the process's files. Not here: which requests are taken
//! (`guard.rs`).

use crate::{
    config::limits::{
        ADMIN_CONNECTION_MAX, ADMIN_CONNECTIONS_MAX, ADMIN_HEADER_BYTES_MAX, ADMIN_HEADER_MAX,
        FINISH_MAX,
    },
    net::network::{Accept, Accepted, Reader, Writer},
};
use axum::Router;
use gnomon_driver::supervise::StopSignal;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::Join,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

/// The wait after a connection could not be accepted, most likely for want of a file.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves until the site stops; requests under way then have [`FINISH_MAX`] to be answered.
pub async fn serve(mut socket: Box<dyn Accept>, routes: Router, mut stop: StopSignal) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, socket.accept().await)
        };
        tokio::select! {
            biased;
            () = stop.stopped() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (place, accepted) = next => match accepted {
                Ok(Accepted { reader, writer, peer, .. }) => {
                    let (routes, stop) = (routes.clone(), stop.clone());
                    connections.spawn(async move {
                        if let Err(why) = connection(tokio::io::join(reader, writer), routes, stop).await {
                            debug!(%peer, "admin connection ended: {why}");
                        }
                        drop(place);
                    });
                }
                Err(failure) => {
                    warn!("cannot accept a connection on the admin address: {failure}");
                    sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection. After [`ADMIN_CONNECTION_MAX`] it takes no further request, and has as
/// long again for the one under way.
async fn connection(
    stream: Join<Reader, Writer>,
    routes: Router,
    mut stop: StopSignal,
) -> hyper::Result<()> {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also the time between two requests.
        .header_read_timeout(ADMIN_HEADER_MAX)
        .max_buf_size(ADMIN_HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = pin!(served);
    let finish = tokio::select! {
        biased;
        ended = served.as_mut() => return ended,
        () = stop.stopped() => FINISH_MAX,
        () = sleep(ADMIN_CONNECTION_MAX) => ADMIN_CONNECTION_MAX,
    };
    served.as_mut().graceful_shutdown();
    match timeout(finish, served).await {
        Ok(ended) => ended,
        Err(_) => {
            debug!(
                "an admin connection is closed: its client takes nothing, or its request took too long"
            );
            Ok(())
        }
    }
}
