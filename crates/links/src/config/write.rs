//! (shape)
use super::LinkConfig;
impl LinkConfig {
    /// The settings as a link file.
    pub fn to_yaml(&self) -> String {
        unimplemented!()
    }
}
