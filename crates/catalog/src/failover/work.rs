//! Batches of topics that move in step, the commands that wait for them, and what each step of the
//! machine makes of both.

use super::{
    batches::{Batch, Failovers, Waiting},
    records::{cut, done, ended},
};
use crate::{
    action::Action,
    image::Image,
    record::Record,
    reply::{FailedOver, FailedOverTopic, Reply},
    soft::{Catalog, Soft},
    topic::{LinkId, Topic},
};
use gnomon_links::{
    LinkState,
    failover::{EpochPolicy, Next, Recorded, next},
};
use gnomon_machine::{Effects, ReplyToken};
use gnomon_protocol::ids::TopicId;

/// One step of the machine: the image as its records make it, and what comes of it.
pub(super) struct Work<'a> {
    pub(super) image: Image,
    pub(super) failovers: &'a mut Failovers,
    policy: EpochPolicy,
    effects: Effects<Catalog>,
}

impl<'a> Work<'a> {
    pub(super) fn new(image: &Image, soft: &'a mut Soft) -> Work<'a> {
        Work {
            image: image.clone(),
            policy: soft.settings.epoch_policy,
            failovers: &mut soft.failovers,
            effects: Effects::none(),
        }
    }

    pub(super) fn record(&mut self, record: Record) {
        self.image.apply(&record);
        self.effects.records.push(record);
    }

    /// The batch of a topic, if what it waits for now is this.
    pub(super) fn batch_at(&mut self, topic: TopicId, at: Next) -> Option<(u64, &mut Batch)> {
        let number = *self.failovers.batch_of.get(&topic)?;
        let batch = self.failovers.batches.get_mut(&number)?;
        (next(batch.recorded, batch.reported) == at).then_some((number, batch))
    }

    /// Something came in: when nothing is missing any more, the batch goes on.
    pub(super) fn reported(&mut self, number: u64) {
        let Some(batch) = self.failovers.batches.get_mut(&number) else {
            return;
        };
        if !batch.missing.is_empty() {
            return;
        }
        match next(batch.recorded, batch.reported) {
            Next::Cut => batch.reported.cuts = true,
            Next::AbortOpen => batch.reported.markers = true,
            Next::Nothing | Next::RecordCut | Next::ApplyOffsets | Next::RecordDone => {}
        }
        self.drive(number);
    }

    /// Does what comes next, until the world has to answer.
    pub(super) fn drive(&mut self, number: u64) {
        loop {
            let Some(batch) = self.failovers.batches.get_mut(&number) else {
                return;
            };
            let (link, topics) = (batch.link, batch.topics.clone());
            match next(batch.recorded, batch.reported) {
                Next::Cut => {
                    return self.ask(number, |topic| Action::Cut {
                        link,
                        topic: topic.id,
                        name: topic.name.clone(),
                        fence: topic.shadow.as_ref().map_or(0, |shadow| shadow.fence),
                        partitions: topic.indexes().collect(),
                    });
                }
                Next::AbortOpen => {
                    return self.ask(number, |topic| Action::AbortOpen {
                        link,
                        topic: topic.id,
                        name: topic.name.clone(),
                        partitions: topic
                            .indexes()
                            .zip(&topic.partitions)
                            .filter_map(|(index, p)| Some((index, p.cut?)))
                            .collect(),
                    });
                }
                Next::ApplyOffsets => {
                    self.effects.actions.push(Action::ApplyOffsets {
                        link,
                        topics: topics.into_iter().collect(),
                    });
                    return;
                }
                Next::RecordCut => {
                    batch.recorded = Recorded::CutAndEpoch;
                    let reached = std::mem::take(&mut batch.reached);
                    for id in topics {
                        let Some(topic) = self.image.topic(id).cloned() else {
                            continue;
                        };
                        match cut(&topic, &reached, self.policy) {
                            Ok(topic) => self.record(Record::Topic(topic)),
                            Err(exhausted) => self.stuck(id, exhausted.to_string()),
                        }
                    }
                }
                Next::RecordDone => {
                    batch.recorded = Recorded::Done;
                    for id in &topics {
                        let Some(topic) = self.image.topic(*id).cloned() else {
                            continue;
                        };
                        self.record(Record::Topic(done(&topic)));
                    }
                    self.end_link(link);
                    for id in topics {
                        self.leave(id);
                    }
                }
                Next::Nothing => {
                    self.failovers.batches.remove(&number);
                    return;
                }
            }
        }
    }

    /// One action for each topic of a batch; every one of its partitions is to report.
    fn ask(&mut self, number: u64, action: impl Fn(&Topic) -> Action) {
        let Some(batch) = self.failovers.batches.get_mut(&number) else {
            return;
        };
        for topic in batch.topics.iter().filter_map(|id| self.image.topic(*id)) {
            batch
                .missing
                .extend(topic.indexes().map(|index| (topic.id, index)));
            self.effects.actions.push(action(topic));
        }
    }

    /// A topic cannot go on: it stays FAILING_OVER with the reason, the others of its batch do not
    /// wait for it.
    pub(super) fn stuck(&mut self, id: TopicId, reason: String) {
        if let Some(topic) = self.image.topic(id).filter(|topic| {
            topic
                .shadow
                .as_ref()
                .is_some_and(|s| s.reason.as_ref() != Some(&reason))
        }) {
            let mut topic = topic.as_ref().clone();
            if let Some(shadow) = &mut topic.shadow {
                shadow.reason = Some(reason);
            }
            self.record(Record::Topic(topic));
        }
        self.leave(id);
    }

    /// A topic leaves its batch, through or stuck; callers that waited for it alone are answered.
    fn leave(&mut self, id: TopicId) {
        if let Some(number) = self.failovers.batch_of.remove(&id)
            && let Some(batch) = self.failovers.batches.get_mut(&number)
        {
            batch.topics.remove(&id);
            // By range: many topics may leave in one step, and must not go over all partitions of
            // the batch each.
            let all = (id, i32::MIN)..=(id, i32::MAX);
            let missing: Vec<_> = batch.missing.range(all.clone()).copied().collect();
            let reached: Vec<_> = batch.reached.range(all).map(|(key, _)| *key).collect();
            for key in missing {
                batch.missing.remove(&key);
            }
            for key in reached {
                batch.reached.remove(&key);
            }
            if batch.topics.is_empty() {
                self.failovers.batches.remove(&number);
            }
        }
        for waiting in self.failovers.waiting.values_mut() {
            waiting.pending.remove(&id);
        }
    }

    pub(super) fn end_link(&mut self, link: LinkId) {
        if let Some(link) = ended(&self.image, link) {
            self.record(Record::Link(Box::new(link)));
        }
    }

    pub(super) fn noted(mut self, token: ReplyToken) -> Effects<Catalog> {
        self.effects.replies.push((token, Reply::Noted));
        self.finish()
    }

    /// Answers every caller that waits for nothing any more.
    pub(super) fn finish(mut self) -> Effects<Catalog> {
        let through: Vec<ReplyToken> = self
            .failovers
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.pending.is_empty())
            .map(|(token, _)| *token)
            .collect();
        for token in through {
            if let Some(waiting) = self.failovers.waiting.remove(&token) {
                let answer = outcome(&self.image, &waiting);
                self.effects
                    .replies
                    .push((token, Reply::FailOver(Ok(answer))));
            }
        }
        self.effects
    }
}

fn outcome(image: &Image, waiting: &Waiting) -> FailedOver {
    let link = image.link(waiting.link);
    let topics = waiting
        .topics
        .iter()
        .filter_map(|id| image.topic(*id))
        .map(|topic| FailedOverTopic {
            id: topic.id,
            name: topic.name.clone(),
            stuck: topic
                .shadow
                .as_ref()
                .filter(|shadow| !shadow.state.is_ours())
                .map(|shadow| {
                    shadow
                        .reason
                        .clone()
                        .unwrap_or_else(|| "its failover is not through".to_owned())
                }),
            cuts: topic
                .partitions
                .iter()
                .filter_map(|partition| partition.cut)
                .collect(),
        });
    FailedOver {
        link: link.map_or_else(String::new, |link| link.name().to_owned()),
        whole: link.is_some_and(|link| link.state == LinkState::FailedOver),
        topics: topics.collect(),
    }
}
