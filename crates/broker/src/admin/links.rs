//! Shadow links over HTTP: list, create, status, what a failover would lose, failover.

use super::refused::Refused;
use crate::services::Services;
use axum::{
    Json,
    extract::{Path, State},
};
use gnomon_catalog::{
    CreateLinkError, Event, FailOver, FailOverError, LinkId, LinkSource, Reply, Which,
};
use gnomon_links::{LinkStatus, TopicState, config::parse_link_file_plain, loss::Loss};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Every link.
pub async fn list(State(services): State<Arc<Services>>) -> Json<Vec<LinkStatus>> {
    Json(services.links.statuses())
}

/// One link.
pub async fn status(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
) -> Result<Json<LinkStatus>, Refused> {
    find(&services, &name).map(Json)
}

fn find(services: &Services, name: &str) -> Result<LinkStatus, Refused> {
    let image = services.metadata.image();
    let link = image
        .link_by_name(name)
        .ok_or_else(|| no_such_link(services, name))?;
    services
        .links
        .status(link)
        .ok_or_else(|| Refused::unavailable("links are not running yet"))
}

/// Makes a link from the text of a link file, in which every secret stands itself; its source must
/// answer.
pub async fn create(
    State(services): State<Arc<Services>>,
    text: String,
) -> Result<Json<LinkStatus>, Refused> {
    let config = parse_link_file_plain(&text).map_err(Refused::invalid_argument)?;
    let name = config.name.to_string();
    services
        .links
        .try_source(&config)
        .await
        .map_err(Refused::failed_precondition)?;
    let event = Event::CreateLink {
        id: LinkId(services.random.id()),
        config: Box::new(config),
        source: LinkSource::Command,
    };
    match services.metadata.submit(event).await {
        Ok(Reply::CreateLink(Ok(_))) => find(&services, &name).map(Json),
        Ok(Reply::CreateLink(Err(error))) => Err(match error {
            CreateLinkError::Exists { .. } => Refused::already_exists(error),
            CreateLinkError::Overlap(_) | CreateLinkError::Deleted { .. } => {
                Refused::failed_precondition(error)
            }
            CreateLinkError::NotRegistered(_) => Refused::unavailable(error),
        }),
        Ok(_) | Err(_) => Err(unrecorded()),
    }
}

/// Which topics a failover is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverSelection {
    #[serde(default)]
    topics: Vec<String>,
    /// Every topic of the link, and the link itself.
    #[serde(default)]
    all: bool,
    /// The operator knows that the source answers, so that both sites will take writes.
    #[serde(default)]
    source_alive: bool,
}

impl FailoverSelection {
    fn check(&self) -> Result<(), Refused> {
        match (self.all, self.topics.is_empty()) {
            (true, true) | (false, false) => Ok(()),
            _ => Err(Refused::invalid_argument(
                "say which topics to fail over: either \"topics\": [...] or \"all\": true",
            )),
        }
    }
}

/// The loss by a failover, as far as is known.
pub async fn failover_report(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    Json(asked): Json<FailoverSelection>,
) -> Result<Json<Loss>, Refused> {
    asked.check()?;
    loss(&services, &name, &asked).await.map(Json)
}

async fn loss(services: &Services, name: &str, asked: &FailoverSelection) -> Result<Loss, Refused> {
    let image = services.metadata.image();
    let link = image
        .link_by_name(name)
        .ok_or_else(|| no_such_link(services, name))?;
    let topics = (!asked.all).then_some(&asked.topics[..]);
    let (loss, source_answers) = tokio::join!(
        services.links.loss(link, topics),
        services.links.source_answers(&link.config)
    );
    let loss = loss.ok_or_else(|| Refused::unavailable("links are not running yet"))?;
    Ok(Loss {
        source_answers,
        ..loss
    })
}

/// A failover needs nothing of the source, and its clients may go on writing there if it lives.
async fn refuse_if_both_would_take_writes(
    services: &Services,
    name: &str,
    asked: &FailoverSelection,
) -> Result<(), Refused> {
    if asked.source_alive {
        return Ok(());
    }
    let loss = loss(services, name, asked).await?;
    if !loss.source_answers || loss.topics.is_empty() {
        return Ok(());
    }
    Err(Refused::failed_precondition(format!(
        "{} answers, so clients can still write there, and after a failover both sites would take \
         writes: stop the source first, or send \"source_alive\": true to fail over all the same",
        loss.source
    )))
}

fn no_such_link(services: &Services, name: &str) -> Refused {
    Refused::not_found(format!(
        "there is no link '{name}' on site '{}'",
        services.config.site_name
    ))
}

/// The result of a failover.
#[derive(Serialize)]
pub struct FailoverResult {
    link: String,
    whole: bool,
    topics: Vec<TopicOutcome>,
}

#[derive(Serialize)]
struct TopicOutcome {
    topic: String,
    state: TopicState,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    cuts: Vec<PartitionCut>,
}

#[derive(Serialize)]
struct PartitionCut {
    partition: i32,
    end: i64,
    epoch: i32,
}

/// Makes shadow topics writable here; answered when they are, or stuck with a reason. Refused while
/// the source answers, unless the request says to know it.
pub async fn failover(
    State(services): State<Arc<Services>>,
    Path(name): Path<String>,
    Json(asked): Json<FailoverSelection>,
) -> Result<Json<FailoverResult>, Refused> {
    asked.check()?;
    refuse_if_both_would_take_writes(&services, &name, &asked).await?;
    let which = if asked.all {
        Which::All
    } else {
        Which::Topics(asked.topics)
    };
    match services
        .metadata
        .submit(Event::FailOver(FailOver { link: name, which }))
        .await
    {
        Ok(Reply::FailOver(Ok(done))) => {
            let topic = |topic: gnomon_catalog::FailedOverTopic| TopicOutcome {
                state: if topic.stuck.is_some() {
                    TopicState::FailingOver
                } else {
                    TopicState::FailedOver
                },
                topic: topic.name,
                reason: topic.stuck,
                cuts: topic
                    .cuts
                    .iter()
                    .zip(0..)
                    .map(|(cut, partition)| PartitionCut {
                        partition,
                        end: cut.end,
                        epoch: cut.epoch.0,
                    })
                    .collect(),
            };
            Ok(Json(FailoverResult {
                link: done.link,
                whole: done.whole,
                topics: done.topics.into_iter().map(topic).collect(),
            }))
        }
        Ok(Reply::FailOver(Err(error))) => Err(match error {
            FailOverError::UnknownLink { .. }
            | FailOverError::UnknownTopic { .. }
            | FailOverError::NoneMatches { .. } => Refused::not_found(error),
            FailOverError::NotOfLink { .. } => Refused::failed_precondition(error),
        }),
        Ok(_) | Err(_) => Err(unrecorded()),
    }
}

fn unrecorded() -> Refused {
    Refused::unavailable("the site cannot record changes now; see its log")
}
