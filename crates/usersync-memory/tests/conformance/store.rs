//! The store.

use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use usersync_connector::*;
use usersync_memory::*;
use usersync_store::StateStore;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::store::StoreHarness;

use crate::Last;

struct Stores {
    clock: ManualClock,
    last: Last<MemoryStore>,
}

impl Stores {
    fn new() -> Self {
        Self {
            clock: ManualClock::default(),
            last: Last::new(),
        }
    }
}

#[async_trait]
impl StoreHarness for Stores {
    async fn fresh(&self) -> Arc<dyn StateStore> {
        let store = MemoryStore::new(Arc::new(self.clock.clone()));
        Arc::new(self.last.set(store))
    }

    async fn advance(&self, duration: Duration) -> Result<(), Cannot> {
        self.clock.advance(duration);
        Ok(())
    }

    /// What outlives a crash of the simulated process is a fork.
    async fn reopen(&self) -> Result<Arc<dyn StateStore>, Cannot> {
        let fork = self.last.get().fork();
        Ok(Arc::new(self.last.set(fork)))
    }
}

usersync_testkit::state_store_conformance!(store, Stores::new());
