//! The link files that a site is started with: each makes its link at the first start, and is
//! compared with it at every later one.

use super::{Links, secrets::resolve};
use crate::{config::limits::ADMIN_BODY_BYTES_MAX, random::Random};
use gnomon_catalog::{CreateLinkError, Event, LinkId, LinkOutcome, LinkSource, Reply};
use gnomon_links::{ConfigError, LinkConfig, parse_link_file};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use tracing::{info, warn};

/// No link file is larger than the body of a request that makes a link.
const LINK_FILE_BYTES_MAX: u64 = ADMIN_BODY_BYTES_MAX as u64;

/// A link file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkFileError {
    /// It cannot be read.
    #[error("cannot read the link file {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// It is not a valid link file.
    #[error("{path}: {source}")]
    Parse {
        path: PathBuf,
        /// The place in the file and the reason.
        source: Box<ConfigError>,
    },
    /// The link cannot be made.
    #[error("{path}: {source}")]
    Create {
        path: PathBuf,
        source: Box<CreateLinkError>,
    },
    /// The metadata log was lost.
    #[error("{path}: the link cannot be recorded")]
    Unrecorded { path: PathBuf },
}

/// Reads a link file, and the secrets that it refers to, with the rights of this process: for the
/// process that the file was given to. Blocking.
pub fn read_link_file(path: &Path) -> Result<LinkConfig, LinkFileError> {
    let unread = |source| LinkFileError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LINK_FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(unread)?;
    if text.len() as u64 == LINK_FILE_BYTES_MAX {
        let why = format!("it has {LINK_FILE_BYTES_MAX} bytes or more");
        return Err(unread(io::Error::new(io::ErrorKind::FileTooLarge, why)));
    }
    parse_link_file(&text, &resolve).map_err(|source| LinkFileError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

impl Links {
    /// Makes the link of a link file, unless it exists.
    pub async fn create_from_file(
        &self,
        path: &Path,
        random: &Random,
    ) -> Result<(), LinkFileError> {
        let owned = || path.to_owned();
        let config = read_link_file(path)?;
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
