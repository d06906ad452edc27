//! The backends of this crate keep every contract, with each capability and without.

#![allow(clippy::unwrap_used, reason = "a failing harness fails its test")]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use usersync_connector::*;
use usersync_license::{Entitlement, Quantities};
use usersync_memory::*;
use usersync_model::*;
use usersync_store::StateStore;
use usersync_testkit::conformance::account::AccountHarness;
use usersync_testkit::conformance::actor::ActorHarness;
use usersync_testkit::conformance::catalog::CatalogHarness;
use usersync_testkit::conformance::clock::ClockHarness;
use usersync_testkit::conformance::directory::DirectoryHarness;
use usersync_testkit::conformance::entitlement::EntitlementHarness;
use usersync_testkit::conformance::item::ItemHarness;
use usersync_testkit::conformance::membership::TargetHarness;
use usersync_testkit::conformance::notifier::NotifierHarness;
use usersync_testkit::conformance::record::RecordHarness;
use usersync_testkit::conformance::store::StoreHarness;
use usersync_testkit::conformance::subscription::SubscriptionHarness;
use usersync_testkit::conformance::token::TokenHarness;
use usersync_testkit::conformance::{Cannot, LeaveOut};

/// The backend given last.
struct Last<T>(Mutex<Option<T>>);

impl<T: Clone> Last<T> {
    fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn set(&self, backend: T) -> T {
        *self.0.lock().unwrap() = Some(backend.clone());
        backend
    }

    fn get(&self) -> T {
        self.0.lock().unwrap().clone().unwrap()
    }
}

fn system() -> SystemId {
    SystemId::new("memory").unwrap()
}

fn fault(what: LeaveOut) -> FaultRule {
    FaultRule::new(match what {
        LeaveOut::Everything => Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry: Retry::Later,
        },
        LeaveOut::MembersOf(object) => Fault::PartialOf {
            object,
            shown: 1,
            kind: PartialKind::Unreadable,
        },
        LeaveOut::Something => Fault::Partial {
            shown: 1,
            kind: PartialKind::Limit,
        },
    })
}

struct Directories {
    changes: bool,
    last: Last<MemoryDirectory>,
}

impl Directories {
    fn new(changes: bool) -> Self {
        let last = Last::new();
        Self { changes, last }
    }
}

#[async_trait]
impl DirectoryHarness for Directories {
    fn system(&self) -> SystemId {
        system()
    }

    async fn fresh(&self, content: Vec<DirectoryChange>) -> Arc<dyn Directory> {
        let mut directory = MemoryDirectory::new(system());
        if self.changes {
            directory = directory.with_changes();
        }
        directory.extend(content);
        Arc::new(self.last.set(directory))
    }

    async fn change(&self, change: DirectoryChange) -> Result<(), Cannot> {
        self.last.get().extend([change]);
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }
}

usersync_testkit::directory_conformance!(directory, Directories::new(false));
usersync_testkit::directory_conformance!(directory_with_changes, Directories::new(true));

struct Accounts {
    changes: bool,
    vouches: bool,
    last: Last<MemoryAccounts>,
}

impl Accounts {
    fn new(changes: bool, vouches: bool) -> Self {
        let last = Last::new();
        Self {
            changes,
            vouches,
            last,
        }
    }
}

#[async_trait]
impl AccountHarness for Accounts {
    fn system(&self) -> SystemId {
        system()
    }

    async fn fresh(&self, accounts: Vec<Account>) -> Arc<dyn AccountDirectory> {
        let mut directory = MemoryAccounts::new(system());
        if self.changes {
            directory = directory.with_changes();
        }
        if self.vouches {
            directory = directory.with_vouched_addresses();
        }
        accounts.into_iter().for_each(|account| directory.put(account));
        Arc::new(self.last.set(directory))
    }

    async fn change(&self, change: AccountEntry) -> Result<(), Cannot> {
        match change {
            AccountEntry::Removed(id) => drop(self.last.get().remove(&id)),
            AccountEntry::Upsert(account) => self.last.get().put(account),
        }
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }
}

usersync_testkit::account_directory_conformance!(accounts, Accounts::new(false, false));
usersync_testkit::account_directory_conformance!(accounts_with_everything, Accounts::new(true, true));

struct Targets {
    capabilities: TargetCapabilities,
    last: Last<MemoryTarget>,
}

impl Targets {
    fn new(capabilities: TargetCapabilities) -> Self {
        let last = Last::new();
        Self { capabilities, last }
    }
}

#[async_trait]
impl TargetHarness for Targets {
    async fn fresh(&self, containers: Vec<(ObjectId, Vec<Member>)>) -> Arc<dyn MembershipTarget> {
        let target = MemoryTarget::new(system(), self.capabilities);
        for (container, members) in containers {
            target.create_container(container.clone());
            for member in members {
                target.set_by_hand(&container, member);
            }
        }
        Arc::new(self.last.set(target))
    }

    async fn change(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<MemberFacets>,
    ) -> Result<(), Cannot> {
        let target = self.last.get();
        match facets {
            Some(facets) => target.set_by_hand(
                container,
                Member {
                    principal: principal.clone(),
                    facets,
                },
            ),
            None => target.remove_by_hand(container, principal),
        };
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what).on(CallKind::Members));
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Add, CallKind::Remove, CallKind::Update] {
            let refusal = Fault::Failed {
                kind: ErrorKind::PermissionDenied,
                retry: Retry::Never,
            };
            self.last.get().faults().inject(FaultRule::new(refusal).on(kind));
        }
        Ok(())
    }
}

fn everything() -> TargetCapabilities {
    TargetCapabilities {
        conditional_write: true,
        idempotency_key: true,
        max_batch: NonZeroUsize::new(100).unwrap(),
        point_read: true,
        updates: true,
    }
}

usersync_testkit::membership_target_conformance!(target, Targets::new(TargetCapabilities::default()));
usersync_testkit::membership_target_conformance!(target_with_everything, Targets::new(everything()));
usersync_testkit::membership_target_conformance!(
    target_with_versions,
    Targets::new(TargetCapabilities {
        updates: false,
        idempotency_key: false,
        ..everything()
    })
);
usersync_testkit::membership_target_conformance!(
    target_with_updates,
    Targets::new(TargetCapabilities {
        conditional_write: false,
        point_read: false,
        ..everything()
    })
);

struct Contacts {
    changes: bool,
    capabilities: TargetCapabilities,
    sole: bool,
    last: Last<MemoryRecords>,
}

impl Contacts {
    fn new(changes: bool, capabilities: TargetCapabilities) -> Self {
        Self {
            changes,
            capabilities,
            sole: false,
            last: Last::new(),
        }
    }

    /// With one collection that has no name.
    fn sole(self) -> Self {
        Self { sole: true, ..self }
    }
}

#[async_trait]
impl RecordHarness for Contacts {
    async fn fresh(&self, collections: Vec<(Option<ObjectId>, Vec<Record>)>) -> Arc<dyn RecordTarget> {
        let mut system = MemoryRecords::new(system(), self.capabilities);
        if self.changes {
            system = system.with_changes();
        }
        for (collection, records) in collections {
            if let Some(collection) = &collection {
                system.create_collection(collection.clone());
            }
            for record in records {
                system.put_by_hand(collection.as_ref(), record);
            }
        }
        Arc::new(self.last.set(system))
    }

    fn collections(&self) -> Vec<Option<ObjectId>> {
        match self.sole {
            true => vec![None],
            false => ["book-1", "book-2"]
                .map(|name| Some(ObjectId::new(name).unwrap()))
                .into(),
        }
    }

    async fn change(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        record: Option<Record>,
    ) -> Result<(), Cannot> {
        match record {
            Some(record) => self.last.get().put_by_hand(collection, record),
            None => self.last.get().remove_by_hand(collection, id),
        };
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }

    async fn refuse_writes(&self) -> Result<(), Cannot> {
        for kind in [CallKind::Create, CallKind::Delete, CallKind::Update] {
            let refusal = Fault::Failed {
                kind: ErrorKind::PermissionDenied,
                retry: Retry::Never,
            };
            self.last.get().faults().inject(FaultRule::new(refusal).on(kind));
        }
        Ok(())
    }
}

usersync_testkit::record_target_conformance!(records, Contacts::new(false, TargetCapabilities::default()));
usersync_testkit::record_target_conformance!(records_with_everything, Contacts::new(true, everything()));
usersync_testkit::record_target_conformance!(sole_records, Contacts::new(true, everything()).sole());

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

struct Books {
    changes: bool,
    capabilities: TargetCapabilities,
    rewriting: Rewriting,
    last: Last<MemoryItems>,
}

impl Books {
    fn new(changes: bool, capabilities: TargetCapabilities, rewriting: Rewriting) -> Self {
        Self {
            changes,
            capabilities,
            rewriting,
            last: Last::new(),
        }
    }

    /// Where the item with this UID is.
    fn place(&self, collection: &ItemCollection, uid: &ObjectId) -> Option<ObjectId> {
        let line = format!("UID:{uid}");
        let texts = self.last.get().texts_of(collection)?;
        let has_line = |text: &[u8]| String::from_utf8_lossy(text).lines().any(|found| found == line);
        texts
            .into_iter()
            .find(|(_, text)| has_line(text))
            .map(|(href, _)| href)
    }
}

#[async_trait]
impl ItemHarness for Books {
    async fn fresh(&self, collections: Vec<(ItemCollection, Vec<Vec<u8>>)>) -> Arc<dyn ItemStore> {
        let mut system = MemoryItems::new(system(), self.capabilities).with_rewriting(self.rewriting.clone());
        if self.changes {
            system = system.with_changes();
        }
        for (collection, texts) in collections {
            system.create_collection(collection.clone());
            for (number, text) in texts.iter().enumerate() {
                let href = ObjectId::new(format!("{number}.vcf")).unwrap();
                system.put_by_hand(&collection, href, text);
            }
        }
        Arc::new(self.last.set(system))
    }

    async fn change(
        &self,
        collection: &ItemCollection,
        uid: &ObjectId,
        text: Option<Vec<u8>>,
    ) -> Result<(), Cannot> {
        let place = self.place(collection, uid);
        let system = self.last.get();
        match (text, place) {
            (Some(text), place) => {
                let place = place.unwrap_or_else(|| ObjectId::new(format!("{uid}.vcf")).unwrap());
                system.put_by_hand(collection, place, &text);
            }
            (None, Some(place)) => {
                system.remove_by_hand(collection, &place);
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn relocate(&self, collection: &ItemCollection, uid: &ObjectId) -> Result<(), Cannot> {
        let from = self.place(collection, uid).ok_or(Cannot)?;
        let to = ObjectId::new("moved.vcf").unwrap();
        self.last.get().move_by_hand(collection, &from, to);
        Ok(())
    }

    async fn expire_cursors(&self) -> Result<(), Cannot> {
        self.last.get().expire_cursors();
        Ok(())
    }

    async fn leave_out(&self, what: LeaveOut) -> Result<(), Cannot> {
        self.last.get().faults().inject(fault(what));
        Ok(())
    }
}

usersync_testkit::item_store_conformance!(
    items,
    Books::new(false, TargetCapabilities::default(), Rewriting::default())
);
usersync_testkit::item_store_conformance!(
    items_with_everything,
    Books::new(true, everything(), Rewriting::default())
);
usersync_testkit::item_store_conformance!(
    items_written_otherwise,
    Books::new(true, everything(), Rewriting::thorough())
);
