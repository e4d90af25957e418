//! `gnomon topic`: topics, over the Kafka protocol.

use crate::{
    args::{Topic, TopicCommand},
    failure::Failure,
    kafka::{self, refusal},
    output::Output,
};
use gnomon_client::{
    Client, Topics,
    admin::{ConfigSource, NewTopic, TopicOutcome},
    fetcher::Isolation,
    offsets::{EARLIEST, LATEST, TopicPartition},
};
use std::collections::BTreeMap;

/// Runs one of the `gnomon topic` commands.
pub fn run(topic: Topic, out: &mut Output) -> Result<(), Failure> {
    match topic.command {
        TopicCommand::List { at } => kafka::run(&at, async |client| list(client, out).await),
        TopicCommand::Create {
            name,
            partitions,
            config,
            at,
        } => {
            let configs = config
                .iter()
                .map(|pair| key_value(pair))
                .collect::<Result<_, _>>()?;
            let topic = NewTopic {
                name,
                partitions,
                replication_factor: -1,
                configs,
            };
            kafka::run(&at, async |client| create(client, topic, out).await)
        }
        TopicCommand::Describe { name, at } => {
            kafka::run(&at, async |client| describe(client, name, out).await)
        }
        TopicCommand::Delete { name, at } => {
            kafka::run(&at, async |client| delete(client, name, out).await)
        }
    }
}

fn key_value(pair: &str) -> Result<(String, String), Failure> {
    let (key, value) = pair
        .split_once('=')
        .ok_or_else(|| format!("--config {pair}: must be KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

async fn list(client: Client, out: &mut Output) -> Result<(), Failure> {
    for (name, topic) in client.metadata(Topics::All, false).await?.topics {
        let internal = if topic.internal { "  internal" } else { "" };
        writeln!(
            out,
            "{name}  partitions {}{internal}",
            topic.partitions.len()
        )?;
    }
    Ok(())
}

async fn create(client: Client, topic: NewTopic, out: &mut Output) -> Result<(), Failure> {
    let name = topic.name.clone();
    done(client.create_topics(&[topic], false).await?)?;
    Ok(writeln!(out, "created {name}")?)
}

async fn delete(client: Client, name: String, out: &mut Output) -> Result<(), Failure> {
    done(client.delete_topics(std::slice::from_ref(&name)).await?)?;
    Ok(writeln!(out, "deleted {name}")?)
}

fn done(outcomes: Vec<TopicOutcome>) -> Result<(), Failure> {
    match outcomes
        .into_iter()
        .find_map(|outcome| outcome.error.map(|error| (outcome.name, error)))
    {
        Some((name, (code, message))) => Err(refusal(&name, code, &message)),
        None => Ok(()),
    }
}

async fn describe(client: Client, name: String, out: &mut Output) -> Result<(), Failure> {
    let metadata = client
        .metadata(Topics::Names(vec![name.clone()]), false)
        .await?;
    let topic = metadata
        .topics
        .get(&name)
        .ok_or_else(|| format!("the broker's answer does not name {name}"))?;
    if let Some(code) = topic.error {
        return Err(refusal(&name, code, ""));
    }
    writeln!(
        out,
        "topic {name}  id {}",
        topic.id.map_or("none".to_owned(), |id| id.to_string())
    )?;
    let of_all = |time: i64| {
        topic
            .partitions
            .keys()
            .map(|index| ((name.clone(), *index), time))
            .collect::<BTreeMap<TopicPartition, i64>>()
    };
    let starts = client
        .list_offsets(&of_all(EARLIEST), Isolation::ReadUncommitted)
        .await;
    let ends = client
        .list_offsets(&of_all(LATEST), Isolation::ReadUncommitted)
        .await;
    for (index, partition) in &topic.partitions {
        let key = (name.clone(), *index);
        let offset = |found: Option<
            &Result<gnomon_client::offsets::ListedOffset, gnomon_client::ClientError>,
        >| match found {
            Some(Ok(listed)) => listed.offset.to_string(),
            Some(Err(error)) => format!("unknown ({error})"),
            None => "unknown".to_owned(),
        };
        let leader = partition
            .leader
            .map_or("none".to_owned(), |id| id.to_string());
        writeln!(
            out,
            "partition {index}  leader {leader}  epoch {}  start {}  high watermark {}",
            partition.leader_epoch.0,
            offset(starts.get(&key)),
            offset(ends.get(&key))
        )?;
    }
    if let Some(configs) = client
        .describe_topic_configs(std::slice::from_ref(&name), None)
        .await?
        .remove(&name)
    {
        for (key, entry) in configs? {
            if entry.source != ConfigSource::Default || key.starts_with("gnomon.") {
                writeln!(out, "config {key}={}", entry.value.unwrap_or_default())?;
            }
        }
    }
    Ok(())
}
