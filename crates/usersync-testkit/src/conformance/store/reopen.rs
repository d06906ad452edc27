//! The point about durability.

use usersync_model::{LedgerRow, Origin};
use usersync_store::{Key, LedgerKey, Log, Table, Write};

use super::super::Violation;
use super::StoreHarness;
use super::commit::revision;
use super::subject::{Checked, Subject, append, member_key, one_of_each, point, put, row};

/// Point 8.
///
/// # Errors
/// The violation found.
pub async fn point_08_what_was_committed_is_there_after_reopening(harness: &dyn StoreHarness) -> Checked {
    let mut subject = Subject::fresh(harness, point(8)).await;
    let done = "committed writes of every kind and reopened the store";
    subject.commit(done, Vec::new(), one_of_each()).await?;
    let gone = Key::of(&["gone"]);
    subject
        .commit(done, Vec::new(), vec![put(Table::Seat, &gone, b"")])
        .await?;
    let delete = Write::Delete {
        table: Table::Seat,
        key: gone,
    };
    subject.commit(done, Vec::new(), vec![delete]).await?;
    subject.acquire(done, "job").await?;
    let before = subject.everything(done).await?;
    let Ok(store) = harness.reopen().await else {
        return Ok(());
    };
    subject.store = store;
    subject
        .point
        .equal(done, &before, &subject.everything(done).await?)?;
    subject
        .is_held(
            "acquired a lease that was held when the store was reopened",
            "job",
        )
        .await
}

/// Point 8, with points 3 and 5.
///
/// # Errors
/// The violation found.
pub async fn point_08_revisions_tokens_and_sequences_rise_across_reopening(
    harness: &dyn StoreHarness,
) -> Checked {
    let mut subject = Subject::fresh(harness, point(8)).await;
    let done =
        "deleted a value, released a lease, delivered an entry, reopened the store, and made them anew";
    let key = Key::of(&["job"]);
    let writes = || vec![put(Table::Job, &key, b""), append(Log::Outbox, &key, b"")];
    subject.commit(done, Vec::new(), writes()).await?;
    let before = revision(&subject, &key).await?;
    let sequence = last_sequence(&subject, done).await?;
    let lease = subject.acquire(done, "job").await?;
    let clear = vec![
        Write::Delete {
            table: Table::Job,
            key: key.clone(),
        },
        Write::Deliver {
            log: Log::Outbox,
            sequence,
        },
    ];
    subject.commit(done, Vec::new(), clear).await?;
    subject.succeeds(done, subject.store.release(&lease).await)?;
    let Ok(store) = harness.reopen().await else {
        return Ok(());
    };
    subject.store = store;
    subject.commit(done, Vec::new(), writes()).await?;
    let now = revision(&subject, &key).await?;
    subject.point.holds(
        now > before,
        done,
        format!("a revision higher than {before}"),
        now,
    )?;
    let now = last_sequence(&subject, done).await?;
    subject.point.holds(
        now > sequence,
        done,
        format!("a sequence higher than {sequence}"),
        now,
    )?;
    let again = subject.acquire(done, "job").await?;
    subject.rises(done, lease.token, again.token)
}

/// Point 8, with point 3: also where the row of the highest revision is gone.
///
/// # Errors
/// The violation found.
pub async fn point_08_revisions_of_ledger_rows_rise_across_reopening(harness: &dyn StoreHarness) -> Checked {
    let mut subject = Subject::fresh(harness, point(8)).await;
    let [ada, bob, cleo] = ["ada", "bob", "cleo"].map(|who| member_key("team", who));
    let set = |key: &LedgerKey, row: Option<LedgerRow>| {
        vec![Write::Ledger {
            key: key.clone(),
            row,
        }]
    };
    let claimed = || Some(row(Origin::Ours, "job"));
    let done = "set two ledger rows, removed the newer one, reopened the store, and set another";
    subject.commit(done, Vec::new(), set(&ada, claimed())).await?;
    subject.commit(done, Vec::new(), set(&bob, claimed())).await?;
    let rows = subject.ledger(done, None).await?;
    let before = rows.iter().map(|entry| entry.revision).max();
    subject.commit(done, Vec::new(), set(&bob, None)).await?;
    let Ok(store) = harness.reopen().await else {
        return Ok(());
    };
    subject.store = store;
    subject.commit(done, Vec::new(), set(&cleo, claimed())).await?;
    let now = subject.store.ledger_row(&subject.tenant, &cleo).await;
    let now = subject.succeeds(done, now)?.map(|entry| entry.revision);
    let expected = format!("a revision higher than {before:?}");
    subject.point.holds(now > before, done, expected, now)
}

async fn last_sequence(subject: &Subject, done: &str) -> Result<u64, Violation> {
    let entries = subject.log(done, Log::Outbox, 0).await?;
    match entries.last() {
        Some(entry) => Ok(entry.sequence),
        None => Err(subject.point.violated(done, "an entry in the log", entries)),
    }
}
