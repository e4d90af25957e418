//! Names and values that all tests of the metadata machine use.

use gnomon_links::NameFilter;
use gnomon_protocol::ids::Uuid;

/// An id made of text, so that scripts can speak in names.
pub fn id_of(text: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (at, byte) in text.bytes().enumerate() {
        bytes[at % 16] ^= byte;
    }
    Uuid::from_bytes(bytes)
}

/// A filter as status lines write it: `a_*`, `orders`, `!a_tmp*`.
pub fn filter(text: &str) -> NameFilter {
    let (exclude, text) = text
        .strip_prefix('!')
        .map_or((false, text), |text| (true, text));
    match (
        exclude,
        text.strip_suffix('*').filter(|prefix| !prefix.is_empty()),
    ) {
        (false, Some(prefix)) => NameFilter::include_prefix(prefix),
        (false, None) => NameFilter::include_literal(text),
        (true, Some(prefix)) => NameFilter::exclude_prefix(prefix),
        (true, None) => NameFilter::exclude_literal(text),
    }
}
