//! The host of partitions: the data directory, the site's metadata, and every partition that lies
//! there, opened when it is first used, with the role that the metadata give it.
//!
//! - [`Metadata`] runs the metadata machine and owns the published image.
//! - [`Partitions`] is the table of partitions. It follows the image.
//! - [`Reopener`] opens partitions again that a disk error closed.
//! - [`housekeeping`] is retention, checkpoints and the recovery after a reboot.
//!
//! Not here: requests, connections, groups, links; and the meaning of a role (`gnomon_partition`).
#![forbid(unsafe_code)]

mod data_dir;
pub mod housekeeping;
mod image;
mod layout;
mod lost_files;
mod metadata;
mod partitions;
mod per_partition;
mod removal;
mod reopen;
mod roles;
mod unavailable;

pub use data_dir::{DataDir, DataDirError, boot};
pub use image::PublishedImage;
pub use layout::{
    METADATA_PARTITION, METADATA_TOPIC, PARTITIONS_FOLDER, partition_folder, partition_of,
};
pub use metadata::{Metadata, MetadataError, MetadataParts};
pub use partitions::Partitions;
pub use reopen::Reopener;
pub use unavailable::{NotReopened, Unavailable};
