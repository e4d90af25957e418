//! Speaks to a site's admin address: JSON over HTTP, with errors as sentences.

use crate::failure::Failure;
use serde::{Deserialize, de::DeserializeOwned};
use std::{io::ErrorKind, time::Duration};
use ureq::{Agent, http::Response};

/// A failover answers when it is done; everything else at once.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long an address may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One site's admin address.
pub struct AdminClient {
    agent: Agent,
    address: String,
}

/// A refusal of the admin address.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl AdminClient {
    /// `address` is HOST:PORT.
    pub fn new(address: &str) -> AdminClient {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(TIMEOUT))
            .build();
        AdminClient {
            agent: config.into(),
            address: address
                .trim_start_matches("http://")
                .trim_end_matches('/')
                .to_owned(),
        }
    }

    /// GETs `path` and reads its JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.agent.get(self.url(path)).call())
    }

    /// POSTs `body` to `path` and reads the answer's JSON.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Result<T, Failure> {
        self.read(
            self.agent
                .post(self.url(path))
                .content_type(content_type)
                .send(body),
        )
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, Failure> {
        let mut answer = answer.map_err(|error| unanswered(&self.address, &error))?;
        let status = answer.status();
        let text = answer
            .body_mut()
            .read_to_string()
            .map_err(|error| unanswered(&self.address, &error))?;
        if !status.is_success() {
            let message = serde_json::from_str::<Refusal>(&text).map_or_else(
                |_| format!("{status} from {}", self.address),
                |refusal| refusal.message,
            );
            return Err(message.into());
        }
        Ok(serde_json::from_str(&text).map_err(|error| {
            format!(
                "{} answers, but not as the admin address of a site does: {error}",
                self.address
            )
        })?)
    }
}

/// Why there is no answer. A peer that hangs up or answers with something else than HTTP listens
/// for another protocol: most often `--admin` names a Kafka address.
fn unanswered(address: &str, error: &ureq::Error) -> String {
    let other_protocol = match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::InvalidData
        ),
        ureq::Error::Protocol(_) => true,
        _ => false,
    };
    if other_protocol {
        return format!(
            "{address} does not answer as the admin address of a site does, which speaks HTTP (port 9644 by default): --admin may name a Kafka address"
        );
    }
    format!("cannot reach the admin address {address}: {error}; does a site run there?")
}
