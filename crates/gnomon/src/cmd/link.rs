//! `gnomon link`: shadow links, over a site's admin address.

use crate::{
    Failure,
    admin_client::AdminClient,
    args::{Format, Link, LinkCommand},
};
use gnomon_links::{LinkStatus, loss::Loss, render};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, Write},
    time::{SystemTime, UNIX_EPOCH},
};

/// What to fail over: the body of a failover request.
#[derive(Serialize)]
struct Failover<'a> {
    topics: &'a [String],
    all: bool,
}

/// What a failover did, topic by topic.
#[derive(Deserialize)]
struct Outcome {
    topics: Vec<TopicOutcome>,
}

#[derive(Deserialize)]
struct TopicOutcome {
    topic: String,
    state: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    cuts: Vec<PartitionCut>,
}

#[derive(Deserialize)]
struct PartitionCut {
    partition: i32,
    end: i64,
    epoch: i32,
}

/// Runs one of the `gnomon link` commands.
pub fn run(link: Link) -> Result<(), Failure> {
    match link.command {
        LinkCommand::Create { file, at } => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
            let status: LinkStatus =
                AdminClient::new(&at.admin).post("/v1/links", "application/yaml", &text)?;
            println!("{}", render::story_line(&status));
            Ok(())
        }
        LinkCommand::List { at, format } => {
            let links: Vec<LinkStatus> = AdminClient::new(&at.admin).get("/v1/links")?;
            print(format, &links, || render::list(&links))
        }
        LinkCommand::Status { name, at, format } => {
            let status: LinkStatus =
                AdminClient::new(&at.admin).get(&format!("/v1/links/{name}"))?;
            print(format, &status, || render::status(&status, now_ms()))
        }
        LinkCommand::Failover {
            name,
            topic,
            all,
            yes,
            dry_run,
            at,
        } => failover(
            &AdminClient::new(&at.admin),
            &name,
            &topic,
            all,
            yes,
            dry_run,
        ),
    }
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match format {
        Format::Text => print!("{}", text()),
        Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
    }
    Ok(())
}

fn failover(
    client: &AdminClient,
    name: &str,
    topics: &[String],
    all: bool,
    yes: bool,
    dry_run: bool,
) -> Result<(), Failure> {
    let body = serde_json::to_string(&Failover { topics, all })?;
    let loss: Loss = client.post(
        &format!("/v1/links/{name}/failover-report"),
        "application/json",
        &body,
    )?;
    print!("{}", render::loss(&loss));
    if dry_run {
        return Ok(());
    }
    if !yes && !confirmed()? {
        return Err("not failed over".into());
    }
    let outcome: Outcome = client.post(
        &format!("/v1/links/{name}/failover"),
        "application/json",
        &body,
    )?;
    let mut stuck = 0;
    for topic in &outcome.topics {
        let cuts: Vec<String> = topic
            .cuts
            .iter()
            .map(|cut| format!("{}:{} (epoch {})", cut.partition, cut.end, cut.epoch))
            .collect();
        let reason = topic
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!("  {reason}"));
        println!(
            "{}  {}  cut at {}{reason}",
            topic.topic,
            topic.state,
            if cuts.is_empty() {
                "nothing".to_owned()
            } else {
                cuts.join(" ")
            }
        );
        stuck += usize::from(topic.state != "FAILED_OVER");
    }
    if stuck > 0 {
        return Err(format!(
            "{stuck} of {} topics are not failed over yet; gnomon link status {name} says why",
            outcome.topics.len()
        )
        .into());
    }
    Ok(())
}

fn confirmed() -> io::Result<bool> {
    print!("Fail over? This cannot be undone. [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
