//! The metadata machine's type, its settings, and its soft state.

use crate::failover::batches::Failovers;
use gnomon_links::failover::EpochPolicy;

#[derive(Debug)]
pub struct Catalog;

/// Settings that the driver gives before the machine leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Partitions of a topic whose creator does not say (`num.partitions`).
    pub default_partitions: i32,
    /// Most partitions of one topic that a client may ask for.
    pub partitions_max: i32,
    /// How a failover chooses the new leader epoch; anything but the default is a planted fault.
    pub epoch_policy: EpochPolicy,
    /// The defaults for topics here: an override that equals it need not be set on a shadow.
    pub site_defaults: crate::SiteDefaults,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            default_partitions: 1,
            partitions_max: 100_000,
            epoch_policy: EpochPolicy::default(),
            site_defaults: crate::SiteDefaults::default(),
        }
    }
}

/// The soft state: settings, and failovers under way.
#[derive(Debug, Default)]
pub struct Soft {
    /// Set by the driver before it leads.
    pub settings: Settings,
    pub(crate) failovers: Failovers,
}

impl Soft {
    /// Nothing is under way.
    pub fn new(settings: Settings) -> Soft {
        Soft {
            settings,
            ..Soft::default()
        }
    }
}
