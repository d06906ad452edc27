//! Seats that go with links.

#![allow(clippy::panic, reason = "a test that sees what cannot be ends")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use usersync::engine::{Chosen, LinkOutcome, check_links};
use usersync::license::{Entitlement, ExtraSeats, Refusal, ResourcePlacement};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync::store::StateStore;
use usersync_tests::{Crash, Folder, crash, tenant};

use crate::linking::{Office, account, codes, context, only, plain, principal, room};

fn extra(count: u8) -> ExtraSeats {
    ExtraSeats::new(count).expect("at most five")
}

/// Sixty-four workers, each on a thread of its own, save one proposal each when one seat is left.
fn race(office: &Office, store: &Arc<dyn StateStore>) {
    let links = |_| office.links_on(Arc::clone(store), &office.mail);
    let first = links(0);
    block_on(first.stage(&context(), &Chosen::All)).expect("staging works");
    block_on(first.save_added(&context(), &only(0..7))).expect("saving works");
    let barrier = Barrier::new(64);
    let (saved, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 7..71 {
            let (links, barrier) = (links(n), &barrier);
            let (saved, waiting) = (&saved, &waiting);
            scope.spawn(move || {
                barrier.wait();
                let report = block_on(links.save_added(&context(), &only([n]))).expect("saving works");
                match report.of(&principal(n)) {
                    Some(LinkOutcome::Saved(_)) => saved.fetch_add(1, Ordering::SeqCst),
                    Some(LinkOutcome::Waiting { .. }) => waiting.fetch_add(1, Ordering::SeqCst),
                    other => panic!("{n}: {other:?}"),
                };
            });
        }
    });
    let list = block_on(first.list(&context())).expect("links");
    let kept = list.iter().filter(|entry| entry.link.is_kept()).count();
    assert_eq!(kept, 8, "seven and one");
    // Whoever waits may be let in by another call than its own.
    assert!(saved.into_inner() <= 1 && waiting.into_inner() >= 63);
    let problems = block_on(check_links(store.as_ref(), &tenant())).expect("the store");
    assert_eq!(problems, []);
    let queue = block_on(first.waiting(&context())).expect("the list");
    assert_eq!(queue.waiting.len(), 63);
    assert_eq!(queue.missing.users, 63);
    let places: Vec<_> = queue.waiting.iter().map(|waiting| waiting.place).collect();
    assert!(places.into_iter().eq(1..=63));
}

#[test]
fn promise_22_of_sixty_four_savers_one_gets_the_last_seat_in_memory() {
    let office = Office::new(8).with_pairs(71);
    let store: Arc<dyn StateStore> = Arc::new(office.store.clone());
    race(&office, &store);
    assert_eq!(office.seats(), (8, 0));
}

#[test]
fn promise_22_of_sixty_four_savers_one_gets_the_last_seat_in_sqlite() {
    let office = Office::new(8).with_pairs(71);
    let folder = Folder::default();
    let store = SqliteStore::open(folder.database(), SqliteOptions::default()).expect("a store");
    let shared: Arc<dyn StateStore> = Arc::new(store);
    race(&office, &shared);
}

/// Fifty licences, fifty links, one too many; then the option, and five rooms beside them.
#[test]
fn promise_22_fifty_licences_and_five_rooms() {
    let office = Office::new(50).with_pairs(51);
    for n in 60..66 {
        office.people.put(room(n));
        office.mail.put(account(n));
    }
    office.stage();
    let report = office.save(&Chosen::All);
    assert_eq!(
        (
            report.count("saved"),
            report.count("waiting"),
            report.count("refused")
        ),
        (50, 1, 6)
    );
    assert_eq!(
        report.of(&principal(60)),
        Some(&LinkOutcome::Refused(Refusal::ResourcesNotEnabled))
    );
    assert_eq!(office.seats(), (50, 0));
    let enabled = Entitlement::new(50).with_extra(extra(5));
    office.entitlement.set(&tenant(), Some(enabled));
    office.clock.advance(Duration::from_secs(60));
    let report = office.save(&Chosen::All);
    assert_eq!(
        (
            report.count("saved"),
            report.count("waiting"),
            report.count("refused")
        ),
        (5, 2, 0)
    );
    assert_eq!((report.missing.users, report.missing.resources), (1, 1));
    assert_eq!(office.seats(), (50, 5));
    // Who waits longest is let in by who leaves.
    let report = office.remove(&only([7]));
    assert_eq!(codes(&report), "p7 removed, p9 saved");
    assert_eq!(office.seats(), (50, 5));
    let report = office.remove(&only([61]));
    assert_eq!(codes(&report), "p61 removed, p65 saved");
    assert_eq!(office.seats(), (50, 5));
}

#[test]
fn promise_22_a_reduced_entitlement_takes_nothing_away_and_lets_nobody_in() {
    let office = Office::new(3).with_pairs(4);
    office.stage();
    office.save(&only(0..3));
    office.entitlement.set(&tenant(), Some(Entitlement::new(1)));
    let report = office.save(&Chosen::All);
    assert_eq!(codes(&report), "p3 waiting");
    assert!(report.over_use.is_some());
    assert_eq!(codes(&office.remove(&only([0]))), "p0 removed");
    assert_eq!(codes(&office.remove(&only([1]))), "p1 removed");
    assert_eq!(office.seats(), (1, 0), "nobody is let in before there is room");
    assert_eq!(codes(&office.remove(&only([2]))), "p2 removed, p3 saved");
    assert_eq!(office.seats(), (1, 0));
    // Nobody knows the entitlement: nothing is saved, and everything can be removed.
    office.entitlement.set(&tenant(), None);
    assert!(block_on(office.links().save_added(&context(), &Chosen::All)).is_err());
    assert_eq!(codes(&office.remove(&Chosen::All)), "p3 removed");
    assert_eq!(office.seats(), (0, 0));
}

/// Clocks of workers differ: whoever waits comes first, also if a newcomer's clock says the same time, or an earlier one.
#[test]
fn promise_22_a_newcomer_overtakes_nobody_who_waits() {
    let office = Office::new(1).with_pairs(3);
    office.stage();
    office.save(&only([2]));
    assert_eq!(codes(&office.save(&only([1]))), "p1 waiting");
    office.entitlement.set(&tenant(), Some(Entitlement::new(2)));
    assert_eq!(codes(&office.save(&only([0]))), "p0 waiting, p1 saved");
}

#[test]
fn resources_may_be_kept_off_user_seats() {
    let mut office = Office::new(3);
    office.settings.placement = ResourcePlacement::ExtraOnly;
    office
        .entitlement
        .set(&tenant(), Some(Entitlement::new(3).with_extra(extra(1))));
    for n in 0..2 {
        office.people.put(room(n));
        office.mail.put(account(n));
    }
    office.stage();
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved, p1 waiting");
}

/// One seat for all links of a principal, given back with the last.
#[test]
fn promise_22_the_links_of_a_principal_share_a_seat() {
    let office = Office::new(1).with_pairs(1);
    office.other_mail.put(plain("b0", "person0@acme.example"));
    let other = office.other_links();
    office.stage();
    block_on(other.stage(&context(), &Chosen::All)).expect("it works");
    office.save(&Chosen::All);
    let report = block_on(other.save_added(&context(), &Chosen::All)).expect("it works");
    assert_eq!(codes(&report), "p0 saved");
    assert_eq!(office.seats(), (1, 0));
    let removed = office.remove(&Chosen::All);
    assert_eq!(
        removed.of(&principal(0)),
        Some(&LinkOutcome::Removed { released: false })
    );
    assert_eq!(office.seats(), (1, 0));
    let removed = block_on(other.remove(&context(), &Chosen::All)).expect("it works");
    assert_eq!(
        removed.of(&principal(0)),
        Some(&LinkOutcome::Removed { released: true })
    );
    assert_eq!(office.seats(), (0, 0));
}

/// The answer of the commit is lost: it can be asked again, and nothing is counted twice.
#[test]
fn promise_22_a_lost_answer_counts_no_seat_twice() {
    let office = Office::new(2).with_pairs(1);
    office.stage();
    office.faults.inject(
        FaultRule::new(Fault::Timeout(Moment::After))
            .on(CallKind::Commit)
            .once(),
    );
    assert!(block_on(office.links().save_added(&context(), &only([0]))).is_err());
    assert_eq!(codes(&office.save(&only([0]))), "p0 linked");
    assert_eq!(office.seats(), (1, 0));
    assert_eq!(crate::linking::life::told(&office), ["p0 saved active"]);
}

/// Who is about to wait looks again if another of their links takes a seat meanwhile.
#[test]
fn promise_22_whoever_gets_a_seat_by_another_link_does_not_wait_for_one() {
    let office = Office::new(1).with_pairs(2);
    office.other_mail.put(plain("b1", "person1@acme.example"));
    let other = office.other_links();
    office.stage();
    block_on(other.stage(&context(), &Chosen::All)).expect("it works");
    office.save(&only([0]));
    let entitlement = office.entitlement.clone();
    let one_more = move || {
        entitlement.set(&tenant(), Some(Entitlement::new(2)));
        let saved = crash(other.save_added(&context(), &only([1])));
        assert!(matches!(saved, Crash::Ended(Ok(report)) if codes(&report) == "p1 saved"));
    };
    let rule = FaultRule::meanwhile(one_more).on(CallKind::Commit);
    office.faults.inject(rule.once());
    assert_eq!(codes(&office.save(&only([1]))), "p1 saved");
    assert_eq!(office.seats(), (2, 0));
}
