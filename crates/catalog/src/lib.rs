//! The metadata machine: site, topics, configurations, roles, links, failovers and producer-id
//! blocks, as one state on `__cluster_metadata`.
//!
//! One machine for all of it, because a topic's creation, its ownership check, its bond to a link
//! and its failover must each be one atomic record list. [`Catalog`] decides; [`Image`] is what it
//! keeps and what readers hold. Below the line: no clock, file, socket, task or randomness.
#![forbid(unsafe_code)]

mod action;
mod apply;
mod config_keys;
mod create;
mod discover;
mod error;
mod event;
mod failover;
mod image;
mod link;
mod machine;
mod record;
mod reply;
mod site;
mod soft;
mod topic;
mod topic_config;
mod topics;

pub use action::Action;
pub use config_keys::{CONFIG_KEYS, ConfigKey, Kind, config_key};
pub use error::{
    AlterConfigsError, CreateLinkError, CreateTopicError, DeleteLinkError, DeleteTopicError,
    FailOverError, NotRegistered, ProducerIdsError, RegisterError, TopicStateError, UnknownLink,
};
pub use event::{
    AlterTopicConfigs, CreateTopics, Discovered, Event, FailOver, Gap, LinkSource, NewTopic,
    Origin, Register, TakeoverReport, Which,
};
pub use image::{
    BrokerEntry, ConfigSource, Endpoint, Image, Link, Site, SourceSite, TakenOver, Writers,
    shadow_configs, shadow_origin,
};
pub use record::{
    Epochs, Incarnated, LinkDeleted, PartitionEpoch, ProducerIds, Record, TopicDeleted,
    TopicTakenOver,
};
pub use reply::{
    CreatedTopic, Discovery, FailedOver, FailedOverTopic, LinkCreated, LinkOutcome,
    ProducerIdBlock, Registered, Reply, TopicCreation,
};
pub use site::cluster_id_of;
pub use soft::{Catalog, Settings, Soft};
pub use topic::{Cut, FailoverStep, GAPS_KEPT_MAX, LinkId, Partition, Shadow, Topic};
pub use topic_config::{
    ConfigRefusal, SiteDefaults, TimestampType, TopicConfig, check as check_config,
};
