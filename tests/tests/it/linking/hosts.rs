//! Seats that a host takes itself, beside those of links.

use std::sync::Arc;

use futures::executor::block_on;
use usersync::engine::Chosen;
use usersync::license::{Entitlement, ExtraSeats, SeatHolder};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::store::{Key, StateStore, Table, Transaction, Write};
use usersync_tests::{Crash, crash, tenant};

use crate::linking::{Office, codes, context, only, plain, principal, room};

/// One who may be linked, and two seats.
fn office() -> Office {
    let office = Office::new(2).with_pairs(1);
    office.stage();
    office
}

/// What the host took is the host's: a link that ends does not give it back, whichever came first.
#[test]
fn promise_22_what_a_host_took_outlives_the_link() {
    for link_first in [false, true] {
        let office = office();
        if link_first {
            office.save(&Chosen::All);
        }
        assert!(office.take(0));
        if !link_first {
            office.save(&Chosen::All);
        }
        assert_eq!(office.seats(), (1, 0), "it is one seat");
        assert_eq!(codes(&office.remove(&Chosen::All)), "p0 removed");
        assert_eq!(office.seats(), (1, 0), "the host did not give it back");
        assert!(office.release(0));
        assert_eq!(office.seats(), (0, 0));
        assert!(!office.release(0), "there is none any more");
    }
}

/// A link keeps its seat, whatever the host gives back.
#[test]
fn promise_22_a_host_cannot_take_the_seat_from_a_link() {
    for is_hosts in [false, true] {
        let office = office();
        office.save(&Chosen::All);
        assert!(!is_hosts || office.take(0));
        for _ in 0..2 {
            assert!(!office.release(0), "the link keeps it");
            assert_eq!(office.seats(), (1, 0));
        }
        office.remove(&Chosen::All);
        assert_eq!(office.seats(), (0, 0), "nobody needs it any more");
    }
}

/// A seat of `p0`, as version 1 wrote it.
fn put_seat_of_version_1(office: &Office) {
    let bytes = br#"{"format":"usersync.seat","version":1,"value":{"principal":{"system":"crm","object":"p0"},"resource":false}}"#;
    let mut transaction = Transaction::new(tenant());
    transaction.write(Write::Put {
        table: Table::Seat,
        key: Key::of(&["crm", "p0"]),
        bytes: bytes.to_vec(),
    });
    transaction.write(Write::Add {
        counter: Key::of(&["seats", "user"]),
        delta: 1,
    });
    block_on(office.store.commit(transaction)).expect("the store works");
}

/// Nobody is let in on a seat that a proposal's end does not give back.
#[test]
fn a_proposal_that_ends_gives_no_seat_back() {
    let office = Office::new(1).with_pairs(2);
    office.stage();
    put_seat_of_version_1(&office);
    assert_eq!(codes(&office.save(&only([1]))), "p1 waiting");
    assert_eq!(codes(&office.remove(&only([0]))), "p0 unstaged");
    assert_eq!(office.shown(), "p1-a1 proposed waits");
    assert!(office.release(0));
    assert_eq!(codes(&office.save(&Chosen::All)), "p1 saved");
}

/// Seats of version 1 do not say who took them: one without a link is the host's, and stays so once there is a link.
#[test]
fn a_seat_of_version_1_without_a_link_is_the_hosts() {
    for has_link in [false, true] {
        let office = office();
        put_seat_of_version_1(&office);
        if has_link {
            assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved");
            office.remove(&Chosen::All);
            assert_eq!(office.seats(), (1, 0));
        }
        assert!(office.release(0));
        assert_eq!(office.seats(), (0, 0));
    }
}

/// Killed at any call of taking and giving back: what is the host's and what is the link's stays known.
#[test]
fn promise_22_a_crash_leaves_the_seat_to_whom_it_belongs() {
    for call in 1..12 {
        for moment in [Moment::Before, Moment::After] {
            for took in [false, true] {
                let office = office();
                office.save(&Chosen::All);
                assert!(!took || office.take(0));
                let store = Arc::new(office.store.clone().with_faults(&office.faults));
                let hang = FaultRule::new(Fault::Hang(moment)).at_call(office.faults.calls() + call);
                office.faults.inject(hang);
                let register = office.register(store);
                let _ = match took {
                    true => matches!(crash(register.release(&tenant(), &principal(0))), Crash::Stopped),
                    false => {
                        let holder = SeatHolder::user(principal(0));
                        matches!(crash(register.take(&tenant(), &holder)), Crash::Stopped)
                    }
                };
                office.faults.heal();
                assert_eq!(office.seats(), (1, 0), "call {call}");
                match took {
                    true => assert!(!office.release(0)),
                    false => assert!(office.take(0)),
                }
                office.remove(&Chosen::All);
                assert_eq!(office.seats(), (u64::from(!took), 0), "call {call}");
            }
        }
    }
}

/// A seat is given back by the host while somebody begins to wait for one.
#[test]
fn promise_22_nobody_waits_beside_a_seat_that_a_host_gives_back() {
    let office = Office::new(1).with_pairs(1);
    office.stage();
    assert!(office.take(9));
    let register = office.register(Arc::new(office.store.clone()));
    let gives_back = move || {
        let released = crash(register.release(&tenant(), &principal(9)));
        assert!(matches!(released, Crash::Ended(Ok(true))));
    };
    let meanwhile = FaultRule::meanwhile(gives_back).on(CallKind::Commit);
    office.faults.inject(meanwhile.once());
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved");
    assert_eq!(office.seats(), (1, 0));
}

/// Who is next, once the host gave a seat back, and gets it with the next call that saves or removes links.
#[test]
fn who_waits_is_next_when_a_host_gives_a_seat_back() {
    let office = Office::new(1).with_pairs(2);
    office.stage();
    assert!(office.take(9));
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 waiting, p1 waiting");
    assert!(office.release(9));
    let queue = block_on(office.links().waiting(&context())).expect("the list");
    let next: Vec<_> = queue.takes.iter().map(|holder| &holder.principal).collect();
    assert_eq!(next, [&principal(0)]);
    assert_eq!(codes(&office.save(&only([1]))), "p0 saved, p1 waiting");
    // Who gets a seat from the host needs none of those that others wait for.
    office.entitlement.set(&tenant(), Some(Entitlement::new(2)));
    assert!(office.take(1));
    assert_eq!(codes(&office.save(&only([1]))), "p1 saved");
    assert_eq!(office.seats(), (2, 0));
}

/// Somebody waits as a room in one place, and is let in as a person in another: when the link of the person ends, the room's has a
/// seat of its own kind.
#[test]
fn promise_22_a_seat_is_of_the_kind_of_its_link() {
    let office = Office::new(0).with_pairs(1);
    office.other_mail.put(plain("b0", "person0@acme.example"));
    let other = office.other_links();
    let stage = || block_on(other.stage(&context(), &Chosen::All)).expect("it works");
    office.stage();
    stage();
    office.save(&Chosen::All);
    block_on(other.save_added(&context(), &Chosen::All)).expect("it works");
    let person = crate::linking::person(0);
    office.people.put(room(0));
    assert_eq!(codes(&stage()), "p0 staged");
    office.people.put(person);
    let extra = ExtraSeats::new(1).expect("at most five");
    let entitled = Entitlement::new(1).with_extra(extra);
    office.entitlement.set(&tenant(), Some(entitled));
    let report = block_on(other.remove(&context(), &only([5]))).expect("it works");
    assert_eq!(codes(&report), "p0 saved, p5 no_link");
    assert_eq!(office.seats(), (1, 0));
    // Only the other pair could see that this is no room any more.
    office.remove(&only([0]));
    let list = block_on(other.list(&context())).expect("links");
    assert_eq!((list.len(), list[0].link.is_kept()), (1, true));
    assert_eq!(office.seats(), (0, 1));
}
