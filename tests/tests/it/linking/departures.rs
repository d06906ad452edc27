//! Principals and accounts that go, and return.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{AfterGrace, Chosen, Departed, DepartureReport, LinkOutcome, LinkSettings};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Digest, PartialKind};
use usersync::reconcile::{Share, Window};
use usersync_tests::{Crash, crash};

use crate::linking::{Office, account, context, object, only, person, principal};

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

/// These accounts go.
fn leave(office: &Office, who: std::ops::Range<usize>) {
    who.for_each(|n| assert!(office.mail.remove(&object(&format!("a{n}")))));
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
    assert_eq!(office.stage().of(&principal(7)).expect("seen").code(), "unfit");
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
    for before in 0..=1 {
        for fault in &faults {
            let rule = FaultRule::new(fault.clone()).on(CallKind::Accounts);
            office.faults.inject(rule.after(before).once());
            let report = follow(&office, None);
            assert_eq!(codes(&report), "", "{fault:?}");
            let verdicts = [&report.principals, &report.accounts];
            let is_cut = verdicts.map(|verdict| !verdict.is_complete());
            assert_eq!(is_cut, [before == 0, before == 1], "{fault:?}");
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

/// The principal was missing for the grace period, and may be back where nobody can read. The account has been gone for no time.
#[test]
fn promise_09_the_time_of_one_side_is_not_that_of_the_other() {
    let mut office = linked(2);
    office.settings.after_grace = AfterGrace::Remove;
    office.people.remove(&object("p0"));
    follow(&office, None);
    office.clock.advance(office.settings.grace);
    office.mail.remove(&object("a0"));
    let cut = Fault::Partial {
        shown: 1,
        kind: PartialKind::Limit,
    };
    let cut = FaultRule::new(cut).on(CallKind::Accounts);
    office.faults.inject(cut.once());
    assert_eq!(codes(&follow(&office, None)), "p0 suspended");
    assert_eq!(
        codes(&follow(&office, None)),
        "p0 removed",
        "now it is seen that the principal is gone"
    );
    office.check();
}

/// Somebody comes and is linked between the two reads: the first one cannot show them.
#[test]
fn promise_09_nobody_departs_by_a_read_that_is_older_than_the_link() {
    for grace in [LinkSettings::default().grace, Duration::ZERO] {
        let mut office = linked(1);
        office.settings.after_grace = AfterGrace::Remove;
        office.settings.grace = grace;
        let (people, mail, links) = (office.people.clone(), office.mail.clone(), office.undisturbed());
        let newcomer = move || {
            people.put(person(5));
            mail.put(account(5));
            let _ = crash(links.stage(&context(), &Chosen::All));
            let _ = crash(links.save_added(&context(), &only([5])));
        };
        let between = FaultRule::meanwhile(newcomer).on(CallKind::Accounts);
        office.faults.inject(between.after(1).once());
        assert_eq!(codes(&follow(&office, None)), "");
        assert_eq!(office.shown(), "p0-a0 active, p5-a5 active");
        // The other way round: somebody is gone by what others read meanwhile, and back by what was read before.
        let (people, links) = (office.people.clone(), office.undisturbed());
        let leaver = move || {
            people.remove(&object("p0"));
            let _ = crash(links.follow_departures(&context(), None));
        };
        let between = FaultRule::meanwhile(leaver).on(CallKind::Accounts);
        office.faults.inject(between.after(1).once());
        assert_eq!(codes(&follow(&office, None)), "");
        assert!(!office.shown().contains("p0-a0 active"), "{}", office.shown());
        office.check();
    }
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
    leave(&office, 0..11);
    let (_, digest) = follow(&office, None).held.expect("eleven are too many");
    office.clock.advance(Duration::from_secs(60));
    assert_eq!(follow(&office, Some(&digest)).outcomes.len(), 11);
    (0..11).for_each(|n| office.mail.put(account(n)));
    assert_eq!(follow(&office, None).outcomes.len(), 11);
    leave(&office, 0..11);
    let again = follow(&office, Some(&digest));
    assert_eq!((again.held.is_some(), again.outcomes.len()), (true, 0));
}

/// A mail system that shows a few people fewer at each call: no more go within a day than may go at once.
#[test]
fn promise_10_departures_in_small_steps_are_held() {
    let office = linked(30);
    leave(&office, 0..6);
    assert_eq!(follow(&office, None).outcomes.len(), 6);
    leave(&office, 6..10);
    // An answer that is lost counts nobody twice.
    let lost = FaultRule::new(Fault::Timeout(Moment::After)).on(CallKind::Commit);
    office.faults.inject(lost.once());
    assert!(block_on(office.links().follow_departures(&context(), None)).is_err());
    assert_eq!(codes(&follow(&office, None)), "");
    leave(&office, 10..12);
    let report = follow(&office, None);
    let (who, digest) = report.held.expect("twelve within a day");
    assert_eq!((who.len(), report.outcomes.len()), (2, 0));
    // The returns of others make no room, nor do they wait.
    (0..6).for_each(|n| office.mail.put(account(n)));
    let report = follow(&office, None);
    assert_eq!((report.held.is_some(), report.outcomes.len()), (true, 6));
    let approved = office.fork();
    assert_eq!(follow(&approved, Some(&digest)).outcomes.len(), 2);
    office.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(codes(&follow(&office, None)), "p10 suspended, p11 suspended");
    office.check();
}

/// What a person approved takes nobody's place in the window, and a link that ends after its grace takes one.
#[test]
fn promise_10_what_was_approved_does_not_count_in_the_window() {
    let mut office = linked(30);
    office.settings.after_grace = AfterGrace::Remove;
    leave(&office, 0..11);
    let (_, digest) = follow(&office, None).held.expect("eleven are too many");
    assert_eq!(follow(&office, Some(&digest)).outcomes.len(), 11);
    office
        .clock
        .advance(office.settings.grace - Duration::from_secs(3600));
    leave(&office, 11..16);
    assert_eq!(follow(&office, None).outcomes.len(), 5);
    office.clock.advance(Duration::from_secs(3600));
    // Eleven are due. Of these, six come back.
    (5..11).for_each(|n| office.mail.put(account(n)));
    let report = follow(&office, None);
    assert_eq!((report.held, report.outcomes.len()), (None, 11));
    assert_eq!(
        report
            .outcomes
            .iter()
            .filter(|(_, what)| *what == Departed::Removed)
            .count(),
        5
    );
    leave(&office, 16..17);
    assert!(follow(&office, None).held.is_some(), "ten went within a day");
    office.check();
}

#[test]
fn the_window_of_departures_can_be_set() {
    let mut office = linked(30);
    let share = Share { percent: 0, floor: 3 };
    office.settings.departure_window = Some(Window { hours: 2, share });
    let hour = Duration::from_secs(3600);
    leave(&office, 0..2);
    assert_eq!(follow(&office, None).outcomes.len(), 2);
    office.clock.advance(hour);
    leave(&office, 2..4);
    assert!(follow(&office, None).held.is_some());
    office.clock.advance(hour);
    assert_eq!(follow(&office, None).outcomes.len(), 2);
    office.settings.departure_window = None;
    leave(&office, 4..14);
    assert_eq!(follow(&office, None).outcomes.len(), 10);
}

/// Two workers see different people gone, and neither what the other lets go; also where the hour changes between the two.
#[test]
fn promise_10_two_calls_at_once_take_the_window_once() {
    for passed in [Duration::ZERO, Duration::from_secs(3600)] {
        let office = linked(30);
        leave(&office, 0..6);
        let (mail, clock, links) = (office.mail.clone(), office.clock.clone(), office.undisturbed());
        let another = move || {
            (0..6).for_each(|n| mail.put(account(n)));
            (6..12).for_each(|n| assert!(mail.remove(&object(&format!("a{n}")))));
            clock.advance(passed);
            let ended = crash(links.follow_departures(&context(), None));
            assert!(matches!(ended, Crash::Ended(Ok(report)) if report.outcomes.len() == 6));
        };
        let meanwhile = FaultRule::meanwhile(another).on(CallKind::Commit);
        office.faults.inject(meanwhile.once());
        let report = follow(&office, None);
        assert_eq!((report.held.is_some(), report.outcomes.len()), (true, 0));
        assert_eq!(office.shown().matches("suspended").count(), 6);
        office.check();
    }
}

/// A proposal of somebody who is gone keeps its account from nobody, and who waited in front waits no more.
#[test]
fn proposals_of_who_is_gone_end() {
    let office = Office::new(1).with_pairs(5);
    office.stage();
    office.save(&only(0..4));
    office.people.remove(&object("p1"));
    office.mail.remove(&object("a2"));
    office.people.remove(&object("p4"));
    office
        .people
        .put(crate::linking::plain("p7", "person4@acme.example"));
    assert_eq!(
        office.stage().of(&principal(7)).map(LinkOutcome::code),
        Some("account_taken")
    );
    // What a read in part does not show may be there.
    let cut = Fault::Partial {
        shown: 0,
        kind: PartialKind::Limit,
    };
    let cut = FaultRule::new(cut).on(CallKind::Accounts);
    office.faults.inject(cut.clone().once());
    office.faults.inject(cut.after(1).once());
    assert_eq!(codes(&follow(&office, None)), "");
    assert_eq!(
        codes(&follow(&office, None)),
        "p1 unstaged, p2 unstaged, p4 unstaged"
    );
    assert_eq!(office.shown(), "p0-a0 active, p3-a3 proposed waits");
    let queue = block_on(office.links().waiting(&context())).expect("the list");
    assert_eq!(queue.waiting.len(), 1);
    assert_eq!(
        (queue.waiting[0].place, &queue.waiting[0].holder.principal),
        (1, &principal(3))
    );
    assert_eq!(
        office.stage().of(&principal(7)).map(LinkOutcome::code),
        Some("staged")
    );
    office.check();
}

/// To lose one's place is to lose something: a mail system that suddenly shows almost nobody takes no places.
#[test]
fn promise_10_places_in_the_waiting_list_are_held_as_links_are() {
    let office = Office::new(1).with_pairs(20);
    office.stage();
    office.save(&only(0..14));
    leave(&office, 1..12);
    let report = follow(&office, None);
    let (who, digest) = report.held.expect("eleven are too many");
    assert_eq!((who.len(), report.outcomes.len()), (11, 0));
    assert_eq!(follow(&office, Some(&digest)).outcomes.len(), 11);
    // What was only staged can be staged again: it takes no part in the guards.
    leave(&office, 14..20);
    leave(&office, 12..13);
    assert_eq!(follow(&office, None).outcomes.len(), 7);
    // But nothing rests on a read that shows nobody at all.
    let office = Office::new(1).with_pairs(2);
    office.stage();
    leave(&office, 0..2);
    assert!(follow(&office, None).held.is_some());
    assert_eq!(office.shown(), "p0-a0 proposed, p1-a1 proposed");
}

/// Somebody is staged between the two reads: the first one cannot show them.
#[test]
fn promise_09_no_proposal_ends_by_a_read_that_is_older() {
    let office = linked(1);
    let (people, mail, links) = (office.people.clone(), office.mail.clone(), office.undisturbed());
    let newcomer = move || {
        people.put(person(5));
        mail.put(account(5));
        let _ = crash(links.stage(&context(), &Chosen::All));
    };
    let between = FaultRule::meanwhile(newcomer).on(CallKind::Accounts);
    office.faults.inject(between.after(1).once());
    assert_eq!(codes(&follow(&office, None)), "");
    assert_eq!(office.shown(), "p0-a0 active, p5-a5 proposed");
}
