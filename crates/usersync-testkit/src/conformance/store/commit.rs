//! The points about transactions: checks, writes, revisions.

use usersync_model::{MemberFacets, MembershipState, Origin, Role};
use usersync_store::{Check, Key, Log, StoreErrorKind, Table, Write};

use super::super::Violation;
use super::StoreHarness;
use super::subject::{Checked, Subject, add, append, counter, member_key, one_of_each, point, put, row};

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_failing_last_check_lets_nothing_be_written(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    subject
        .commit("wrote something of every kind", Vec::new(), one_of_each())
        .await?;
    let logs = subject.log("read the log", Log::Outbox, 0).await?;
    let mut writes = vec![
        put(Table::Link, &Key::of(&["link", "1"]), b"changed"),
        put(Table::Seat, &Key::of(&["seat"]), b"new"),
        Write::Delete {
            table: Table::Link,
            key: Key::of(&["link", "1"]),
        },
        Write::Ledger {
            key: member_key("team", "ada"),
            row: None,
        },
        Write::Ledger {
            key: member_key("team", "bob"),
            row: Some(row(Origin::Foreign, "job")),
        },
        add(&counter(), 5),
        append(Log::Audit, &Key::of(&["deed", "2"]), b"another deed"),
    ];
    writes.extend(logs.iter().map(|entry| Write::Deliver {
        log: Log::Outbox,
        sequence: entry.sequence,
    }));
    let checks = vec![
        Check::Value {
            table: Table::Seat,
            key: Key::of(&["seat"]),
            revision: None,
        },
        Check::Ledger {
            key: member_key("team", "ada"),
            row: Some(row(Origin::Ours, "job")),
            as_of: None,
        },
        Check::AtMost {
            counters: vec![counter()],
            limit: 7,
        },
    ];
    let done = "committed writes of every kind with a last check that does not hold";
    subject.conflicts(done, 2, checks, writes).await
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_conflict_names_the_check_that_did_not_hold(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let holds = Check::Value {
        table: Table::Job,
        key: Key::of(&["none"]),
        revision: None,
    };
    let fails = Check::Value {
        table: Table::Job,
        key: Key::of(&["none"]),
        revision: Some(1),
    };
    for index in 0..4 {
        let mut checks = vec![holds.clone(); 4];
        checks[index] = fails.clone();
        let done = format!("committed four checks of which the one at {index} does not hold");
        subject.conflicts(&done, index, checks, one_of_each()).await?;
    }
    Ok(())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_values_are_checked_by_their_revision(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let key = Key::of(&["job"]);
    let check = |revision| {
        vec![Check::Value {
            table: Table::Job,
            key: key.clone(),
            revision,
        }]
    };
    let write = |bytes: &[u8]| vec![put(Table::Job, &key, bytes)];
    subject
        .commit(
            "wrote a value that must not be there, and is not",
            check(None),
            write(b"1"),
        )
        .await?;
    let done = "wrote a value that must not be there, and is";
    subject.conflicts(done, 0, check(None), write(b"2")).await?;
    let first = revision(&subject, &key).await?;
    subject
        .commit("wrote a value at its revision", check(Some(first)), write(b"2"))
        .await?;
    let done = "wrote a value at the revision that it had before";
    subject
        .conflicts(done, 0, check(Some(first)), write(b"3"))
        .await?;
    let second = revision(&subject, &key).await?;
    let done = "wrote a value at a revision that it never had";
    subject
        .conflicts(done, 0, check(Some(second + 1)), write(b"3"))
        .await?;
    let delete = vec![Write::Delete {
        table: Table::Job,
        key: key.clone(),
    }];
    subject
        .commit("deleted a value at its revision", check(Some(second)), delete)
        .await?;
    let done = "wrote a deleted value at its last revision";
    subject
        .conflicts(done, 0, check(Some(second)), write(b"3"))
        .await?;
    subject
        .commit(
            "wrote a deleted value that must not be there",
            check(None),
            write(b"3"),
        )
        .await
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_ledger_rows_are_checked_by_their_content(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let key = member_key("team", "ada");
    let check = |row| {
        vec![Check::Ledger {
            key: key.clone(),
            row,
            as_of: None,
        }]
    };
    let write = |row| {
        vec![Write::Ledger {
            key: key.clone(),
            row,
        }]
    };
    let (ours, foreign) = (row(Origin::Ours, "job"), row(Origin::Foreign, "job"));
    let done = "wrote a row that must be there, and is not";
    subject
        .conflicts(done, 0, check(Some(ours.clone())), write(Some(foreign.clone())))
        .await?;
    let done = "wrote a row that must not be there, and is not";
    subject
        .commit(done, check(None), write(Some(ours.clone())))
        .await?;
    let done = "wrote a row that must not be there, and is";
    subject
        .conflicts(done, 0, check(None), write(Some(foreign.clone())))
        .await?;
    let done = "wrote a row that must have another origin";
    subject
        .conflicts(done, 0, check(Some(foreign.clone())), write(None))
        .await?;
    let done = "wrote a row that must have other claims";
    subject
        .conflicts(done, 0, check(Some(row(Origin::Ours, "other"))), write(None))
        .await?;
    let done = "wrote a row that must have other facets";
    let facets = MemberFacets {
        role: Role::Manager,
        state: MembershipState::Active,
    };
    let with_facets = ours.clone().with_facets(facets);
    subject
        .conflicts(done, 0, check(Some(with_facets)), write(None))
        .await?;
    let done = "removed a row that is as it must be";
    subject.commit(done, check(Some(ours)), write(None)).await?;
    subject
        .commit("checked that a removed row is not there", check(None), Vec::new())
        .await
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_at_most_counts_after_the_writes(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let (users, rooms) = (Key::of(&["users"]), Key::of(&["rooms"]));
    let both = |limit| {
        vec![Check::AtMost {
            counters: vec![users.clone(), rooms.clone()],
            limit,
        }]
    };
    let done = "took two and one where three are allowed together";
    subject
        .commit(done, both(3), vec![add(&users, 2), add(&rooms, 1)])
        .await?;
    let done = "took one more where three are taken and allowed";
    for counter in [&users, &rooms] {
        let result = subject
            .store
            .commit(subject.transaction(both(3), vec![add(counter, 1)]))
            .await;
        subject.fails(done, StoreErrorKind::Conflict, result)?;
    }
    let seen = (
        subject.counter(done, &users).await?,
        subject.counter(done, &rooms).await?,
    );
    subject.point.equal(done, &(2, 1), &seen)?;
    let done = "gave one back and took another in one transaction";
    subject
        .commit(done, both(3), vec![add(&rooms, 1), add(&users, -1)])
        .await?;
    let done = "checked a limit that is kept without any write";
    subject.commit(done, both(3), Vec::new()).await?;
    let done = "checked a limit that is exceeded without any write";
    subject.conflicts(done, 0, both(2), Vec::new()).await
}

/// Point 1: all checks but `AtMost`, as their documentation says.
///
/// # Errors
/// The violation found.
pub async fn point_01_other_checks_see_the_state_before_the_writes(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let key = Key::of(&["job"]);
    let checks = vec![
        Check::Value {
            table: Table::Job,
            key: key.clone(),
            revision: None,
        },
        Check::Ledger {
            key: member_key("team", "ada"),
            row: None,
            as_of: None,
        },
    ];
    let writes = vec![
        put(Table::Job, &key, b"new"),
        Write::Ledger {
            key: member_key("team", "ada"),
            row: Some(row(Origin::Ours, "job")),
        },
    ];
    let done = "made what must not be there, and was not before the writes";
    subject.commit(done, checks, writes).await
}

/// Point 1, as the documentation of writes says.
///
/// # Errors
/// The violation found.
pub async fn point_01_writes_take_effect_in_their_order(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let [twice, gone, back] = ["twice", "gone", "back"].map(|name| Key::of(&[name]));
    let delete = |key: &Key| Write::Delete {
        table: Table::Job,
        key: key.clone(),
    };
    let ledger = |origin| Write::Ledger {
        key: member_key("team", "ada"),
        row: Some(row(origin, "job")),
    };
    let done = "put a value twice, put and deleted one, deleted and put one, set a row twice";
    let writes = vec![
        put(Table::Job, &twice, b"first"),
        put(Table::Job, &twice, b"last"),
        put(Table::Job, &gone, b""),
        delete(&gone),
        delete(&back),
        put(Table::Job, &back, b"back"),
        ledger(Origin::Ours),
        ledger(Origin::Foreign),
    ];
    subject.commit(done, Vec::new(), writes).await?;
    let expected = [
        (&twice, Some(b"last".to_vec())),
        (&gone, None),
        (&back, Some(b"back".to_vec())),
    ];
    for (key, expected) in expected {
        subject
            .point
            .equal(done, &expected, &subject.bytes(done, Table::Job, key).await?)?;
    }
    let seen = subject
        .store
        .ledger_row(&subject.tenant, &member_key("team", "ada"))
        .await;
    let seen = subject.succeeds(done, seen)?.map(|entry| entry.row);
    subject
        .point
        .equal(done, &Some(row(Origin::Foreign, "job")), &seen)
}

/// Point 1, as the documentation of `Write::Add` says.
///
/// # Errors
/// The violation found.
pub async fn point_01_counters_are_never_below_zero(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    for (done, deltas, expected) in [
        ("added 2", [2].as_slice(), 2),
        ("subtracted 5 from 2", &[-5], 0),
        ("subtracted 5 from 0 and added 3", &[-5, 3], 3),
        ("subtracted more than there can be", &[i64::MIN], 0),
    ] {
        let writes = deltas.iter().map(|delta| add(&counter(), *delta)).collect();
        subject.commit(done, Vec::new(), writes).await?;
        subject
            .point
            .equal(done, &expected, &subject.counter(done, &counter()).await?)?;
    }
    Ok(())
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_revisions_rise_also_over_a_deletion(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(3)).await;
    let key = Key::of(&["job"]);
    let delete = || Write::Delete {
        table: Table::Job,
        key: key.clone(),
    };
    let write = || put(Table::Job, &key, b"same");
    let mut last = None;
    for (done, transactions) in [
        ("put a value", vec![vec![write()]]),
        ("put it again", vec![vec![write()]]),
        (
            "put it three times in one transaction",
            vec![vec![write(), write(), write()]],
        ),
        ("deleted it and put it again", vec![vec![delete()], vec![write()]]),
        (
            "deleted it and put it again in one transaction",
            vec![vec![delete(), write()]],
        ),
        (
            "deleted it twice and put it again",
            vec![vec![delete()], vec![delete()], vec![write()]],
        ),
    ] {
        for writes in transactions {
            subject.commit(done, Vec::new(), writes).await?;
        }
        let now = revision(&subject, &key).await?;
        let expected = format!("a revision higher than {last:?}");
        subject
            .point
            .holds(last.is_none_or(|last| now > last), done, expected, now)?;
        last = Some(now);
    }
    Ok(())
}

pub(super) async fn revision(subject: &Subject, key: &Key) -> Result<u64, Violation> {
    let done = "read a value that was put";
    let stored = subject.value(done, Table::Job, key).await?;
    match stored {
        Some(stored) => Ok(stored.revision),
        None => Err(subject.point.violated(done, "the value", stored)),
    }
}
