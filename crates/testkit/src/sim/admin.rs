//! A site's admin address, as an operator uses it over the simulated network.

use super::{check::shadows::Cut, net::Net, process::ADMIN_PORT, world::CLIENTS};
use gnomon_client::Net as _;
use gnomon_links::LinkStatus;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long an operator waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// None at all, or none in time: nobody knows whether it was done.
    Unanswered(String),
    /// The site refused.
    Refused(u16, String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Unanswered(why) => write!(f, "no answer: {why}"),
            Failed::Refused(status, body) => write!(f, "refused with {status}: {body}"),
        }
    }
}

/// A topic that was failed over, or is stuck on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedOver {
    pub topic: String,
    /// Why it is stuck.
    pub stuck: Option<String>,
    /// By partition.
    pub cuts: Vec<(i32, Cut)>,
}

pub async fn create_link(net: &Net, site: &str, file: &str) -> Result<(), Failed> {
    ask(net, site, "POST", "/v1/links", "application/yaml", file)
        .await
        .map(drop)
}

/// Every link of a site.
pub async fn links(net: &Net, site: &str) -> Result<Vec<LinkStatus>, Failed> {
    let body = ask(net, site, "GET", "/v1/links", "application/json", "").await?;
    serde_json::from_str(&body)
        .map_err(|error| Failed::Unanswered(format!("the answer cannot be read: {error}")))
}

/// Fails topics over, or with `None` the whole link.
pub async fn fail_over(
    net: &Net,
    site: &str,
    link: &str,
    topics: Option<&[String]>,
) -> Result<Vec<FailedOver>, Failed> {
    // The source may live: a failover then, too, must keep every promise.
    let asked = match topics {
        Some(topics) => json!({ "topics": topics, "source_alive": true }),
        None => json!({ "all": true, "source_alive": true }),
    };
    let body = ask(
        net,
        site,
        "POST",
        &format!("/v1/links/{link}/failover"),
        "application/json",
        &asked.to_string(),
    )
    .await?;
    let answer: Value = serde_json::from_str(&body)
        .map_err(|error| Failed::Unanswered(format!("the answer cannot be read: {error}")))?;
    let cut = |cut: &Value| {
        let number = |key: &str| cut[key].as_i64().unwrap_or(-1);
        (
            number("partition") as i32,
            Cut {
                end: number("end"),
                epoch: number("epoch") as i32,
            },
        )
    };
    let topic = |topic: &Value| FailedOver {
        topic: topic["topic"].as_str().unwrap_or_default().to_owned(),
        stuck: topic["reason"].as_str().map(str::to_owned),
        cuts: topic["cuts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(cut)
            .collect(),
    };
    Ok(answer["topics"]
        .as_array()
        .into_iter()
        .flatten()
        .map(topic)
        .collect())
}

async fn ask(
    net: &Net,
    site: &str,
    method: &str,
    path: &str,
    kind: &str,
    body: &str,
) -> Result<String, Failed> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {site}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = net
            .host(CLIENTS)
            .connect(&format!("{site}:{ADMIN_PORT}"))
            .await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = match timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Failed::Unanswered(error.to_string())),
        Err(_) => return Err(Failed::Unanswered("it took too long".to_owned())),
    };
    let unreadable = || Failed::Unanswered(format!("not HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unreadable)?;
    let status: u16 = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(unreadable)?;
    if status == 200 {
        Ok(body.to_owned())
    } else {
        Err(Failed::Refused(status, body.to_owned()))
    }
}
