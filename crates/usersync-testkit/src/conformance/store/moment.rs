//! Scans while others write: each shows one moment.

use std::fmt;

use futures::StreamExt;
use usersync_model::{LedgerRow, Origin};
use usersync_store::{Chunks, Key, LedgerKey, Log, Table, Write};

use super::super::Violation;
use super::StoreHarness;
use super::subject::{Checked, Subject, append, container, member_key, put, read_point, row};

/// Point 2 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_a_scan_shows_no_part_of_a_transaction(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(2)).await;
    let keys: Vec<_> = (0..5000).map(|n| Key::of(&[&format!("{n:05}")])).collect();
    let write = |bytes: &[u8]| keys.iter().map(|key| put(Table::Base, key, bytes)).collect();
    subject
        .commit("wrote 5000 values", Vec::new(), write(b"old"))
        .await?;
    let done = "began a scan, committed a change of all its values, and read on";
    let all = Key::of(&[]);
    let before = subject.values(done, Table::Base, &all).await?;
    let scan = Scan::begin(
        &subject,
        done,
        subject.store.values(&subject.tenant, Table::Base, &all),
    )
    .await?;
    subject.commit(done, Vec::new(), write(b"new")).await?;
    let seen = scan.end(&subject, done).await?;
    let after = subject.values(done, Table::Base, &all).await?;
    is_one_moment(&subject, done, [before, after], &seen)
}

/// Point 2 of `StateRead`: what a plan rests on is checked as of the highest revision that was read with it, so that a row of an
/// earlier moment than others would pass for one that nobody wrote since.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_a_scan_of_the_ledger_shows_one_moment(harness: &dyn StoreHarness) -> Checked {
    let containers = ["team", "team-2", "tea", "zoo"];
    let keys: Vec<_> = containers
        .iter()
        .flat_map(|of| (0..1250).map(|n| member_key(of, &format!("user-{n}"))))
        .collect();
    let set = |key: &LedgerKey, row: Option<LedgerRow>| Write::Ledger {
        key: key.clone(),
        row,
    };
    let all = |job| {
        keys.iter()
            .map(|key| set(key, Some(row(Origin::Ours, job))))
            .collect::<Vec<_>>()
    };
    for asked in [None, Some(containers.map(container).to_vec())] {
        let subject = Subject::fresh(harness, read_point(2)).await;
        let done = match asked {
            None => "began a scan of the ledger, had its rows written by another job, and read on",
            Some(_) => "began a scan of four containers, had their rows written by another job, and read on",
        };
        subject.commit(done, Vec::new(), all("job")).await?;
        let before = subject.ledger(done, asked.clone()).await?;
        let scan = subject.store.ledger(&subject.tenant, asked.clone());
        let scan = Scan::begin(&subject, done, scan).await?;
        let mut change = all("other");
        change.extend(before.first().map(|entry| set(&entry.key, None)));
        subject.commit(done, Vec::new(), change).await?;
        let seen = scan.end(&subject, done).await?;
        let after = subject.ledger(done, asked).await?;
        is_one_moment(&subject, done, [before, after], &seen)?;
    }
    Ok(())
}

/// Point 2 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_a_scan_of_a_log_shows_one_moment(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(2)).await;
    let done = "began a scan of a log, delivered every second entry, appended more, and read on";
    let entry = |n: u32| append(Log::Outbox, &Key::of(&["entry", &n.to_string()]), b"news");
    subject
        .commit(done, Vec::new(), (0..3000).map(entry).collect())
        .await?;
    let before = subject.log(done, Log::Outbox, 0).await?;
    let scan = Scan::begin(&subject, done, subject.store.log(&subject.tenant, Log::Outbox, 0)).await?;
    let delivered = before.iter().skip(1).step_by(2).map(|entry| Write::Deliver {
        log: Log::Outbox,
        sequence: entry.sequence,
    });
    let change = delivered.chain((3000..3100).map(entry));
    subject.commit(done, Vec::new(), change.collect()).await?;
    let seen = scan.end(&subject, done).await?;
    let after = subject.log(done, Log::Outbox, 0).await?;
    is_one_moment(&subject, done, [before, after], &seen)
}

/// A scan of which the first chunk is read.
struct Scan<T> {
    first: Vec<T>,
    rest: Chunks<T>,
}

impl<T> Scan<T> {
    async fn begin(subject: &Subject, done: &str, mut scan: Chunks<T>) -> Result<Self, Violation> {
        let first = match scan.next().await {
            Some(chunk) => subject.succeeds(done, chunk)?,
            None => Vec::new(),
        };
        Ok(Self { first, rest: scan })
    }

    async fn end(self, subject: &Subject, done: &str) -> Result<Vec<T>, Violation> {
        let mut seen = self.first;
        seen.extend(subject.scan(done, self.rest).await?);
        Ok(seen)
    }
}

/// Must be all that was there before the change, or all that was there after it.
fn is_one_moment<T: fmt::Debug + PartialEq>(
    subject: &Subject,
    done: &str,
    [before, after]: [Vec<T>; 2],
    seen: &Vec<T>,
) -> Checked {
    let other = seen.iter().zip(&before).find(|(seen, before)| seen != before);
    let expected = format!(
        "the {} entries of before, or the {} of after; the first that is not as before",
        before.len(),
        after.len()
    );
    let is_whole = *seen == before || *seen == after;
    subject.point.holds(is_whole, done, expected, (seen.len(), other))
}
