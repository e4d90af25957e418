//! Decides which requests reach the routes of the admin address, and reads their bodies.
//!
//! Invariants: until the address has authentication, a web page that runs in an operator's browser
//! must not be able to use it. So a request is taken only if its `Host` is an address, `localhost`
//! or a configured name (a page that points its own name here, DNS rebinding, sends that name), if
//! its `Origin`, where it has one, is the site itself (RFC 6454), and if a POST has a type that a
//! page cannot send without asking first (CORS: not `text/plain`, not a form). A body is bounded in
//! size and in time. Not here: connections (`server.rs`).

use super::refused::Refused;
use crate::config::limits::{ADMIN_BODY_BYTES_MAX, ADMIN_BODY_MAX};
use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, Method,
        header::{CONTENT_TYPE, HOST, ORIGIN},
        request::Parts,
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, sync::Arc};
use tokio::time::timeout;

/// The types of a POST's body: JSON, and YAML by its registered name (RFC 9512) and an older one.
const TYPES: [&str; 3] = ["application/json", "application/yaml", "application/x-yaml"];

/// Names of the site, besides addresses and `localhost`, that a request may have in `Host`.
pub type HostNames = Arc<[String]>;

/// Passes a request on, its body read, or answers with the reason for which it is refused.
pub async fn check(State(names): State<HostNames>, request: Request, next: Next) -> Response {
    match admit(&names, request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

async fn admit(names: &[String], request: Request) -> Result<Request, Refused> {
    let (head, body) = request.into_parts();
    trusted(&head, names)?;
    Ok(Request::from_parts(head, read(body).await?))
}

/// Whether a page of another origin cannot have sent this.
fn trusted(head: &Parts, names: &[String]) -> Result<(), Refused> {
    // A planted bug.
    gnomon_failpoints::fail_point!("admin_takes_every_request", |_| Ok(()));
    let host = host(&head.headers, names)?;
    same_origin(&head.headers, &host)?;
    match head.method {
        Method::POST => known_type(&head.headers),
        _ => Ok(()),
    }
}

/// The `Host` of a request, if it is one of ours.
fn host(headers: &HeaderMap, names: &[String]) -> Result<String, Refused> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Refused::forbidden("a request has one Host header"));
    };
    let host = host.to_str().unwrap_or_default();
    let name = host
        .parse::<Authority>()
        .ok()
        .filter(|_| !host.contains('@'))
        .map(|authority| authority.host().to_owned())
        .unwrap_or_default();
    let is_address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok();
    let is_name = |known: &str| known.eq_ignore_ascii_case(&name);
    if is_address || is_name("localhost") || names.iter().any(|known| is_name(known)) {
        return Ok(host.to_owned());
    }
    Err(Refused::forbidden(format!(
        "Host is {host:?}: this site answers to addresses, to localhost, and to the names that it was started with (--admin-host NAME)"
    )))
}

/// Whether a browser sent the request for a page of this site, or something else sent it.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Refused> {
    let ours = format!("http://{host}");
    let other = headers
        .get_all(ORIGIN)
        .iter()
        .find(|origin| !origin.as_bytes().eq_ignore_ascii_case(ours.as_bytes()));
    match other {
        None => Ok(()),
        Some(origin) => Err(Refused::forbidden(format!(
            "a page of another origin ({origin:?}) may not use the admin address"
        ))),
    }
}

fn known_type(headers: &HeaderMap) -> Result<(), Refused> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|given| given.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if TYPES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(essence))
    {
        return Ok(());
    }
    Err(Refused::unsupported_type(format!(
        "Content-Type is {given:?}: a POST must have one of {}",
        TYPES.join(", ")
    )))
}

async fn read(body: Body) -> Result<Body, Refused> {
    let too_large =
        || Refused::too_large(format!("a body has at most {ADMIN_BODY_BYTES_MAX} bytes"));
    if body.size_hint().lower() > ADMIN_BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match timeout(ADMIN_BODY_MAX, to_bytes(body, ADMIN_BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(Body::from(bytes)),
        // A body without a length that is too large, or a connection that ended: then nobody reads
        // the answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Refused::too_slow(format!(
            "the body did not arrive within {} s",
            ADMIN_BODY_MAX.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse().expect("a name"),
                    value.parse().expect("a value"),
                )
            })
            .collect()
    }

    #[test]
    fn a_host_is_an_address_localhost_or_a_configured_name() {
        let names = ["site-a".to_owned()];
        let taken = |host: &str| super::host(&headers(&[("host", host)]), &names).is_ok();
        for host in [
            "127.0.0.1:9644",
            "10.0.0.1",
            "[::1]:9644",
            "localhost:1",
            "LocalHost",
            "site-a:9644",
            "Site-A",
        ] {
            assert!(taken(host), "{host}");
        }
        for host in [
            "rebound.example:9644",
            "localhost.example",
            "127.0.0.1.example",
            "site-a@rebound.example",
            "rebound.example@127.0.0.1",
            "",
            "a b",
        ] {
            assert!(!taken(host), "{host}");
        }
        assert!(super::host(&headers(&[]), &names).is_err());
        let mut two = headers(&[("host", "localhost")]);
        two.append(HOST, "rebound.example".parse().expect("a value"));
        assert!(super::host(&two, &names).is_err());
    }

    #[test]
    fn an_origin_is_none_or_the_site_itself() {
        let taken =
            |origin: &str| same_origin(&headers(&[("origin", origin)]), "127.0.0.1:9644").is_ok();
        assert!(taken("http://127.0.0.1:9644") && taken("HTTP://127.0.0.1:9644"));
        for origin in [
            "http://127.0.0.1:3000",
            "https://127.0.0.1:9644",
            "http://rebound.example",
            "null",
            "",
        ] {
            assert!(!taken(origin), "{origin}");
        }
        assert!(same_origin(&headers(&[]), "127.0.0.1:9644").is_ok());
    }

    #[test]
    fn a_post_has_a_type_that_a_form_cannot_have() {
        let taken = |kind: &str| known_type(&headers(&[("content-type", kind)])).is_ok();
        assert!(taken("application/json") && taken("Application/YAML; charset=utf-8"));
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "",
        ] {
            assert!(!taken(kind), "{kind}");
        }
        assert!(known_type(&headers(&[])).is_err());
    }
}
