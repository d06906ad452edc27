//! The points of `MembershipTarget`.

use std::collections::BTreeMap;

use usersync_connector::{Applied, Error, ErrorKind, MemberChange, MemberOperation, Precondition, Version};
use usersync_model::MemberFacets;

use super::super::{Point, Violation, object};
use super::TargetHarness;
use super::target::{Facets, Target, add, manager, pending};

type Checked = Result<(), Violation>;

pub(super) const fn point(number: u8) -> Point {
    Point("MembershipTarget", number)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_one_result_per_operation_in_their_order(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "added somebody new, a member, and somebody else new";
    let operations: Vec<_> = [2, 0, 3]
        .into_iter()
        .take(target.can.max_batch.get())
        .map(|number| target.operation(number, number, add()))
        .collect();
    let results = target.apply("team", &operations).await;
    let seen: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().map(|applied| applied.changed).ok())
        .collect();
    let expected: Vec<_> = [Some(true), Some(false), Some(true)]
        .into_iter()
        .take(operations.len())
        .collect();
    point(1).equal(done, &expected, &seen)?;
    let results = target.apply("team", &[]).await;
    point(1).equal("applied no operation; results", &0, &results.len())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_failing_operation_stops_no_other(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.max_batch.get() < 3 {
        return Ok(());
    }
    // Fails with updates because there is no such member, and without because nothing can be updated.
    let done = "added somebody, updated a stranger, and added somebody else";
    let operations = [
        target.operation(1, 2, add()),
        target.operation(2, 9, MemberChange::Update(manager())),
        target.operation(3, 3, add()),
    ];
    let results = target.apply("team", &operations).await;
    let seen: Vec<_> = results.iter().map(Result::is_ok).collect();
    point(1).equal(done, &vec![true, false, true], &seen)?;
    let seen = target.members(point(1), done, "team").await?;
    point(1).equal(done, &target.plain(&[0, 1, 2, 3]), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_adding_a_present_member_succeeds_unchanged(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "added a member who is there";
    target
        .answers(point(2), done, "team", target.operation(1, 0, add()), false)
        .await?;
    let seen = target.members(point(2), done, "team").await?;
    point(2).equal(done, &target.plain(&[0, 1]), &seen)?;
    if target.can.updates {
        let done = "added a member who is there, with another role";
        let operation = target.operation(2, 0, MemberChange::Add(manager()));
        target.answers(point(2), done, "team", operation, false).await?;
        let seen = target.members(point(2), done, "team").await?;
        point(2).equal(done, &target.plain(&[0, 1]), &seen)?;
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_removing_an_absent_member_succeeds_unchanged(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "removed somebody who is no member";
    let operation = target.operation(1, 9, MemberChange::Remove);
    target.answers(point(2), done, "team", operation, false).await?;
    let seen = target.members(point(2), done, "team").await?;
    point(2).equal(done, &target.plain(&[0, 1]), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_removing_from_a_missing_container_succeeds_unchanged(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    let done = "removed somebody from a container that does not exist";
    let operation = target.operation(1, 0, MemberChange::Remove);
    target.answers(point(2), done, "gone", operation, false).await?;
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_adding_to_a_missing_container_is_not_found(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "added somebody to a container that does not exist";
    target
        .fails(
            point(2),
            done,
            "gone",
            target.operation(1, 0, add()),
            ErrorKind::NotFound,
        )
        .await?;
    let seen = target.read(point(2), done, &["gone"]).await?;
    point(2).equal(done, &BTreeMap::from([(object("gone"), None)]), &seen)
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_a_success_is_visible_to_the_next_read(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "added somebody";
    target
        .answers(point(3), done, "team", target.operation(1, 2, add()), true)
        .await?;
    let seen = target.members(point(3), done, "team").await?;
    point(3).equal(done, &target.plain(&[0, 1, 2]), &seen)?;
    let done = "removed a member";
    let operation = target.operation(2, 0, MemberChange::Remove);
    target.answers(point(3), done, "team", operation, true).await?;
    let seen = target.members(point(3), done, "team").await?;
    point(3).equal(done, &target.plain(&[1, 2]), &seen)?;
    if target.can.point_read {
        let seen = target.member(point(3), done, "team", 0).await?;
        point(3).holds(seen.is_none(), done, "no such membership", seen)?;
    }
    Ok(())
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_known_failure_had_no_effect(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let stranger = target.operation(1, 9, MemberChange::Update(manager()));
    target
        .fails_without_effect(point(4), "updated a stranger", stranger)
        .await?;
    if harness.refuse_writes().await.is_ok() {
        let addition = target.operation(2, 2, add());
        target
            .fails_without_effect(
                point(4),
                "added somebody to a system that refuses writes",
                addition,
            )
            .await?;
        let removal = target.operation(3, 0, MemberChange::Remove);
        target
            .fails_without_effect(
                point(4),
                "removed a member from a system that refuses writes",
                removal,
            )
            .await?;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_versions_are_shown(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.conditional_write {
        return Ok(());
    }
    let done = "read members of a target that claims conditional_write";
    let version = target.version(point(5), done, 0).await?;
    if !target.can.point_read {
        return Ok(());
    }
    let seen = target
        .member(point(5), "read the same membership alone", "team", 0)
        .await?;
    let seen = seen.and_then(|present| present.version);
    point(5).equal("read the same membership alone; version", &Some(version), &seen)
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_precondition_that_does_not_hold_is_a_conflict(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.conditional_write {
        return Ok(());
    }
    let version = target.version(point(5), "read a version", 0).await?;
    let unknown = Precondition::Version(Version("usersync-testkit: unknown".to_owned()));
    let held = Precondition::Version(version);
    for (n, (done, number, change, precondition)) in [
        (
            "added a member who must not be there",
            0,
            add(),
            Precondition::Absent,
        ),
        (
            "removed a member of another version",
            0,
            MemberChange::Remove,
            unknown.clone(),
        ),
        (
            "removed a stranger of some version",
            9,
            MemberChange::Remove,
            held.clone(),
        ),
        ("added a stranger of some version", 9, add(), held.clone()),
    ]
    .into_iter()
    .enumerate()
    {
        let operation = target.operation(n as u32, number, change);
        let operation = MemberOperation {
            precondition,
            ..operation
        };
        target
            .fails(point(5), done, "team", operation, ErrorKind::Conflict)
            .await?;
        let seen = target.members(point(5), done, "team").await?;
        point(5).equal(done, &target.plain(&[0, 1]), &seen)?;
    }
    if !target.can.updates {
        return Ok(());
    }
    let done = "updated a member whom a person changed meanwhile";
    if harness
        .change(&object("team"), &harness.principal(0), Some(pending()))
        .await
        .is_err()
    {
        return Ok(());
    }
    let operation = MemberOperation {
        precondition: held,
        ..target.operation(9, 0, MemberChange::Update(manager()))
    };
    target
        .fails(point(5), done, "team", operation, ErrorKind::Conflict)
        .await?;
    let mut expected = target.plain(&[0, 1]);
    expected.insert(harness.principal(0), pending());
    let seen = target.members(point(5), done, "team").await?;
    point(5).equal(done, &expected, &seen)
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_precondition_that_holds_lets_the_effect_happen(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.conditional_write {
        return Ok(());
    }
    let done = "added somebody who must not be there, and is not";
    let operation = MemberOperation {
        precondition: Precondition::Absent,
        ..target.operation(1, 2, add())
    };
    target.answers(point(5), done, "team", operation, true).await?;
    let done = "removed a member in the version just read";
    let version = target.version(point(5), done, 2).await?;
    let operation = MemberOperation {
        precondition: Precondition::Version(version),
        ..target.operation(2, 2, MemberChange::Remove)
    };
    target.answers(point(5), done, "team", operation, true).await?;
    if target.can.updates {
        let done = "updated a member twice, by the version that the first update answered";
        let version = target.version(point(5), done, 0).await?;
        let operation = MemberOperation {
            precondition: Precondition::Version(version),
            ..target.operation(3, 0, MemberChange::Update(manager()))
        };
        let applied = target.succeeds(point(5), done, "team", operation).await?;
        if let Some(version) = applied.version {
            let operation = MemberOperation {
                precondition: Precondition::Version(version),
                ..target.operation(4, 0, MemberChange::Update(pending()))
            };
            target.answers(point(5), done, "team", operation, true).await?;
        }
    }
    Ok(())
}

/// Point 5: what does not claim the capability ignores preconditions, as their documentation says.
///
/// # Errors
/// The violation found.
pub async fn point_05_without_conditional_writes_preconditions_are_ignored(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.conditional_write {
        return Ok(());
    }
    let done = "removed a member of another version from a target that does not claim conditional_write";
    let operation = MemberOperation {
        precondition: Precondition::Version(Version("usersync-testkit: unknown".to_owned())),
        ..target.operation(1, 0, MemberChange::Remove)
    };
    target.answers(point(5), done, "team", operation, true).await?;
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_an_operation_id_has_its_effect_once(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.idempotency_key {
        return Ok(());
    }
    let addition = target.operation(1, 2, add());
    let done = "added somebody";
    let first = target
        .answers(point(6), done, "team", addition.clone(), true)
        .await?;
    let done = "added somebody again under the same operation id";
    let again = target.succeeds(point(6), done, "team", addition.clone()).await?;
    point(6).equal(done, &first, &again)?;
    let careful = MemberOperation {
        precondition: Precondition::Absent,
        ..target.operation(2, 3, add())
    };
    let done = "added somebody who must not be there, twice under the same operation id";
    let once = target
        .answers(point(6), done, "team", careful.clone(), true)
        .await?;
    let twice = target.succeeds(point(6), done, "team", careful).await?;
    point(6).equal(done, &once, &twice)?;
    let done = "a person removed the added member, and the addition came again under the same operation id";
    if harness
        .change(&object("team"), &harness.principal(2), None)
        .await
        .is_err()
    {
        return Ok(());
    }
    let again = target.succeeds(point(6), done, "team", addition).await?;
    point(6).equal(done, &first, &again)?;
    let seen = target.members(point(6), done, "team").await?;
    point(6).equal(done, &target.plain(&[0, 1, 3]), &seen)
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_with_updates_facets_are_kept(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.updates {
        return Ok(());
    }
    let done = "gave a member another role and state, and added a manager";
    let update = target.operation(1, 0, MemberChange::Update(pending()));
    target.answers(point(7), done, "team", update, true).await?;
    let addition = target.operation(2, 2, MemberChange::Add(manager()));
    target.answers(point(7), done, "team", addition, true).await?;
    let mut expected = target.plain(&[0, 1, 2]);
    expected.insert(harness.principal(0), pending());
    expected.insert(harness.principal(2), manager());
    let seen = target.members(point(7), done, "team").await?;
    point(7).equal(done, &expected, &seen)
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_without_updates_facets_are_refused(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.updates {
        return Ok(());
    }
    for (n, (done, number, change)) in [
        ("updated a member", 0, MemberChange::Update(manager())),
        (
            "updated a member to what it is",
            0,
            MemberChange::Update(MemberFacets::default()),
        ),
        ("added a manager", 2, MemberChange::Add(manager())),
        ("added a pending member", 2, MemberChange::Add(pending())),
    ]
    .into_iter()
    .enumerate()
    {
        let operation = target.operation(n as u32, number, change);
        target
            .fails(point(7), done, "team", operation, ErrorKind::Unsupported)
            .await?;
        let seen = target.members(point(7), done, "team").await?;
        point(7).equal(done, &target.plain(&[0, 1]), &seen)?;
    }
    Ok(())
}

/// Point 8.
///
/// # Errors
/// The violation found.
pub async fn point_08_updating_a_stranger_is_not_found(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.updates {
        return Ok(());
    }
    let done = "updated somebody who is no member";
    let operation = target.operation(1, 9, MemberChange::Update(manager()));
    target
        .fails(point(8), done, "team", operation, ErrorKind::NotFound)
        .await?;
    let seen = target.members(point(8), done, "team").await?;
    point(8).equal(done, &target.plain(&[0, 1]), &seen)
}

/// The largest batch worth trying.
const BATCH: usize = 5000;

/// Point 9; not tried on targets whose batches are larger than 5000.
///
/// # Errors
/// The violation found.
pub async fn point_09_a_batch_too_large_fails_whole(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let most = target.can.max_batch.get();
    if most > BATCH {
        return Ok(());
    }
    let done = format!("applied {} operations where {most} are allowed", most + 1);
    let results = target.apply("team", &target.additions(most + 1)).await;
    let is_refused = |result: &Result<Applied, Error>| {
        result
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::LimitExceeded)
    };
    let all_refused = results.len() == most + 1 && results.iter().all(is_refused);
    let expected = "an error of kind limit_exceeded for every operation";
    point(9).holds(all_refused, &done, expected, &results)?;
    let seen = target.members(point(9), &done, "team").await?;
    point(9).equal(done, &target.plain(&[0, 1]), &seen)
}

/// Point 9; tried with 5000 operations where more are allowed.
///
/// # Errors
/// The violation found.
pub async fn point_09_the_largest_batch_is_accepted(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let most = target.can.max_batch.get().min(BATCH);
    let done = format!("applied {most} operations, as many as are allowed");
    let results = target.apply("team", &target.additions(most)).await;
    let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
    point(9).holds(failed.is_empty(), &done, "success of every operation", &failed)?;
    let seen = target.members(point(9), &done, "team").await?;
    point(9).equal(format!("{done}; members"), &(most + 2), &seen.len())
}

/// Point 10.
///
/// # Errors
/// The violation found.
pub async fn point_10_other_members_and_containers_are_not_touched(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "added somebody to team and removed a member from it";
    target
        .succeeds(point(10), done, "team", target.operation(1, 3, add()))
        .await?;
    target
        .succeeds(
            point(10),
            done,
            "team",
            target.operation(2, 0, MemberChange::Remove),
        )
        .await?;
    let seen = target.read(point(10), done, &["team", "other", "empty"]).await?;
    let expected = BTreeMap::from([
        (object("team"), Some(target.plain(&[1, 3]))),
        (object("other"), Some(target.plain(&[0, 2]))),
        (object("empty"), Some(Facets::new())),
    ]);
    point(10).equal(done, &expected, &seen)
}

/// Point 10: an id names somebody only together with its system.
///
/// # Errors
/// The violation found.
pub async fn point_10_namesakes_of_other_systems_are_not_touched(harness: &dyn TargetHarness) -> Checked {
    let Some(namesake) = harness.namesake(0) else {
        return Ok(());
    };
    let target = Target::sample(harness).await;
    let (mut expected, before) = (target.plain(&[0, 1]), target.plain(&[0, 1]));
    expected.insert(namesake.clone(), MemberFacets::default());
    for (n, done, change, expected) in [
        (
            1,
            "added somebody of another system with the id of a member",
            add(),
            expected,
        ),
        (
            2,
            "removed somebody of another system with the id of a member",
            MemberChange::Remove,
            before,
        ),
    ] {
        let operation = MemberOperation {
            principal: namesake.clone(),
            ..target.operation(n, 0, change)
        };
        target.answers(point(10), done, "team", operation, true).await?;
        let seen = target.members(point(10), done, "team").await?;
        point(10).equal(done, &expected, &seen)?;
    }
    Ok(())
}
