//! Runs that are killed, lose answers, or meet each other.

use std::collections::BTreeMap;

use futures::executor::block_on;
use usersync::connector::ErrorKind;
use usersync::engine::{Chosen, ItemRequest, SkippedWhy};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{ItemKind, PartialKind};
use usersync::reconcile::ItemConflict;
use usersync::store::Log;
use usersync_tests::{Crash, LEASE, crash, tenant};

use crate::items::{Card, EVERY, GENEROUS, Home, Offers, SIDES, Where, card, context, lines, principal};

/// Something of everything: new items, changes on each side and on both, a conflict, deletions.
fn eventful(offers: Offers) -> Home {
    let home = Home::new(1, offers).with_conflict(ItemConflict::KeepBoth);
    for uid in ["1", "2", "3", "4", "5"] {
        home.put(
            Where::Mail,
            uid,
            &card(uid, &[("FN", "Ada"), ("TEL", "1"), ("X-LOCAL", uid)]),
        );
    }
    home.settle();
    home.edit(Where::Crm, "1", &[("TEL", "2")]);
    home.edit(Where::Mail, "2", &[("TEL", "3")]);
    home.edit(Where::Crm, "3", &[("TEL", "4")]);
    home.edit(Where::Mail, "3", &[("NOTE", "n")]);
    home.edit(Where::Crm, "4", &[("TEL", "5")]);
    home.edit(Where::Mail, "4", &[("TEL", "6")]);
    home.remove(Where::Crm, "5");
    home.put(Where::Crm, "6", &card("6", &[("FN", "New here")]));
    home.put(Where::Mail, "7", &card("7", &[("FN", "New there")]));
    home
}

/// What both sides say, but for what servers put in.
fn end(home: &Home) -> [BTreeMap<String, Card>; 2] {
    SIDES.map(|side| {
        let mut cards = home.cards(side);
        for card in cards.values_mut() {
            card.retain(|name, _| !["X-MAIL-SEEN", "X-SERVER-KEPT"].contains(&name.as_str()));
        }
        cards
    })
}

/// How often an effect was recorded as done, by what it was.
fn recorded(home: &Home) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let logs = home.store.snapshot(&tenant()).logs;
    for (_, bytes) in logs.get(&Log::Audit).into_iter().flatten() {
        let entry: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let record = &entry["value"];
        let is_done = ["applied", "already_so"].map(|done| record["outcome"] == done);
        if entry["format"] == "usersync.audit" && is_done.contains(&true) {
            let line = format!("{} {}", record["action"], record["subject"]);
            *counts.entry(line).or_default() += 1;
        }
    }
    counts
}

#[test]
fn promise_14_after_a_crash_at_any_call_the_next_run_ends_as_if_undisturbed() {
    for offers in EVERY {
        let world = eventful(offers);
        let undisturbed = world.fork();
        undisturbed.settle();
        let expected = end(&undisturbed);
        let mut stopped = 0;
        for call in 1.. {
            let mut all_ended = true;
            for moment in [Moment::Before, Moment::After] {
                let home = world.fork();
                home.faults
                    .inject(FaultRule::new(Fault::Hang(moment)).at_call(call).once());
                let run = crash(
                    home.engine()
                        .run_items(&home.job(), &home.items, &ItemRequest::new()),
                );
                if matches!(run, Crash::Stopped) {
                    all_ended = false;
                    stopped += 1;
                }
                drop(run);
                home.faults.heal();
                home.clock.advance(LEASE * 2);
                home.run();
                home.is_still();
                assert_eq!(end(&home), expected, "{offers:?}, {moment:?} of call {call}");
            }
            if all_ended {
                break;
            }
        }
        assert!(stopped > 20, "{stopped}");
    }
}

/// Whoever drops what is remembered of a removed link dies, and the link is back before all of it is dropped.
#[test]
fn a_link_that_is_back_while_it_is_forgotten_begins_anew() {
    for offers in EVERY {
        let removed = Home::new(1, offers);
        for number in 0..120 {
            let uid = number.to_string();
            removed.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada")]));
        }
        removed.settle();
        block_on(removed.links().remove(&context(), &Chosen::of([principal(0)]))).unwrap();
        let mut stopped = 0;
        for commit in 0.. {
            let home = removed.fork();
            let rule = FaultRule::new(Fault::Hang(Moment::After)).on(CallKind::Commit);
            home.faults.inject(rule.after(commit).once());
            let ended = crash(
                home.engine()
                    .run_items(&home.job(), &home.items, &ItemRequest::new()),
            );
            stopped += u32::from(matches!(ended, Crash::Stopped));
            let is_over = matches!(ended, Crash::Ended(_));
            drop(ended);
            home.faults.heal();
            home.clock.advance(LEASE * 2);
            // What was not dropped yet says that these were agreed on. To a new link they are items of one side alone.
            home.remove(Where::Crm, "2");
            home.remove(Where::Mail, "117");
            home.link(0, 0);
            for (side, number) in [
                (Where::Crm, 0),
                (Where::Mail, 1),
                (Where::Crm, 118),
                (Where::Mail, 119),
            ] {
                home.edit(side, &number.to_string(), &[("TEL", "1")]);
            }
            home.settle();
            home.is_still();
            let [crm, mail] = end(&home);
            assert_eq!(crm, mail, "{offers:?}, commit {commit}");
            let changed = crm.values().filter(|card| card.contains_key("TEL")).count();
            assert_eq!((crm.len(), changed), (120, 4), "{offers:?}, commit {commit}");
            if is_over {
                break;
            }
        }
        assert!(stopped > 1, "{stopped}");
    }
}

#[test]
fn promise_15_a_lost_answer_makes_no_second_item() {
    for offers in EVERY {
        for moment in [Moment::Before, Moment::After] {
            let home = Home::new(1, offers);
            home.put(Where::Crm, "1", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
            home.faults
                .inject(FaultRule::new(Fault::Timeout(moment)).on(CallKind::Create).once());
            home.run();
            home.run();
            home.is_still();
            assert_eq!(
                home.texts(Where::Mail, ItemKind::Contact).len(),
                1,
                "{offers:?} {moment:?}"
            );
        }
    }
}

#[test]
fn an_item_that_a_person_deletes_before_its_lost_answer_is_made_up_for_is_written_again() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(Where::Crm, "1", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        for kind in [CallKind::Create, CallKind::Item] {
            home.faults
                .inject(FaultRule::new(Fault::Timeout(Moment::After)).on(kind).once());
        }
        home.run();
        home.faults.heal();
        home.remove(Where::Mail, "1");
        // A target that remembers the operation answers as it did before, and does nothing.
        home.run();
        home.is_still();
        assert_eq!(home.cards(Where::Mail).len(), 1, "{offers:?}");
    }
}

#[test]
fn promise_16_what_we_wrote_and_lost_the_answer_for_is_no_change_of_somebody() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        home.put(Where::Mail, "1", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        home.settle();
        home.edit(Where::Crm, "1", &[("TEL", "2")]);
        for kind in [CallKind::Update, CallKind::Item] {
            home.faults
                .inject(FaultRule::new(Fault::Timeout(Moment::After)).on(kind).times(1));
        }
        home.run();
        home.faults.heal();
        // What was written is taken back where it came from: that is a change of somebody, and the other is not.
        home.edit(Where::Crm, "1", &[("TEL", "1")]);
        home.run();
        home.is_still();
        for side in SIDES {
            assert_eq!(home.cards(side)["1"]["TEL"], "1", "{offers:?}");
        }
    }
}

#[test]
fn promise_25_one_effect_one_record() {
    for offers in EVERY {
        let world = eventful(offers);
        let undisturbed = world.fork();
        undisturbed.settle();
        let expected = recorded(&undisturbed);
        for kind in [CallKind::Create, CallKind::Update, CallKind::Delete] {
            let home = world.fork();
            home.faults
                .inject(FaultRule::new(Fault::Timeout(Moment::Before)).on(kind).once());
            home.run();
            home.faults.heal();
            home.run();
            home.is_still();
            assert_eq!(recorded(&home), expected, "{offers:?} {kind}");
        }
    }
}

#[test]
fn promise_13_a_change_between_plan_and_write_survives() {
    for offers in [crate::items::VERSIONED, GENEROUS, crate::items::FEEDING] {
        let home = Home::new(1, offers);
        home.put(Where::Mail, "1", &card("1", &[("FN", "Ada"), ("TEL", "1")]));
        home.settle();
        home.edit(Where::Crm, "1", &[("TEL", "2")]);
        let (mail, href) = (home.mail.clone(), home.href(Where::Mail, "1").unwrap());
        let contacts = crate::items::collection(Where::Mail, 0, ItemKind::Contact);
        let text = card("1", &[("FN", "Ada"), ("TEL", "1"), ("NOTE", "meanwhile")]);
        home.faults.inject(
            FaultRule::meanwhile(move || {
                mail.put_by_hand(&contacts, href.clone(), text.as_bytes());
            })
            .on(CallKind::Update)
            .once(),
        );
        let report = home.run();
        let outcomes: Vec<_> = report
            .operations()
            .map(|operation| operation.outcome.code())
            .collect();
        assert_eq!(outcomes, ["conflict"], "{offers:?}");
        home.settle();
        for side in SIDES {
            let there = &home.cards(side)["1"];
            assert_eq!(
                (there["TEL"].as_str(), there["NOTE"].as_str()),
                ("2", "meanwhile")
            );
        }
    }
}

#[test]
fn promise_18_one_failure_stops_no_other_operation() {
    for offers in EVERY {
        let home = Home::new(1, offers);
        for n in 0..7 {
            home.put(
                Where::Crm,
                &format!("{n}"),
                &card(&format!("{n}"), &[("FN", "Ada")]),
            );
        }
        let fault = Fault::Failed {
            kind: ErrorKind::PermissionDenied,
            retry: usersync::connector::Retry::Never,
        };
        home.faults
            .inject(FaultRule::new(fault).on(CallKind::Create).after(2).once());
        let report = home.run();
        assert_eq!(report.operations().count(), 7, "{:?}", lines(&report));
        assert_eq!(home.cards(Where::Mail).len(), 6, "{offers:?}");
        assert!(!report.is_ok());
        home.settle();
        assert_eq!(home.cards(Where::Mail).len(), 7);
    }
}

#[test]
fn promise_09_a_partial_read_deletes_and_creates_nothing() {
    for offers in EVERY {
        for side in ["crm", "mail"] {
            for shown in [0, 2] {
                let home = Home::new(1, offers);
                for n in 0..4 {
                    home.put(
                        Where::Crm,
                        &format!("{n}"),
                        &card(&format!("{n}"), &[("FN", "Ada")]),
                    );
                }
                home.settle();
                home.put(Where::Crm, "5", &card("5", &[("FN", "New")]));
                home.put(Where::Mail, "6", &card("6", &[("FN", "New")]));
                let before = end(&home);
                let fault = Fault::Partial {
                    shown,
                    kind: PartialKind::Limit,
                };
                home.faults.inject(
                    FaultRule::new(fault)
                        .on(CallKind::Items)
                        .system(crate::items::system(side)),
                );
                let report = home.run();
                assert!(!report.is_ok());
                let after = end(&home);
                for place in 0..2 {
                    for uid in before[place].keys() {
                        assert!(after[place].contains_key(uid), "{offers:?} {uid} is gone");
                    }
                }
                assert!(after.iter().all(|cards| cards.len() <= 6));
                home.faults.heal();
                home.settle();
                assert!(
                    end(&home).iter().all(|cards| cards.len() == 6),
                    "{offers:?} {side} {shown}"
                );
            }
        }
    }
}

#[test]
fn promise_17_two_workers_never_work_on_one_link_at_once() {
    let home = eventful(GENEROUS);
    home.faults.inject(
        FaultRule::new(Fault::Hang(Moment::Before))
            .on(CallKind::Update)
            .once(),
    );
    let (job, request) = (home.job(), ItemRequest::new());
    let engine = home.engine();
    let mut first = Box::pin(engine.run_items(&job, &home.items, &request));
    let waker = futures::task::noop_waker();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(first.as_mut().poll(&mut context).is_pending());
    let report = home.run();
    assert_eq!(
        report.skipped.iter().map(|link| link.why).collect::<Vec<_>>(),
        [SkippedWhy::Busy]
    );
    assert_eq!(report.operations().count(), 0);
    // The first one seems dead, and another takes over.
    home.clock.advance(LEASE * 2);
    home.run();
    home.is_still();
    let expected = end(&home);
    drop(first);
    home.is_still();
    assert_eq!(end(&home), expected);
}
