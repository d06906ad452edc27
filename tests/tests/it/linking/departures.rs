//! Principals and accounts that go, and return.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{AfterGrace, Chosen, Departed, DepartureReport};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Digest, PartialKind};

use crate::linking::{Office, account, context, object, only, person};

fn follow(office: &Office, approved: Option<&Digest>) -> DepartureReport {
    block_on(office.links().follow_departures(&context(), approved)).expect("the store works")
}

fn codes(report: &DepartureReport) -> String {
    let code = |(principal, departed): &(usersync::model::PrincipalRef, Departed)| {
        format!("{} {}", principal.object, departed.code())
    };
    report.outcomes.iter().map(code).collect::<Vec<_>>().join(", ")
}

fn linked(count: usize) -> Office {
    let office = Office::new(99).with_pairs(count);
    office.stage();
    office.save(&Chosen::All);
    office
}

#[test]
fn what_is_gone_suspends_its_link_until_it_returns() {
    let office = linked(3);
    assert_eq!(codes(&follow(&office, None)), "");
    office.people.remove(&object("p0"));
    office.mail.remove(&object("a1"));
    assert_eq!(codes(&follow(&office, None)), "p0 suspended, p1 suspended");
    assert_eq!(office.shown(), "p0-a0 suspended, p1-a1 suspended, p2-a2 active");
    assert_eq!(office.seats(), (3, 0));
    let since = office.list()[0].missing;
    office.clock.advance(Duration::from_secs(60));
    assert_eq!(codes(&follow(&office, None)), "", "it is told once");
    assert_eq!(office.list()[0].missing, since);
    // Somebody else under the address is not who returned.
    office
        .people
        .put(crate::linking::plain("p7", "person0@acme.example"));
    assert_eq!(
        office
            .stage()
            .of(&crate::linking::principal(7))
            .expect("seen")
            .code(),
        "unfit"
    );
    assert_eq!(codes(&follow(&office, None)), "");
    office.people.put(person(0));
    office.mail.put(account(1));
    assert_eq!(codes(&follow(&office, None)), "p0 returned, p1 returned");
    assert_eq!(office.shown(), "p0-a0 active, p1-a1 active, p2-a2 active");
    assert_eq!(office.list()[0].missing, None);
    // A person's own suspension is not lifted by that.
    block_on(office.links().suspend(&context(), &only([2]))).expect("it works");
    office.mail.remove(&object("a2"));
    follow(&office, None);
    office.mail.put(account(2));
    assert_eq!(codes(&follow(&office, None)), "p2 returned");
    assert_eq!(office.shown(), "p0-a0 active, p1-a1 active, p2-a2 suspended");
    office.check();
}

#[test]
fn after_the_grace_period_a_link_is_removed_or_stays_suspended() {
    for (policy, want) in [
        (AfterGrace::Remove, "p1-a1 active"),
        (AfterGrace::StaySuspended, "p0-a0 suspended, p1-a1 active"),
    ] {
        let mut office = linked(2);
        office.settings.after_grace = policy;
        office.mail.remove(&object("a0"));
        follow(&office, None);
        office
            .clock
            .advance(office.settings.grace - Duration::from_secs(1));
        follow(&office, None);
        assert_eq!(office.shown(), "p0-a0 suspended, p1-a1 active");
        office.clock.advance(Duration::from_secs(1));
        follow(&office, None);
        assert_eq!(office.shown(), want);
        office.check();
    }
}

/// Whatever a read leaves out: nobody is suspended for it.
#[test]
fn promise_09_nobody_departs_by_a_partial_read() {
    let office = linked(4);
    let kind = PartialKind::Limit;
    let cut = (0..=4).map(|shown| Fault::Truncated { shown });
    let partial = (0..=4).map(|shown| Fault::Partial { shown, kind });
    let failed = (0..=4).map(|shown| Fault::FailedAfter {
        shown,
        kind: ErrorKind::Unavailable,
        retry: Retry::Never,
    });
    let faults: Vec<_> = cut.chain(partial).chain(failed).collect();
    for call in 1..=2 {
        for fault in &faults {
            office.faults.heal();
            let nth = office.faults.calls() + call;
            office
                .faults
                .inject(FaultRule::new(fault.clone()).on(CallKind::Accounts).at_call(nth));
            assert_eq!(codes(&follow(&office, None)), "", "{fault:?}");
            office.faults.heal();
        }
    }
    assert_eq!(
        office.shown(),
        "p0-a0 active, p1-a1 active, p2-a2 active, p3-a3 active"
    );
}

/// A mail system that suddenly shows almost nobody suspends nobody, unless a person says that this is right.
#[test]
fn promise_10_mass_departures_are_held() {
    let office = linked(30);
    for n in 0..11 {
        office.mail.remove(&object(&format!("a{n}")));
    }
    let report = follow(&office, None);
    let (who, digest) = report.held.expect("eleven are too many");
    assert_eq!((who.len(), report.outcomes.len()), (11, 0));
    assert!(!office.shown().contains("suspended"));
    let wrong = Digest::of("test", b"another");
    assert!(follow(&office, Some(&wrong)).held.is_some());
    // One more is another set.
    office.mail.remove(&object("a11"));
    let report = follow(&office, Some(&digest));
    let (_, digest) = report.held.expect("the approval was for eleven");
    // Returns are not held by that.
    let report = follow(&office, Some(&digest));
    assert_eq!((report.outcomes.len(), report.held), (12, None));
    for n in 0..12 {
        office.mail.put(account(n));
    }
    assert_eq!(follow(&office, None).outcomes.len(), 12);
    // Ten go without asking.
    for n in 0..10 {
        office.mail.remove(&object(&format!("a{n}")));
    }
    assert_eq!(follow(&office, None).outcomes.len(), 10);
    office.check();
}

/// The time that the principal was missing for does not count for its account.
#[test]
fn the_grace_period_begins_anew_for_the_other_side() {
    let mut office = linked(2);
    office.settings.after_grace = AfterGrace::Remove;
    let day = Duration::from_secs(24 * 3600);
    office.people.remove(&object("p0"));
    follow(&office, None);
    office.clock.advance(office.settings.grace - day);
    office.people.put(person(0));
    office.mail.remove(&object("a0"));
    follow(&office, None);
    follow(&office, None);
    office.clock.advance(2 * day);
    follow(&office, None);
    assert_eq!(
        office.shown(),
        "p0-a0 suspended, p1-a1 active",
        "missing for two days"
    );
    office.clock.advance(office.settings.grace);
    follow(&office, None);
    assert_eq!(office.shown(), "p1-a1 active");
    office.check();
}

/// Few links, but all of them: a system that shows nobody at all is asked about.
#[test]
fn promise_10_a_system_that_shows_nobody_suspends_nobody() {
    let office = linked(3);
    for n in 0..3 {
        office.mail.remove(&object(&format!("a{n}")));
    }
    let report = follow(&office, None);
    let (who, digest) = report.held.expect("nobody is left");
    assert_eq!((who.len(), report.outcomes.len()), (3, 0));
    assert_eq!(follow(&office, Some(&digest)).outcomes.len(), 3);
}

/// The same links depart once more: that is not what was approved.
#[test]
fn promise_12_an_approval_of_departures_is_good_once() {
    let office = linked(30);
    let leave = || (0..11).for_each(|n| assert!(office.mail.remove(&object(&format!("a{n}")))));
    leave();
    let (_, digest) = follow(&office, None).held.expect("eleven are too many");
    office.clock.advance(Duration::from_secs(60));
    assert_eq!(follow(&office, Some(&digest)).outcomes.len(), 11);
    (0..11).for_each(|n| office.mail.put(account(n)));
    assert_eq!(follow(&office, None).outcomes.len(), 11);
    leave();
    let again = follow(&office, Some(&digest));
    assert_eq!((again.held.is_some(), again.outcomes.len()), (true, 0));
}
