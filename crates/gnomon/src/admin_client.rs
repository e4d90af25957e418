//! Speaks to a site's admin address: JSON over HTTP, with errors as sentences.

use crate::Failure;
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;
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

/// What the admin address answers when it refuses.
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
        let mut answer = answer
            .map_err(|error| format!("cannot reach the admin address {}: {error}", self.address))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string()?;
        if !status.is_success() {
            let message = serde_json::from_str::<Refusal>(&text).map_or_else(
                |_| format!("{status} from {}", self.address),
                |refusal| refusal.message,
            );
            return Err(message.into());
        }
        Ok(serde_json::from_str(&text).map_err(|error| {
            format!("the answer of {} is not understood: {error}", self.address)
        })?)
    }
}
