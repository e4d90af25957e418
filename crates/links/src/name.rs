//! The name of a link: 1 to 128 characters of `A-Z a-z 0-9 . - _`, as Redpanda has it. A value of
//! this type is always legal.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr};

/// Most characters that a link's name may have.
pub const LINK_NAME_CHARS_MAX: usize = 128;

/// A legal link name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

/// Why a text is not a link's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkNameError {
    /// There must be at least one character.
    #[error("a link needs a name")]
    Empty,
    /// Too many characters.
    #[error("a link's name has at most {LINK_NAME_CHARS_MAX} characters, this one has {chars}")]
    TooLong {
        /// How many there are.
        chars: usize,
    },
    /// A character that may not stand in a name.
    #[error("link name {name:?}: {character:?} is not one of A-Z a-z 0-9 . - _")]
    Character {
        /// The whole text.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
}

impl LinkName {
    /// Checks a text and makes it a name.
    pub fn new(name: impl Into<String>) -> Result<LinkName, LinkNameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(LinkNameError::Empty);
        }
        if let Some(character) = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
        {
            return Err(LinkNameError::Character { name, character });
        }
        if name.len() > LINK_NAME_CHARS_MAX {
            return Err(LinkNameError::TooLong { chars: name.len() });
        }
        Ok(LinkName(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for LinkName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for LinkName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkName {
    type Err = LinkNameError;

    fn from_str(name: &str) -> Result<LinkName, LinkNameError> {
        LinkName::new(name)
    }
}

impl TryFrom<String> for LinkName {
    type Error = LinkNameError;

    fn try_from(name: String) -> Result<LinkName, LinkNameError> {
        LinkName::new(name)
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_name() {
        for good in ["a", "from-a", "A.b_C-9", &"x".repeat(128)] {
            assert_eq!(LinkName::new(good).unwrap().as_str(), good);
        }
        assert_eq!(LinkName::new(""), Err(LinkNameError::Empty));
        assert_eq!(
            LinkName::new("x".repeat(129)),
            Err(LinkNameError::TooLong { chars: 129 })
        );
        assert_eq!(
            LinkName::new("a b").unwrap_err().to_string(),
            "link name \"a b\": ' ' is not one of A-Z a-z 0-9 . - _"
        );
        assert!(serde_json::from_str::<LinkName>("\"a/b\"").is_err());
    }
}
