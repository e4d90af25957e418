//! The part of the broker that owns a machine, as a driver needs it.

use crate::JournalError;
use gnomon_machine::Machine;

/// The owner of a machine: where its decisions go once they are durable.
pub trait Owner<M: Machine>: Send + 'static {
    /// The state as readers hold it: captured when records are applied, published when they are
    /// durable.
    type Snapshot: Send;
    /// The soft state that a new leadership starts with.
    fn new_soft(&self) -> M::Soft;
    /// Completes an event with facts of the moment at which the machine takes it, not of the moment
    /// at which it was sent: it may have waited in the inbox.
    fn complete(&self, event: M::Event) -> M::Event {
        event
    }
    /// Captures the state for readers.
    fn capture(&self, durable: &M::Durable) -> Self::Snapshot;
    /// Shows a captured state to readers: every record in it is durable.
    fn publish(&self, snapshot: Self::Snapshot);
    /// Begins an action. The machine asks at least once, so it must be idempotent.
    fn act(&self, action: M::Action);
    /// The log is lost for good. The machine has resigned, and the driver ends after this call.
    fn lost(&self, error: JournalError);
}
