//! The points of `RecordRead`.

use usersync_connector::ErrorKind;
use usersync_model::ObjectId;

use super::super::cursors::{Cursors, UpTo};
use super::super::read::follow;
use super::super::{Cannot, LeaveOut, object};
use super::RecordHarness;
use super::target::{Checked, Target, read_point};

/// Point 1 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_every_record_is_shown(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "read a collection of two records";
    let seen = target.records(read_point(1), done).await?;
    read_point(1).equal(done, &target.plain(&[0, 1]), &seen)?;
    if let Some(other) = target.other.clone() {
        let done = "read another collection";
        let seen = target.records_of(read_point(1), done, other).await?;
        read_point(1).equal(done, &target.plain(&[0, 2]), &seen)?;
    }
    let target = Target::with(harness, &[]).await;
    let done = "read an empty collection";
    let seen = target.records(read_point(1), done).await?;
    read_point(1).equal(done, &target.plain(&[]), &seen)
}

/// Point 1 of `RecordRead`, beyond the page sizes of common servers.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_thousands_of_records_are_shown(harness: &dyn RecordHarness) -> Checked {
    let numbers: Vec<_> = (0..2500).collect();
    let target = Target::with(harness, &numbers).await;
    let done = "read a collection of 2500 records";
    let seen = target.records(read_point(1), done).await?;
    read_point(1).equal(done, &target.plain(&numbers), &seen)
}

/// Point 1 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_what_is_left_out_makes_the_read_partial(harness: &dyn RecordHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let target = Target::sample(harness).await;
        let done = format!("read records of a system that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            let followed = follow(target.stream(target.book.clone(), None)).await;
            followed.well_formed(read_point(1), &done)?;
            read_point(1).holds(followed.is_partial(), done, "a partial read", followed.end)?;
        }
    }
    Ok(())
}

/// Point 1 of `RecordRead`, for reads of changes.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_changes_left_out_make_the_read_partial(harness: &dyn RecordHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let target = Target::sample(harness).await;
        if !target.can.changes {
            return Ok(());
        }
        let read = |since| target.stream(target.book.clone(), since);
        let cursors = Cursors {
            point: read_point(1),
            ..target.cursors(&read)
        };
        let (state, cursor) = cursors.full().await?;
        if change_while_reading(&target).await.is_err() {
            return Ok(());
        }
        let (now, _) = cursors.full().await?;
        let done = format!("read what changed in a system that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            cursors.show_all_or_say_so(&done, state, cursor, &now).await?;
        }
    }
    Ok(())
}

/// Point 1 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_a_missing_collection_is_not_found(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.book.is_none() {
        return Ok(());
    }
    let done = "read a collection that does not exist";
    let followed = follow(target.stream(Some(object("gone")), None)).await;
    followed.refused(read_point(1), done, ErrorKind::NotFound)
}

/// Point 2 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_nothing_changed_nothing_shown(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(target.book.clone(), since);
    target.cursors(&read).show_nothing_new().await
}

/// Point 2 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_changes_show_everything_that_changed(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(target.book.clone(), since);
    let cursors = target.cursors(&read);
    let (mut state, mut cursor) = cursors.full().await?;
    let book = target.book.as_ref();
    for (what, number, record) in [
        ("a record was changed", 0, Some(harness.record(0, 1))),
        ("a record came", 5, Some(harness.record(5, 0))),
        ("a record was deleted", 1, None),
    ] {
        if harness.change(book, &target.id(number), record).await.is_err() {
            return Ok(());
        }
        // A change elsewhere is none here.
        if let Some(other) = &target.other {
            let _ = harness
                .change(other.as_ref(), &target.id(0), Some(harness.record(0, 7)))
                .await;
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    for (what, number, contents) in [
        (
            "a record was deleted and came back",
            0,
            [None, Some(harness.record(0, 2))],
        ),
        (
            "a record came and was deleted",
            6,
            [Some(harness.record(6, 0)), None],
        ),
    ] {
        for content in contents {
            if harness.change(book, &target.id(number), content).await.is_err() {
                return Ok(());
            }
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    Ok(())
}

/// Point 2 of `RecordRead`: a cursor is of the time when its read began.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_what_changes_during_a_full_read_is_not_lost(
    harness: &dyn RecordHarness,
) -> Checked {
    for up_to in [UpTo::Begin, UpTo::FirstEntries] {
        let target = Target::sample(harness).await;
        if !target.can.changes {
            return Ok(());
        }
        let read = |since| target.stream(target.book.clone(), since);
        let cursors = target.cursors(&read);
        let begun = cursors.begin(up_to).await;
        if change_while_reading(&target).await.is_err() {
            return Ok(());
        }
        let done = format!("read everything, with changes after its {up_to:?}");
        cursors.show_what_overtook(&done, begun).await?;
    }
    Ok(())
}

/// Point 2 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_unknown_cursors_have_expired(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(target.book.clone(), since);
    target.cursors(&read).refuse_unknown().await
}

/// Point 2 of `RecordRead`: a cursor is bound to the scope that was read.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_cursors_of_another_collection_have_expired(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    let (true, Some(other)) = (target.can.changes, target.other.clone()) else {
        return Ok(());
    };
    let read = |since| target.stream(target.book.clone(), since);
    let (_, cursor) = target.cursors(&read).full().await?;
    let followed = follow(target.stream(other, Some(cursor))).await;
    let done = "read a collection with the cursor of another";
    followed.refused(read_point(2), done, ErrorKind::CursorExpired)
}

/// Point 2 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_old_cursors_have_expired(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(target.book.clone(), since);
    let cursors = target.cursors(&read);
    let (_, cursor) = cursors.full().await?;
    match harness.expire_cursors().await {
        Ok(()) => cursors.refuse_expired(cursor).await,
        Err(Cannot) => Ok(()),
    }
}

/// Point 2 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_without_changes_there_are_no_cursors(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(target.book.clone(), since);
    target.cursors(&read).are_not_offered().await
}

/// Point 3 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_a_point_read_is_as_of_now(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.point_read {
        return Ok(());
    }
    let done = "read a record alone";
    let seen = target
        .record(read_point(3), done, 0)
        .await?
        .map(|present| present.record);
    read_point(3).equal(done, &Some(harness.record(0, 0)), &seen)?;
    let done = "read a record alone that is in another collection only, or nowhere";
    let seen = target.record(read_point(3), done, 2).await?;
    read_point(3).holds(seen.is_none(), done, "no record", seen)?;
    let book: Option<&ObjectId> = target.book.as_ref();
    for (done, number, record) in [
        (
            "read a record alone after it was changed",
            0,
            Some(harness.record(0, 1)),
        ),
        (
            "read a record alone after it was made",
            2,
            Some(harness.record(2, 0)),
        ),
        ("read a record alone after it was deleted", 1, None),
    ] {
        if harness
            .change(book, &target.id(number), record.clone())
            .await
            .is_err()
        {
            return Ok(());
        }
        let seen = target
            .record(read_point(3), done, number)
            .await?
            .map(|present| present.record);
        read_point(3).equal(done, &record, &seen)?;
    }
    Ok(())
}

/// Point 3 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_without_the_capability_it_is_refused(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.point_read {
        return Ok(());
    }
    let done = "read a record alone from a system that does not claim point_read";
    let context = harness.context();
    let result = target
        .connector
        .record(target.book.as_ref(), &target.id(0), &context)
        .await;
    read_point(3).fails(done, ErrorKind::Unsupported, result)
}

/// Point 4 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_04_two_reads_show_equal_records(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let first = target.records(read_point(4), "read once").await?;
    let second = target.records(read_point(4), "read again").await?;
    let done = "read twice without a change";
    read_point(4).equal(done, &first, &second)
}

/// Point 5 of `RecordRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_05_the_filter_is_the_same_for_the_same_configuration(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    let filter = target.connector.filter();
    let done = "asked for the filter twice";
    read_point(5).equal(done, &filter, &target.connector.filter())?;
    follow(target.stream(target.book.clone(), None)).await;
    if change_while_reading(&target).await.is_ok() {
        let done = "asked for the filter again after a read and changes";
        read_point(5).equal(done, &filter, &target.connector.filter())?;
    }
    if let Ok(another) = harness.another().await {
        let done = "asked another connector, configured alike, for its filter";
        read_point(5).equal(done, &filter, &another.filter())?;
    }
    Ok(())
}

/// A change, an addition, a deletion.
async fn change_while_reading(target: &Target<'_>) -> Result<(), Cannot> {
    for (number, record) in [
        (0, Some(target.harness.record(0, 1))),
        (5, Some(target.harness.record(5, 0))),
        (1, None),
    ] {
        let id = target.id(number);
        target.harness.change(target.book.as_ref(), &id, record).await?;
    }
    Ok(())
}
