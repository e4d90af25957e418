//! The common part of the Kafka commands: a client, a runtime to run it, and errors as sentences.

use crate::{Failure, args::Bootstrap};
use gnomon_client::{Client, Config, Tcp};
use gnomon_protocol::error_code::name_of;
use std::sync::Arc;

/// Runs one command's conversation with a broker.
pub fn run(
    at: &Bootstrap,
    work: impl AsyncFnOnce(Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = Client::new(
        Config {
            client_id: "gnomon-cli".into(),
            ..Config::to([at.bootstrap.clone()])
        },
        Arc::new(Tcp),
    );
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work(client))
}

/// A broker's refusal as a sentence.
pub fn refusal(what: &str, code: i16, message: &str) -> Failure {
    let name = name_of(code);
    if message.is_empty() {
        format!("{what}: {name}").into()
    } else {
        format!("{what}: {name}: {message}").into()
    }
}
