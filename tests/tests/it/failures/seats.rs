//! F29: more people than seats.

use std::sync::Arc;

use futures::FutureExt;
use futures::executor::block_on;
use usersync::engine::{LinkOutcome, SeatRegister, Taken, check_links};
use usersync::license::{ResourcePlacement, SeatCounts, SeatHolder};
use usersync::memory::{CallKind, FaultRule};
use usersync::model::PrincipalRef;
use usersync_tests::tenant;

use crate::failures::office::{Office, codes, context, object, person};

/// bitwarden/directory-connector: "synced 33 groups", and silently no user, since there were more of them than seats.
/// RocketChat: the licence became invalid, and nobody was told.
#[test]
fn f29_whoever_gets_no_seat_is_told_by_name_and_gets_the_next_one() {
    // By hand: all or nothing, and a word about something else.
    let (users, seats) = (5, 3);
    let synced = if users > seats { 0 } else { users };
    assert_eq!((synced, "synced 33 groups"), (0, "synced 33 groups"));

    let office = Office::new(seats, 5);
    office.stage();
    let report = office.save();
    assert_eq!(
        codes(&report),
        "p0 saved, p1 saved, p2 saved, p3 waiting, p4 waiting"
    );
    assert_eq!(
        report.missing,
        SeatCounts {
            users: 2,
            resources: 0
        }
    );
    let waiting = block_on(office.links().waiting(&context())).expect("the list can be read");
    let places: Vec<_> = waiting
        .waiting
        .iter()
        .map(|one| (one.holder.principal.clone(), one.place))
        .collect();
    assert_eq!(places, [(person(3), 1), (person(4), 2)]);

    // Two more seats are bought; then everybody works.
    office.entitle(5);
    assert_eq!(codes(&office.save()), "p3 saved, p4 saved");
    assert_eq!(office.states(), "5 active");
}

/// RocketChat: one too many or one too few.
#[test]
fn f29_exactly_as_many_as_there_are_seats_fit() {
    for seats in [0, 1, 2, 7] {
        let office = Office::new(seats, 8);
        office.stage();
        let report = office.save();
        let seats = usize::try_from(seats).expect("few");
        assert_eq!(
            (report.count("saved"), report.count("waiting")),
            (seats, 8 - seats)
        );
    }
}

/// HeyPuter, vtmocanu/uzi: everybody counts, there is room, and everybody comes in.
#[test]
fn f29_two_who_look_at_the_last_seat_at_once_do_not_both_get_it() {
    // By hand: count, then insert.
    let mut seated = vec!["first"];
    let has_room = [seated.len() < 2, seated.len() < 2];
    seated.extend(
        ["second", "third"]
            .into_iter()
            .zip(has_room)
            .filter_map(|(who, room)| room.then_some(who)),
    );
    assert_eq!(seated.len(), 3, "of two seats");

    let office = Office::new(2, 0);
    let register = |faults| {
        let store = office.store.clone().with_faults(faults);
        SeatRegister::new(
            Arc::new(store),
            Arc::new(office.entitlement.clone()),
            ResourcePlacement::default(),
        )
    };
    let holder = |n| SeatHolder::user(person(n));
    let nothing_wrong = usersync::memory::Faults::default();
    let take = |n| block_on(register(&nothing_wrong).take(&tenant(), &holder(n))).expect("the store works");
    assert_eq!(take(0), Ok(Taken::Now));
    // The third takes it between the second's look and its commit.
    let (quick, third) = (register(&nothing_wrong), holder(2));
    let meanwhile = move || {
        let taken = quick.take(&tenant(), &third).now_or_never();
        assert!(matches!(taken, Some(Ok(Ok(Taken::Now)))), "{taken:?}");
    };
    office
        .faults
        .inject(FaultRule::meanwhile(meanwhile).on(CallKind::Commit).once());
    let second = block_on(register(&office.faults).take(&tenant(), &holder(1))).expect("the store works");
    assert!(second.is_err(), "{second:?}");
    let occupancy = block_on(register(&nothing_wrong).occupancy(&tenant())).expect("the seats can be read");
    let seated: Vec<PrincipalRef> = occupancy
        .seats
        .holders()
        .iter()
        .map(|holder| holder.principal.clone())
        .collect();
    assert_eq!(seated, [person(0), person(2)]);
}

/// Stirling-PDF: there was a seat when the invitation was written, and nobody looked again when it was accepted.
#[test]
fn f29_a_seat_counts_when_it_is_taken_and_not_when_it_was_promised() {
    let office = Office::new(3, 3);
    assert_eq!(office.stage().count("staged"), 3);
    office.entitle(1);
    let report = office.save();
    assert_eq!(codes(&report), "p0 saved, p1 waiting, p2 waiting");
    assert!(matches!(
        report.of(&person(1)),
        Some(LinkOutcome::Waiting { place: 1, .. })
    ));
    // Whoever goes makes room for whoever waits longest.
    office.people.remove(&object("p0"));
    let removed = block_on(
        office
            .links()
            .remove(&context(), &usersync::engine::Chosen::of([person(0)])),
    );
    assert_eq!(codes(&removed.expect("it works")), "p0 removed, p1 saved");
    assert_eq!(
        block_on(check_links(&office.store, &tenant())).expect("the store can be read"),
        []
    );
}
