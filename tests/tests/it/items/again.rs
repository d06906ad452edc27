//! Systems that remember ids: an operation under an id that they know is answered as it was then, and done no more.

use futures::executor::block_on;
use usersync::engine::{Chosen, ItemRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{ItemKind, PartialKind};
use usersync::store::Table;
use usersync_tests::{Crash, LEASE, crash, tenant};

use crate::items::{
    EVERY, GENEROUS, Home, Offers, Where, card, collection, context, lines, principal, system,
};

/// Ids are remembered, and single items cannot be read.
const BLIND: Offers = {
    let mut offers = GENEROUS;
    offers.target.point_read = false;
    offers
};

/// A run dies at its first call of this kind, and its lease is over.
fn dies(home: &Home, moment: Moment, call: CallKind) {
    let rule = FaultRule::new(Fault::Hang(moment)).on(call);
    home.faults.inject(rule.once());
    let (engine, job, request) = (home.engine(), home.job(), ItemRequest::new());
    let ended = crash(engine.run_items(&job, &home.items, &request));
    assert!(matches!(ended, Crash::Stopped));
    home.faults.heal();
    home.clock.advance(LEASE * 2);
}

#[test]
fn promise_15_a_link_that_is_made_anew_uses_no_id_of_its_first_life() {
    for offers in [GENEROUS, BLIND] {
        let home = Home::new(1, offers);
        for side in [Where::Crm, Where::Mail] {
            home.put(side, "7", &card("7", &[("FN", "Ada"), ("TEL", "1")]));
        }
        home.settle();
        let edit = |number: u32| {
            home.edit(Where::Crm, "7", &[("TEL", &number.to_string())]);
            home.settle();
            for side in [Where::Crm, Where::Mail] {
                let number = number.to_string();
                assert_eq!(home.cards(side)["7"]["TEL"], number, "{offers:?}, {side:?}");
            }
        };
        (2..6).for_each(edit);
        block_on(home.links().remove(&context(), &Chosen::of([principal(0)]))).unwrap();
        assert_eq!(home.run().forgotten, 1);
        home.link(0, 0);
        home.settle();
        (6..10).for_each(edit);
    }
}

/// The deletion had its effect before its worker died, and somebody made the item again, as it was: what is told to be deleted is gone.
#[test]
fn promise_15_a_deletion_that_is_carried_on_is_looked_at() {
    for offers in [GENEROUS, BLIND] {
        let home = Home::new(1, offers);
        let text = card("1", &[("FN", "Ada")]);
        home.put(Where::Mail, "1", &text);
        home.settle();
        home.remove(Where::Crm, "1");
        dies(&home, Moment::After, CallKind::Delete);
        assert_eq!(home.href(Where::Mail, "1"), None);
        home.put(Where::Mail, "again", &text);
        home.run();
        home.settle();
        let there = [Where::Crm, Where::Mail].map(|side| home.href(side, "1").is_some());
        assert_eq!(there, [false, false], "{offers:?}");
    }
}

/// A deletion was begun, and nobody knows what became of it. What does not show the item tells only if it shows everything.
#[test]
fn promise_09_what_is_not_shown_in_part_of_a_read_is_not_taken_for_deleted() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        for uid in ["1", "2"] {
            home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada")]));
        }
        home.settle();
        home.remove(Where::Crm, "2");
        dies(&home, Moment::Before, CallKind::Delete);
        let part = Fault::Partial {
            shown: 1,
            kind: PartialKind::Limit,
        };
        let rule = FaultRule::new(part).on(CallKind::Items).system(system("mail"));
        home.faults.inject(rule);
        let report = home.run();
        let found: Vec<_> = report.pairs.iter().flat_map(|pair| &pair.findings).collect();
        assert!(
            found.iter().any(|finding| finding.what.code() == "open"),
            "{offers:?}: {found:?}"
        );
        home.faults.heal();
        home.settle();
        for side in [Where::Crm, Where::Mail] {
            let there: Vec<String> = home.cards(side).into_keys().collect();
            assert_eq!(there, ["1"], "{offers:?}, {side:?}");
        }
    }
}

/// The call did not reach the system as far as anybody knows, and may still do so.
#[test]
fn promise_15_what_is_carried_on_keeps_its_id_and_what_differs_gets_its_own() {
    for is_edited in [false, true] {
        let home = Home::new(1, GENEROUS);
        home.put(Where::Mail, "1", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        home.settle();
        home.edit(Where::Crm, "1", &[("TEL", "2")]);
        dies(&home, Moment::Before, CallKind::Update);
        let snapshot = home.store.snapshot(&tenant());
        let intents = snapshot.values[&Table::Intent].keys();
        let begun: Vec<String> = intents
            .filter_map(|key| Some(key.parts().last()?.to_owned()))
            .collect();
        if is_edited {
            home.edit(Where::Crm, "1", &[("TEL", "3")]);
        }
        let report = home.run();
        let ids: Vec<String> = report
            .operations()
            .map(|done| done.operation.to_string())
            .collect();
        assert_eq!(lines(&report), ["change 1 on mail (TEL): done"]);
        assert_eq!(begun == ids, !is_edited, "{begun:?}, then {ids:?}");
        home.is_still();
    }
}

/// Somebody takes a new item out at once, before it is looked at.
#[test]
fn promise_15_what_is_begun_twice_in_a_run_has_two_ids() {
    let home = Home::new(1, GENEROUS);
    home.settle();
    home.put(Where::Crm, "1", &card("1", &[("FN", "Ada")]));
    let (mail, contacts) = (home.mail.clone(), collection(Where::Mail, 0, ItemKind::Contact));
    let takes_it_out = FaultRule::meanwhile(move || {
        let there = mail.texts_of(&contacts).expect("the collection is there");
        for href in there.keys() {
            mail.remove_by_hand(&contacts, href);
        }
    });
    home.faults.inject(takes_it_out.on(CallKind::Item).once());
    let report = home.run();
    let mut ids: Vec<_> = report.operations().map(|done| done.operation).collect();
    ids.dedup();
    assert_eq!(ids.len(), 2, "{:?}", lines(&report));
    assert_eq!(home.cards(Where::Mail).len(), 1);
    home.settle();
}
