//! The topics of a consumer's subscription, from its metadata (`ConsumerProtocolSubscription`:
//! version, topics, more).
//!
//! It reads no further than the topics, unlike the protocol crate's `Subscription`: later versions
//! only add fields after them, and some clients leave out fields of their version.

use crate::Name;
use std::collections::BTreeSet;

/// The topics; `None` if the bytes are no subscription.
pub(crate) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<Name>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, text) = rest.split_first_chunk::<2>()?;
        let (topic, after) =
            text.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        topics.insert(std::str::from_utf8(topic).ok()?.into());
        rest = after;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_other_bytes_are_not_a_subscription() {
        let bytes = b"\x00\x03\x00\x00\x00\x02\x00\x01b\x00\x02aa\xff\xff\xff\xff";
        assert_eq!(
            subscribed_topics(bytes),
            Some(BTreeSet::from(["aa".into(), "b".into()]))
        );
        assert_eq!(subscribed_topics(&bytes[..10]), None);
        assert_eq!(subscribed_topics(b"\x00\x01\x7f\xff\xff\xff"), None);
        assert_eq!(subscribed_topics(b"\xff\xff\x00\x00\x00\x00"), None);
        assert_eq!(subscribed_topics(b""), None);
    }
}
