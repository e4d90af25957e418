//! Which topics a consumer subscribes to, out of what it says to its assignor
//! (ConsumerProtocolSubscription: version, topics, more).
//!
//! Only as far as that, unlike the protocol crate's `Subscription`: versions only add behind the
//! topics, and some clients leave out what their version should have there.

use crate::Name;
use std::collections::BTreeSet;

/// The topics, or `None` if these are not such bytes.
pub(crate) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<Name>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, text) = rest.split_first_chunk::<2>()?;
        let (topic, behind) =
            text.split_at_checked(usize::try_from(i16::from_be_bytes(*length)).ok()?)?;
        topics.insert(std::str::from_utf8(topic).ok()?.into());
        rest = behind;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_nonsense_is_not() {
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
