//! Runs that look only at what changes touch, beside runs that look at everything: both do the same, and leave the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use usersync::engine::{ItemReach, ItemReport, ItemRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::ItemKind;
use usersync::reconcile::{Guards, ItemConflict, Mode, Policy, Share};
use usersync::store::{Key, Log, Table};
use usersync_tests::{Crash, LEASE, crash, tenant};

use crate::items::guise::Guise;
use crate::items::steps::{Step, act, step};
use crate::items::{BARE, FEEDING, GENEROUS, Home, SIDES, Where, card, collection, lines};

/// What a run says that it did, and what it leaves, but for how much it looked at.
fn told(report: &ItemReport) -> String {
    let mut report = report.clone();
    for pair in &mut report.pairs {
        pair.reach = ItemReach::All;
    }
    format!("{:?} {:?}", report.end, report.pairs)
}

/// Texts; rows, intents and cursors; the audit.
type Left = ([Vec<String>; 2], Vec<String>, Vec<String>);

/// Everything there is, with the digests of plans in the audit; but for places and their count.
fn left(home: &Home) -> Left {
    let texts = SIDES.map(|side| {
        let contacts = collection(side, 0, ItemKind::Contact);
        let texts = home.side(side).texts_of(&contacts).unwrap().into_iter();
        texts
            .map(|(href, text)| format!("{href}: {}", String::from_utf8_lossy(&text)))
            .collect()
    });
    let snapshot = home.store.snapshot(&tenant());
    let mut values = Vec::new();
    for table in [Table::Base, Table::Cursor, Table::Intent] {
        for (key, bytes) in snapshot.values.get(&table).into_iter().flatten() {
            let mut value: Value = serde_json::from_slice(bytes).unwrap();
            if let Value::Object(state) = &mut value["value"]
                && table == Table::Cursor
            {
                state.remove("rows");
            }
            values.push(format!("{table:?} {key:?}: {value}"));
        }
    }
    let audit = snapshot.logs.get(&Log::Audit).into_iter().flatten();
    let audit = audit.map(|(key, bytes)| format!("{key:?}: {}", String::from_utf8_lossy(bytes)));
    (texts, values, audit.collect())
}

/// Whether each row is found by the places that it names, no other is, and they are counted.
fn check_places(home: &Home) -> std::result::Result<(), TestCaseError> {
    let snapshot = home.store.snapshot(&tenant());
    let of = |table: Table| snapshot.values.get(&table).into_iter().flatten();
    let mut expected: BTreeSet<Key> = BTreeSet::new();
    let mut counted: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (key, bytes) in of(Table::Base) {
        let row: Value = serde_json::from_slice(bytes).unwrap();
        let parts: Vec<String> = key.parts().map(str::to_owned).collect();
        let (uid, pair) = parts.split_last().unwrap();
        for side in ["first", "second"] {
            let href = row["value"][side]["href"].as_str().unwrap();
            let last = [side, href, uid];
            let parts: Vec<&str> = pair.iter().map(String::as_str).chain(last).collect();
            expected.insert(Key::of(&parts));
        }
        *counted.entry(pair.to_vec()).or_default() += 1;
    }
    let stored: BTreeSet<Key> = of(Table::Place).map(|(key, _)| key.clone()).collect();
    prop_assert_eq!(stored, expected);
    for (key, bytes) in of(Table::Cursor) {
        let state: Value = serde_json::from_slice(bytes).unwrap();
        let pair: Vec<String> = key.parts().map(str::to_owned).collect();
        let rows = counted.get(&pair).copied().unwrap_or_default();
        // Of a collection that never changed nothing may be counted yet.
        prop_assert_eq!(
            state["value"]["rows"].as_u64().unwrap_or_default(),
            rows,
            "{:?}",
            key
        );
    }
    Ok(())
}

fn reaches(report: &ItemReport) -> impl Iterator<Item = ItemReach> {
    report.pairs.iter().map(|pair| pair.reach)
}

/// The same history twice, in one of which no run looks at places.
fn compare(home: Home, steps: &[Step], narrow: &AtomicU64) -> std::result::Result<(), TestCaseError> {
    let mut wide = home.fork();
    wide.guise = Guise::Modest;
    let runs = [Step::Run, Step::Approve, Step::Run];
    for (number, step) in steps.iter().chain(&runs).enumerate() {
        let [here, there] = [&home, &wide].map(|home| act(home, step, number));
        let [here_told, there_told] = [&here, &there].map(|report| report.as_ref().map(told));
        prop_assert_eq!(here_told, there_told, "step {}, {:?}", number, step);
        prop_assert_eq!(left(&home), left(&wide), "step {}, {:?}", number, step);
        check_places(&home)?;
        let touched = |report: &ItemReport| {
            reaches(report)
                .filter(|reach| *reach == ItemReach::Touched)
                .count()
        };
        narrow.fetch_add(here.as_ref().map_or(0, touched) as u64, Ordering::Relaxed);
        prop_assert_eq!(there.as_ref().map_or(0, touched), 0);
    }
    Ok(())
}

#[test]
fn promise_10_a_run_that_looks_only_at_what_changed_ends_as_one_that_looks_at_everything() {
    let narrow = AtomicU64::new(0);
    let policies = [crate::items::free_policy(), guarded()];
    let conflicts = [
        ItemConflict::FirstWins,
        ItemConflict::KeepBoth,
        ItemConflict::Report,
        ItemConflict::SecondWins,
    ];
    let history = (
        prop::collection::vec(step(), 1..40),
        prop::sample::select(vec![BARE, FEEDING, GENEROUS]),
        prop::sample::select(conflicts.to_vec()),
        prop::sample::select(policies.to_vec()),
    );
    let mut runner = TestRunner::new(usersync_tests::edit::cases(250));
    let outcome = runner.run(&history, |(steps, offers, conflict, policy)| {
        let mut home = Home::new(1, offers).with_conflict(conflict);
        home.policy = policy;
        for number in 0..6 {
            let uid = format!("{number}");
            home.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada"), ("TEL", &uid)]));
        }
        compare(home, &steps, &narrow)
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let narrow = narrow.load(Ordering::Relaxed);
    assert!(narrow > 500, "{narrow} runs looked only at what changed");
}

/// So that a few removals wait, and only because of how many rows there are.
fn guarded() -> Policy {
    Policy {
        guards: Guards {
            container: Some(Share {
                percent: 20,
                floor: 4,
            }),
            ..Guards::default()
        },
        ..Policy::new(Mode::Managed)
    }
}

#[test]
fn few_changes_among_many_items_are_looked_up_and_many_are_not() {
    let home = Home::new(1, GENEROUS);
    for number in 0..200 {
        let uid = format!("{number:03}");
        home.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada"), ("TEL", "1")]));
    }
    home.settle();
    home.is_still();
    home.edit(Where::Crm, "007", &[("TEL", "2")]);
    home.calls.clear();
    let report = home.run();
    let reach = |report: &ItemReport| reaches(report).max();
    assert_eq!(reach(&report), Some(ItemReach::Touched));
    assert_eq!(lines(&report), ["change 007 on mail (TEL): done"]);
    // The change comes back from the other side, and that is all.
    assert_eq!(reach(&home.run()), Some(ItemReach::Touched));
    assert_eq!(reach(&home.run()), Some(ItemReach::Nothing));
    for number in 0..40 {
        home.edit(Where::Crm, &format!("{number:03}"), &[("TEL", "3")]);
    }
    assert_eq!(reach(&home.run()), Some(ItemReach::All));
    home.settle();
}

#[test]
fn promise_10_the_guard_of_a_collection_counts_what_is_not_looked_at() {
    for (removed, waits) in [(5, false), (60, true)] {
        let mut home = Home::new(1, GENEROUS);
        home.policy = guarded();
        for number in 0..500 {
            let uid = format!("{number:03}");
            home.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada")]));
        }
        home.settle();
        home.is_still();
        home.policy.guards.container = Some(Share {
            percent: 10,
            floor: 4,
        });
        // What another policy removes waits once.
        home.is_still();
        for number in 0..removed {
            home.remove(Where::Crm, &format!("{number:03}"));
        }
        let report = home.run();
        assert!(reaches(&report).any(|reach| reach == ItemReach::Touched));
        let held = report.pairs.iter().flat_map(|pair| &pair.holds);
        let causes: BTreeSet<String> = held.map(|held| held.cause.to_string()).collect();
        assert_eq!(!causes.is_empty(), waits, "{causes:?}");
        assert!(causes.iter().all(|cause| cause.contains("500")), "{causes:?}");
    }
}

/// What a store has that was made before places were: no places, and nothing of them in its states.
fn forget_places(home: &Home) {
    use usersync::store::{StateStore, Transaction, Write};

    let snapshot = home.store.snapshot(&tenant());
    let mut transaction = Transaction::new(tenant());
    for (key, bytes) in &snapshot.values[&Table::Cursor] {
        let mut state: Value = serde_json::from_slice(bytes).unwrap();
        state["version"] = 1.into();
        state["value"].as_object_mut().unwrap().remove("rows");
        transaction.write(Write::Put {
            table: Table::Cursor,
            key: key.clone(),
            bytes: serde_json::to_vec(&state).unwrap(),
        });
    }
    for key in snapshot.values[&Table::Place].keys() {
        transaction.write(Write::Delete {
            table: Table::Place,
            key: key.clone(),
        });
    }
    futures::executor::block_on(home.store.commit(transaction)).unwrap();
}

#[test]
fn a_store_that_was_made_before_gets_its_places_whenever_it_is_killed() {
    let old = Home::new(1, GENEROUS);
    for number in 0..8 {
        let uid = format!("{number}");
        old.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada"), ("TEL", "1")]));
    }
    old.settle();
    old.is_still();
    forget_places(&old);
    old.edit(Where::Crm, "3", &[("TEL", "2")]);
    let mut stopped = 0;
    for commit in 0.. {
        let home = old.fork();
        let rule = FaultRule::new(Fault::Hang(Moment::After)).on(CallKind::Commit);
        home.faults.inject(rule.after(commit).once());
        let (engine, job, request) = (home.engine(), home.job(), ItemRequest::new());
        let ended = crash(engine.run_items(&job, &home.items, &request));
        home.faults.heal();
        home.clock.advance(LEASE * 2);
        home.settle();
        check_places(&home).unwrap();
        home.edit(Where::Crm, "4", &[("TEL", "2")]);
        assert!(reaches(&home.run()).any(|reach| reach == ItemReach::Touched));
        match ended {
            Crash::Stopped => stopped += 1,
            Crash::Ended(_) => break,
        }
    }
    assert!(stopped > 5, "{stopped}");
}
