//! Links that end while something is under way for them, or begin again.

use std::thread;

use futures::executor::block_on;
use usersync::engine::{ByHand, Chosen, Links, RunEnd};
use usersync::memory::{CallKind, FaultRule};
use usersync::model::{ItemKind, LinkOptions};
use usersync::store::{StateStore, Table, Transaction, Write};
use usersync_tests::tenant;

use crate::items::{
    EVERY, FEEDING, GENEROUS, Home, SIDES, VERSIONED, Where, card, collection, context, object, principal,
};

fn three(home: &Home) {
    for uid in ["1", "2", "3"] {
        home.put(Where::Crm, uid, &card(uid, &[("FN", "Ada")]));
    }
    home.settle();
}

fn remove(links: &Links) {
    block_on(links.remove(&context(), &Chosen::of([principal(0)]))).unwrap();
}

fn stage(links: &Links) {
    let pair = ByHand::new(object("p0"), object("a0"));
    block_on(links.stage_by_hand(&context(), &pair)).unwrap();
}

fn save(links: &Links) {
    block_on(links.save_added(&context(), &Chosen::of([principal(0)]))).unwrap();
}

/// To a new link, what is on one side alone is new, whatever an earlier one agreed on.
#[test]
fn a_link_that_is_made_again_knows_nothing_of_its_earlier_life() {
    for offers in EVERY {
        for runs_between in [false, true] {
            let home = Home::new(1, offers);
            three(&home);
            let links = home.links();
            remove(&links);
            home.remove(Where::Mail, "2");
            stage(&links);
            if runs_between {
                assert_eq!(home.run().forgotten, 1, "a proposal is no link");
            }
            save(&links);
            home.settle();
            for side in SIDES {
                assert_eq!(home.cards(side).len(), 3, "{offers:?}, {runs_between}, {side:?}");
            }
            // From then on they agree.
            home.remove(Where::Mail, "2");
            home.settle();
            assert_eq!(home.cards(Where::Crm).len(), 2, "{offers:?}");
        }
    }
}

/// What a host does to the link of a run that is under way.
type Meanwhile = fn(&Links);

fn suspend(links: &Links) {
    block_on(links.suspend(&context(), &Chosen::of([principal(0)]))).unwrap();
}

fn switch_off(links: &Links) {
    let options = LinkOptions {
        contact: false,
        ..LinkOptions::default()
    };
    block_on(links.save_options(&context(), &[(principal(0), options)])).unwrap();
}

fn make_again(links: &Links) {
    remove(links);
    stage(links);
    save(links);
}

fn switch_another_off(links: &Links) {
    let options = LinkOptions {
        task: false,
        ..LinkOptions::default()
    };
    block_on(links.save_options(&context(), &[(principal(0), options)])).unwrap();
}

/// How many items a run writes while whose first item is written somebody does this.
fn written(home: &Home, meanwhile: Meanwhile) -> usize {
    for n in 0..9 {
        let uid = n.to_string();
        home.put(Where::Crm, &uid, &card(&uid, &[("FN", "Ada")]));
    }
    let links = home.links();
    let rule = FaultRule::meanwhile(move || {
        // An executor does not run within another one.
        thread::scope(|scope| scope.spawn(|| meanwhile(&links)).join().unwrap());
    });
    home.faults.inject(rule.on(CallKind::Create).once());
    let report = home.run();
    let not_begun = report
        .operations()
        .filter(|operation| operation.outcome.code() == "not_started_link_ended");
    let written = home.cards(Where::Mail).len();
    assert_eq!(not_begun.count(), 9 - written);
    written
}

#[test]
fn nothing_is_written_for_a_link_that_ended_meanwhile() {
    for offers in [VERSIONED, GENEROUS, FEEDING] {
        for meanwhile in [remove as Meanwhile, suspend, switch_off, make_again] {
            let home = Home::new(1, offers);
            assert_eq!(written(&home, meanwhile), 3, "{offers:?}");
        }
        let home = Home::new(1, offers);
        assert_eq!(written(&home, switch_another_off), 9, "{offers:?}");
        let home = Home::new(1, offers);
        written(&home, make_again);
        home.settle();
        assert_eq!(home.cards(Where::Mail).len(), 9, "{offers:?}");
    }
}

#[test]
fn what_is_stored_of_one_link_and_cannot_be_read_stops_no_other() {
    let home = Home::new(2, GENEROUS);
    three(&home);
    let put = |side, uid: &str, text: &str| {
        let contacts = collection(side, 1, ItemKind::Contact);
        home.side(side)
            .put_by_hand(&contacts, object(uid), text.as_bytes());
    };
    put(Where::Crm, "9", &card("9", &[("FN", "Bea")]));
    home.settle();
    let snapshot = home.store.snapshot(&tenant());
    let bases = snapshot.values[&Table::Base].keys();
    let mut transaction = Transaction::new(tenant());
    for key in bases.filter(|key| key.parts().nth(2) == Some("p0")) {
        transaction.write(Write::Put {
            table: Table::Base,
            key: key.clone(),
            bytes: b"{".to_vec(),
        });
    }
    block_on(home.store.commit(transaction)).unwrap();
    for person in [0, 1] {
        let contacts = collection(Where::Crm, person, ItemKind::Contact);
        let text = card("new", &[("FN", "Eve")]);
        home.crm.put_by_hand(&contacts, object("new"), text.as_bytes());
    }
    home.edit(Where::Crm, "1", &[("TEL", "1")]);
    let report = home.run();
    assert_eq!(report.end, RunEnd::Failed);
    let skipped: Vec<&str> = report.skipped.iter().map(|link| link.why.code()).collect();
    assert_eq!(skipped, ["unreadable"]);
    let there = home.mail.texts_of(&collection(Where::Mail, 1, ItemKind::Contact));
    assert_eq!(there.unwrap().len(), 2);
}
