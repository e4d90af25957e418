//! Whether this broker leads a machine's log, and may therefore decide, or follows another broker
//! that does.

use tokio::sync::watch;

/// Follows a leadership that another task decides.
#[derive(Clone, Debug)]
pub struct Leadership(Option<watch::Receiver<bool>>);

impl Leadership {
    /// This broker leads from its start to its end: there is no other.
    pub fn always() -> Leadership {
        Leadership(None)
    }

    /// Leads while `leads` is true. When its sender is gone the last value stands.
    pub fn decided_by(leads: watch::Receiver<bool>) -> Leadership {
        Leadership(Some(leads))
    }

    /// Returns as soon as this broker leads, or does not, as `leads` says. Cancel safe.
    pub(crate) async fn until(&mut self, leads: bool) {
        match &mut self.0 {
            None if leads => {}
            None => std::future::pending().await,
            Some(decided) => {
                if decided.wait_for(|now| *now == leads).await.is_err() {
                    std::future::pending().await
                }
            }
        }
    }
}
