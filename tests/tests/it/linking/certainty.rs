//! What was certain when a pair was staged, and is not when it is saved.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use usersync::connector::{
    Account, AccountCapabilities, AccountDirectory, AccountEntry, CallContext, Cursor, ErrorKind, ReadEvent,
    ReadStream, Retry,
};
use usersync::engine::{ByHand, Chosen, LinkOutcome, ReadOf};
use usersync::license::Entitlement;
use usersync::memory::{CallKind, Fault, FaultRule, MemoryAccounts};
use usersync::model::{Activity, PartialKind, PartialReason, SystemId};
use usersync_tests::tenant;

use crate::linking::{Office, account, codes, context, object, only, person, plain, principal, room, system};

type Change = (&'static str, fn(&Office), &'static str);

fn edited(mut account: Account, edit: impl FnOnce(&mut Account)) -> Account {
    edit(&mut account);
    account
}

fn changes() -> Vec<Change> {
    vec![
        (
            "the principal is gone",
            |o| assert!(o.people.remove(&object("p0"))),
            "not_seen",
        ),
        (
            "the account is gone",
            |o| assert!(o.mail.remove(&object("a0"))),
            "not_seen",
        ),
        (
            "the account is disabled",
            |o| {
                o.mail
                    .put(edited(account(0), |a| a.activity = Activity::Inactive))
            },
            "unfit",
        ),
        (
            "the principal has no mailbox",
            |o| {
                o.people
                    .put(edited(person(0), |a| a.ineligible = Some("no mailbox".into())))
            },
            "unfit",
        ),
    ]
}

/// A proposal rests on what was read when it was staged: what a read at saving contradicts is not saved.
#[test]
fn promise_20_what_is_no_longer_certain_is_not_saved() {
    let of_rules: Vec<Change> = vec![
        (
            "the account is an administrator's",
            |o| o.mail.put(edited(account(0), |a| a.privileged = true)),
            "unfit",
        ),
        (
            "the account's address was given to somebody else",
            |o| o.mail.put(plain("a0", "new@acme.example")),
            "unfit",
        ),
        (
            "another principal has the address",
            |o| o.people.put(plain("p7", "person0@acme.example")),
            "unfit",
        ),
        (
            "another account has the address",
            |o| o.mail.put(plain("a7", "person0@acme.example")),
            "unfit",
        ),
    ];
    for (what, change, want) in changes().into_iter().chain(of_rules) {
        let office = Office::new(9).with_pairs(1);
        office.stage();
        change(&office);
        let report = office.save(&Chosen::All);
        assert_eq!(codes(&report), format!("p0 {want}"), "{what}");
        assert_eq!(office.shown(), "p0-a0 proposed", "{what}");
        assert_eq!(office.seats(), (0, 0), "{what}");
    }
    let admin: Change = (
        "the account is an administrator's",
        |o| o.mail.put(edited(account(0), |a| a.privileged = true)),
        "confirmation_needed",
    );
    for (what, change, want) in changes().into_iter().chain([admin]) {
        let office = Office::new(9).with_pairs(1);
        assert_eq!(office.by_hand(0, 0), LinkOutcome::Staged);
        change(&office);
        assert_eq!(
            codes(&office.save(&Chosen::All)),
            format!("p0 {want}"),
            "{what}, by hand"
        );
        assert_eq!(office.seats(), (0, 0), "{what}, by hand");
    }
}

/// From what cannot be read nothing is concluded: what was certain stays so.
#[test]
fn what_cannot_be_read_does_not_keep_from_saving() {
    let kind = ErrorKind::Unavailable;
    let retry = Retry::Never;
    for call in 1..=2 {
        let office = Office::new(9).with_pairs(2);
        office.stage();
        let nth = office.faults.calls() + call;
        office.faults.inject(
            FaultRule::new(Fault::FailedAfter {
                shown: 0,
                kind,
                retry,
            })
            .on(CallKind::Accounts)
            .at_call(nth),
        );
        let report = office.save(&Chosen::All);
        assert_eq!(codes(&report), "p0 saved, p1 saved");
        assert_eq!(report.failed_reads.len(), 1);
    }
}

/// What one side shows is known, whether the other can be read or not.
#[test]
fn promise_20_what_one_side_shows_counts_where_the_other_cannot_be_read() {
    let (people, mail) = (1, 2);
    let cases: [(u64, Change); 5] = [
        (
            people,
            (
                "the account is an administrator's",
                |o| o.mail.put(edited(account(0), |a| a.privileged = true)),
                "confirmation_needed",
            ),
        ),
        (
            people,
            (
                "the account is disabled",
                |o| {
                    o.mail
                        .put(edited(account(0), |a| a.activity = Activity::Inactive))
                },
                "unfit",
            ),
        ),
        (
            mail,
            (
                "the principal is an administrator",
                |o| o.people.put(edited(person(0), |p| p.privileged = true)),
                "confirmation_needed",
            ),
        ),
        (
            mail,
            (
                "the principal has no mailbox",
                |o| {
                    o.people
                        .put(edited(person(0), |p| p.ineligible = Some("no mailbox".into())))
                },
                "unfit",
            ),
        ),
        (
            mail,
            (
                "the principal is a room now",
                |o| o.people.put(room(0)),
                "proposal_expired",
            ),
        ),
    ];
    for (unread, (what, change, want)) in cases {
        let office = Office::new(9).with_pairs(2);
        office.stage();
        change(&office);
        let nth = office.faults.calls() + unread;
        let failed = Fault::FailedAfter {
            shown: 0,
            kind: ErrorKind::Unavailable,
            retry: Retry::Never,
        };
        office
            .faults
            .inject(FaultRule::new(failed).on(CallKind::Accounts).at_call(nth));
        let report = office.save(&Chosen::All);
        assert_eq!(codes(&report), format!("p0 {want}, p1 saved"), "{what}");
    }
    // The account is shown, with another address, by a read that was cut behind it.
    let office = Office::new(9).with_pairs(2);
    office.stage();
    office.mail.put(plain("a0", "new@acme.example"));
    let nth = office.faults.calls() + mail;
    let (shown, kind) = (1, PartialKind::Limit);
    let cut = FaultRule::new(Fault::Partial { shown, kind }).on(CallKind::Accounts);
    office.faults.inject(cut.at_call(nth));
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 unfit, p1 saved");
}

/// A principal that became a room takes no user's seat, and can be staged as what it is.
#[test]
fn promise_22_a_proposal_is_of_the_kind_that_the_principal_has() {
    let office = Office::new(9).with_pairs(1);
    office.stage();
    office.people.put(room(0));
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 proposal_expired");
    assert_eq!(codes(&office.stage()), "p0 staged");
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 refused");
    assert_eq!(office.seats(), (0, 0), "there are no seats for rooms");
    assert_eq!(office.by_hand(0, 0), LinkOutcome::Staged);
    office.people.put(person(0));
    assert_eq!(office.by_hand(0, 0), LinkOutcome::Staged);
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved");
    assert_eq!(office.seats(), (1, 0));
}

/// What people set on a proposal stays with the pair, however often it is proposed.
#[test]
fn options_and_rank_outlive_a_proposal() {
    let office = Office::new(9).with_pairs(1);
    office.stage();
    let options = usersync::model::LinkOptions {
        contact: false,
        ..Default::default()
    };
    let rank = usersync::model::Rank(7);
    let links = office.links();
    block_on(links.save_options(&context(), &[(principal(0), options)])).expect("it works");
    block_on(links.set_rank(&context(), &only([0]), rank)).expect("it works");
    let set = || (office.list()[0].link.options(), office.list()[0].link.rank());
    office.clock.advance(office.settings.proposal_lifetime);
    assert_eq!(codes(&office.stage()), "p0 staged");
    assert_eq!(set(), (options, rank), "it was too old");
    assert_eq!(office.by_hand(0, 0), LinkOutcome::Staged);
    assert_eq!(set(), (options, rank), "a person says so, too");
    office.mail.put(account(1));
    assert_eq!(office.by_hand(0, 1), LinkOutcome::Staged);
    assert_ne!(set(), (options, rank), "it is another pair");
}

/// Who was not seen may be there: the report says which side was not read, and when to come again.
#[test]
fn a_report_says_on_which_failed_read_it_rests() {
    let after = Duration::from_secs(90);
    let sides = [ReadOf::Source(system("crm")), ReadOf::Target(system("mail"))];
    for (call, side) in (1..).zip(sides) {
        let office = Office::new(9).with_pairs(2);
        let nth = office.faults.calls() + call;
        let fault = Fault::RateLimited { after };
        office
            .faults
            .inject(FaultRule::new(fault).on(CallKind::Accounts).at_call(nth));
        let report = office.stage();
        let [failed] = &report.failed_reads[..] else {
            unreachable!("one read failed: {:?}", report.failed_reads)
        };
        assert_eq!(
            (&failed.what, failed.kind, failed.retry),
            (&side, "rate_limited", Retry::After(after))
        );
        assert_eq!(report.count("staged"), 0);
        assert!(
            serde_json::to_string(&report)
                .expect("JSON")
                .contains("rate_limited")
        );
    }
    // A read that says that it is partial, without an error.
    let office = Office::new(9).with_pairs(2);
    let (shown, kind) = (1, PartialKind::Limit);
    let partial = || FaultRule::new(Fault::Partial { shown, kind }).on(CallKind::Accounts);
    office.faults.inject(partial().once());
    let report = office.stage();
    let kinds: Vec<_> = report.failed_reads.iter().map(|failed| failed.kind).collect();
    assert_eq!(kinds, ["partial"]);
    assert_eq!(office.stage().failed_reads, []);
    office.faults.inject(partial());
    assert_eq!(
        office.remove(&only([0])).failed_reads,
        [],
        "it reads nothing where nobody waits"
    );
}

/// Whoever waits for a seat may wait for long: what is no longer certain then gets none, and takes none from others.
#[test]
fn promise_20_who_waited_is_looked_at_again() {
    for by_removal in [false, true] {
        let office = Office::new(1).with_pairs(3);
        office.stage();
        office.save(&only([0]));
        assert_eq!(codes(&office.save(&Chosen::All)), "p1 waiting, p2 waiting");
        office.clock.advance(office.settings.proposal_lifetime * 9);
        office.mail.put(edited(account(1), |a| a.privileged = true));
        if by_removal {
            office.remove(&only([0]));
            assert_eq!(office.shown(), "p1-a1 proposed waits, p2-a2 active");
        } else {
            office.entitlement.set(&tenant(), Some(Entitlement::new(2)));
            assert_eq!(codes(&office.save(&Chosen::All)), "p1 unfit, p2 saved");
        }
        office.check();
    }
}

/// An administrator's, on either side, is linked and unlinked only if a person says so.
#[test]
fn an_administrators_link_needs_confirmation() {
    let office = Office::new(9).with_pairs(2);
    office.people.put(edited(person(0), |p| p.privileged = true));
    assert_eq!(codes(&office.stage()), "p0 unfit, p1 staged");
    assert_eq!(office.by_hand(0, 0), LinkOutcome::ConfirmationNeeded);
    let confirmed = ByHand::new(object("p0"), object("a0")).even_if_privileged();
    let staged = block_on(office.links().stage_by_hand(&context(), &confirmed)).expect("it works");
    assert_eq!(staged, LinkOutcome::Staged);
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved, p1 saved");

    assert_eq!(
        codes(&office.remove(&Chosen::All)),
        "p0 confirmation_needed, p1 removed"
    );
    assert_eq!(
        (office.shown(), office.seats()),
        ("p0-a0 active".to_owned(), (1, 0))
    );
    office.people.remove(&object("p0"));
    let report = block_on(office.links().follow_departures(&context(), None)).expect("it works");
    let (held, _) = report
        .held
        .expect("an administrator's link is not suspended unasked");
    assert_eq!(held, [principal(0)]);
    assert_eq!(office.shown(), "p0-a0 active");
    let removed = block_on(office.links().remove_even_if_privileged(&context(), &Chosen::All));
    assert_eq!(codes(&removed.expect("it works")), "p0 removed");
    assert_eq!(office.seats(), (0, 0));
}

/// What became doubtful can be confirmed by hand, and whoever waits keeps the place.
#[test]
fn a_person_can_confirm_what_became_doubtful() {
    let office = Office::new(1).with_pairs(3);
    office.stage();
    office.save(&only([0]));
    office.save(&only([1]));
    office.clock.advance(std::time::Duration::from_secs(1));
    office.save(&only([2]));
    office.mail.put(edited(account(1), |a| a.privileged = true));
    assert_eq!(office.by_hand(1, 1), LinkOutcome::ConfirmationNeeded);
    let confirmed = ByHand::new(object("p1"), object("a1")).even_if_privileged();
    let stage = || block_on(office.links().stage_by_hand(&context(), &confirmed)).expect("it works");
    assert_eq!(
        (stage(), stage()),
        (LinkOutcome::Staged, LinkOutcome::AlreadyStaged)
    );
    office.remove(&only([0]));
    assert_eq!(office.shown(), "p1-a1 active, p2-a2 proposed waits");
    office.check();
}

/// A proposal has no effect, and its owner is told of nothing.
#[test]
fn options_of_a_proposal_are_not_told() {
    let office = Office::new(9).with_pairs(1);
    office.stage();
    let options = usersync::model::LinkOptions {
        diary: false,
        ..Default::default()
    };
    let report = block_on(
        office
            .links()
            .save_options(&context(), &[(principal(0), options)]),
    );
    assert_eq!(codes(&report.expect("it works")), "p0 changed");
    assert!(office.outbox().is_empty());
}

/// Accounts of which one is shown in part.
#[derive(Debug)]
struct Short(MemoryAccounts);

impl AccountDirectory for Short {
    fn system(&self) -> &SystemId {
        self.0.system()
    }

    fn capabilities(&self) -> AccountCapabilities {
        self.0.capabilities()
    }

    fn accounts(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<AccountEntry> {
        let named = |event| match event {
            ReadEvent::End(mut end) => {
                let reason = PartialReason::new(PartialKind::Limit, "its addresses");
                end.partial.push((object("a1"), reason));
                ReadEvent::End(end)
            }
            event => event,
        };
        let events = self.0.accounts(since, context);
        events.map(move |event| event.map(named)).boxed()
    }
}

/// Whoever is shown in part may have any address, also one by which another account would be the only candidate.
#[test]
fn promise_20_nothing_is_proposed_where_an_account_is_shown_in_part() {
    let office = Office::new(9).with_pairs(2);
    let links = usersync::engine::Links::new(
        Arc::new(office.store.clone()),
        Arc::new(office.clock.clone()),
        Arc::new(office.people.clone()),
        Arc::new(Short(office.mail.clone())),
        Arc::new(office.entitlement.clone()),
    );
    let loaded = block_on(links.load(&context(), &Chosen::All)).expect("it works");
    assert!(loaded.principals.is_complete() && !loaded.accounts.is_complete());
    let report = block_on(links.stage(&context(), &Chosen::All)).expect("staging works");
    assert_eq!(report.count("staged"), 0);
    assert_eq!(report.failed_reads.len(), 1);
}
