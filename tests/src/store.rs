//! What a world asks of its store.

use std::sync::Arc;

use usersync::memory::{Calls, Faults, ManualClock, MemoryStore, StoreSnapshot};
use usersync::model::TenantId;
use usersync::store::StateStore;

/// A store that a world can be over. Clones are handles to what is stored.
pub trait WorldStore: StateStore + Clone {
    /// A store of its own with the same content that goes by another clock.
    #[must_use]
    fn forked(&self, clock: &ManualClock) -> Self;

    /// Lets go of what is stored and takes it up again, as another process would.
    fn reopen(&mut self);

    /// A handle whose calls are numbered, broken and recorded by these.
    #[must_use]
    fn tapped(&self, faults: &Faults, calls: &Calls) -> Self;

    /// What a tenant has stored, to compare.
    #[must_use]
    fn content(&self, tenant: &TenantId) -> StoreSnapshot;
}

impl WorldStore for MemoryStore {
    fn forked(&self, clock: &ManualClock) -> Self {
        self.fork_with_clock(Arc::new(clock.clone()))
    }

    /// There is nothing to take it up from but itself.
    fn reopen(&mut self) {}

    fn tapped(&self, faults: &Faults, calls: &Calls) -> Self {
        self.clone().with_faults(faults).with_calls(calls)
    }

    fn content(&self, tenant: &TenantId) -> StoreSnapshot {
        self.snapshot(tenant)
    }
}
