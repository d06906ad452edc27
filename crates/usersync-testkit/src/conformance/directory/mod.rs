//! The contract of [`Directory`].

mod changes;

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use usersync_connector::{CallContext, Directory, Extent, ReadEnd};
use usersync_model::{DirectoryChange, GroupKind, ObjectId, Principal, PrincipalKind, SystemId};

use super::read::follow;
use super::{Cannot, LeaveOut, Point, Violation, object, sample_context, suite};
use crate::generate::DirectoryState;

pub use changes::*;

/// Gives directories to check.
#[async_trait]
pub trait DirectoryHarness: Send + Sync {
    /// The system of the directories given.
    fn system(&self) -> SystemId;

    /// A connector to a directory that holds exactly `content`: `Upsert`s, then `Members`. What else the harness does is done to the
    /// directory given last.
    async fn fresh(&self, content: Vec<DirectoryChange>) -> Arc<dyn Directory>;

    /// Another system whose principals groups can have as members; none where members are all of one system.
    fn other_system(&self) -> Option<SystemId> {
        None
    }

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Makes a change behind the connector's back: `Upsert`, `Removed`, `Members` or `MembersRemoved`.
    async fn change(&self, _change: DirectoryChange) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes every cursor given so far too old.
    async fn expire_cursors(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes reads from now on leave something out.
    async fn leave_out(&self, _what: LeaveOut) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Ends what [`leave_out`](Self::leave_out) began.
    async fn heal(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Another connector to the directory given last, configured like the one before.
    async fn another(&self) -> Result<Arc<dyn Directory>, Cannot> {
        Err(Cannot)
    }

    /// How many reads the directory is busy with.
    async fn open_reads(&self) -> Result<usize, Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `Directory`.
    ///
    /// Takes the name of the module, an expression for a [`DirectoryHarness`](crate::conformance::directory::DirectoryHarness), which is
    /// evaluated for each test, and, if the connector needs a runtime, an expression that is called with a check's future and
    /// runs it to its end.
    directory_conformance, directory, DirectoryHarness, [
    point_01_a_full_read_begins_full_and_shows_everything,
    point_01_groups_of_thousands_are_shown_whole,
    point_01_members_of_two_systems_are_told_apart,
    point_02_a_read_ends_with_one_complete_end,
    point_02_an_empty_directory_is_complete,
    point_03_what_is_left_out_makes_the_read_partial,
    point_03_members_left_out_make_their_group_partial,
    point_03_changes_left_out_make_the_read_partial,
    point_03_a_failure_before_the_first_event_is_an_error,
    point_04_a_rename_keeps_the_id,
    point_05_two_reads_show_the_same,
    point_06_nothing_changed_nothing_shown,
    point_06_changes_show_everything_that_changed,
    point_06_what_changes_during_a_full_read_is_not_lost,
    point_07_unknown_cursors_have_expired,
    point_07_old_cursors_have_expired,
    point_08_without_changes_there_are_no_cursors,
    point_09_a_dropped_read_stops,
    point_10_partial_groups_are_named_until_they_are_whole,
    point_11_the_filter_is_the_same_for_the_same_configuration,
]);

const fn point(number: u8) -> Point {
    Point("Directory", number)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_full_read_begins_full_and_shows_everything(
    harness: &dyn DirectoryHarness,
) -> Checked {
    let (directory, content) = sample(harness).await;
    point(1).equal("asked for the system", &harness.system(), directory.system())?;
    let done = "read a directory with nested, empty and cyclic groups";
    let seen = read_state(harness, &*directory, point(1), done).await?;
    shows(
        point(1),
        done,
        &DirectoryState::of(harness.system(), content),
        &seen,
    )
}

/// Point 1, beyond the page sizes and range limits of common servers.
///
/// # Errors
/// The violation found.
pub async fn point_01_groups_of_thousands_are_shown_whole(harness: &dyn DirectoryHarness) -> Checked {
    let users: Vec<_> = (0..2500).map(|n| object(&format!("user-{n:04}"))).collect();
    let mut content: Vec<_> = users.iter().map(|id| user(id, "somebody")).collect();
    content.push(group("everyone"));
    content.push(members(harness, "everyone", users));
    let directory = harness.fresh(content.clone()).await;
    let done = "read a directory with a group of 2500";
    let seen = read_state(harness, &*directory, point(1), done).await?;
    shows(
        point(1),
        done,
        &DirectoryState::of(harness.system(), content),
        &seen,
    )
}

/// Point 1: an id names somebody only together with its system.
///
/// # Errors
/// The violation found.
pub async fn point_01_members_of_two_systems_are_told_apart(harness: &dyn DirectoryHarness) -> Checked {
    let Some(other) = harness.other_system() else {
        return Ok(());
    };
    let namesake = |group: &str| DirectoryChange::Members {
        group: object(group),
        system: other.clone(),
        members: vec![object("ada")],
    };
    let mut content = vec![user(&object("ada"), "Ada"), group("staff"), group("team")];
    content.push(members(harness, "staff", vec![object("ada")]));
    content.extend([namesake("staff"), namesake("team")]);
    let directory = harness.fresh(content.clone()).await;
    let done = "read groups whose members are of two systems and have one id";
    let seen = read_state(harness, &*directory, point(1), done).await?;
    let expected = DirectoryState::of(harness.system(), content);
    shows(point(1), done, &expected, &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_read_ends_with_one_complete_end(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    let followed = follow(directory.read(None, &harness.context())).await;
    followed.complete(
        point(2),
        "read a directory of which nothing is left out",
        Extent::Full,
    )?;
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_an_empty_directory_is_complete(harness: &dyn DirectoryHarness) -> Checked {
    let directory = harness.fresh(Vec::new()).await;
    let done = "read an empty directory";
    let followed = follow(directory.read(None, &harness.context())).await;
    let (entries, _) = followed.complete(point(2), done, Extent::Full)?;
    let seen = DirectoryState::of(harness.system(), entries);
    point(2).equal(done, &DirectoryState::new(harness.system()), &seen)
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_what_is_left_out_makes_the_read_partial(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    if harness.leave_out(LeaveOut::Something).await.is_err() {
        return Ok(());
    }
    let done = "read a directory that leaves something out";
    let followed = follow(directory.read(None, &harness.context())).await;
    followed.well_formed(point(3), done)?;
    point(3).holds(followed.is_partial(), done, "a partial read", followed.end)
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_members_left_out_make_their_group_partial(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    let left_out = object("staff");
    if harness
        .leave_out(LeaveOut::MembersOf(left_out.clone()))
        .await
        .is_err()
    {
        return Ok(());
    }
    let done = "read a directory that leaves out the members of staff";
    let followed = follow(directory.read(None, &harness.context())).await;
    followed.well_formed(point(3), done)?;
    let names_it = |end: &ReadEnd| end.partial.iter().any(|(group, _)| *group == left_out);
    let is_told = followed.is_partial() || followed.end.as_ref().is_some_and(names_it);
    point(3).holds(
        is_told,
        done,
        "a partial read, or staff among what is partial",
        followed.end,
    )
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_a_failure_before_the_first_event_is_an_error(
    harness: &dyn DirectoryHarness,
) -> Checked {
    let (directory, _) = sample(harness).await;
    if harness.leave_out(LeaveOut::Everything).await.is_err() {
        return Ok(());
    }
    let done = "read a directory that cannot be reached";
    let followed = follow(directory.read(None, &harness.context())).await;
    let is_error = followed.error.is_some() && followed.chunks == 0;
    point(3).holds(
        is_error,
        done,
        "an error, and nothing before it but the begin",
        followed,
    )
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_rename_keeps_the_id(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, content) = sample(harness).await;
    let done = "renamed ada to Augusta";
    let before = read_state(harness, &*directory, point(4), "read before a rename").await?;
    if harness.change(user(&object("ada"), "Augusta")).await.is_err() {
        return Ok(());
    }
    let seen = read_state(harness, &*directory, point(4), done).await?;
    shows(
        point(4),
        done,
        &DirectoryState::of(harness.system(), content),
        &seen,
    )?;
    let name = |state: &DirectoryState| state.principals().get(&object("ada")).map(|p| p.name.clone());
    let is_renamed = name(&before) != name(&seen);
    point(4).holds(is_renamed, done, "the same id with another name", name(&seen))
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_two_reads_show_the_same(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    let first = read_state(harness, &*directory, point(5), "read once").await?;
    let second = read_state(harness, &*directory, point(5), "read again").await?;
    point(5).equal("read twice without a change", &first, &second)
}

/// Point 9.
///
/// # Errors
/// The violation found.
pub async fn point_09_a_dropped_read_stops(harness: &dyn DirectoryHarness) -> Checked {
    let (directory, _) = sample(harness).await;
    let mut stream = directory.read(None, &harness.context());
    let first = stream.next().await;
    point(9).holds(first.is_some(), "began a read", "an event", &first)?;
    drop(stream);
    if let Ok(open) = harness.open_reads().await {
        point(9).equal(
            "dropped a read after its first event; reads still open",
            &0,
            &open,
        )?;
    }
    let done = "read after a read was dropped";
    let followed = follow(directory.read(None, &harness.context())).await;
    followed.complete(point(9), done, Extent::Full)?;
    Ok(())
}

/// Point 11.
///
/// # Errors
/// The violation found.
pub async fn point_11_the_filter_is_the_same_for_the_same_configuration(
    harness: &dyn DirectoryHarness,
) -> Checked {
    let (directory, _) = sample(harness).await;
    let filter = directory.filter();
    point(11).equal("asked for the filter twice", &filter, &directory.filter())?;
    follow(directory.read(None, &harness.context())).await;
    if harness.change(user(&object("eve"), "Eve")).await.is_ok() {
        let done = "asked for the filter again after a read and a change";
        point(11).equal(done, &filter, &directory.filter())?;
    }
    if let Ok(another) = harness.another().await {
        let done = "asked another connector, configured alike, for its filter";
        point(11).equal(done, &filter, &another.filter())?;
    }
    Ok(())
}

/// A small directory with everything that has gone wrong somewhere: nesting, a cycle, a self-loop, an empty group.
async fn sample(harness: &dyn DirectoryHarness) -> (Arc<dyn Directory>, Vec<DirectoryChange>) {
    let mut content: Vec<_> = ["ada", "bob", "cyd", "dan"]
        .map(|id| user(&object(id), id))
        .into();
    content.extend(["staff", "team", "empty", "loop"].map(group));
    for (of, ids) in [
        ("staff", ["ada", "bob", "team"].as_slice()),
        ("team", &["cyd", "staff"]),
        ("loop", &["loop", "dan"]),
    ] {
        content.push(members(harness, of, ids.iter().map(|id| object(id)).collect()));
    }
    (harness.fresh(content.clone()).await, content)
}

fn user(id: &ObjectId, name: &str) -> DirectoryChange {
    DirectoryChange::Upsert(Principal::new(id.clone(), PrincipalKind::User, name))
}

fn group(id: &str) -> DirectoryChange {
    let kind = PrincipalKind::Group(GroupKind::UserGroup);
    DirectoryChange::Upsert(Principal::new(object(id), kind, id))
}

fn members(harness: &dyn DirectoryHarness, group: &str, members: Vec<ObjectId>) -> DirectoryChange {
    DirectoryChange::Members {
        group: object(group),
        system: harness.system(),
        members,
    }
}

async fn read_state(
    harness: &dyn DirectoryHarness,
    directory: &dyn Directory,
    point: Point,
    done: &str,
) -> Result<DirectoryState, Violation> {
    let followed = follow(directory.read(None, &harness.context())).await;
    let (entries, _) = followed.complete(point, done, Extent::Full)?;
    Ok(DirectoryState::of(harness.system(), entries))
}

/// The same principals, of the same nature, with the same memberships. Names and kinds of groups are the system's business.
fn shows(point: Point, done: &str, expected: &DirectoryState, seen: &DirectoryState) -> Checked {
    let nature = |state: &DirectoryState| -> Vec<_> {
        let principals = state.principals().values();
        principals.map(|p| (p.id.clone(), p.kind.is_group())).collect()
    };
    point.equal(
        format!("{done}; principals, and whether they are groups"),
        &nature(expected),
        &nature(seen),
    )?;
    point.equal(
        format!("{done}; direct members"),
        expected.members(),
        seen.members(),
    )
}
