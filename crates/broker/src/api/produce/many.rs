//! A request of very many partitions: written in parts, with other tasks of the thread in between.
//!
//! One request may name a million partitions, most of them perhaps unknown. Not here: how a part is
//! written; that is as for every other request.

use super::{
    ACKS_ALL, ACKS_NONE, TopicAppended, Waits, append, append_heavy, assemble, encode,
    plan::ProducePlan, unanswered, wait_all,
};
use crate::{
    config::limits::{PRODUCE_PARTITIONS_AT_ONCE_MAX, YIELD_EVERY},
    context::RequestContext,
    net::answer::Outgoing,
};
use gnomon_protocol::{
    header::RequestHeader,
    produce::{ProduceRequest, ProduceTopic},
};
use tokio::{task::yield_now, time::Instant};

/// Whether a request has more partitions, or topics, than are written without a break.
pub fn are_in(request: &ProduceRequest) -> bool {
    let topics = request.topics.iter();
    let elements: usize = topics.map(|topic| 1 + topic.partitions.len()).sum();
    elements > PRODUCE_PARTITIONS_AT_ONCE_MAX
}

/// Writes everything and waits for what the request waits for.
pub async fn write(
    context: RequestContext,
    header: RequestHeader,
    waits: Waits,
    request: ProduceRequest,
) -> Outgoing {
    let mut topics: Vec<TopicAppended> = Vec::new();
    for part in parts(request) {
        let mut plan = ProducePlan::of(&context.services.partitions, part);
        plan.open(&context.services.partitions).await;
        let mut appended = append(&context, plan);
        append_heavy(&context, &mut appended).await;
        for topic in appended {
            match topics.last_mut() {
                Some(last) if last.name == topic.name && last.id == topic.id => {
                    last.partitions.extend(topic.partitions);
                }
                _ => topics.push(topic),
            }
        }
        // A planted bug.
        if !planted_hurry() {
            yield_now().await;
        }
    }
    match waits.acks {
        ACKS_NONE => return unanswered(&context, &topics),
        ACKS_ALL => topics = wait_all(topics, Instant::now() + waits.timeout).await,
        _ => {}
    }
    let partitions = context.services.partitions.clone();
    let encoded = partitions
        .blocking(move || encode(&header, header.api_version, &assemble(&context, topics)));
    let stopping = |_| Outgoing::Close("the site stops".to_owned());
    encoded.await.unwrap_or_else(stopping)
}

fn planted_hurry() -> bool {
    gnomon_failpoints::fail_point!("never_yield", |_| true);
    false
}

/// The same request as requests of at most [`YIELD_EVERY`] elements, in order.
fn parts(request: ProduceRequest) -> Vec<ProduceRequest> {
    let topics = request.topics;
    let part = |topics| ProduceRequest {
        transactional_id: request.transactional_id.clone(),
        acks: request.acks,
        timeout_ms: request.timeout_ms,
        topics,
    };
    let (mut parts, mut now, mut room) = (Vec::new(), Vec::new(), YIELD_EVERY);
    for topic in topics {
        let mut rest = topic.partitions.into_iter();
        loop {
            if room == 0 {
                parts.push(part(std::mem::take(&mut now)));
                room = YIELD_EVERY;
            }
            let partitions: Vec<_> = rest.by_ref().take(room).collect();
            // A topic without partitions is an element, too.
            room -= partitions.len().max(1);
            now.push(ProduceTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions,
            });
            if rest.len() == 0 {
                break;
            }
        }
    }
    parts.push(part(now));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_protocol::{produce::ProducePartition, wire::StrBytes};

    #[test]
    fn parts_are_small_and_lose_nothing() {
        let topic = |name: &'static str, partitions: usize| ProduceTopic {
            name: Some(StrBytes::from_static_str(name)),
            topic_id: None,
            partitions: (0..partitions as i32)
                .map(|index| ProducePartition {
                    index,
                    records: None,
                })
                .collect(),
        };
        let request = ProduceRequest {
            acks: 1,
            topics: vec![
                topic("a", YIELD_EVERY - 1),
                topic("b", 0),
                topic("c", 0),
                topic("d", 2 * YIELD_EVERY + 3),
            ],
            ..ProduceRequest::default()
        };
        let mut joined: Vec<ProduceTopic> = Vec::new();
        for part in parts(request.clone()) {
            let elements = part
                .topics
                .iter()
                .map(|topic| topic.partitions.len().max(1));
            assert!(elements.sum::<usize>() <= YIELD_EVERY);
            assert_eq!(part.acks, 1);
            for topic in part.topics {
                match joined.last_mut() {
                    Some(last) if last.name == topic.name => {
                        last.partitions.extend(topic.partitions);
                    }
                    _ => joined.push(topic),
                }
            }
        }
        assert_eq!(joined, request.topics);
    }
}
