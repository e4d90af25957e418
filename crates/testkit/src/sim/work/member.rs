//! Members of consumer groups: they join, are given partitions, read on from what the group has
//! committed, commit, and leave or die.
//!
//! A group belongs to a site; now and then its members work at the other one, on shadows, and go on
//! there from what the link brought along.

use super::goes_on;
use crate::sim::{
    check::groups,
    model::{Kind, SITES, Topic},
    rng::Rng,
    wire::Wire,
    world::{CLIENTS, World},
};
use bytes::Bytes;
use gnomon_client::{fetcher::Isolation, offsets::LATEST};
use gnomon_protocol::{
    error_code::ErrorCode,
    ids::Offset,
    messages::{
        ApiKey, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
        OffsetCommitRequest, OffsetFetchRequest, RequestKind, ResponseKind, SyncGroupRequest,
        TopicName,
        join_group_request::JoinGroupRequestProtocol,
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        sync_group_request::SyncGroupRequestAssignment,
    },
    wire::StrBytes,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

const JOIN_VERSION: i16 = 7;
const SYNC_VERSION: i16 = 5;
const HEARTBEAT_VERSION: i16 = 4;
const LEAVE_VERSION: i16 = 4;
const COMMIT_VERSION: i16 = 8;
const FETCH_VERSION: i16 = 8;

/// Longest that a member is silent before it counts as dead.
const SESSION: Duration = Duration::from_secs(6);

/// How long it waits for an answer; a join may wait for the others.
const PATIENCE: Duration = Duration::from_secs(5);
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

type GroupPartition = (String, i32);

pub struct Member {
    world: Arc<World>,
    rng: Rng,
    who: String,
    group: String,
    site: usize,
    member_id: StrBytes,
    generation: i32,
    wire: Option<Wire>,
    /// The partitions that it was assigned, with its position in each.
    positions: BTreeMap<GroupPartition, Offset>,
}

/// Why a member has to begin again.
enum Trouble {
    /// The connection, or no answer.
    Wire(String),
    /// The coordinator said so.
    Refused(i16),
}

impl From<String> for Trouble {
    fn from(why: String) -> Trouble {
        Trouble::Wire(why)
    }
}

fn accepted(code: i16) -> Result<(), Trouble> {
    if code == 0 {
        Ok(())
    } else {
        Err(Trouble::Refused(code))
    }
}

fn other(response: &ResponseKind) -> Trouble {
    Trouble::Wire(format!("another answer than was asked for: {response:?}"))
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

impl Member {
    /// A member of a group at a site.
    pub fn new(world: &Arc<World>, rng: Rng, group: &str, number: u32, site: usize) -> Member {
        Member {
            world: world.clone(),
            rng,
            who: format!("member {number} of {group} at {}", SITES[site]),
            group: group.to_owned(),
            site,
            member_id: StrBytes::default(),
            generation: -1,
            wire: None,
            positions: BTreeMap::new(),
        }
    }

    /// Works until `until`; then it leaves, or dies without a word.
    pub async fn run(mut self, until: Instant) {
        while goes_on(&self.world, until) {
            if let Err(trouble) = self.work(until).await {
                self.recover(trouble).await;
            }
        }
        if self.rng.once_in(2) {
            let left = self.leave().await;
            self.world
                .tell(&self.who, format!("left: {}", left.is_ok()));
        }
    }

    async fn recover(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Wire(why) => {
                self.world.tell(&self.who, format!("failed: {why}"));
                self.wire = None;
            }
            Trouble::Refused(code) => {
                self.world.tell(&self.who, format!("refused with {code}"));
                let known = ErrorCode::from_code(code);
                if matches!(
                    known,
                    Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)
                ) {
                    self.member_id = StrBytes::default();
                }
                let expected = matches!(
                    known,
                    Some(
                        ErrorCode::UnknownMemberId
                            | ErrorCode::IllegalGeneration
                            | ErrorCode::RebalanceInProgress
                            | ErrorCode::NotCoordinator
                            | ErrorCode::CoordinatorLoadInProgress
                            | ErrorCode::UnknownTopicOrPartition
                    )
                );
                if !expected {
                    self.world.broken(
                        &self.who,
                        "L5",
                        format!("a member was answered with error {code}"),
                    );
                }
            }
        }
        sleep(self.rng.millis(50..600)).await;
    }

    /// Joins, and works until there is trouble or the time is over.
    async fn work(&mut self, until: Instant) -> Result<(), Trouble> {
        if self.wire.is_none() {
            self.wire = Some(Wire::connect(&self.world.net.host(CLIENTS), SITES[self.site]).await?);
        }
        let members = self.join().await?;
        let assigned = self.sync(members).await?;
        self.world.tell(
            &self.who,
            format!("generation {}: {assigned:?}", self.generation),
        );
        self.begin(&assigned).await?;
        while goes_on(&self.world, until) {
            sleep_until((Instant::now() + self.rng.millis(300..1_500)).min(until)).await;
            self.heartbeat().await?;
            self.read_on();
            if self.rng.once_in(2) {
                self.commit().await?;
            }
            if self.rng.once_in(5) {
                self.fetch(&assigned).await?;
            }
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        key: ApiKey,
        version: i16,
        request: RequestKind,
        patience: Duration,
    ) -> Result<ResponseKind, Trouble> {
        let Some(wire) = &mut self.wire else {
            return Err(Trouble::Wire("no connection".to_owned()));
        };
        Ok(wire.ask(key as i16, version, request, patience).await?)
    }

    /// The members, if this is the one that assigns.
    async fn join(&mut self) -> Result<Vec<StrBytes>, Trouble> {
        loop {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("all"))
                .with_metadata(Bytes::from_static(b"all"));
            let request = JoinGroupRequest::default()
                .with_group_id(group_id(&self.group))
                .with_session_timeout_ms(SESSION.as_millis() as i32)
                .with_rebalance_timeout_ms(SESSION.as_millis() as i32)
                .with_member_id(self.member_id.clone())
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]);
            let response = match self
                .ask(
                    ApiKey::JoinGroup,
                    JOIN_VERSION,
                    RequestKind::JoinGroup(request),
                    JOIN_PATIENCE,
                )
                .await?
            {
                ResponseKind::JoinGroup(response) => response,
                response => return Err(other(&response)),
            };
            if ErrorCode::from_code(response.error_code) == Some(ErrorCode::MemberIdRequired) {
                self.member_id = response.member_id;
                continue;
            }
            accepted(response.error_code)?;
            (self.member_id, self.generation) = (response.member_id, response.generation_id);
            return Ok(if response.leader == self.member_id {
                response
                    .members
                    .into_iter()
                    .map(|member| member.member_id)
                    .collect()
            } else {
                Vec::new()
            });
        }
    }

    /// Assigns, if it is the leader's turn; what it is given.
    async fn sync(&mut self, members: Vec<StrBytes>) -> Result<Vec<GroupPartition>, Trouble> {
        let mut shares: BTreeMap<usize, Vec<GroupPartition>> = BTreeMap::new();
        if !members.is_empty() {
            for (index, place) in self.places().into_iter().enumerate() {
                shares.entry(index % members.len()).or_default().push(place);
            }
        }
        let share = |(index, member): (usize, StrBytes)| {
            let places = shares
                .get(&index)
                .into_iter()
                .flatten()
                .map(|(topic, partition)| format!("{topic}/{partition}"));
            let written = places.collect::<Vec<_>>().join(",");
            SyncGroupRequestAssignment::default()
                .with_member_id(member)
                .with_assignment(Bytes::from(written))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("all")))
            .with_assignments(members.into_iter().enumerate().map(share).collect());
        let response = match self
            .ask(
                ApiKey::SyncGroup,
                SYNC_VERSION,
                RequestKind::SyncGroup(request),
                JOIN_PATIENCE,
            )
            .await?
        {
            ResponseKind::SyncGroup(response) => response,
            response => return Err(other(&response)),
        };
        accepted(response.error_code)?;
        let written = String::from_utf8_lossy(&response.assignment).into_owned();
        let place = |place: &str| {
            place
                .split_once('/')
                .and_then(|(topic, partition)| Some((topic.to_owned(), partition.parse().ok()?)))
        };
        Ok(written.split(',').filter_map(place).collect())
    }

    /// The partitions that the group reads: of its owner's topics that keep everything and have
    /// always been the same.
    fn places(&self) -> Vec<GroupPartition> {
        let model = self.world.model.lock();
        let reads = |topic: &&Topic| {
            self.group.starts_with(&format!("{}_", SITES[topic.owner]))
                && topic.kind == Kind::Plain
                && !topic.retired
                && topic.former.is_none()
                && topic.ids[self.site].is_some()
        };
        model
            .topics
            .values()
            .filter(reads)
            .flat_map(|topic| (0..topic.partitions).map(|index| (topic.name.clone(), index)))
            .collect()
    }

    /// Reads on from what the group has committed.
    async fn begin(&mut self, assigned: &[GroupPartition]) -> Result<(), Trouble> {
        let committed = self.fetch(assigned).await?;
        self.positions = assigned
            .iter()
            .map(|place| (place.clone(), committed.get(place).copied().unwrap_or(0)))
            .collect();
        self.compare_with_the_data(&committed).await;
        Ok(())
    }

    /// R9: what is committed lies within the log.
    async fn compare_with_the_data(&mut self, committed: &BTreeMap<GroupPartition, Offset>) {
        let client = self.world.client(SITES[self.site], "member");
        let wanted = committed
            .keys()
            .map(|place| (place.clone(), LATEST))
            .collect();
        for (place, end) in client
            .list_offsets(&wanted, Isolation::ReadUncommitted)
            .await
        {
            let (Ok(end), Some(offset)) = (end, committed.get(&place)) else {
                continue;
            };
            self.world.hold(&self.who, |model| {
                match model.may_commit(self.site, &place) {
                    true => groups::r9_within_the_data(*offset, end.offset),
                    false => Ok(()),
                }
            });
        }
    }

    /// The group's commits; the model hears of it.
    async fn fetch(
        &mut self,
        places: &[GroupPartition],
    ) -> Result<BTreeMap<GroupPartition, Offset>, Trouble> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in places {
            topics.entry(topic).or_default().push(*partition);
        }
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let topic = |(name, partitions): (&str, Vec<i32>)| {
            OffsetFetchRequestTopics::default()
                .with_name(TopicName(text(name)))
                .with_partition_indexes(partitions)
        };
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group_id(&self.group))
            .with_topics(Some(topics.into_iter().map(topic).collect()));
        let request =
            RequestKind::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]));
        let response = match self
            .ask(ApiKey::OffsetFetch, FETCH_VERSION, request, PATIENCE)
            .await?
        {
            ResponseKind::OffsetFetch(response) => response,
            response => return Err(other(&response)),
        };
        let mut found = BTreeMap::new();
        for group in response.groups {
            accepted(group.error_code)?;
            for topic in group.topics {
                for partition in topic.partitions {
                    let place = (topic.name.0.to_string(), partition.partition_index);
                    let offset =
                        (partition.committed_offset >= 0).then_some(partition.committed_offset);
                    self.world.tell(
                        &self.who,
                        format!("{}-{} is committed at {offset:?}", place.0, place.1),
                    );
                    self.world.hold(&self.who, |model| {
                        model.committed(self.site, &self.group, &place, offset)
                    });
                    found.extend(offset.map(|offset| (place, offset)));
                }
            }
        }
        Ok(found)
    }

    /// Pretends to have read on, as far as readers of the site have been told that there is
    /// something.
    fn read_on(&mut self) {
        let model = self.world.model.lock();
        for ((topic, partition), position) in &mut self.positions {
            let there = model
                .id(self.site, topic, *partition)
                .map_or(0, |id| model.marks(id).high_watermark);
            if there > *position {
                *position += self.rng.within(1..(there - *position) as u64 + 1) as i64;
            }
        }
    }

    async fn commit(&mut self) -> Result<(), Trouble> {
        let mut topics: BTreeMap<String, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        let mut attempts = BTreeMap::new();
        {
            let mut model = self.world.model.lock();
            for (place, offset) in &self.positions {
                if !model.may_commit(self.site, place) {
                    continue;
                }
                let number = model.commits(self.site, &self.group, place, self.generation, *offset);
                attempts.insert(place.clone(), (number, *offset));
                let partition = OffsetCommitRequestPartition::default()
                    .with_partition_index(place.1)
                    .with_committed_offset(*offset)
                    .with_committed_leader_epoch(-1)
                    .with_committed_metadata(Some(StrBytes::default()));
                topics.entry(place.0.clone()).or_default().push(partition);
            }
        }
        if topics.is_empty() {
            return Ok(());
        }
        let topic = |(name, partitions): (String, _)| {
            OffsetCommitRequestTopic::default()
                .with_name(TopicName(text(&name)))
                .with_partitions(partitions)
        };
        let request = OffsetCommitRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.member_id.clone())
            .with_topics(topics.into_iter().map(topic).collect());
        let response = match self
            .ask(
                ApiKey::OffsetCommit,
                COMMIT_VERSION,
                RequestKind::OffsetCommit(request),
                PATIENCE,
            )
            .await?
        {
            ResponseKind::OffsetCommit(response) => response,
            response => return Err(other(&response)),
        };
        for topic in response.topics {
            for partition in topic.partitions {
                let place = (topic.name.0.to_string(), partition.partition_index);
                let Some((number, offset)) = attempts.get(&place).copied() else {
                    continue;
                };
                self.world.tell(
                    &self.who,
                    format!(
                        "{}-{} committed at {offset}: {}",
                        place.0, place.1, partition.error_code
                    ),
                );
                if partition.error_code == 0 {
                    self.world
                        .model
                        .lock()
                        .commit_acked(self.site, &self.group, &place, number);
                } else if ErrorCode::from_code(partition.error_code)
                    != Some(ErrorCode::UnknownTopicOrPartition)
                {
                    return Err(Trouble::Refused(partition.error_code));
                }
            }
        }
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<(), Trouble> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone());
        match self
            .ask(
                ApiKey::Heartbeat,
                HEARTBEAT_VERSION,
                RequestKind::Heartbeat(request),
                PATIENCE,
            )
            .await?
        {
            ResponseKind::Heartbeat(response) => accepted(response.error_code),
            response => Err(other(&response)),
        }
    }

    async fn leave(&mut self) -> Result<(), Trouble> {
        let member = MemberIdentity::default().with_member_id(self.member_id.clone());
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_members(vec![member]);
        match self
            .ask(
                ApiKey::LeaveGroup,
                LEAVE_VERSION,
                RequestKind::LeaveGroup(request),
                PATIENCE,
            )
            .await?
        {
            ResponseKind::LeaveGroup(response) => accepted(response.error_code),
            response => Err(other(&response)),
        }
    }
}
