//! The link files that a site is started with: each makes its link at the first start, and is
//! compared with it at every later one.

use super::{Links, parse};
use crate::random::Random;
use gnomon_catalog::{CreateLinkError, Event, LinkId, LinkOutcome, LinkSource, Reply};
use gnomon_links::ConfigError;
use std::{
    io,
    path::{Path, PathBuf},
};
use tracing::{info, warn};

/// A link file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkFileError {
    /// It cannot be read.
    #[error("cannot read the link file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It is not a valid link file.
    #[error("{path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The place in the file and the reason.
        source: Box<ConfigError>,
    },
    /// The link cannot be made.
    #[error("{path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<CreateLinkError>,
    },
    /// The metadata log was lost.
    #[error("{path}: the link cannot be recorded")]
    Unrecorded {
        /// The file.
        path: PathBuf,
    },
}

impl Links {
    /// Makes the link of a link file, unless it exists.
    pub async fn create_from_file(
        &self,
        path: &Path,
        random: &Random,
    ) -> Result<(), LinkFileError> {
        let owned = || path.to_owned();
        let text = std::fs::read_to_string(path).map_err(|source| LinkFileError::Read {
            path: owned(),
            source,
        })?;
        let config = parse(&text).map_err(|source| LinkFileError::Parse {
            path: owned(),
            source: Box::new(source),
        })?;
        let name = config.name.to_string();
        let event = Event::CreateLink {
            id: LinkId(random.id()),
            config: Box::new(config),
            source: LinkSource::File,
        };
        match self.metadata.submit(event).await {
            Ok(Reply::CreateLink(Ok(created))) => match created.outcome {
                LinkOutcome::Made => info!(link = name, "made from {}", path.display()),
                LinkOutcome::Stands { differences } => {
                    for difference in &differences {
                        warn!(
                            link = name,
                            "{} differs from the link as it is recorded: {difference}",
                            path.display()
                        );
                    }
                    self.file_differs.lock().insert(name, differences);
                }
            },
            Ok(Reply::CreateLink(Err(error @ CreateLinkError::Deleted { .. }))) => {
                warn!("{}: {error}", path.display())
            }
            Ok(Reply::CreateLink(Err(source))) => {
                return Err(LinkFileError::Create {
                    path: owned(),
                    source: Box::new(source),
                });
            }
            Ok(_) | Err(_) => return Err(LinkFileError::Unrecorded { path: owned() }),
        }
        Ok(())
    }
}
