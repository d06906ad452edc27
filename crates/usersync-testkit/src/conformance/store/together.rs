//! What is asked at the same time: the result is that of some order.
//!
//! A store that looks, waits and then writes is caught only if others come in between, which is a matter of luck: so each of these is tried
//! some times.

use std::fmt;

use futures::future::{join, join_all};
use usersync_model::Origin;
use usersync_store::{Check, Key, Lease, Result, StoreErrorKind, Table, Transaction, Write};

use super::super::Violation;
use super::StoreHarness;
use super::commit::revision;
use super::subject::{Checked, MINUTE, Subject, add, counter, member_key, point, put, row};

const TIMES: usize = 10;

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_of_two_interleaved_transactions_the_second_conflicts(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    let mut taken = 0;
    for time in 0..TIMES {
        let key = Key::of(&["job", &time.to_string()]);
        let decide = |seen, n: usize| {
            let check = Check::Value {
                table: Table::Job,
                key: key.clone(),
                revision: seen,
            };
            let writes = vec![put(Table::Job, &key, &n.to_be_bytes()), add(&counter(), 1)];
            subject.transaction(vec![check], writes)
        };
        let done = "made a value twice that must not be there";
        one_is_committed(&subject, done, |n| decide(None, n)).await?;
        let seen = revision(&subject, &key).await?;
        let done = "decided twice upon one revision, and committed both decisions";
        one_is_committed(&subject, done, |n| decide(Some(seen), n)).await?;
        taken += 2;
        subject
            .point
            .equal(done, &taken, &subject.counter(done, &counter()).await?)?;

        let seats = Key::of(&["seats", &time.to_string()]);
        for (done, limit) in [("took the first seat twice", 1), ("took the last seat twice", 2)] {
            let check = Check::AtMost {
                counters: vec![seats.clone()],
                limit,
            };
            let take = |_| subject.transaction(vec![check.clone()], vec![add(&seats, 1)]);
            one_is_committed(&subject, done, take).await?;
            subject
                .point
                .equal(done, &limit, &subject.counter(done, &seats).await?)?;
        }
    }
    Ok(())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_of_two_interleaved_claims_of_a_row_the_second_conflicts(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    for time in 0..TIMES {
        let key = member_key("team", &format!("user-{time}"));
        let mut known = None;
        for done in [
            "had two jobs claim a row that must not be there",
            "had two jobs write one row, as of the write that both know",
        ] {
            let claims = ["one", "two"].map(|job| row(Origin::Ours, &format!("{job} of those who {done}")));
            let winner = one_is_committed(&subject, done, |n| {
                let check = Check::Ledger {
                    key: key.clone(),
                    row: known.as_ref().map(|(row, _)| row).cloned(),
                    as_of: known.as_ref().map(|(_, revision)| *revision),
                };
                let write = Write::Ledger {
                    key: key.clone(),
                    row: Some(claims[n].clone()),
                };
                subject.transaction(vec![check], vec![write])
            })
            .await?;
            let claimed = claims.into_iter().nth(winner);
            let seen = subject.store.ledger_row(&subject.tenant, &key).await;
            let seen = subject.succeeds(done, seen)?;
            known = seen.map(|entry| (entry.row, entry.revision));
            let written = known.as_ref().map(|(row, _)| row).cloned();
            subject
                .point
                .equal(format!("{done}; the row"), &claimed, &written)?;
        }
    }
    Ok(())
}

/// Point 1: to lock what is written is not enough.
///
/// # Errors
/// The violation found.
pub async fn point_01_of_two_that_check_what_the_other_writes_the_second_conflicts(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(1)).await;
    for time in 0..TIMES {
        let keys = ["left", "right"].map(|side| Key::of(&[side, &time.to_string()]));
        let done = "put two values, each if the other is not there";
        one_is_committed(&subject, done, |n| {
            let check = Check::Value {
                table: Table::Job,
                key: keys[1 - n].clone(),
                revision: None,
            };
            subject.transaction(vec![check], vec![put(Table::Job, &keys[n], b"")])
        })
        .await?;

        let done = "set two ledger rows, each if the other is what it was";
        let rows = ["left", "right"].map(|side| member_key(side, &format!("user-{time}")));
        let set = |n: usize, job| Write::Ledger {
            key: rows[n].clone(),
            row: Some(row(Origin::Ours, job)),
        };
        let both = vec![set(0, "before"), set(1, "before")];
        subject.commit(done, Vec::new(), both).await?;
        one_is_committed(&subject, done, |n| {
            let check = Check::Ledger {
                key: rows[1 - n].clone(),
                row: Some(row(Origin::Ours, "before")),
                as_of: None,
            };
            subject.transaction(vec![check], vec![set(n, "after")])
        })
        .await?;

        let done = "took the last of two kinds of seats that have one limit, one of each kind";
        one_is_committed(&subject, done, |n| {
            let check = Check::AtMost {
                counters: keys.to_vec(),
                limit: 1,
            };
            subject.transaction(vec![check], vec![add(&keys[n], 1)])
        })
        .await?;
    }
    Ok(())
}

/// Point 2: whoever has a lease sees all that was ever written under those before it.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_commit_beside_an_acquire_is_before_it_or_fenced(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(2)).await;
    let fenced = Key::of(&["fenced"]);
    for time in 0..TIMES {
        let name = format!("job-{time}");
        let old = subject.acquire("acquired a lease", &name).await?;
        let has_expired = time % 2 == 0 && harness.advance(2 * MINUTE).await.is_ok();
        let done = "committed under a lease while somebody else took it and looked at what is stored";
        let take = async {
            if !has_expired {
                subject.succeeds(done, subject.store.release(&old).await)?;
            }
            subject.acquire(done, &name).await?;
            subject.bytes(done, Table::JobState, &fenced).await
        };
        let commit = subject.write_under(&old, name.as_bytes());
        let (committed, seen) = if time % 4 < 2 {
            join(commit, take).await
        } else {
            let (seen, committed) = join(take, commit).await;
            (committed, seen)
        };
        let stored = subject.bytes(done, Table::JobState, &fenced).await?;
        subject
            .point
            .equal(format!("{done}; what is stored later"), &seen?, &stored)?;
        let is_written = stored.as_deref() == Some(name.as_bytes());
        let is_right = match &committed {
            Ok(()) => is_written,
            Err(error) => error.kind() == StoreErrorKind::Fenced && !is_written,
        };
        let expected = "a success that is stored, or an error of kind Fenced and nothing stored";
        subject
            .point
            .holds(is_right, done, expected, (committed, stored))?;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_of_many_who_acquire_at_once_one_gets_the_lease(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(5)).await;
    for time in 0..TIMES {
        let name = format!("job-{time}");
        let done = "had eight workers acquire a lease that nobody ever had";
        let first = one_acquires(&subject, done, &name).await?;
        subject.succeeds(done, subject.store.release(&first).await)?;
        let done = "had eight workers acquire a lease that was released";
        let second = one_acquires(&subject, done, &name).await?;
        subject.rises(done, first.token, second.token)?;
        if harness.advance(2 * MINUTE).await.is_ok() {
            let done = "had eight workers acquire a lease that expired";
            let third = one_acquires(&subject, done, &name).await?;
            subject.rises(done, second.token, third.token)?;
        }
    }
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_of_a_renewal_and_an_acquire_at_once_one_succeeds(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(6)).await;
    for time in 0..TIMES {
        let name = subject.lease_name(&format!("job-{time}"));
        let done = "renewed a lease that expired while somebody else acquired it";
        let acquire = |holder| subject.store.acquire(&name, holder, MINUTE);
        let lease = subject.succeeds(done, acquire("worker").await)?;
        if harness.advance(2 * MINUTE).await.is_err() {
            return Ok(());
        }
        let renew = subject.store.renew(&lease, MINUTE);
        let results = if time % 2 == 0 {
            join(renew, acquire("another worker")).await
        } else {
            let (acquired, renewed) = join(acquire("another worker"), renew).await;
            (renewed, acquired)
        };
        let is_right = match &results {
            (Ok(_), Err(error)) => error.kind() == StoreErrorKind::Held,
            (Err(error), Ok(_)) => error.kind() == StoreErrorKind::Fenced,
            _ => false,
        };
        let expected = "one success, beside a renewal that is Fenced or an acquire that is Held";
        subject.point.holds(is_right, done, expected, results)?;
    }
    Ok(())
}

/// Commits both transactions at once; one must be committed, and the other conflict. Answers which was.
async fn one_is_committed(
    subject: &Subject,
    done: &str,
    make: impl Fn(usize) -> Transaction,
) -> std::result::Result<usize, Violation> {
    let store = &subject.store;
    let results = join(store.commit(make(0)), store.commit(make(1))).await;
    let results = [results.0, results.1];
    one_succeeds(subject, done, StoreErrorKind::Conflict, &results)?;
    Ok(usize::from(results[0].is_err()))
}

/// Has eight workers acquire one lease at once; one must get it, and the others be told that it is held.
async fn one_acquires(subject: &Subject, done: &str, name: &str) -> std::result::Result<Lease, Violation> {
    let name = subject.lease_name(name);
    let holders: Vec<_> = (0..8).map(|n| format!("worker-{n}")).collect();
    let acquire = |holder| subject.store.acquire(&name, holder, MINUTE);
    let results = join_all(holders.iter().map(|holder| acquire(holder))).await;
    one_succeeds(subject, done, StoreErrorKind::Held, &results)?;
    let lease = results.into_iter().find_map(Result::ok);
    lease.ok_or_else(|| subject.point.violated(done, "a lease", "none"))
}

fn one_succeeds<T: fmt::Debug>(
    subject: &Subject,
    done: &str,
    kind: StoreErrorKind,
    results: &[Result<T>],
) -> Checked {
    let succeeded = results.iter().filter(|result| result.is_ok()).count();
    let is_right = |result: &Result<T>| result.as_ref().err().is_none_or(|error| error.kind() == kind);
    let expected = format!("one success, and errors of kind {kind:?}");
    let is_one = succeeded == 1 && results.iter().all(is_right);
    subject.point.holds(is_one, done, expected, results)
}
