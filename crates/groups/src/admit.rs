//! Checks of a request that need nothing but the request and the settings.
//!
//! Invariant: every name and text that passes fits into Kafka's record formats, so that no record of
//! the machine can fail to be encoded; a commit or a link's offsets fit into one batch. Not here:
//! checks that depend on the group, which are with the request's own rules.

use crate::{Commit, Event, GroupConfig, GroupError, NAME_BYTES_MAX, Name, PROTOCOLS_MAX};

/// An estimate, from above, of the fixed part of an offset's record in bytes: all but its group,
/// topic and metadata.
pub(crate) const OFFSET_BYTES: usize = 64;

/// Refuses a request that is wrong whatever the state of its group.
pub(crate) fn admit(config: &GroupConfig, event: &Event) -> Result<(), GroupError> {
    match event {
        Event::Join(request) => {
            let (min_ms, max_ms) = (config.session_timeout_min_ms, config.session_timeout_max_ms);
            not_empty(&request.group)?;
            if !(min_ms..=max_ms).contains(&request.session_timeout_ms) {
                return Err(GroupError::InvalidSessionTimeout {
                    requested_ms: request.session_timeout_ms,
                    min_ms,
                    max_ms,
                });
            }
            if request.protocols.len() > PROTOCOLS_MAX {
                return Err(GroupError::InconsistentProtocol {
                    why: "the member lists more than 100 protocols",
                });
            }
            let names = [
                &request.group,
                &request.member_id,
                &request.fresh_member_id,
                &request.client_id,
                &request.client_host,
                &request.protocol_type,
            ];
            short(
                names
                    .into_iter()
                    .chain(&request.instance_id)
                    .chain(request.protocols.iter().map(|protocol| &protocol.name)),
            )
        }
        Event::Sync(request) => not_empty(&request.group),
        Event::Heartbeat(request) => not_empty(&request.group),
        Event::Leave(request) => not_empty(&request.group),
        Event::Commit(Commit { group, offsets, .. }) => {
            // Kafka accepts an empty group id here: simple consumers have always committed without
            // one.
            short(
                [group]
                    .into_iter()
                    .chain(offsets.iter().map(|offset| &offset.topic)),
            )?;
            let each = offsets
                .iter()
                .map(|offset| offset.topic.len() + offset.metadata.len());
            one_batch(config, group, each)
        }
        Event::SyncOffsets(request) => {
            let offsets = request
                .offsets
                .iter()
                .flat_map(|offset| [&offset.topic, &offset.metadata]);
            short([&request.link, &request.group].into_iter().chain(offsets))?;
            let each = request
                .offsets
                .iter()
                .map(|offset| offset.topic.len() + offset.metadata.len());
            one_batch(config, &request.group, each)
        }
        Event::Fetch(_)
        | Event::List(_)
        | Event::Describe(_)
        | Event::DeleteGroups(_)
        | Event::TopicsDeleted(_)
        | Event::SyncEnded(_) => Ok(()),
    }
}

/// Checks that the offsets of one request fit into one batch. Each record repeats the group's name.
fn one_batch(
    config: &GroupConfig,
    group: &Name,
    each: impl Iterator<Item = usize>,
) -> Result<(), GroupError> {
    let (bytes, max) = (
        each.map(|texts| OFFSET_BYTES + group.len() + texts).sum(),
        config.batch_bytes_max,
    );
    if bytes > max {
        Err(GroupError::CommitTooLarge { bytes, max })
    } else {
        Ok(())
    }
}

fn not_empty(group: &Name) -> Result<(), GroupError> {
    if group.is_empty() {
        Err(GroupError::InvalidGroupId)
    } else {
        Ok(())
    }
}

fn short<'a>(names: impl IntoIterator<Item = &'a Name>) -> Result<(), GroupError> {
    match names
        .into_iter()
        .map(|name| name.len())
        .find(|bytes| *bytes > NAME_BYTES_MAX)
    {
        Some(bytes) => Err(GroupError::NameTooLong {
            bytes,
            max: NAME_BYTES_MAX,
        }),
        None => Ok(()),
    }
}
