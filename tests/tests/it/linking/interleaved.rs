//! Calls about links polled against each other in every order of few preemptions.

#![allow(clippy::print_stdout, reason = "how much was explored is to be read")]

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use futures::future::BoxFuture;
use usersync::engine::{Chosen, DepartureReport, LinkReport};
use usersync::license::{Entitlement, SeatHolder};
use usersync::memory::MemoryAccounts;
use usersync::store::StateStore;
use usersync_tests::interleave::{Schedule, explore};
use usersync_tests::tenant;
use usersync_tests::yielding::{Workers, YieldingStore};

use crate::linking::{Office, context, only, plain, principal};

/// What a worker does.
#[derive(Clone, Copy, Debug)]
enum Call {
    Remove(usize),
    Save(usize),
    /// Of the other mail system.
    SaveOther(usize),
    RemoveOther(usize),
    /// By the host itself.
    Take(usize),
    Release(usize),
}

fn play(office: &Office, calls: &[Call], reduced: Option<u32>, schedule: &mut Schedule) -> Office {
    let office = office.fork();
    let mut workers = Workers::default();
    for call in calls {
        let mail: &MemoryAccounts = match call {
            Call::SaveOther(_) | Call::RemoveOther(_) => &office.other_mail,
            _ => &office.mail,
        };
        let store: Arc<dyn StateStore> = Arc::new(YieldingStore(office.store.clone()));
        let (links, register) = (office.links_on(Arc::clone(&store), mail), office.register(store));
        let call = *call;
        workers.add(async move {
            let of = |n| SeatHolder::user(principal(n));
            let ended = match call {
                Call::Save(n) | Call::SaveOther(n) => {
                    links.save_added(&context(), &only([n])).await.map(drop)
                }
                Call::Remove(n) | Call::RemoveOther(n) => {
                    links.remove(&context(), &only([n])).await.map(drop)
                }
                Call::Take(n) => register.take(&tenant(), &of(n)).await.map(drop),
                Call::Release(n) => register.release(&tenant(), &principal(n)).await.map(drop),
            };
            ended.expect("the store works");
        });
    }
    if let Some(users) = reduced {
        let entitlement = office.entitlement.clone();
        workers.add(async move { entitlement.set(&tenant(), Some(Entitlement::new(users))) });
    }
    let _ = schedule.drive(workers);
    office
}

/// People with links in both mail systems, of whom some are saved.
fn office(users: u32) -> Office {
    let office = Office::new(users).with_pairs(3);
    office.other_mail.put(plain("b0", "person0@acme.example"));
    office.stage();
    let other = office.other_links();
    block_on(other.stage(&context(), &Chosen::All)).expect("staging works");
    office
}

/// Two links of one person, each handled by a worker of its own, share the seat: it is there as long as one of them is.
#[test]
fn promise_22_two_links_of_one_person_share_a_seat_in_every_order() {
    let office = office(3);
    office.save(&only([0]));
    let mut seen = BTreeMap::new();
    for calls in [
        [Call::Remove(0), Call::SaveOther(0)],
        [Call::SaveOther(0), Call::Remove(0)],
    ] {
        let explored = explore(3, |schedule| {
            let after = play(&office, &calls, None, schedule);
            assert_eq!(after.seats().0, 1, "{calls:?}: {schedule}");
            *seen.entry(after.shown()).or_insert(0) += 1;
        });
        println!("{calls:?}: {explored}");
    }
    println!("{seen:?}");
    office.other_save();
    let calls = [Call::Remove(0), Call::RemoveOther(0)];
    let explored = explore(3, |schedule| {
        let after = play(&office, &calls, None, schedule);
        assert_eq!(after.seats().0, 0, "{calls:?}: {schedule}");
    });
    println!("{calls:?}: {explored}");
}

/// Savers of the last seats, one who lets go of another, and a host that reduces the entitlement: never are there too many, and nobody
/// goes on waiting for a seat that is let go of meanwhile.
#[test]
fn promise_22_savers_of_the_last_seat_in_every_order() {
    let office = office(2);
    office.save(&only([0]));
    for (calls, reduced) in [
        (vec![Call::Save(1), Call::Save(2)], None),
        (vec![Call::Save(1), Call::Remove(0), Call::Save(2)], None),
        (vec![Call::Save(1), Call::Remove(0), Call::Save(2)], Some(1)),
    ] {
        let mut seen = BTreeMap::new();
        let explored = explore(2, |schedule| {
            let after = play(&office, &calls, reduced, schedule);
            let seats = after.seats().0;
            assert!(seats <= 2, "{calls:?}: {schedule}");
            *seen.entry(seats).or_insert(0) += 1;
            if reduced.is_none() {
                assert_eq!(after.seats().0, 2, "{calls:?}: {schedule}");
            }
        });
        println!(
            "{calls:?}, reduced to {reduced:?}: {explored}; seats taken in the end, and how often: {seen:?}"
        );
    }
}

/// The host and the links of one person share the seat: it is there as long as either needs it.
#[test]
fn promise_22_a_host_and_links_share_a_seat_in_every_order() {
    let base = office(3);
    let linked = base.fork();
    linked.save(&only([0]));
    let both = linked.fork();
    assert!(both.take(0));
    let hosted = base.fork();
    assert!(hosted.take(0));
    for (office, calls, seats) in [
        (&linked, [Call::Remove(0), Call::Take(0)], 1),
        (&linked, [Call::Remove(0), Call::Release(0)], 0),
        (&both, [Call::Remove(0), Call::Release(0)], 0),
        (&both, [Call::SaveOther(0), Call::Release(0)], 1),
        (&hosted, [Call::Save(0), Call::Release(0)], 1),
        (&hosted, [Call::Take(0), Call::Release(0)], 2),
    ] {
        let explored = explore(3, |schedule| {
            let after = play(office, &calls, None, schedule);
            match seats {
                2 => assert!(after.seats().0 <= 1, "{calls:?}: {schedule}"),
                seats => assert_eq!(after.seats().0, seats, "{calls:?}: {schedule}"),
            }
        });
        println!("{calls:?}: {explored}");
    }
}

impl Office {
    fn other_save(&self) {
        let saved = self.other_links();
        let saved = block_on(saved.save_added(&context(), &only([0])));
        let _ = saved.expect("saving works");
    }
}

/// Hosts spawn calls, for which their futures have to be `Send`: what is to be seen here is that this compiles.
#[test]
fn calls_can_be_spawned() {
    let office = Office::new(1).with_pairs(1);
    let (links, of) = (office.links(), only([0]));
    let calls: [BoxFuture<'_, usersync::engine::Result<LinkReport>>; 7] = [
        Box::pin(async { links.stage(&context(), &of).await }),
        Box::pin(async { links.save_added(&context(), &of).await }),
        Box::pin(async { links.suspend(&context(), &of).await }),
        Box::pin(async { links.resume(&context(), &of).await }),
        Box::pin(async { links.unstage(&context(), &of).await }),
        Box::pin(async { links.request_consent(&context(), &of).await }),
        Box::pin(async { links.remove(&context(), &of).await }),
    ];
    let ended = calls.map(|call| block_on(call).is_ok());
    assert_eq!(ended, [true; 7]);
    let departures: BoxFuture<'_, usersync::engine::Result<DepartureReport>> =
        Box::pin(async { links.follow_departures(&context(), None).await });
    assert!(block_on(departures).is_ok());
}
