//! `gnomon link`: shadow links, over a site's admin address.

use crate::{
    admin_client::AdminClient,
    args::{Format, Link, LinkCommand},
    failure::Failure,
    output::Output,
};
use gnomon_broker::read_link_file;
use gnomon_links::{LinkStatus, loss::Loss, render};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// The topics to fail over: the body of a failover request.
#[derive(Serialize)]
struct Failover<'a> {
    topics: &'a [String],
    all: bool,
    source_alive: bool,
}

/// The result of a failover, topic by topic.
#[derive(Deserialize)]
struct FailoverResult {
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

/// The user's flags beside the link and its topics.
struct Consent {
    yes: bool,
    source_alive: bool,
    dry_run: bool,
}

/// Runs one of the `gnomon link` commands.
pub fn run(link: Link, out: &mut Output) -> Result<(), Failure> {
    match link.command {
        LinkCommand::Create {
            file,
            file_flag,
            at,
        } => create(&AdminClient::new(&at.admin), file.or(file_flag), out),
        LinkCommand::List { at, format } => {
            let links: Vec<LinkStatus> = AdminClient::new(&at.admin).get("/v1/links")?;
            print(format, &links, || render::list(&links), out)
        }
        LinkCommand::Status { name, at, format } => {
            status(&AdminClient::new(&at.admin), name, format, out)
        }
        LinkCommand::Failover {
            name,
            topic,
            all,
            yes,
            source_alive,
            dry_run,
            at,
        } => {
            let consent = Consent {
                yes,
                source_alive,
                dry_run,
            };
            let body = serde_json::to_string(&Failover {
                topics: &topic,
                all,
                source_alive,
            })?;
            failover(&AdminClient::new(&at.admin), &name, &body, &consent, out)
        }
    }
}

fn create(client: &AdminClient, file: Option<PathBuf>, out: &mut Output) -> Result<(), Failure> {
    let file = file.ok_or("which link file?")?;
    // Secrets that the file refers to are read here, with the rights of the caller.
    let text = read_link_file(&file)?.to_yaml();
    let status: LinkStatus = client.post("/v1/links", "application/yaml", &text)?;
    writeln!(out, "{}", render::story_line(&status))?;
    Ok(())
}

fn status(
    client: &AdminClient,
    name: Option<String>,
    format: Format,
    out: &mut Output,
) -> Result<(), Failure> {
    if let Some(name) = name {
        let status: LinkStatus = client.get(&format!("/v1/links/{name}"))?;
        return print(format, &status, || render::status(&status, now_ms()), out);
    }
    let links: Vec<LinkStatus> = client.get("/v1/links")?;
    let text = || match links.as_slice() {
        [] => render::list(&links),
        links => links
            .iter()
            .map(|link| render::status(link, now_ms()))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    print(format, &links, text, out)
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
    out: &mut Output,
) -> Result<(), Failure> {
    match format {
        Format::Text => write!(out, "{}", text())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
    }
    Ok(())
}

/// Nothing is failed over unless the whole report has reached the user.
fn failover(
    client: &AdminClient,
    name: &str,
    body: &str,
    consent: &Consent,
    out: &mut Output,
) -> Result<(), Failure> {
    let loss: Loss = client.post(
        &format!("/v1/links/{name}/failover-report"),
        "application/json",
        body,
    )?;
    write!(out, "{}", render::loss(&loss))
        .and_then(|()| out.flush())
        .map_err(|error| format!("not failed over: {error}"))?;
    if consent.dry_run {
        return Ok(());
    }
    if loss.source_answers && !loss.topics.is_empty() && !consent.source_alive {
        return Err(format!(
            "not failed over: {} answers, so clients can still write there, and after a failover both sites would take writes; \
             stop the source first, or say --yes --source-alive to fail over all the same",
            loss.source
        )
        .into());
    }
    if !consent.yes && !confirmed(out)? {
        return Err("not failed over".into());
    }
    let outcome: FailoverResult = client.post(
        &format!("/v1/links/{name}/failover"),
        "application/json",
        body,
    )?;
    let mut stuck = 0;
    for topic in &outcome.topics {
        writeln!(out, "{}", outcome_line(topic))?;
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

fn outcome_line(topic: &TopicOutcome) -> String {
    let cuts: Vec<String> = topic
        .cuts
        .iter()
        .map(|cut| format!("{}:{} (epoch {})", cut.partition, cut.end, cut.epoch))
        .collect();
    let cuts = if cuts.is_empty() {
        "nothing".to_owned()
    } else {
        cuts.join(" ")
    };
    let reason = topic
        .reason
        .as_ref()
        .map_or(String::new(), |reason| format!("  {reason}"));
    format!("{}  {}  cut at {cuts}{reason}", topic.topic, topic.state)
}

fn confirmed(out: &mut Output) -> Result<bool, Failure> {
    write!(out, "Fail over? This cannot be undone. [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
