//! (shape)
use super::LinkConfig;
impl LinkConfig {
    /// Where `file` says something else than these settings, a line each.
    pub fn differences(&self, file: &LinkConfig) -> Vec<String> {
        let _ = file;
        unimplemented!()
    }
}
