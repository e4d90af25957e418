//! The effect of each record on the image: the only code that changes one.
//!
//! Every record stands alone: it never asks what the step that made it knew. `names` and
//! `Link::released` follow from topics here.

use crate::{
    image::{Image, Link, Writers},
    record::{
        Epochs, Incarnated, LinkDeleted, PartitionEpoch, ProducerIds, Record, TopicDeleted,
        TopicTakenOver,
    },
    topic::Topic,
};
use gnomon_protocol::ids::{LeaderEpoch, TopicId};
use std::sync::Arc;

impl Image {
    /// Applies one record, live and at recovery.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Site(site) => self.site = Some(Arc::new(site.clone())),
            Record::Broker(broker) => {
                Arc::make_mut(&mut self.brokers).insert(broker.id, broker.clone());
            }
            Record::Incarnated(Incarnated { incarnation }) => self.incarnate(*incarnation),
            Record::Topic(topic) => self.put_topic(topic),
            Record::TopicDeleted(TopicDeleted { id }) => self.remove_topic(*id),
            Record::Epochs(Epochs { epochs }) => self.raise_epochs(epochs),
            Record::Link(link) => self.put_link(link),
            Record::LinkNames(names) => {
                Arc::make_mut(&mut self.link_names).extend(names.iter().cloned())
            }
            Record::TakenOver(TopicTakenOver { topic, taken_over }) => {
                if self.topics.contains_key(topic) {
                    Arc::make_mut(&mut self.taken_over).insert(*topic, taken_over.clone());
                }
            }
            Record::LinkDeleted(LinkDeleted { id }) => {
                Arc::make_mut(&mut self.links).remove(id);
            }
            Record::ProducerIds(ProducerIds { next }) => {
                self.next_producer_block = self.next_producer_block.max(*next)
            }
        }
    }

    /// The whole image as records: links before topics, because what a link has released follows
    /// from its topics.
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.site.as_deref().cloned().map(Record::Site));
        records.extend(self.brokers.values().cloned().map(Record::Broker));
        if self.incarnation > 0 {
            // Before any topic: their epochs are as they are, not to be raised again.
            records.push(Record::Incarnated(Incarnated {
                incarnation: self.incarnation,
            }));
        }
        if !self.link_names.is_empty() {
            records.push(Record::LinkNames(self.link_names.as_ref().clone()));
        }
        records.extend(
            self.links
                .values()
                .map(|link| Record::Link(Box::new(link.as_ref().clone()))),
        );
        records.extend(
            self.topics
                .values()
                .map(|topic| Record::Topic(topic.as_ref().clone())),
        );
        records.extend(self.taken_over.iter().map(|(topic, taken_over)| {
            Record::TakenOver(TopicTakenOver {
                topic: *topic,
                taken_over: taken_over.clone(),
            })
        }));
        if self.next_producer_block > 0 {
            records.push(Record::ProducerIds(ProducerIds {
                next: self.next_producer_block,
            }));
        }
        records
    }

    fn incarnate(&mut self, incarnation: u64) {
        if incarnation <= self.incarnation {
            return;
        }
        self.incarnation = incarnation;
        let Some(broker_id) = self.site.as_ref().map(|site| site.broker_id) else {
            return;
        };
        let ours: Vec<TopicId> = self
            .topics
            .values()
            .filter(|topic| match self.writers(topic) {
                Writers::Clients | Writers::Site | Writers::FailingOver => true,
                Writers::Link { .. } => false,
            })
            .map(|topic| topic.id)
            .collect();
        let topics = Arc::make_mut(&mut self.topics);
        for id in ours {
            let Some(topic) = topics.get_mut(&id) else {
                continue;
            };
            for partition in Arc::make_mut(topic)
                .partitions
                .iter_mut()
                .filter(|partition| partition.leader == broker_id)
            {
                partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0.saturating_add(1));
            }
        }
    }

    fn put_topic(&mut self, topic: &Topic) {
        if let Some(before) = self
            .topics
            .get(&topic.id)
            .filter(|before| before.name != topic.name)
        {
            let name = before.name.clone();
            Arc::make_mut(&mut self.names).remove(&name);
        }
        if self.names.get(&topic.name) != Some(&topic.id) {
            Arc::make_mut(&mut self.names).insert(topic.name.clone(), topic.id);
        }
        self.release(
            topic,
            topic
                .shadow
                .as_ref()
                .is_some_and(|shadow| shadow.state.is_ours()),
        );
        Arc::make_mut(&mut self.topics).insert(topic.id, Arc::new(topic.clone()));
    }

    fn remove_topic(&mut self, id: TopicId) {
        let Some(topic) = Arc::make_mut(&mut self.topics).remove(&id) else {
            return;
        };
        Arc::make_mut(&mut self.names).remove(&topic.name);
        self.release(&topic, false);
        if self.taken_over.contains_key(&id) {
            Arc::make_mut(&mut self.taken_over).remove(&id);
        }
    }

    /// Notes whether a topic's link has let its name go.
    fn release(&mut self, topic: &Topic, released: bool) {
        let Some(id) = topic.shadow.as_ref().map(|shadow| shadow.link) else {
            return;
        };
        if self
            .links
            .get(&id)
            .is_none_or(|link| link.released.contains(&topic.name) == released)
        {
            return;
        }
        if let Some(link) = Arc::make_mut(&mut self.links).get_mut(&id) {
            let names = &mut Arc::make_mut(link).released;
            if released {
                names.insert(topic.name.clone());
            } else {
                names.remove(&topic.name);
            }
        }
    }

    fn raise_epochs(&mut self, epochs: &[PartitionEpoch]) {
        let topics = Arc::make_mut(&mut self.topics);
        for PartitionEpoch {
            topic,
            partition,
            epoch,
        } in epochs
        {
            let Some(topic) = topics.get_mut(topic) else {
                continue;
            };
            let Ok(index) = usize::try_from(*partition) else {
                continue;
            };
            if topic
                .partitions
                .get(index)
                .is_none_or(|known| known.leader_epoch >= *epoch)
            {
                continue;
            }
            Arc::make_mut(topic).partitions[index].leader_epoch = *epoch;
        }
    }

    fn put_link(&mut self, link: &Link) {
        if !self.link_names.contains(link.name()) {
            Arc::make_mut(&mut self.link_names).insert(link.name().to_owned());
        }
        let mut link = link.clone();
        link.released = self
            .topics_of(link.id)
            .filter(|topic| !topic.is_shadow())
            .map(|topic| topic.name.clone())
            .collect();
        Arc::make_mut(&mut self.links).insert(link.id, Arc::new(link));
    }
}
