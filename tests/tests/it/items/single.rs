//! One thing at a time.

use usersync::memory::Rewriting;
use usersync::model::ItemKind;
use usersync::reconcile::ItemConflict;

use crate::items::{EVERY, GENEROUS, Home, SIDES, Where, card, collection, lines, object};

const SERIES: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Sample//EN\r\nBEGIN:VEVENT\r\nUID:weekly\r\nDTSTART:20260105T090000Z\r\nRRULE:FREQ=WEEKLY\r\nSUMMARY:Weekly\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nUID:weekly\r\nRECURRENCE-ID:20260112T090000Z\r\nDTSTART:20260112T100000Z\r\nSUMMARY:Later\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

#[test]
fn what_is_new_on_one_side_comes_to_the_other() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(
            Where::Crm,
            "one",
            &card("1", &[("FN", "Ada Sample"), ("X-LOCAL", "kept")]),
        );
        home.put(Where::Mail, "two", &card("2", &[("FN", "Bob Sample")]));
        let report = home.settle();
        assert_eq!(
            lines(&report),
            ["create 2 on crm: done", "create 1 on mail: done"],
            "{offers:?}"
        );
        for side in SIDES {
            assert_eq!(home.cards(side)["1"]["FN"], "Ada Sample");
            assert_eq!(home.cards(side)["2"]["FN"], "Bob Sample");
        }
        // What is only on one side stays there.
        assert_eq!(home.cards(Where::Crm)["1"]["X-LOCAL"], "kept");
    }
}

#[test]
fn a_change_carries_only_what_changed() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(
            Where::Mail,
            "one",
            &card("1", &[("FN", "Ada Sample"), ("TEL", "1"), ("X-LOCAL", "a")]),
        );
        home.settle();
        home.edit(Where::Crm, "1", &[("TEL", "2")]);
        let report = home.settle();
        assert_eq!(lines(&report), ["change 1 on mail (TEL): done"], "{offers:?}");
        let there = &home.cards(Where::Mail)["1"];
        assert_eq!((there["TEL"].as_str(), there["X-LOCAL"].as_str()), ("2", "a"));
    }
}

#[test]
fn changes_to_different_properties_are_both_carried() {
    for offers in EVERY {
        for conflict in [
            ItemConflict::Report,
            ItemConflict::FirstWins,
            ItemConflict::KeepBoth,
        ] {
            let home = Home::new(1, offers).with_conflict(conflict);
            home.put(
                Where::Mail,
                "one",
                &card("1", &[("FN", "Ada"), ("TEL", "1"), ("NOTE", "n")]),
            );
            home.settle();
            home.edit(Where::Crm, "1", &[("TEL", "2")]);
            home.edit(Where::Mail, "1", &[("NOTE", "m"), ("EMAIL", "ada@example.org")]);
            home.settle();
            for side in SIDES {
                let there = &home.cards(side)["1"];
                let said = ["TEL", "NOTE", "EMAIL"].map(|name| there[name].as_str());
                assert_eq!(
                    said,
                    ["2", "m", "ada@example.org"],
                    "{offers:?} {conflict:?} {side:?}"
                );
            }
        }
    }
}

#[test]
fn a_conflict_ends_as_the_policy_says() {
    for offers in EVERY {
        for (conflict, crm, mail) in [
            (ItemConflict::Report, "2", "3"),
            (ItemConflict::FirstWins, "2", "2"),
            (ItemConflict::SecondWins, "3", "3"),
            // Without clocks nobody is the newest.
            (ItemConflict::Newest, "2", "3"),
        ] {
            let home = Home::new(1, offers).with_conflict(conflict);
            home.put(Where::Mail, "one", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
            home.settle();
            home.edit(Where::Crm, "1", &[("TEL", "2")]);
            home.edit(Where::Mail, "1", &[("TEL", "3"), ("NOTE", "mine")]);
            let report = home.settle();
            assert_eq!(home.cards(Where::Crm)["1"]["TEL"], crm, "{offers:?} {conflict:?}");
            assert_eq!(
                home.cards(Where::Mail)["1"]["TEL"],
                mail,
                "{offers:?} {conflict:?}"
            );
            let findings: Vec<_> = report.pairs.iter().flat_map(|pair| &pair.findings).collect();
            assert_eq!(findings.len(), usize::from(crm != mail), "{findings:?}");
            // The other property was in no conflict.
            if crm == mail {
                assert_eq!(home.cards(Where::Crm)["1"]["NOTE"], "mine");
            }
        }
    }
}

#[test]
fn keeping_both_makes_an_item_of_what_loses() {
    for offers in EVERY {
        let home = Home::new(1, offers).with_conflict(ItemConflict::KeepBoth);
        home.put(
            Where::Mail,
            "one",
            &card("1", &[("FN", "Ada"), ("TEL", "1"), ("X-LOCAL", "a")]),
        );
        home.settle();
        home.edit(Where::Crm, "1", &[("TEL", "2")]);
        home.edit(Where::Mail, "1", &[("TEL", "3")]);
        home.settle();
        for side in SIDES {
            let cards = home.cards(side);
            let numbers: Vec<&str> = cards.values().map(|card| card["TEL"].as_str()).collect();
            assert_eq!(cards["1"]["TEL"], "2", "{offers:?}");
            assert!(
                cards.len() == 2 && numbers.contains(&"3"),
                "{offers:?} {numbers:?}"
            );
        }
        assert!(
            home.cards(Where::Mail)
                .values()
                .all(|card| card["X-LOCAL"] == "a")
        );
    }
}

#[test]
fn the_newest_wins_by_its_own_clock() {
    use std::sync::Arc;
    use std::time::Duration;
    for (first, second, winner) in [(10, 20, "mail"), (20, 10, "crm")] {
        let mut home = Home::with_servers(1, GENEROUS, [Rewriting::default(), Rewriting::default()])
            .with_conflict(ItemConflict::Newest);
        let ahead = home.clock.fork();
        ahead.advance(Duration::from_secs(100 * 3600));
        home.crm = home.crm.clone().with_clock(Arc::new(home.clock.clone()));
        home.mail = home.mail.clone().with_clock(Arc::new(ahead.clone()));
        home.put(Where::Crm, "one", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        home.settle();
        for now in 0..30 {
            home.clock.advance(Duration::from_secs(1));
            ahead.advance(Duration::from_secs(1));
            if now == first {
                home.edit(Where::Crm, "1", &[("TEL", "crm")]);
            }
            if now == second {
                home.edit(Where::Mail, "1", &[("TEL", "mail")]);
            }
        }
        home.settle();
        for side in SIDES {
            assert_eq!(home.cards(side)["1"]["TEL"], winner);
        }
    }
}

#[test]
fn a_deletion_follows_and_a_change_wins_against_it() {
    for offers in EVERY {
        for (deleted, other) in [(Where::Crm, Where::Mail), (Where::Mail, Where::Crm)] {
            let home = Home::new(1, offers);
            for uid in ["1", "2", "3"] {
                home.put(Where::Crm, uid, &card(uid, &[("FN", "Ada"), ("TEL", "1")]));
            }
            home.settle();
            home.remove(deleted, "1");
            home.remove(deleted, "2");
            home.edit(other, "2", &[("TEL", "2")]);
            home.settle();
            for side in SIDES {
                let cards = home.cards(side);
                assert_eq!(cards.keys().collect::<Vec<_>>(), ["2", "3"], "{offers:?}");
                assert_eq!(cards["2"]["TEL"], "2");
            }
        }
    }
}

#[test]
fn promise_19_a_new_place_is_no_change() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(Where::Crm, "one", &card("1", &[("FN", "Ada")]));
        home.settle();
        for side in SIDES {
            let href = home.href(side, "1").unwrap();
            home.side(side)
                .move_by_hand(&collection(side, 0, ItemKind::Contact), &href, object("moved"));
        }
        home.is_still();
        home.is_still();
        // It is known by its UID, wherever it is now.
        home.edit(Where::Mail, "1", &[("FN", "Ada Sample")]);
        assert_eq!(
            lines(&home.settle()),
            ["change 1 on crm (FN): done"],
            "{offers:?}"
        );
    }
}

#[test]
fn a_recurring_entry_is_one_item() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(Where::Crm, "one", SERIES);
        assert_eq!(lines(&home.settle()), ["create weekly on mail: done"]);
        // Another occurrence moves, in the other system.
        let text = home.texts(Where::Mail, ItemKind::Diary).remove(0);
        let href = "made-1";
        let more = "BEGIN:VEVENT\r\nUID:weekly\r\nRECURRENCE-ID:20260119T090000Z\r\nDTSTART:20260119T110000Z\r\nSUMMARY:Even later\r\nEND:VEVENT\r\nEND:VCALENDAR";
        home.put(Where::Mail, href, &text.replace("END:VCALENDAR", more));
        let report = home.settle();
        assert_eq!(report.operations().count(), 1, "{:?}", lines(&report));
        let text = home
            .texts(Where::Crm, ItemKind::Diary)
            .remove(0)
            .replace("\r\n ", "");
        assert_eq!(text.matches("BEGIN:VEVENT").count(), 3, "{offers:?}\n{text}");
        assert!(
            text.contains("SUMMARY:Even later") && text.contains("SUMMARY:Later") && text.contains("RRULE")
        );
    }
}

#[test]
fn a_duplicate_uid_is_reported_and_left_alone() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(Where::Crm, "one", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        home.settle();
        home.put(
            Where::Mail,
            "twin",
            &card("1", &[("FN", "Another"), ("TEL", "9")]),
        );
        home.edit(Where::Crm, "1", &[("TEL", "2")]);
        let before = (
            home.texts(Where::Crm, ItemKind::Contact),
            home.texts(Where::Mail, ItemKind::Contact),
        );
        for _ in 0..2 {
            let report = home.run();
            let found: Vec<_> = report.pairs.iter().flat_map(|pair| &pair.findings).collect();
            assert!(
                found.iter().any(|finding| finding.what.code() == "ambiguous"),
                "{offers:?} {found:?}"
            );
            assert_eq!(lines(&report), Vec::<String>::new());
        }
        let after = (
            home.texts(Where::Crm, ItemKind::Contact),
            home.texts(Where::Mail, ItemKind::Contact),
        );
        assert_eq!(before, after);
        home.mail
            .remove_by_hand(&collection(Where::Mail, 0, ItemKind::Contact), &object("twin"));
        home.settle();
        assert_eq!(home.cards(Where::Mail)["1"]["TEL"], "2", "{offers:?}");
    }
}

#[test]
fn what_is_not_understood_is_left_alone_on_both_sides() {
    for offers in EVERY {
        for broken in [
            "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:1\r\nFN:Ada\r\n",
            "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada\r\nEND:VCARD\r\n",
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTODO\r\nUID:1\r\nSUMMARY:x\r\nEND:VTODO\r\nEND:VCALENDAR\r\n",
            "\u{feff}nothing",
        ] {
            let home = Home::new(1, offers);
            home.put(Where::Crm, "one", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
            home.put(Where::Crm, "two", &card("2", &[("FN", "Bob")]));
            home.settle();
            home.crm.put_by_hand(
                &collection(Where::Crm, 0, ItemKind::Contact),
                object("one"),
                broken.as_bytes(),
            );
            home.put(Where::Crm, "two", &card("2", &[("FN", "Bob"), ("TEL", "5")]));
            let report = home.run();
            assert_eq!(
                lines(&report),
                ["change 2 on mail (TEL): done"],
                "{offers:?} {broken}"
            );
            assert_eq!(home.cards(Where::Mail)["1"]["TEL"], "1");
            assert_eq!(report.pairs.iter().flat_map(|pair| &pair.findings).count(), 1);
            assert!(!report.is_ok());
            // Once it is whole again, it goes on.
            home.put(Where::Crm, "one", &card("1", &[("FN", "Ada"), ("TEL", "7")]));
            home.settle();
            assert_eq!(home.cards(Where::Mail)["1"]["TEL"], "7");
        }
    }
}

#[test]
fn two_full_sides_that_never_met_are_united() {
    for offers in EVERY {
        let home = Home::new(1, offers).with_conflict(ItemConflict::KeepBoth);
        home.put(Where::Crm, "a", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        home.put(
            Where::Mail,
            "b",
            &card("1", &[("FN", "Ada"), ("NOTE", "n"), ("X-LOCAL", "x")]),
        );
        home.put(Where::Crm, "c", &card("2", &[("FN", "Bob")]));
        home.put(Where::Mail, "d", &card("2", &[("FN", "Bob")]));
        home.settle();
        for side in SIDES {
            let cards = home.cards(side);
            assert_eq!(cards.len(), 2, "{offers:?}");
            assert_eq!(
                (cards["1"]["TEL"].as_str(), cards["1"]["NOTE"].as_str()),
                ("1", "n")
            );
        }
        assert_eq!(home.cards(Where::Mail)["1"]["X-LOCAL"], "x");
    }
}

#[test]
fn nothing_changed_nothing_is_read() {
    let home = Home::new(1, GENEROUS);
    for n in 0..20 {
        home.put(
            Where::Crm,
            &format!("{n}"),
            &card(&format!("{n}"), &[("FN", "Ada")]),
        );
    }
    home.settle();
    home.is_still();
    home.calls.clear();
    home.run();
    assert_eq!(home.calls.count(usersync::memory::CallKind::Item), 0);
    let values = home.calls.all();
    assert!(
        values
            .iter()
            .all(|call| call.kind != usersync::memory::CallKind::Commit),
        "{values:?}"
    );
}
