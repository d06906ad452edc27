//! The points of `Directory` about reads of changes.

use std::sync::Arc;

use usersync_connector::{Cursor, Directory, ReadStream};
use usersync_model::DirectoryChange;

use super::super::cursors::{Cursors, UpTo};
use super::super::read::follow;
use super::super::{Cannot, LeaveOut, object};
use super::{Checked, DirectoryHarness, members, point, sample, user};
use crate::generate::DirectoryState;

/// Point 3, for reads of changes: where one ends well, everything is known up to its cursor.
///
/// # Errors
/// The violation found.
pub async fn point_03_changes_left_out_make_the_read_partial(harness: &dyn DirectoryHarness) -> Checked {
    for what in [
        LeaveOut::Something,
        LeaveOut::MembersOf(object("staff")),
        LeaveOut::Everything,
    ] {
        let (directory, _) = sample(harness).await;
        if !directory.capabilities().changes {
            return Ok(());
        }
        let read = reader(harness, &directory);
        let cursors = cursors(3, harness, &read);
        let (state, cursor) = cursors.full().await?;
        if change_all(harness, while_reading(harness)).await.is_err() {
            return Ok(());
        }
        let (now, _) = cursors.full().await?;
        let done = format!("read what changed in a directory that leaves out: {what:?}");
        if harness.leave_out(what).await.is_ok() {
            cursors.show_all_or_say_so(&done, state, cursor, &now).await?;
        }
    }
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_nothing_changed_nothing_shown(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    if !directory.capabilities().changes {
        return Ok(());
    }
    cursors(6, harness, &reader(harness, &directory))
        .show_nothing_new()
        .await
}

/// Point 6, for every kind of change, each read of changes going on from the one before.
///
/// # Errors
/// The violation found.
pub async fn point_06_changes_show_everything_that_changed(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    if !directory.capabilities().changes {
        return Ok(());
    }
    let read = reader(harness, &directory);
    let cursors = cursors(6, harness, &read);
    let (start, first) = cursors.full().await?;
    let (mut state, mut cursor) = (start.clone(), first.clone());
    for (what, change) in [
        ("somebody was renamed", user(&object("ada"), "Augusta")),
        ("somebody came", user(&object("eve"), "Eve")),
        (
            "somebody became a member",
            members(harness, "team", vec![object("eve")]),
        ),
        (
            "a group was nested",
            members(harness, "empty", vec![object("team")]),
        ),
        (
            "a membership ended",
            DirectoryChange::MembersRemoved {
                group: object("staff"),
                system: harness.system(),
                members: vec![object("bob")],
            },
        ),
        ("somebody was deleted", DirectoryChange::Removed(object("cyd"))),
        ("a group was deleted", DirectoryChange::Removed(object("team"))),
    ] {
        if harness.change(change).await.is_err() {
            return Ok(());
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    let done = "read what changed since before all of the changes";
    cursors.show_changes(done, start, first).await?;
    for (what, changes) in [
        (
            "somebody was deleted and came back, who was a member before",
            [
                DirectoryChange::Removed(object("dan")),
                user(&object("dan"), "Dan"),
            ],
        ),
        (
            "somebody came and was deleted",
            [
                user(&object("fay"), "Fay"),
                DirectoryChange::Removed(object("fay")),
            ],
        ),
    ] {
        if change_all(harness, changes).await.is_err() {
            return Ok(());
        }
        let done = format!("read what changed after {what}");
        (state, cursor) = cursors.show_changes(&done, state, cursor).await?;
    }
    Ok(())
}

/// Point 6: a cursor is of the time when its read began.
///
/// # Errors
/// The violation found.
pub async fn point_06_what_changes_during_a_full_read_is_not_lost(harness: &dyn DirectoryHarness) -> Checked {
    for up_to in [UpTo::Begin, UpTo::FirstEntries] {
        let (directory, _) = sample(harness).await;
        if !directory.capabilities().changes {
            return Ok(());
        }
        let read = reader(harness, &directory);
        let cursors = cursors(6, harness, &read);
        let begun = cursors.begin(up_to).await;
        if change_all(harness, while_reading(harness)).await.is_err() {
            return Ok(());
        }
        let done = format!("read everything, with changes after its {up_to:?}");
        cursors.show_what_overtook(&done, begun).await?;
    }
    Ok(())
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_unknown_cursors_have_expired(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    if !directory.capabilities().changes {
        return Ok(());
    }
    cursors(7, harness, &reader(harness, &directory))
        .refuse_unknown()
        .await
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_old_cursors_have_expired(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    if !directory.capabilities().changes {
        return Ok(());
    }
    let read = reader(harness, &directory);
    let cursors = cursors(7, harness, &read);
    let (_, cursor) = cursors.full().await?;
    match harness.expire_cursors().await {
        Ok(()) => cursors.refuse_expired(cursor).await,
        Err(Cannot) => Ok(()),
    }
}

/// Point 8.
///
/// # Errors
/// The violation found.
pub async fn point_08_without_changes_there_are_no_cursors(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    if directory.capabilities().changes {
        return Ok(());
    }
    cursors(8, harness, &reader(harness, &directory))
        .are_not_offered()
        .await
}

/// Point 10.
///
/// # Errors
/// The violation found.
pub async fn point_10_partial_groups_are_named_until_they_are_whole(
    harness: &dyn DirectoryHarness,
) -> Checked {
    let (directory, _) = sample(harness).await;
    let capabilities = directory.capabilities();
    if !capabilities.changes || !capabilities.tracks_partial {
        return Ok(());
    }
    let read = reader(harness, &directory);
    let cursors = cursors(10, harness, &read);
    let (mut state, mut cursor) = cursors.full().await?;
    let staff = object("staff");
    let joins = members(harness, "staff", vec![object("dan")]);
    if harness
        .leave_out(LeaveOut::MembersOf(staff.clone()))
        .await
        .is_err()
        || harness.change(joins).await.is_err()
    {
        return Ok(());
    }
    for (done, is_whole) in [
        (
            "read what changed after somebody joined staff, whose members are left out",
            false,
        ),
        ("read what changed after that, which is nothing", false),
        ("read what changed after staff was shown again", true),
    ] {
        if is_whole && harness.heal().await.is_err() {
            return Ok(());
        }
        let followed = follow(directory.read(Some(cursor), &harness.context())).await;
        followed.well_formed(point(10), done)?;
        let Some(end) = followed.end.as_ref().filter(|_| !followed.is_partial()) else {
            // Whoever reads everything then loses nothing.
            return Ok(());
        };
        let names_it = end.partial.iter().any(|(group, _)| *group == staff);
        let expected = match is_whole {
            true => "staff not among what is partial",
            false => "staff among what is partial",
        };
        point(10).holds(names_it != is_whole, done, expected, end)?;
        let Some(next) = end.cursor.clone() else {
            return Err(point(10).violated(done, "a cursor at the end", end));
        };
        cursor = next;
        followed
            .entries
            .into_iter()
            .for_each(|change| state.apply(change));
    }
    let done = "read what changed while the members of staff were left out, and after it";
    let (now, _) = cursors.full().await?;
    point(10).equal(done, &now, &state)
}

/// A rename, an addition with a membership, the end of a membership, a deletion.
fn while_reading(harness: &dyn DirectoryHarness) -> [DirectoryChange; 5] {
    [
        user(&object("ada"), "Augusta"),
        user(&object("eve"), "Eve"),
        members(harness, "team", vec![object("eve")]),
        DirectoryChange::MembersRemoved {
            group: object("staff"),
            system: harness.system(),
            members: vec![object("bob")],
        },
        DirectoryChange::Removed(object("dan")),
    ]
}

async fn change_all(
    harness: &dyn DirectoryHarness,
    changes: impl IntoIterator<Item = DirectoryChange, IntoIter: Send>,
) -> Result<(), Cannot> {
    for change in changes {
        harness.change(change).await?;
    }
    Ok(())
}

fn reader<'a>(
    harness: &dyn DirectoryHarness,
    directory: &'a Arc<dyn Directory>,
) -> impl Fn(Option<Cursor>) -> ReadStream<DirectoryChange> + Sync + use<'a> {
    let context = harness.context();
    move |since| directory.read(since, &context)
}

fn cursors<'a>(
    number: u8,
    harness: &dyn DirectoryHarness,
    read: &'a (dyn Fn(Option<Cursor>) -> ReadStream<DirectoryChange> + Sync),
) -> Cursors<'a, DirectoryChange, DirectoryState> {
    Cursors {
        point: point(number),
        read,
        start: DirectoryState::new(harness.system()),
        fold: DirectoryState::apply,
    }
}
