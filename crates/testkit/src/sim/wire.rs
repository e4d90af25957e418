//! A plain connection to a site: one request, one answer. For the APIs that our own client does not
//! speak, group membership above all.

use super::{net::Host, process::KAFKA_PORT};
use bytes::BytesMut;
use gnomon_client::{Net, Stream};
use gnomon_protocol::{
    header::RequestHeader,
    messages::{RequestKind, ResponseKind},
    request::{decode_response, encode_request},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection; after an error it is of no use any more.
pub struct Wire {
    stream: Box<dyn Stream>,
    asked: i32,
}

impl Wire {
    pub async fn connect(host: &Host, site: &str) -> Result<Wire, String> {
        let address = format!("{site}:{KAFKA_PORT}");
        match timeout(CONNECT, host.connect(&address)).await {
            Ok(Ok(stream)) => Ok(Wire { stream, asked: 0 }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("not connected in time".to_owned()),
        }
    }

    /// Asks and waits, for so long at most.
    pub async fn ask(
        &mut self,
        key: i16,
        version: i16,
        request: RequestKind,
        patience: Duration,
    ) -> Result<ResponseKind, String> {
        self.asked += 1;
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: self.asked,
            client_id: None,
        };
        let frame = encode_request(&header, &request).map_err(|error| error.to_string())?;
        let exchange = async {
            self.stream.write_all(&frame).await?;
            let length = self.stream.read_i32().await?;
            let mut answer = BytesMut::zeroed(usize::try_from(length).unwrap_or(0));
            self.stream.read_exact(&mut answer).await?;
            std::io::Result::Ok(answer.freeze())
        };
        let answer = match timeout(patience, exchange).await {
            Ok(answer) => answer.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("no answer to API {key}")),
        };
        let (correlation_id, response) =
            decode_response(key, version, answer).map_err(|error| error.to_string())?;
        if correlation_id == self.asked {
            Ok(response)
        } else {
            Err(format!(
                "the answer to {} came for {correlation_id}",
                self.asked
            ))
        }
    }
}
