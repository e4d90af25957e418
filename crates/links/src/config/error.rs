//! Why a link file is refused. Every error that has a place names it by its path, as
//! `topic_metadata_sync_options.interval`.

/// Why a link file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not YAML.
    #[error("the link file is not YAML: {0}")]
    Yaml(String),
    /// A key that nobody knows.
    #[error("{path}: unknown key; known here: {known}")]
    UnknownKey {
        path: String,
        /// The words that are possible there.
        known: String,
    },
    /// A key that must be there.
    #[error("{path}: must be given")]
    Missing { path: String },
    /// A value that means nothing.
    #[error("{path}: {why}")]
    Invalid {
        path: String,
        /// The fault, with the value.
        why: String,
    },
    /// A setting that Gnomon cannot carry out yet. It is refused rather than ignored.
    #[error("{path}: not supported yet: {what}")]
    NotSupported {
        path: String,
        /// The setting that was asked for, and the alternative.
        what: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(path: impl Into<String>, why: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            path: path.into(),
            why: why.into(),
        }
    }

    pub(super) fn not_supported(path: impl Into<String>, what: impl Into<String>) -> ConfigError {
        ConfigError::NotSupported {
            path: path.into(),
            what: what.into(),
        }
    }
}
