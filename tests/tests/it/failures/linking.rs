//! People who are linked with accounts, and addresses that change hands.

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{AfterGrace, ByHand, Chosen, DepartureReport, LinkOutcome, NotConsented};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryAccounts, Moment};
use usersync::model::TenantId;
use usersync_tests::tenant;

use crate::failures::mailboxes::{Office, administrator, codes, holder, object, principal, reason};
use crate::failures::naive::context_of;
use crate::failures::system;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn follow(office: &Office) -> DepartureReport {
    block_on(office.links().follow_departures(&Office::context(), None)).expect("the store works")
}

/// The mail system, or the CRM, cannot be read. Whoever takes that for an empty list suspends everybody, and nobody gets in.
#[test]
fn f05_an_outage_suspends_nobody() {
    let fails = |kind| Fault::Failed {
        kind,
        retry: Retry::Later,
    };
    let faults = [
        fails(ErrorKind::Unavailable),
        fails(ErrorKind::Unauthenticated),
        Fault::Timeout(Moment::Before),
        Fault::Truncated { shown: 0 },
    ];
    let office = Office::with_anna();
    for fault in faults {
        for call in [1, 2] {
            let nth = office.faults.calls() + call;
            let rule = FaultRule::new(fault.clone()).on(CallKind::Accounts).at_call(nth);
            office.faults.inject(rule);
            let report = follow(&office);
            office.faults.heal();
            assert!(
                report.outcomes.is_empty() && report.held.is_none(),
                "{fault:?}: {report:?}"
            );
            assert_eq!(office.shown(), "anna-box active", "{fault:?}");
        }
    }
    // An empty list that claims to be complete waits for a person.
    office.mail.remove(&object("box"));
    assert_eq!(
        follow(&office).held.map(|(who, _)| who),
        Some(vec![principal("anna")])
    );
    assert_eq!(office.shown(), "anna-box active");
}

/// Anna leaves, and another Anna gets her address: she does not get her mailbox with it.
#[test]
fn f13_whoever_gets_a_used_address_does_not_get_the_mailbox() {
    let mut office = Office::with_anna();
    office.mail.put(holder("other", "bob@acme.example"));
    office.people.remove(&object("anna"));
    office.people.put(holder("anna2", "anna@acme.example"));
    assert_eq!(office.naively(str::eq), "anna2-box");

    follow(&office);
    assert_eq!(office.shown(), "anna-box suspended");
    let report = office.stage();
    assert_eq!(codes(&report), "anna linked, anna2 unfit");
    assert!(
        reason(&report, "anna2").contains("disputed"),
        "{}",
        reason(&report, "anna2")
    );
    assert_eq!(codes(&office.save()), "");

    // However long it takes: by default a person ends the old link. A host may want the grace period to end it.
    office.clock.advance(office.settings.grace + DAY);
    follow(&office);
    assert_eq!(codes(&office.stage()), "anna linked, anna2 unfit");
    office.settings.after_grace = AfterGrace::Remove;
    follow(&office);
    assert_eq!(office.shown(), "");
    assert_eq!(codes(&office.stage()), "anna2 staged");
}

/// Mallory writes Anna's address into his own profile (nOAuth), or opens a mailbox under it before she does (pre-hijacking).
#[test]
fn f14_writing_somebodys_address_into_a_profile_takes_nothing_over() {
    // The CRM lets people edit their addresses.
    let mut office = Office::new();
    office.people = MemoryAccounts::new(system("crm"));
    office.people.put(holder("mallory", "anna@acme.example"));
    office.mail.put(holder("box", "anna@acme.example"));
    assert_eq!(office.naively(str::eq), "mallory-box");
    assert_eq!(codes(&office.stage()), "mallory unfit");

    // The mail system does not ask whose address it is.
    let mut office = Office::new();
    office.mail = MemoryAccounts::new(system("mail"));
    office.people.put(holder("anna", "anna@acme.example"));
    office.mail.put(holder("a-trap", "anna@acme.example"));
    assert_eq!(office.naively(str::eq), "anna-a-trap");
    assert_eq!(codes(&office.stage()), "anna unfit");

    // Both vouch, and still there are two mailboxes with her address.
    let office = Office::new();
    office.people.put(holder("anna", "anna@acme.example"));
    office.mail.put(holder("a-trap", "anna@acme.example"));
    office.mail.put(holder("box", "anna@acme.example"));
    assert_eq!(office.naively(str::eq), "anna-a-trap");
    let report = office.stage();
    assert!(
        reason(&report, "anna").contains("ambiguous"),
        "{}",
        reason(&report, "anna")
    );

    // Hers is linked already.
    let office = Office::with_anna();
    office.people.put(holder("mallory", "ANNA@acme.example"));
    assert_eq!(office.naively(str::eq_ignore_ascii_case), "anna-box, mallory-box");
    let report = office.stage();
    assert_eq!(codes(&report), "anna linked, mallory unfit");
    assert!(reason(&report, "mallory").contains("disputed"));
    assert_eq!(office.shown(), "anna-box active");
}

/// Whoever may edit Mallory in the CRM gives him the administrator's address (a soft match), or makes his link point there (a hard
/// match).
#[test]
fn f15_an_administrators_account_is_not_matched_to_anybody() {
    let office = Office::with_anna();
    office.mail.put(administrator("root", "root@acme.example"));
    office.people.put(holder("mallory", "root@acme.example"));
    assert_eq!(office.naively(str::eq), "anna-box, mallory-root");
    let report = office.stage();
    assert_eq!(codes(&report), "anna linked, mallory unfit");
    assert!(reason(&report, "mallory").contains("administrator"));

    // Nor by hand, unless a person says that it is an administrator's.
    let pair = ByHand::new(object("mallory"), object("root"));
    let by_hand = |pair| block_on(office.links().stage_by_hand(&Office::context(), &pair)).expect("it works");
    assert_eq!(by_hand(pair.clone()), LinkOutcome::ConfirmationNeeded);
    assert_eq!(by_hand(pair.even_if_privileged()), LinkOutcome::Staged);

    // A link that is there stays where it is, whatever address its principal takes on.
    office.people.put(holder("anna", "root@acme.example"));
    assert_eq!(office.naively(str::eq), "anna-root, mallory-root");
    office.stage();
    follow(&office);
    assert_eq!(office.shown(), "anna-box active, mallory-root proposed");
}

/// An account that becomes an administrator's between the proposal and the saving.
#[test]
fn f15_who_becomes_an_administrator_meanwhile_is_not_linked() {
    let office = Office::new();
    office.people.put(holder("mallory", "bob@acme.example"));
    office.mail.put(holder("box", "bob@acme.example"));
    assert_eq!(codes(&office.stage()), "mallory staged");
    office.mail.put(administrator("box", "bob@acme.example"));
    assert_eq!(codes(&office.save()), "mallory unfit");
    assert_eq!(office.shown(), "mallory-box proposed");
}

/// A proof that was given for one account, used for another: the consent of a mailbox's owner is good for that link, once, until it
/// expires, and nowhere else.
#[test]
fn f16_a_proof_is_good_for_the_link_that_it_was_given_for() {
    let mut office = Office::new();
    office.settings.needs_consent = true;
    office.people.put(holder("anna", "anna@acme.example"));
    office.mail.put(holder("box", "anna@acme.example"));
    office.mail.put(holder("victim", "carol@acme.example"));
    let (context, links) = (Office::context(), office.links());
    let by_hand = |account| {
        let pair = ByHand::new(object("anna"), object(account));
        block_on(links.stage_by_hand(&context, &pair)).expect("it works");
        assert_eq!(codes(&office.save()), "anna saved");
        block_on(links.request_consent(&context, &Chosen::All)).expect("it works");
        office.mailed()
    };
    let consent = |token| {
        block_on(links.consent(&context, token))
            .expect("the store works")
            .map(|_| ())
    };
    let of_box = by_hand("box");

    // Keyed by user and system alone, the proof for `box` would do for `victim`.
    block_on(links.remove(&context, &Chosen::All)).expect("it works");
    let of_victim = by_hand("victim");
    assert_eq!(office.shown(), "anna-victim saved");
    assert_eq!(consent(&of_box), Err(NotConsented::Unknown));
    assert_eq!(office.shown(), "anna-victim saved", "its owner has not consented");

    let elsewhere = context_of(&TenantId::new("umbrella").expect("an id"));
    assert_ne!(elsewhere.tenant, tenant());
    let there = block_on(links.consent(&elsewhere, &of_victim)).expect("the store works");
    assert_eq!(there.map(|_| ()), Err(NotConsented::Unknown));
    assert_eq!(consent(&of_victim), Ok(()));
    assert_eq!(consent(&of_victim), Err(NotConsented::Unknown), "it was used");
    assert_eq!(office.shown(), "anna-victim active");
}
