//! What is seen and cannot be told for sure: whose change it is, and which item.

use usersync::engine::{ItemRequest, RunControl};
use usersync::memory::{CallKind, FaultRule};
use usersync::model::ItemKind;

use crate::items::{BARE, EVERY, FEEDING, GENEROUS, Home, Offers, SIDES, Where, card, collection, object};

/// Without versions nothing tells what a system made of a text from what a person changed in it since.
#[test]
fn promise_13_what_a_person_changes_before_it_is_read_back_is_carried() {
    for offers in EVERY.into_iter().chain([BARE]) {
        let home = Home::new(1, offers);
        home.put(Where::Crm, "1", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        // The run ends once it is written, and before it is read.
        let control = RunControl::new();
        let ends = control.clone();
        home.faults.inject(
            FaultRule::meanwhile(move || ends.cancel())
                .on(CallKind::Create)
                .once(),
        );
        home.run_as(&ItemRequest::new().controlled_by(control));
        home.faults.heal();
        assert_eq!(home.cards(Where::Mail).len(), 1);
        home.edit(Where::Mail, "1", &[("TEL", "2")]);
        home.settle();
        for side in SIDES {
            assert_eq!(home.cards(side)["1"]["TEL"], "2", "{offers:?}, {side:?}");
        }
    }
}

/// Two cards that both sides have.
fn two(offers: Offers) -> Home {
    let home = Home::new(1, offers);
    for uid in ["1", "2"] {
        home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada")]));
    }
    home.settle();
    home.is_still();
    home
}

/// A program that keeps a whole book in one file, as no server should.
#[test]
fn promise_09_every_item_that_a_text_may_be_is_left_alone() {
    for offers in [EVERY[0], EVERY[1], GENEROUS, FEEDING, BARE] {
        let home = two(offers);
        let both = ["1", "2"].map(|uid| card(uid, &[("FN", "Ada")])).concat();
        home.put(Where::Mail, "1", &both);
        let contacts = collection(Where::Mail, 0, ItemKind::Contact);
        home.mail.remove_by_hand(&contacts, &object("2"));
        home.run();
        home.is_still();
        assert_eq!(home.cards(Where::Crm).len(), 2, "{offers:?}");
    }
}

#[test]
fn promise_09_a_text_that_may_be_any_item_lets_none_go() {
    for offers in EVERY.into_iter().chain([BARE]) {
        let home = two(offers);
        home.remove(Where::Mail, "2");
        home.put(Where::Mail, "x", "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada\r\n");
        home.put(Where::Crm, "3", &card("3", &[("FN", "New")]));
        home.run();
        home.is_still();
        assert_eq!(home.cards(Where::Crm).len(), 3, "{offers:?}");
        // What is new is no less so.
        assert!(home.href(Where::Mail, "3").is_some(), "{offers:?}");
        let contacts = collection(Where::Mail, 0, ItemKind::Contact);
        home.mail.remove_by_hand(&contacts, &object("x"));
        home.settle();
        for side in SIDES {
            let uids: Vec<String> = home.cards(side).into_keys().collect();
            assert_eq!(uids, ["1", "3"], "{offers:?}, {side:?}");
        }
    }
}

#[test]
fn promise_09_the_first_uid_of_a_text_need_not_be_that_of_its_item() {
    let alarm = "BEGIN:VALARM\r\nUID:alarm\r\nTRIGGER:-PT5M\r\nEND:VALARM\r\n";
    let head = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n";
    let entry = format!("{head}UID:e\r\n{alarm}END:VEVENT\r\nEND:VCALENDAR\r\n");
    let cut = format!("{head}{alarm}UID:e\r\n");
    for offers in EVERY.into_iter().chain([BARE]) {
        let home = Home::new(1, offers);
        home.put(Where::Mail, "e", &entry);
        home.settle();
        home.is_still();
        let diary = collection(Where::Mail, 0, ItemKind::Diary);
        home.mail.remove_by_hand(&diary, &object("e"));
        home.put(Where::Mail, "elsewhere", &cut);
        home.run();
        home.is_still();
        assert_eq!(home.texts(Where::Crm, ItemKind::Diary).len(), 1, "{offers:?}");
    }
}
