//! The site's coordinators: group machines over `__consumer_offsets`, and producer ids.

pub mod groups;
pub mod producer_ids;
