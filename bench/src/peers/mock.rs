//! librdkafka's own mock broker: in the client's process, over loopback, and it keeps nothing. What the client can do at most.

use super::{Durability, Peer, Running};
use crate::Failure;
use std::path::Path;

pub struct Mock;

impl Peer for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn offers(&self) -> &'static [Durability] {
        &[Durability::Nothing]
    }

    fn start(&self, _: &Path, _: Durability) -> Result<Running, Failure> {
        // The address is replaced by the mock's.
        Ok(Running { process: None, bootstrap: "127.0.0.1:1".to_owned(), client_options: vec!["test.mock.num.brokers=1".to_owned()] })
    }
}
