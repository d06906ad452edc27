//! The points of `ItemRead`.

use usersync_connector::{ErrorKind, ItemCollection};

use super::super::cursors::{Cursors, UpTo};
use super::super::read::follow;
use super::super::{Cannot, LeaveOut, object};
use super::ItemHarness;
use super::target::{Checked, Target, name_of, read_point, uid};

/// Point 1 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_every_item_is_shown(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    for (collection, items) in [
        (&target.book, [(0, 0), (1, 0)]),
        (&target.other, [(0, 0), (2, 0)]),
    ] {
        let done = format!("read the collection of {} with two items", collection.account);
        let seen = target.items_said(read_point(1), &done, collection).await?;
        read_point(1).equal(done, &target.said(&items), &seen)?;
    }
    Ok(())
}

/// Point 1 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_what_is_left_out_makes_the_read_partial(harness: &dyn ItemHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let target = Target::sample(harness).await;
        let done = format!("read items of a system that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            let followed = follow(target.stream(&target.book, None)).await;
            followed.well_formed(read_point(1), &done)?;
            read_point(1).holds(followed.is_partial(), done, "a partial read", followed.end)?;
        }
    }
    Ok(())
}

/// Point 1 of `ItemRead`, for reads of changes.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_changes_left_out_make_the_read_partial(harness: &dyn ItemHarness) -> Checked {
    for what in [LeaveOut::Something, LeaveOut::Everything] {
        let target = Target::sample(harness).await;
        if !target.can.changes {
            return Ok(());
        }
        let read = |since| target.stream(&target.book, since);
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

/// Point 1 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_a_missing_collection_is_not_found(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let missing = ItemCollection {
        account: object("gone"),
        kind: target.book.kind,
    };
    let followed = follow(target.stream(&missing, None)).await;
    let done = "read a collection that does not exist";
    followed.refused(read_point(1), done, ErrorKind::NotFound)
}

/// Point 2 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_nothing_changed_nothing_shown(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    target.cursors(&read).show_nothing_new().await
}

/// Point 2 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_changes_show_everything_that_changed(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    let cursors = target.cursors(&read);
    let (mut state, mut cursor) = cursors.full().await?;
    for (what, number, text) in [
        ("an item was changed", 0, Some(harness.text(0, 1))),
        ("an item came", 5, Some(harness.text(5, 0))),
        ("an item was deleted", 1, None),
    ] {
        if harness.change(&target.book, &uid(number), text).await.is_err() {
            return Ok(());
        }
        // A change elsewhere is none here.
        let _ = harness
            .change(&target.other, &uid(0), Some(harness.text(0, 7)))
            .await;
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    for (what, number, contents) in [
        (
            "an item was deleted and came back",
            5,
            [None, Some(harness.text(5, 2))],
        ),
        (
            "an item came and was deleted",
            6,
            [Some(harness.text(6, 0)), None],
        ),
    ] {
        for content in contents {
            if harness.change(&target.book, &uid(number), content).await.is_err() {
                return Ok(());
            }
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    Ok(())
}

/// Point 2 of `ItemRead`: a cursor is of the time when its read began.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_what_changes_during_a_full_read_is_not_lost(harness: &dyn ItemHarness) -> Checked {
    for up_to in [UpTo::Begin, UpTo::FirstEntries] {
        let target = Target::sample(harness).await;
        if !target.can.changes {
            return Ok(());
        }
        let read = |since| target.stream(&target.book, since);
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

/// Point 2 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_an_item_that_moved_is_told_by_its_new_place(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    let cursors = target.cursors(&read);
    let (state, cursor) = cursors.full().await?;
    if harness.relocate(&target.book, &uid(0)).await.is_err() {
        return Ok(());
    }
    cursors
        .show_changes("read what changed after an item moved", state, cursor)
        .await
        .map(drop)
}

/// Point 2 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_unknown_cursors_have_expired(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    target.cursors(&read).refuse_unknown().await
}

/// Point 2 of `ItemRead`: a cursor is bound to the scope that was read.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_cursors_of_another_collection_have_expired(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    let (_, cursor) = target.cursors(&read).full().await?;
    let followed = follow(target.stream(&target.other, Some(cursor))).await;
    let done = "read a collection with the cursor of another";
    followed.refused(read_point(2), done, ErrorKind::CursorExpired)
}

/// Point 2 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_old_cursors_have_expired(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    let cursors = target.cursors(&read);
    let (_, cursor) = cursors.full().await?;
    match harness.expire_cursors().await {
        Ok(()) => cursors.refuse_expired(cursor).await,
        Err(Cannot) => Ok(()),
    }
}

/// Point 2 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_without_changes_there_are_no_cursors(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.changes {
        return Ok(());
    }
    let read = |since| target.stream(&target.book, since);
    target.cursors(&read).are_not_offered().await
}

/// Point 3 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_a_point_read_is_as_of_now(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.point_read {
        return Ok(());
    }
    let context = harness.context();
    let find = async |done: &str, number| {
        let found = target.connector.find(&target.book, &uid(number), &context).await;
        let found = read_point(3).succeeds(done, found)?;
        Ok::<_, super::super::Violation>(found.map(|item| name_of(&item.content)))
    };
    let done = "read an item alone";
    read_point(3).equal(done, &Some(name_of(&harness.text(0, 0))), &find(done, 0).await?)?;
    let done = "read an item alone that is in another collection only";
    read_point(3).equal(done, &None, &find(done, 2).await?)?;
    if harness
        .change(&target.book, &uid(0), Some(harness.text(0, 1)))
        .await
        .is_ok()
    {
        let done = "read an item alone after it was changed";
        read_point(3).equal(done, &Some(name_of(&harness.text(0, 1))), &find(done, 0).await?)?;
    }
    Ok(())
}

/// Point 3 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_without_the_capability_it_is_refused(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.point_read {
        return Ok(());
    }
    let found = target
        .connector
        .find(&target.book, &uid(0), &harness.context())
        .await;
    let done = "read an item alone from a connector that does not claim it";
    read_point(3).fails(done, ErrorKind::Unsupported, found)
}

/// Point 4 of `ItemRead`.
///
/// # Errors
/// The violation found.
pub async fn read_point_04_content_says_what_was_written(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "read what was created and updated";
    let update = target.update(read_point(4), done, 1, 4).await?;
    for (number, change) in [(7, target.create(7, 3)), (1, update)] {
        let operation = target.operation(number, number, change);
        target.answers(read_point(4), done, operation, true).await?;
    }
    let seen = target.items_said(read_point(4), done, &target.book).await?;
    read_point(4).equal(done, &target.said(&[(0, 0), (1, 4), (7, 3)]), &seen)
}

/// A change, an addition, a deletion.
async fn change_while_reading(target: &Target<'_>) -> Result<(), Cannot> {
    for (number, text) in [
        (0, Some(target.harness.text(0, 1))),
        (5, Some(target.harness.text(5, 0))),
        (1, None),
    ] {
        let id = uid(number);
        target.harness.change(&target.book, &id, text).await?;
    }
    Ok(())
}
