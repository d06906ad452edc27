//! From loading to removing.

#![allow(clippy::panic, reason = "a test that sees what cannot be ends")]

use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{News, Notification, Recipient};
use usersync::engine::{ByHand, Chosen, LinkOutcome};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{
    Completeness, DirectoryChange, GraphBuilder, GroupKind, LinkOptions, PartialKind, Principal,
    PrincipalKind, PrincipalRef, Rank, RankSet, ResolvePolicy, Selection, TenantId,
};
use usersync::reconcile::Situation;
use usersync::store::StoreErrorKind;
use usersync_tests::tenant;

use crate::linking::{
    Office, account, codes, context, context_of, object, only, person, plain, principal, system,
};

#[test]
fn proposals_have_no_effect_until_they_are_saved() {
    let office = Office::new(2).with_pairs(2);
    let loaded = block_on(office.links().load(&context(), &Chosen::All)).expect("both can be read");
    let all_proposed = loaded
        .matching
        .principals
        .iter()
        .all(|m| m.situation.code() == "proposed");
    assert!(all_proposed && loaded.matching.principals.len() == 2);
    assert_eq!(office.shown(), "", "loading stages nothing");

    assert_eq!(codes(&office.stage()), "p0 staged, p1 staged");
    assert_eq!(codes(&office.stage()), "p0 already_staged, p1 already_staged");
    assert_eq!(office.shown(), "p0-a0 proposed, p1-a1 proposed");
    assert_eq!(office.seats(), (0, 0));
    assert!(told(&office).is_empty());
    assert!(
        block_on(office.links().links_of_rank(&context(), &RankSet::All))
            .expect("links")
            .is_empty()
    );

    assert_eq!(codes(&office.save(&only([0]))), "p0 saved");
    assert_eq!(codes(&office.save(&only([0]))), "p0 linked");
    assert_eq!(office.shown(), "p0-a0 active, p1-a1 proposed");
    assert_eq!(office.seats(), (1, 0));
    assert_eq!(told(&office), ["p0 saved active"]);

    let unstaged = block_on(office.links().unstage(&context(), &Chosen::All)).expect("it works");
    assert_eq!(codes(&unstaged), "p0 linked, p1 unstaged");
    assert_eq!(codes(&office.remove(&only([0, 1]))), "p0 removed, p1 no_link");
    assert_eq!(office.shown(), "");
    assert_eq!(office.seats(), (0, 0));
    assert_eq!(told(&office), ["p0 saved active", "p0 removed removed"]);
    // The same once more is something else to tell.
    office.stage();
    office.save(&only([0]));
    assert_eq!(told(&office).len(), 3);
}

#[test]
fn a_selection_of_principals_is_staged() {
    let office = Office::new(9).with_pairs(3);
    let report = block_on(office.links().stage(&context(), &only([1, 7]))).expect("it works");
    assert_eq!(codes(&report), "p1 staged, p7 not_seen");
    assert_eq!(office.shown(), "p1-a1 proposed");
}

/// Groups stand for who is below them; whoever is not known to be selected is not.
#[test]
fn a_selection_is_resolved_through_the_directory() {
    let crm = system("crm");
    let group = |name: &str| PrincipalRef::parse("crm", name).expect("an id");
    let graph = |verdict: Completeness| {
        let mut graph = GraphBuilder::new();
        for n in 0..5 {
            let user = Principal::new(object(&format!("p{n}")), PrincipalKind::User, "");
            graph.add(&crm, DirectoryChange::Upsert(user));
        }
        for (name, members) in [
            ("sales", vec!["p0", "inner"]),
            ("inner", vec!["p1", "p2"]),
            ("out", vec!["p2"]),
        ] {
            let kind = PrincipalKind::Group(GroupKind::Role);
            graph.add(
                &crm,
                DirectoryChange::Upsert(Principal::new(object(name), kind, "")),
            );
            graph.add(
                &crm,
                DirectoryChange::Members {
                    group: object(name),
                    system: crm.clone(),
                    members: members.into_iter().map(object).collect(),
                },
            );
        }
        graph.end(&crm, verdict, Vec::new());
        graph.finish()
    };
    let selection = Selection::of([group("sales"), principal(4)]).except([group("out")]);
    let policy = ResolvePolicy::default();
    let all = graph(Completeness::Complete);
    assert_eq!(Chosen::resolve(&all, &selection, &policy), only([0, 1, 4]));
    let some = graph(Completeness::partial(PartialKind::Limit, "too many"));
    assert_eq!(
        Chosen::resolve(&some, &selection, &policy),
        only([]),
        "anybody may be excluded"
    );
    let office = Office::new(9).with_pairs(5);
    let chosen = Chosen::resolve(&all, &selection, &policy);
    let report = block_on(office.links().stage(&context(), &chosen)).expect("it works");
    assert_eq!(codes(&report), "p0 staged, p1 staged, p4 staged");
}

#[test]
fn a_proposal_expires() {
    let office = Office::new(2).with_pairs(1);
    office.stage();
    office.clock.advance(office.settings.proposal_lifetime);
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 proposal_expired");
    assert_eq!(office.seats(), (0, 0));
    assert_eq!(codes(&office.stage()), "p0 staged");
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved");
    assert_eq!(office.seats(), (1, 0));
}

/// The pair that a person picked, whatever the rules say; but nobody twice, and no administrator unasked.
#[test]
fn promise_21_by_hand_nobody_is_linked_twice() {
    let office = Office::new(9).with_pairs(3);
    assert_eq!(office.by_hand(0, 1), LinkOutcome::Staged);
    assert_eq!(office.by_hand(0, 1), LinkOutcome::AlreadyStaged);
    assert_eq!(office.by_hand(1, 1), LinkOutcome::AccountTaken);
    assert_eq!(
        office.by_hand(0, 2),
        LinkOutcome::Staged,
        "a person may change her mind"
    );
    assert_eq!(office.by_hand(1, 1), LinkOutcome::Staged);
    office.save(&Chosen::All);
    assert_eq!(office.shown(), "p0-a2 active, p1-a1 active");
    assert_eq!(office.by_hand(2, 1), LinkOutcome::AccountTaken);
    assert_eq!(office.by_hand(0, 0).code(), "linked");
    assert_eq!(office.by_hand(7, 0), LinkOutcome::NotSeen);
    office.check();

    let mut admin = account(8);
    admin.privileged = true;
    office.mail.put(admin);
    assert_eq!(office.by_hand(2, 8), LinkOutcome::ConfirmationNeeded);
    let confirmed = ByHand::new(object("p2"), object("a8")).even_if_privileged();
    let staged = block_on(office.links().stage_by_hand(&context(), &confirmed)).expect("it works");
    assert_eq!(staged, LinkOutcome::Staged);

    let mut no_mailbox = person(5);
    no_mailbox.ineligible = Some("no mailbox".to_owned());
    office.people.put(no_mailbox);
    assert_eq!(
        office.by_hand(5, 0).to_string(),
        "not linked by itself: not eligible: the principal: no mailbox"
    );
}

/// Somebody else under a linked address, an administrator, two of a kind, addresses that nobody vouches for, a read that is cut: nothing is
/// written.
#[test]
fn promise_20_what_is_not_certain_is_not_staged() {
    let office = Office::new(9).with_pairs(1);
    office.stage();
    office.save(&Chosen::All);
    let before = office.store.snapshot(&tenant());
    office.people.put(plain("p1", "PERSON0@acme.example"));
    let report = office.stage();
    assert_eq!(codes(&report), "p0 linked, p1 unfit");
    assert!(matches!(
        report.of(&principal(1)),
        Some(LinkOutcome::Unfit(Situation::Disputed(_)))
    ));
    office.people.put(person(2));
    let mut admin = account(2);
    admin.privileged = true;
    office.mail.put(admin);
    assert_eq!(codes(&office.stage()), "p0 linked, p1 unfit, p2 unfit");
    office.people.put(person(3));
    office.mail.put(account(3));
    office.mail.put(plain("a4", "person3@acme.example"));
    assert_eq!(codes(&office.stage()), "p0 linked, p1 unfit, p2 unfit, p3 unfit");
    office.mail.remove(&object("a4"));
    let kind = PartialKind::Limit;
    for fault in [Fault::Truncated { shown: 9 }, Fault::Partial { shown: 3, kind }] {
        office
            .faults
            .inject(FaultRule::new(fault).on(CallKind::Accounts).once());
        let report = office.stage();
        assert_eq!(report.count("staged"), 0, "{report:?}");
        office.faults.heal();
    }
    assert_eq!(office.store.snapshot(&tenant()), before, "zero writes");
    assert_eq!(office.stage().count("staged"), 1, "and now it is certain");

    let unvouched = Office {
        mail: usersync::memory::MemoryAccounts::new(crate::linking::system("mail")),
        ..Office::new(9)
    }
    .with_pairs(1);
    assert_eq!(codes(&unvouched.stage()), "p0 unfit");
    assert_eq!(unvouched.by_hand(0, 0), LinkOutcome::Staged);
}

/// New names and addresses on both sides, crosswise.
#[test]
fn promise_19_links_survive_new_addresses() {
    let office = Office::new(2).with_pairs(2);
    office.stage();
    office.save(&Chosen::All);
    office.people.put(plain("p0", "person1@acme.example"));
    office.people.put(plain("p1", "new@acme.example"));
    office.mail.put(plain("a0", "other@acme.example"));
    let before = office.store.snapshot(&tenant());
    assert_eq!(codes(&office.stage()), "p0 linked, p1 linked");
    block_on(office.links().follow_departures(&context(), None)).expect("it works");
    assert_eq!(office.store.snapshot(&tenant()), before);
}

#[test]
fn options_and_ranks_belong_to_the_link() {
    let office = Office::new(3).with_pairs(2);
    office.stage();
    office.save(&Chosen::All);
    let diary_only = LinkOptions {
        contact: false,
        diary: true,
        task: false,
    };
    let changes = [(principal(0), diary_only), (principal(5), diary_only)];
    let report = block_on(office.links().save_options(&context(), &changes)).expect("it works");
    assert_eq!(codes(&report), "p0 changed, p5 no_link");
    let report = block_on(office.links().save_options(&context(), &changes[..1])).expect("it works");
    assert_eq!(codes(&report), "p0 unchanged");
    block_on(office.links().set_rank(&context(), &only([1]), Rank(4))).expect("it works");
    let list = office.list();
    assert_eq!(
        (list[0].link.options(), list[1].link.options()),
        (diary_only, LinkOptions::default())
    );
    assert_eq!((list[0].link.rank(), list[1].link.rank()), (Rank(0), Rank(4)));
}

/// The worker of the old rank is at it while the link moves: the one of the new rank begins only once the other has ended, and the
/// other does not begin again.
#[test]
fn a_link_that_moves_is_worked_on_by_one_worker() {
    let office = Office::new(3).with_pairs(1);
    office.stage();
    office.save(&Chosen::All);
    let (old, new) = (RankSet::of([Rank(0)]), RankSet::of([Rank(1)]));
    let links = office.links();
    let ttl = Duration::from_secs(60);
    let begin = |ranks: &RankSet, worker: &str| {
        block_on(links.begin(&context(), &principal(0), ranks, worker, ttl)).expect("the store works")
    };
    let work = begin(&old, "one").expect("it is of the old rank");
    assert!(begin(&old, "one again").is_none());
    block_on(links.set_rank(&context(), &only([0]), Rank(1))).expect("it works");
    assert!(
        block_on(links.links_of_rank(&context(), &old))
            .expect("links")
            .is_empty()
    );
    assert_eq!(
        block_on(links.links_of_rank(&context(), &new))
            .expect("links")
            .len(),
        1
    );
    assert!(begin(&new, "two").is_none(), "the first is still at it");
    block_on(links.end(work)).expect("the store works");
    assert!(begin(&old, "one").is_none(), "it is not of that rank any more");
    let work = begin(&new, "two").expect("it is free");
    // A worker that died holds nothing for ever.
    office.clock.advance(ttl);
    let taken = begin(&new, "three").expect("the lease is over");
    assert!(taken.lease.token > work.lease.token);
    block_on(links.suspend(&context(), &only([0]))).expect("it works");
    block_on(links.end(taken)).expect("the store works");
    assert!(begin(&new, "two").is_none(), "it is suspended");
    block_on(links.resume(&context(), &only([0]))).expect("it works");
    // A store that gives no lease is nobody else at work.
    let unavailable = Fault::StoreFailed(StoreErrorKind::Unavailable);
    let refused = FaultRule::new(unavailable).on(CallKind::Acquire);
    office.faults.inject(refused.once());
    let refused = block_on(links.begin(&context(), &principal(0), &new, "two", ttl));
    assert!(refused.is_err());
    assert!(begin(&new, "two").is_some());
}

/// Tenants with the same people end as if alone.
#[test]
fn promise_24_tenants_do_not_meet() {
    let office = Office::new(1).with_pairs(1);
    let elsewhere = TenantId::new("umbrella").expect("an id");
    let there = context_of(&elsewhere);
    office
        .entitlement
        .set(&elsewhere, Some(usersync::license::Entitlement::new(1)));
    office.stage();
    block_on(office.links().stage(&there, &Chosen::All)).expect("it works");
    assert_eq!(codes(&office.save(&Chosen::All)), "p0 saved");
    let report = block_on(office.links().save_added(&there, &Chosen::All)).expect("it works");
    assert_eq!(codes(&report), "p0 saved");
    office.remove(&Chosen::All);
    assert_eq!(block_on(office.links().list(&there)).expect("links").len(), 1);
    assert_eq!(office.shown(), "");
}

/// What the outbox holds, in its order.
pub(crate) fn told(office: &Office) -> Vec<String> {
    let tell = |bytes: &Vec<u8>| {
        let text: serde_json::Value = serde_json::from_slice(bytes).expect("a notification");
        let told: Notification = serde_json::from_value(text["value"].clone()).expect("a notification");
        match (told.recipient, told.news) {
            (Recipient::Principal(principal), News::LinkChanged { change, state, .. }) => {
                format!("{} {change} {state}", principal.object)
            }
            (Recipient::Account(account), News::ConsentRequested { .. }) => {
                format!("{} asked", account.object)
            }
            other => panic!("{other:?}"),
        }
    };
    office.outbox().iter().map(tell).collect()
}
