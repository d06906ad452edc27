//! Seats in the store: no interleaving and no crash exceeds what is in force.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::executor::block_on;
use futures::future::join_all;
use futures::task::noop_waker;
use proptest::prelude::*;
use usersync::engine::{SeatRegister, Taken};
use usersync::license::{Entitlement, ExtraSeats, Refusal, ResourcePlacement, SeatHolder, SeatKind};
use usersync::memory::{
    CallKind, Fault, FaultRule, Faults, ManualClock, MemoryEntitlement, MemoryStore, Moment,
};
use usersync::model::TenantId;
use usersync::store::StoreErrorKind;
use usersync_tests::edit::cases;
use usersync_tests::{Crash, crash, tenant, user};

#[derive(Clone, Debug)]
struct Office {
    store: MemoryStore,
    entitlement: MemoryEntitlement,
    faults: Faults,
    placement: ResourcePlacement,
}

impl Office {
    fn new(entitlement: Entitlement, placement: ResourcePlacement) -> Self {
        let told = MemoryEntitlement::new();
        told.set(&tenant(), Some(entitlement));
        Self {
            store: MemoryStore::new(Arc::new(ManualClock::default())),
            entitlement: told,
            faults: Faults::default(),
            placement,
        }
    }

    fn fork(&self) -> Self {
        Self {
            store: self.store.fork(),
            entitlement: self.entitlement.fork(),
            faults: Faults::default(),
            placement: self.placement,
        }
    }

    /// A process of its own on the same store.
    fn register(&self) -> SeatRegister {
        let store = self.store.clone().with_faults(&self.faults);
        let entitlement = self.entitlement.clone().with_faults(&self.faults);
        SeatRegister::new(Arc::new(store), Arc::new(entitlement), self.placement)
    }

    /// Users and resources with a seat, as the seats themselves and as the counters say.
    fn counts(&self) -> (u64, u64) {
        let occupancy = block_on(self.register().occupancy(&tenant())).expect("the seats can be read");
        let counts = occupancy.seats.counts();
        let counters: u64 = self.store.snapshot(&tenant()).counters.values().sum();
        assert_eq!(counts.total(), counters, "the counters tell what the seats tell");
        (counts.users, counts.resources)
    }

    fn take(&self, holder: &SeatHolder) -> Result<Taken, Refusal> {
        block_on(self.register().take(&tenant(), holder)).expect("the store works")
    }
}

fn extra(count: u8) -> ExtraSeats {
    ExtraSeats::new(count).expect("at most five")
}

fn person(n: usize) -> SeatHolder {
    SeatHolder::user(user(&format!("u{n}")))
}

fn room(n: usize) -> SeatHolder {
    SeatHolder::resource(user(&format!("r{n}")))
}

/// Fifty users and five resources, and not one more.
#[test]
fn promise_22_fifty_users_and_five_resources_fit() {
    let office = Office::new(
        Entitlement::new(50).with_extra(extra(5)),
        ResourcePlacement::default(),
    );
    for n in 0..50 {
        assert_eq!(office.take(&person(n)), Ok(Taken::Now));
        assert_eq!(office.take(&person(n)), Ok(Taken::Already));
    }
    assert!(office.take(&person(50)).is_err());
    for n in 0..5 {
        assert_eq!(office.take(&room(n)), Ok(Taken::Now));
    }
    assert!(office.take(&room(5)).is_err());
    assert_eq!(office.counts(), (50, 5));
}

#[test]
fn promise_22_resources_are_refused_until_they_are_enabled() {
    let office = Office::new(Entitlement::new(3), ResourcePlacement::default());
    assert_eq!(office.take(&room(0)), Err(Refusal::ResourcesNotEnabled));
    office
        .entitlement
        .set(&tenant(), Some(Entitlement::new(3).with_extra(extra(0))));
    assert_eq!(
        office.take(&room(0)),
        Ok(Taken::Now),
        "on an unused seat of a user"
    );
    let only = Office::new(
        Entitlement::new(3).with_extra(extra(0)),
        ResourcePlacement::ExtraOnly,
    );
    assert!(only.take(&room(0)).is_err());
}

/// Sixty-four takers of the last seat, step by step in any order: each future is polled on its own, so that they meet between any two
/// calls of the store.
#[test]
fn promise_22_of_sixty_four_takers_one_gets_the_last_seat() {
    for seed in 0..32_u64 {
        let office = Office::new(Entitlement::new(8), ResourcePlacement::default());
        for n in 0..7 {
            assert!(office.take(&person(n)).is_ok());
        }
        let registers: Vec<_> = (0..64).map(|_| Yielding::of(&office)).collect();
        let holders: Vec<_> = (100..164).map(person).collect();
        let tenant = tenant();
        let mut open: Vec<_> = registers
            .iter()
            .zip(&holders)
            .map(|(register, holder)| Box::pin(register.take(&tenant, holder)))
            .collect();
        let waker = noop_waker();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let (mut won, mut lost, mut polls) = (0, 0, 0);
        while !open.is_empty() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = (random % open.len() as u64) as usize;
            polls += 1;
            if let Poll::Ready(taken) = open[at].as_mut().poll(&mut Context::from_waker(&waker)) {
                drop(open.swap_remove(at));
                match taken.expect("the store works") {
                    Ok(_) => won += 1,
                    Err(_) => lost += 1,
                }
            }
        }
        assert!(
            polls > 64 * 3,
            "the takers are to meet between their calls; {polls} polls"
        );
        assert_eq!((won, lost), (1, 63));
        assert_eq!(office.counts(), (8, 0));
    }
}

/// A register whose calls to the store each wait once, so that others come in between.
struct Yielding;

impl Yielding {
    fn of(office: &Office) -> SeatRegister {
        let store = yielding::Store(office.store.clone());
        SeatRegister::new(
            Arc::new(store),
            Arc::new(office.entitlement.clone()),
            office.placement,
        )
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// Takers and leavers, users and rooms, answers that are lost, entitlements that change: never more seats than were in force at the
    /// moment of a take, nobody loses a seat, and counters and seats agree.
    #[test]
    fn promise_22_no_history_exceeds_what_is_in_force(
        steps in proptest::collection::vec((0..6_u8, 0..8_usize, any::<u64>()), 1..60),
        placement in prop_oneof![Just(ResourcePlacement::ExtraOnly), Just(ResourcePlacement::default())],
    ) {
        let mut limits = (3_u32, Some(2_u8));
        let office = Office::new(Entitlement::new(3).with_extra(extra(2)), placement);
        let mut seated: BTreeSet<String> = BTreeSet::new();
        for (what, n, seed) in steps {
            office.faults.heal();
            let fault = match seed % 5 {
                0 => Some(Fault::Timeout(Moment::After)),
                1 => Some(Fault::Timeout(Moment::Before)),
                2 => Some(Fault::StoreFailed(StoreErrorKind::Unavailable)),
                _ => None,
            };
            if let Some(fault) = fault {
                office.faults.inject(FaultRule::new(fault).on(CallKind::Commit).once());
            }
            let register = office.register();
            match what {
                0..=3 => {
                    let holder = if what == 3 { room(n) } else { person(n) };
                    let before = office.fork().counts();
                    let result = block_on(register.take(&tenant(), &holder));
                    office.faults.heal();
                    let after = office.counts();
                    let grew = after != before;
                    if grew {
                        let capacity = u64::from(limits.0) + limits.1.map_or(0, u64::from);
                        prop_assert!(after.0 <= u64::from(limits.0) || holder.kind == SeatKind::Resource);
                        prop_assert!(after.0 + after.1 <= capacity);
                        prop_assert!(holder.kind == SeatKind::User || limits.1.is_some());
                        if placement == ResourcePlacement::ExtraOnly && holder.kind == SeatKind::Resource {
                            prop_assert!(after.1 <= limits.1.map_or(0, u64::from));
                        }
                        prop_assert!(seated.insert(holder.principal.to_string()));
                    }
                    match result {
                        Ok(Ok(Taken::Now)) => prop_assert!(grew),
                        Ok(Ok(Taken::Already)) => prop_assert!(!grew && seated.contains(&holder.principal.to_string())),
                        Ok(Err(_)) => prop_assert!(!grew),
                        Err(_) => {}
                    }
                }
                4 => {
                    let holder = if n > 5 { room(n) } else { person(n) };
                    let _ = block_on(register.release(&tenant(), &holder.principal));
                    office.faults.heal();
                    let occupancy = block_on(office.register().occupancy(&tenant())).expect("the seats");
                    if occupancy.seats.kind_of(&holder.principal).is_none() {
                        seated.remove(&holder.principal.to_string());
                    }
                }
                _ => {
                    limits = ((seed % 6) as u32, (n > 1).then_some((n % 6) as u8));
                    let entitlement = Entitlement::new(limits.0);
                    let entitlement = match limits.1 {
                        Some(count) => entitlement.with_extra(extra(count)),
                        None => entitlement,
                    };
                    office.entitlement.set(&tenant(), Some(entitlement));
                }
            }
            office.faults.heal();
            let occupancy = block_on(office.register().occupancy(&tenant())).expect("the seats");
            let names: BTreeSet<_> = occupancy.seats.holders().iter().map(|h| h.principal.to_string()).collect();
            prop_assert_eq!(&names, &seated, "nobody gains or loses a seat unseen");
            let _ = office.counts();
        }
    }
}

/// Killed at any call, taking and giving back leaves seats and counters in agreement, and can be tried again.
#[test]
fn promise_22_a_crash_at_any_call_loses_no_seat() {
    let base = Office::new(Entitlement::new(2), ResourcePlacement::default());
    assert!(base.take(&person(0)).is_ok());
    let calls = {
        let office = base.fork();
        assert!(office.take(&person(1)).is_ok());
        office.faults.calls()
    };
    for call in 1..=calls {
        for moment in [Moment::Before, Moment::After] {
            let office = base.fork();
            office
                .faults
                .inject(FaultRule::new(Fault::Hang(moment)).at_call(call));
            let run = crash(office.register().take(&tenant(), &person(1)));
            assert!(matches!(run, Crash::Stopped), "call {call}");
            office.faults.heal();
            assert!(office.counts().0 <= 2);
            assert!(office.take(&person(1)).is_ok());
            assert_eq!(office.counts(), (2, 0));
            assert!(office.take(&person(2)).is_err());
            // And the same for giving one back.
            office
                .faults
                .inject(FaultRule::new(Fault::Hang(moment)).on(CallKind::Commit).once());
            let _ = crash(office.register().release(&tenant(), &person(1).principal));
            office.faults.heal();
            let _ = block_on(office.register().release(&tenant(), &person(1).principal));
            assert_eq!(office.counts(), (1, 0));
        }
    }
}

/// A smaller entitlement takes nothing away, says by how much it is exceeded, and lets nobody new in.
#[test]
fn promise_22_a_reduced_entitlement_evicts_nobody() {
    let office = Office::new(Entitlement::new(3), ResourcePlacement::default());
    for n in 0..3 {
        assert!(office.take(&person(n)).is_ok());
    }
    office.entitlement.set(&tenant(), Some(Entitlement::new(1)));
    let occupancy = block_on(office.register().occupancy(&tenant())).expect("the seats");
    assert!(occupancy.over_use.is_some());
    assert_eq!(office.counts(), (3, 0));
    assert!(office.take(&person(3)).is_err());
    assert_eq!(office.take(&person(2)), Ok(Taken::Already));
    // Nobody knows the entitlement: nothing is given, nothing is taken.
    office.entitlement.set(&tenant(), None);
    assert!(block_on(office.register().take(&tenant(), &person(3))).is_err());
    assert_eq!(office.store.snapshot(&tenant()).counters.values().sum::<u64>(), 3);
    let elsewhere = TenantId::new("umbrella").expect("an id");
    office.entitlement.set(&elsewhere, Some(Entitlement::new(1)));
    let register = office.register();
    let holders = [person(0), person(1)];
    let taken = block_on(join_all(
        holders.iter().map(|holder| register.take(&elsewhere, holder)),
    ));
    assert!(taken[0].as_ref().is_ok_and(Result::is_ok) && taken[1].as_ref().is_ok_and(Result::is_err));
}

/// Of two who give the same seat back at once, one does.
#[test]
fn promise_22_a_seat_is_given_back_once() {
    let office = Office::new(Entitlement::new(2), ResourcePlacement::default());
    for n in 0..2 {
        assert!(office.take(&person(n)).is_ok());
    }
    let release = |office: &Office| block_on(office.register().release(&tenant(), &person(0).principal));
    let meanwhile = |office: &Office, what: fn(&SeatRegister)| {
        // Without the faults, which this is one of.
        let register = Office {
            faults: Faults::default(),
            ..office.clone()
        }
        .register();
        let rule = FaultRule::meanwhile(move || what(&register)).on(CallKind::Commit);
        office.faults.inject(rule.once());
    };
    let faster = office.fork();
    meanwhile(&faster, |register| {
        let released = crash(register.release(&tenant(), &person(0).principal));
        assert!(matches!(released, Crash::Ended(Ok(true))));
    });
    assert!(!release(&faster).expect("there is none any more"));
    assert_eq!(faster.counts(), (1, 0));

    // Given back and taken anew: the new seat is given back.
    let again = office.fork();
    meanwhile(&again, |register| {
        let _ = crash(register.release(&tenant(), &person(0).principal));
        let _ = crash(register.take(&tenant(), &person(0)));
    });
    assert!(release(&again).expect("it is given back"));
    assert_eq!(again.counts(), (1, 0));

    // What the store does not do is told, and tried again by nobody else.
    let failing = FaultRule::new(Fault::StoreFailed(StoreErrorKind::Unavailable)).on(CallKind::Commit);
    office.faults.inject(failing.once());
    assert!(release(&office).is_err());
    assert_eq!(office.counts(), (2, 0));
}

/// A store whose calls each wait once before they are made.
mod yielding {
    use super::{Context, MemoryStore, Pin, Poll};
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use usersync::model::{ContainerRef, TenantId};
    use usersync::store::{
        Chunks, Key, Lease, LeaseName, LedgerEntry, LedgerKey, Log, LogEntry, Result, StateRead, StateStore,
        Stored, Table, Transaction,
    };

    #[derive(Debug)]
    pub(super) struct Store(pub(super) MemoryStore);

    struct Once(bool);

    impl Future for Once {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    #[async_trait::async_trait]
    impl StateRead for Store {
        async fn now(&self) -> Result<DateTime<Utc>> {
            Once(false).await;
            self.0.now().await
        }

        async fn value(&self, tenant: &TenantId, table: Table, key: &Key) -> Result<Option<Stored>> {
            Once(false).await;
            self.0.value(tenant, table, key).await
        }

        fn values(&self, tenant: &TenantId, table: Table, prefix: &Key) -> Chunks<(Key, Stored)> {
            self.0.values(tenant, table, prefix)
        }

        async fn ledger_row(&self, tenant: &TenantId, key: &LedgerKey) -> Result<Option<LedgerEntry>> {
            Once(false).await;
            self.0.ledger_row(tenant, key).await
        }

        fn ledger(&self, tenant: &TenantId, containers: Option<Vec<ContainerRef>>) -> Chunks<LedgerEntry> {
            self.0.ledger(tenant, containers)
        }

        async fn counter(&self, tenant: &TenantId, counter: &Key) -> Result<u64> {
            Once(false).await;
            self.0.counter(tenant, counter).await
        }

        fn log(&self, tenant: &TenantId, log: Log, after: u64) -> Chunks<LogEntry> {
            self.0.log(tenant, log, after)
        }
    }

    #[async_trait::async_trait]
    impl StateStore for Store {
        async fn commit(&self, transaction: Transaction) -> Result<()> {
            Once(false).await;
            self.0.commit(transaction).await
        }

        async fn acquire(&self, name: &LeaseName, holder: &str, ttl: Duration) -> Result<Lease> {
            self.0.acquire(name, holder, ttl).await
        }

        async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Lease> {
            self.0.renew(lease, ttl).await
        }

        async fn release(&self, lease: &Lease) -> Result<()> {
            self.0.release(lease).await
        }
    }
}
