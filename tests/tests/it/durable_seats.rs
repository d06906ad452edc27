//! Seats in a file that several processes open.

use std::sync::{Arc, Barrier};
use std::thread;

use futures::executor::block_on;
use usersync::engine::{SeatRegister, Taken};
use usersync::license::{
    Entitlement, ExtraSeats, Refusal, ResourcePlacement, SeatHolder, SeatRequest, allocate,
};
use usersync::memory::{CallKind, Fault, FaultRule, Faults, ManualClock, MemoryEntitlement, Moment};
use usersync::store::StateStore;
use usersync_tests::{Crash, DurableStore, WorldStore, crash, tenant, user};

#[derive(Debug)]
struct Office {
    store: DurableStore,
    entitlement: MemoryEntitlement,
}

impl Office {
    fn new(entitlement: Entitlement) -> Self {
        let told = MemoryEntitlement::new();
        told.set(&tenant(), Some(entitlement));
        Self {
            store: DurableStore::in_file(&ManualClock::default()),
            entitlement: told,
        }
    }

    fn over(&self, store: impl StateStore) -> SeatRegister {
        SeatRegister::new(
            Arc::new(store),
            Arc::new(self.entitlement.clone()),
            ResourcePlacement::default(),
        )
    }

    fn register(&self) -> SeatRegister {
        self.over(self.store.clone())
    }

    fn take(&self, holder: &SeatHolder) -> Result<Taken, Refusal> {
        block_on(self.register().take(&tenant(), holder)).expect("the store works")
    }

    fn release(&self, holder: &SeatHolder) -> bool {
        block_on(self.register().release(&tenant(), &holder.principal)).expect("the store works")
    }

    /// Users and resources with a seat.
    fn counts(&self) -> (u64, u64) {
        let occupancy = block_on(self.register().occupancy(&tenant())).expect("the seats can be read");
        let counts = occupancy.seats.counts();
        (counts.users, counts.resources)
    }
}

fn person(n: usize) -> SeatHolder {
    SeatHolder::user(user(&format!("u{n:03}")))
}

fn room(n: usize) -> SeatHolder {
    SeatHolder::resource(user(&format!("r{n}")))
}

/// Sixty-four people are saved at once, by eight processes with eight threads each, for the last seat: one gets it.
#[test]
fn promise_22_of_sixty_four_savers_at_eight_handles_one_gets_the_last_seat() {
    for round in 0..3 {
        let office = Office::new(Entitlement::new(8));
        for n in 0..7 {
            assert_eq!(office.take(&person(n)), Ok(Taken::Now));
        }
        let handles: Vec<_> = (0..8).map(|_| office.over(office.store.open_again())).collect();
        let together = Barrier::new(64);
        let (handles, together) = (&handles, &together);
        let taken: Vec<_> = thread::scope(|scope| {
            let savers: Vec<_> = (0..64)
                .map(|n| {
                    scope.spawn(move || {
                        together.wait();
                        block_on(handles[n % 8].take(&tenant(), &person(100 + n)))
                    })
                })
                .collect();
            savers
                .into_iter()
                .map(|saver| saver.join().expect("nobody panics"))
                .collect()
        });
        let taken: Vec<_> = taken
            .into_iter()
            .map(|taken| taken.expect("the store works"))
            .collect();
        let won = taken.iter().filter(|taken| **taken == Ok(Taken::Now)).count();
        let lost = taken.iter().filter(|taken| taken.is_err()).count();
        assert_eq!((won, lost), (1, 63), "round {round}");
        let winner = taken.iter().position(Result::is_ok).expect("one won");
        assert_eq!(office.take(&person(100 + winner)), Ok(Taken::Already));
        assert_eq!(office.counts(), (8, 0));
        office.store.assert_sound();
    }
}

/// Many come and go at once: there are never more than there is room for, and in the end the counters say what the seats say, so that
/// exactly what is free can be taken.
#[test]
fn promise_22_comers_and_goers_at_once_leave_counters_and_seats_in_agreement() {
    let office = Office::new(Entitlement::new(5).with_extra(ExtraSeats::new(2).expect("at most five")));
    let handles: Vec<_> = (0..4).map(|_| office.over(office.store.open_again())).collect();
    let (handles, office) = (&handles, &office);
    thread::scope(|scope| {
        for n in 0..16 {
            scope.spawn(move || {
                let register = &handles[n % 4];
                let holder = if n % 4 == 3 { room(n) } else { person(n) };
                for turn in 0..6 {
                    let taken = block_on(register.take(&tenant(), &holder)).expect("the store works");
                    let (users, resources) = office.counts();
                    assert!(users <= 5 && users + resources <= 7, "{users} and {resources}");
                    if taken.is_ok() && turn % 3 != 2 {
                        assert!(
                            block_on(register.release(&tenant(), &holder.principal))
                                .expect("the store works")
                        );
                    }
                }
            });
        }
    });
    let (users, resources) = office.counts();
    let mut free = 0;
    while office.take(&person(200 + free)).is_ok() {
        free += 1;
    }
    assert_eq!(office.counts().0, users + free as u64);
    for n in 0..16 {
        let _ = (office.release(&person(n)), office.release(&room(n)));
    }
    (0..free).for_each(|n| assert!(office.release(&person(200 + n))));
    assert_eq!(office.counts(), (0, 0), "before: {users} and {resources}");
    for n in 0..5 {
        assert_eq!(office.take(&person(n)), Ok(Taken::Now));
    }
    assert!(office.take(&person(5)).is_err());
    assert_eq!(
        (office.take(&room(0)), office.take(&room(1))),
        (Ok(Taken::Now), Ok(Taken::Now))
    );
    assert!(office.take(&room(2)).is_err());
}

/// What is given back in the same plan makes room for what is taken: who is planned gets a seat, in the next process too.
#[test]
fn promise_22_releases_come_before_takes() {
    let mut office = Office::new(Entitlement::new(3));
    for n in 0..3 {
        assert_eq!(office.take(&person(n)), Ok(Taken::Now));
    }
    office.store.reopen();
    let occupancy = block_on(office.register().occupancy(&tenant())).expect("the seats can be read");
    let requests: Vec<_> = (10..13).map(|n| SeatRequest::new(person(n), n)).collect();
    let releases = [person(0).principal, person(2).principal];
    let plan = allocate(&occupancy.limits, &occupancy.seats, &releases, &requests);
    assert_eq!((plan.takes.len(), plan.waiting.len()), (2, 1));
    assert!(
        plan.takes.iter().all(|holder| office.take(holder).is_err()),
        "there is no room before"
    );
    for (n, holder) in plan.releases.iter().enumerate() {
        office.store.reopen();
        assert!(office.release(holder));
        assert_eq!(office.take(&plan.takes[n]), Ok(Taken::Now));
    }
    office.store.reopen();
    assert!(office.take(&plan.waiting[0].holder).is_err());
    assert_eq!(office.counts(), (3, 0));
}

/// A smaller entitlement deletes nothing, says by how much it is exceeded in every later process, and lets nobody new in.
#[test]
fn promise_22_a_reduced_entitlement_evicts_nobody_after_a_restart() {
    let mut office = Office::new(Entitlement::new(3));
    for n in 0..3 {
        assert_eq!(office.take(&person(n)), Ok(Taken::Now));
    }
    office.entitlement.set(&tenant(), Some(Entitlement::new(1)));
    office.store.reopen();
    let over = |office: &Office| {
        let occupancy = block_on(office.register().occupancy(&tenant())).expect("the seats can be read");
        occupancy.over_use.is_some()
    };
    assert!(over(&office));
    assert_eq!(office.counts(), (3, 0));
    assert!(office.take(&person(3)).is_err());
    assert_eq!(office.take(&person(2)), Ok(Taken::Already));
    assert!(office.release(&person(0)));
    office.store.reopen();
    assert!(office.take(&person(3)).is_err(), "two are still too many");
    assert!(over(&office));
    assert!(office.release(&person(1)));
    assert!(!over(&office));
    assert!(office.take(&person(3)).is_err(), "one is all there is");
    office.entitlement.set(&tenant(), Some(Entitlement::new(2)));
    office.store.reopen();
    assert_eq!(office.take(&person(3)), Ok(Taken::Now));
    assert_eq!(office.counts(), (2, 0));
}

/// Killed at any call, taking and giving back leave seats and counters in agreement for the next process.
#[test]
fn promise_22_a_crash_at_any_call_over_a_file_loses_no_seat() {
    let clock = ManualClock::default();
    for on_release in [false, true] {
        for call in 1..20 {
            for moment in [Moment::Before, Moment::After] {
                let mut office = Office::new(Entitlement::new(2));
                assert!(office.take(&person(0)).is_ok());
                if on_release {
                    assert!(office.take(&person(1)).is_ok());
                }
                let faults = Faults::new([FaultRule::new(Fault::Hang(moment)).at_call(call)]);
                let register = office.over(office.store.tapped(&faults, &Default::default()));
                let killed = if on_release {
                    matches!(
                        crash(register.release(&tenant(), &person(1).principal)),
                        Crash::Stopped
                    )
                } else {
                    matches!(crash(register.take(&tenant(), &person(1))), Crash::Stopped)
                };
                assert!(killed || call > 2, "call {call}");
                drop(register);
                office.store = office.store.forked(&clock);
                assert!(office.counts().0 <= 2);
                assert!(office.take(&person(1)).is_ok());
                assert_eq!(office.counts(), (2, 0), "{moment:?} call {call}");
                assert!(office.take(&person(2)).is_err(), "{moment:?} call {call}");
                assert!(office.release(&person(0)));
                assert!(office.take(&person(2)).is_ok(), "{moment:?} call {call}");
            }
        }
    }
}

/// A lost answer to the taking is found to be a seat that was taken, by whoever asks again.
#[test]
fn promise_22_a_lost_answer_takes_one_seat() {
    let mut office = Office::new(Entitlement::new(2));
    let lost = FaultRule::new(Fault::Timeout(Moment::After)).on(CallKind::Commit);
    let faults = Faults::new([lost]);
    let register = office.over(office.store.tapped(&faults, &Default::default()));
    assert!(block_on(register.take(&tenant(), &person(0))).is_err());
    drop(register);
    office.store.reopen();
    assert_eq!(office.take(&person(0)), Ok(Taken::Already));
    assert_eq!(office.counts(), (1, 0));
}
