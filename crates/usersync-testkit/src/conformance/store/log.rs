//! The points about logs.

use usersync_store::{Key, Log, LogEntry, Write};

use super::super::Violation;
use super::StoreHarness;
use super::subject::{Checked, Subject, append, point, read_point};

/// Point 5 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_05_log_entries_ascend_after_a_sequence(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(5)).await;
    let done = "appended 3000 entries, a hundred a transaction, and read them";
    for hundred in 0..30 {
        let numbers = 100 * hundred..100 * (hundred + 1);
        let writes = numbers.map(|n: u32| append(Log::Outbox, &entry_key(n), &n.to_be_bytes()));
        subject.commit(done, Vec::new(), writes.collect()).await?;
    }
    let entries = subject.log(done, Log::Outbox, 0).await?;
    let in_order = entries.iter().enumerate().all(|(n, entry)| {
        let n = n as u32;
        entry.key == entry_key(n) && entry.bytes == n.to_be_bytes()
    });
    let rises = entries.is_sorted_by(|a, b| a.sequence < b.sequence);
    let after_zero = entries.first().is_some_and(|entry| entry.sequence > 0);
    let expected = "3000 entries as they were appended, their sequences rising from above 0";
    let is_right = in_order && rises && after_zero && entries.len() == 3000;
    subject.point.holds(
        is_right,
        done,
        expected,
        (entries.len(), entries.first(), entries.last()),
    )?;
    for at in [0, 1023, 1500, 2999] {
        let after = entries[at].sequence;
        let done = format!("read the log after sequence {after}");
        let seen = subject.log(&done, Log::Outbox, after).await?;
        let told = format!("{} entries", entries.len() - at - 1);
        subject
            .point
            .holds(seen == entries[at + 1..], done, told, (seen.len(), seen.first()))?;
    }
    Ok(())
}

/// Point 5 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_05_delivered_entries_are_not_given(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(5)).await;
    let entries = append_three(&subject, Log::Outbox).await?;
    let done = "delivered the second of three entries";
    let deliver = Write::Deliver {
        log: Log::Outbox,
        sequence: entries[1].sequence,
    };
    subject.commit(done, Vec::new(), vec![deliver]).await?;
    let seen = subject.log(done, Log::Outbox, 0).await?;
    subject
        .point
        .equal(done, &vec![entries[0].clone(), entries[2].clone()], &seen)
}

/// Point 5 of `StateRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_05_logs_are_apart(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(5)).await;
    let audit = append_three(&subject, Log::Audit).await?;
    let outbox = append_three(&subject, Log::Outbox).await?;
    let done = "appended equal keys to both logs and delivered all of one";
    let deliver = outbox.iter().map(|entry| Write::Deliver {
        log: Log::Outbox,
        sequence: entry.sequence,
    });
    subject.commit(done, Vec::new(), deliver.collect()).await?;
    subject
        .point
        .equal(done, &audit, &subject.log(done, Log::Audit, 0).await?)?;
    subject
        .point
        .equal(done, &Vec::new(), &subject.log(done, Log::Outbox, 0).await?)
}

/// Point 5 of `StateRead`: whoever read up to a sequence misses nothing that is appended after it.
///
/// # Errors
/// The violation found.
pub async fn read_point_05_sequences_rise_over_what_was_delivered(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, read_point(5)).await;
    let mut entries = append_three(&subject, Log::Outbox).await?;
    for (done, left) in [
        ("delivered the newest entry and appended another", 2),
        ("delivered all entries and appended another", 0),
    ] {
        let last = entries.last().map_or(0, |entry| entry.sequence);
        let deliver = entries.drain(left..).map(|entry| Write::Deliver {
            log: Log::Outbox,
            sequence: entry.sequence,
        });
        subject.commit(done, Vec::new(), deliver.collect()).await?;
        let another = append(Log::Outbox, &entry_key(3), b"another");
        subject.commit(done, Vec::new(), vec![another]).await?;
        let seen = subject.log(done, Log::Outbox, last).await?;
        let is_after = seen.len() == 1 && seen[0].sequence > last;
        let expected = format!("one entry after sequence {last}");
        subject.point.holds(is_after, done, expected, &seen)?;
        entries.extend(seen);
    }
    Ok(())
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_key_that_is_not_delivered_is_not_appended_again(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(4)).await;
    let key = entry_key(1);
    let done = "appended one key three times, twice of them in one transaction";
    subject
        .commit(done, Vec::new(), vec![append(Log::Outbox, &key, b"first")])
        .await?;
    let again = vec![
        append(Log::Outbox, &key, b"second"),
        append(Log::Outbox, &key, b"third"),
    ];
    subject.commit(done, Vec::new(), again).await?;
    let twice = vec![
        append(Log::Outbox, &entry_key(2), b"other"),
        append(Log::Outbox, &entry_key(2), b"other again"),
    ];
    subject.commit(done, Vec::new(), twice).await?;
    let seen = subject.log(done, Log::Outbox, 0).await?;
    let seen: Vec<_> = seen.into_iter().map(|entry| entry.bytes).collect();
    subject
        .point
        .equal(done, &vec![b"first".to_vec(), b"other".to_vec()], &seen)
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_key_that_was_delivered_is_appended_again(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(4)).await;
    let entries = append_three(&subject, Log::Outbox).await?;
    let done = "delivered an entry and appended its key again";
    let deliver = Write::Deliver {
        log: Log::Outbox,
        sequence: entries[0].sequence,
    };
    subject.commit(done, Vec::new(), vec![deliver]).await?;
    subject
        .commit(
            done,
            Vec::new(),
            vec![append(Log::Outbox, &entries[0].key, b"anew")],
        )
        .await?;
    let seen = subject.log(done, Log::Outbox, entries[2].sequence).await?;
    let is_new = seen.len() == 1 && seen[0].key == entries[0].key && seen[0].bytes == b"anew";
    subject
        .point
        .holds(is_new, done, "a new entry of a higher sequence", seen)
}

fn entry_key(n: u32) -> Key {
    Key::of(&["entry", &n.to_string()])
}

async fn append_three(subject: &Subject, log: Log) -> Result<Vec<LogEntry>, Violation> {
    let done = "appended three entries";
    let writes = (0..3).map(|n| append(log, &entry_key(n), &n.to_be_bytes()));
    subject.commit(done, Vec::new(), writes.collect()).await?;
    let entries = subject.log(done, log, 0).await?;
    subject
        .point
        .holds(entries.len() == 3, done, "three entries", &entries)?;
    Ok(entries)
}
