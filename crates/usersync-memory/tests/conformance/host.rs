//! What a host implements.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;
use usersync_connector::*;
use usersync_license::{Entitlement, Quantities};
use usersync_memory::*;
use usersync_model::*;
use usersync_testkit::conformance::actor::ActorHarness;
use usersync_testkit::conformance::catalog::CatalogHarness;
use usersync_testkit::conformance::clock::ClockHarness;
use usersync_testkit::conformance::entitlement::EntitlementHarness;
use usersync_testkit::conformance::notifier::NotifierHarness;
use usersync_testkit::conformance::subscription::SubscriptionHarness;
use usersync_testkit::conformance::token::TokenHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

use crate::{Last, fault, system};

struct Catalogs(Last<MemoryCatalog>);

#[async_trait]
impl CatalogHarness for Catalogs {
    async fn fresh(&self, containers: Vec<Container>) -> Arc<dyn ContainerCatalog> {
        Arc::new(self.0.set(MemoryCatalog::new(containers)))
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.0.get().faults().inject(fault(what));
        Ok(())
    }
}

usersync_testkit::container_catalog_conformance!(catalog, Catalogs(Last::new()));

struct Actors(Last<MemoryActors>);

#[async_trait]
impl ActorHarness for Actors {
    async fn fresh(&self) -> Arc<dyn ActorDirectory> {
        Arc::new(self.0.set(MemoryActors::new()))
    }

    async fn set(&self, principal: &PrincipalRef, state: ActorState) -> Result<(), Cannot> {
        self.0.get().set(&self.tenant(), principal.clone(), state);
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Cannot> {
        self.0.get().faults().inject(fault(LeaveOut::Everything));
        Ok(())
    }
}

usersync_testkit::actor_directory_conformance!(actors, Actors(Last::new()));

struct Entitlements(Last<MemoryEntitlement>);

#[async_trait]
impl EntitlementHarness for Entitlements {
    async fn fresh(&self, entitlement: Entitlement) -> Arc<dyn EntitlementSource> {
        let source = self.0.set(MemoryEntitlement::new());
        source.set(&self.tenant(), Some(entitlement));
        Arc::new(source)
    }

    async fn set(&self, entitlement: Entitlement) -> Result<(), Cannot> {
        self.0.get().set(&self.tenant(), Some(entitlement));
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Cannot> {
        self.0.get().set(&self.tenant(), None);
        Ok(())
    }
}

usersync_testkit::entitlement_source_conformance!(entitlements, Entitlements(Last::new()));

struct Bookings(Last<MemorySubscriptions>);

#[async_trait]
impl SubscriptionHarness for Bookings {
    async fn fresh(&self, organisations: Vec<(ObjectId, Quantities)>) -> Arc<dyn SubscriptionAdmin> {
        let subscriptions = self.0.set(MemorySubscriptions::new(system()));
        for (organisation, booked) in organisations {
            subscriptions.set(organisation, booked);
        }
        Arc::new(subscriptions)
    }

    async fn book(
        &self,
        organisation: &ObjectId,
        resource: &SubscriptionResource,
        quantity: u64,
    ) -> Result<(), Cannot> {
        let (organisation, resource) = (organisation.clone(), resource.clone());
        self.0.get().book_by_hand(organisation, resource, quantity);
        Ok(())
    }

    async fn disconnect(&self) -> Result<(), Cannot> {
        self.0.get().faults().inject(fault(LeaveOut::Everything));
        Ok(())
    }

    async fn reconnect(&self) -> Result<(), Cannot> {
        self.0.get().faults().heal();
        Ok(())
    }
}

usersync_testkit::subscription_conformance!(subscriptions, Bookings(Last::new()));

struct Notifiers(Last<MemoryNotifier>);

#[async_trait]
impl NotifierHarness for Notifiers {
    async fn fresh(&self) -> Arc<dyn Notifier> {
        Arc::new(self.0.set(MemoryNotifier::new()))
    }

    async fn delivered(&self) -> Vec<OperationId> {
        self.0.get().delivered().iter().map(|news| news.key).collect()
    }

    async fn break_delivery(&self) -> Result<(), Cannot> {
        self.0.get().faults().inject(fault(LeaveOut::Everything));
        Ok(())
    }

    async fn mend_delivery(&self) -> Result<(), Cannot> {
        self.0.get().faults().heal();
        Ok(())
    }

    async fn restart(&self) -> Result<Arc<dyn Notifier>, Cannot> {
        let fork = self.0.get().fork();
        Ok(Arc::new(self.0.set(fork)))
    }
}

usersync_testkit::notifier_conformance!(notifier, Notifiers(Last::new()));

struct Clocks {
    auto: bool,
    last: Last<ManualClock>,
}

#[async_trait]
impl ClockHarness for Clocks {
    async fn fresh(&self) -> Arc<dyn Clock> {
        let clock = ManualClock::default();
        clock.set_auto(self.auto);
        Arc::new(self.last.set(clock))
    }

    async fn advance(&self, duration: Duration) {
        self.last.get().advance(duration);
    }
}

usersync_testkit::clock_conformance!(
    clock,
    Clocks {
        auto: false,
        last: Last::new()
    }
);
usersync_testkit::clock_conformance!(
    auto_clock,
    Clocks {
        auto: true,
        last: Last::new()
    }
);

struct Tokens {
    clock: ManualClock,
    last: Last<MemoryTokens>,
}

#[async_trait]
impl TokenHarness for Tokens {
    async fn fresh(&self) -> Arc<dyn TokenStore> {
        Arc::new(self.last.set(MemoryTokens::new(Arc::new(self.clock.clone()))))
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    async fn disconnect(&self) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(LeaveOut::Everything));
        Ok(())
    }
}

usersync_testkit::token_store_conformance!(
    tokens,
    Tokens {
        clock: ManualClock::default(),
        last: Last::new()
    }
);
