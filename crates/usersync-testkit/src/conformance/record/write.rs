//! The points of `RecordTarget`: those of `MembershipTarget`, with records for members.

use usersync_connector::{
    Applied, Error, ErrorKind, Extent, Precondition, RecordChange, RecordOperation, Version,
};
use usersync_model::Record;

use super::super::object;
use super::super::read::follow;
use super::RecordHarness;
use super::target::{Checked, Records, Target, point};

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_one_result_per_operation_in_their_order(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "created a new record, one that is there, and another new one";
    let operations: Vec<_> = [2, 0, 3]
        .into_iter()
        .take(target.can.target.max_batch.get())
        .map(|number| target.operation(number, number, target.create(number, 0)))
        .collect();
    let results = target.apply(target.book.as_ref(), &operations).await;
    let seen: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().map(|applied| applied.changed).ok())
        .collect();
    let expected: Vec<_> = [Some(true), Some(false), Some(true)]
        .into_iter()
        .take(operations.len())
        .collect();
    point(1).equal(done, &expected, &seen)?;
    let results = target.apply(target.book.as_ref(), &[]).await;
    point(1).equal("applied no operation; results", &0, &results.len())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_failing_operation_stops_no_other(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.max_batch.get() < 3 {
        return Ok(());
    }
    let done = "created a record, one over another, and another new one";
    let operations = [
        target.operation(1, 2, target.create(2, 0)),
        target.operation(2, 0, target.create(0, 1)),
        target.operation(3, 3, target.create(3, 0)),
    ];
    let results = target.apply(target.book.as_ref(), &operations).await;
    let seen: Vec<_> = results.iter().map(Result::is_ok).collect();
    point(1).equal(done, &vec![true, false, true], &seen)?;
    let seen = target.records(point(1), done).await?;
    point(1).equal(done, &target.plain(&[0, 1, 2, 3]), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_creating_an_equal_record_succeeds_unchanged(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "created a record that is there with equal facets";
    target
        .answers(point(2), done, target.operation(1, 0, target.create(0, 0)), false)
        .await?;
    let seen = target.records(point(2), done).await?;
    point(2).equal(done, &target.plain(&[0, 1]), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_creating_over_another_record_already_exists(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "created a record that is there with other facets";
    let operation = target.operation(1, 0, target.create(0, 1));
    target
        .fails(point(2), done, operation, ErrorKind::AlreadyExists)
        .await
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_deleting_an_absent_record_succeeds_unchanged(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "deleted a record that is not there";
    target
        .answers(
            point(2),
            done,
            target.operation(1, 9, RecordChange::Delete),
            false,
        )
        .await?;
    let seen = target.records(point(2), done).await?;
    point(2).equal(done, &target.plain(&[0, 1]), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_deleting_from_a_missing_collection_succeeds_unchanged(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if target.book.is_none() {
        return Ok(());
    }
    let done = "deleted a record from a collection that does not exist";
    let operation = target.operation(1, 0, RecordChange::Delete);
    let results = target.apply(Some(&object("gone")), &[operation]).await;
    let is_unchanged = matches!(results.as_slice(), [Ok(applied)] if !applied.changed);
    point(2).holds(is_unchanged, done, "success with changed: false", results)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_creating_in_a_missing_collection_is_not_found(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.book.is_none() {
        return Ok(());
    }
    let done = "created a record in a collection that does not exist";
    let operation = target.operation(1, 0, target.create(0, 0));
    let mut results = target.apply(Some(&object("gone")), &[operation]).await;
    point(2).equal(format!("{done}; results"), &1, &results.len())?;
    point(2).fails(done, ErrorKind::NotFound, results.remove(0))?;
    let followed = follow(target.stream(Some(object("gone")), None)).await;
    followed.refused(point(2), done, ErrorKind::NotFound)
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_a_success_is_visible_to_the_next_read(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "created a record";
    target
        .answers(point(3), done, target.operation(1, 2, target.create(2, 0)), true)
        .await?;
    let seen = target.records(point(3), done).await?;
    point(3).equal(done, &target.plain(&[0, 1, 2]), &seen)?;
    let done = "deleted a record";
    target
        .answers(point(3), done, target.operation(2, 0, RecordChange::Delete), true)
        .await?;
    let seen = target.records(point(3), done).await?;
    point(3).equal(done, &target.plain(&[1, 2]), &seen)?;
    if target.can.target.point_read {
        let seen = target.record(point(3), done, 0).await?;
        point(3).holds(seen.is_none(), done, "no such record", seen)?;
    }
    Ok(())
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_known_failure_had_no_effect(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let missing = target.operation(1, 9, RecordChange::Update(target.one_facet(9, 1)));
    target
        .fails_without_effect(point(4), "updated a record that is not there", missing)
        .await?;
    if harness.refuse_writes().await.is_ok() {
        let done = "created a record in a system that refuses writes";
        let creation = target.operation(2, 2, target.create(2, 0));
        target.fails_without_effect(point(4), done, creation).await?;
        let done = "deleted a record from a system that refuses writes";
        let deletion = target.operation(3, 0, RecordChange::Delete);
        target.fails_without_effect(point(4), done, deletion).await?;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_versions_are_shown(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    let done = "read records of a system that claims conditional_write";
    let version = target.version(point(5), done, 0).await?;
    if !target.can.target.point_read {
        return Ok(());
    }
    let done = "read the same record alone; version";
    let seen = target
        .record(point(5), done, 0)
        .await?
        .and_then(|present| present.version);
    point(5).equal(done, &Some(version), &seen)
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_precondition_that_does_not_hold_is_a_conflict(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    let held = Precondition::Version(target.version(point(5), "read a version", 0).await?);
    let unknown = Precondition::Version(Version("usersync-testkit: unknown".to_owned()));
    for (n, (done, number, change, precondition)) in [
        (
            "created a record that must not be there",
            0,
            target.create(0, 0),
            Precondition::Absent,
        ),
        (
            "deleted a record of another version",
            0,
            RecordChange::Delete,
            unknown,
        ),
        (
            "deleted a missing record of some version",
            9,
            RecordChange::Delete,
            held.clone(),
        ),
        (
            "created a missing record of some version",
            9,
            target.create(9, 0),
            held.clone(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let operation = target.operation(n as u32, number, change);
        let operation = RecordOperation {
            precondition,
            ..operation
        };
        target
            .fails(point(5), done, operation, ErrorKind::Conflict)
            .await?;
    }
    let changed = Some(harness.record(0, 2));
    if harness
        .change(target.book.as_ref(), &target.id(0), changed)
        .await
        .is_err()
    {
        return Ok(());
    }
    let done = "deleted a record that a person changed meanwhile";
    let operation = RecordOperation {
        precondition: held.clone(),
        ..target.operation(10, 0, RecordChange::Delete)
    };
    target
        .fails(point(5), done, operation, ErrorKind::Conflict)
        .await?;
    if target.can.target.updates {
        let done = "updated a record that a person changed meanwhile";
        let operation = RecordOperation {
            precondition: held,
            ..target.operation(11, 0, RecordChange::Update(target.one_facet(0, 1)))
        };
        target
            .fails(point(5), done, operation, ErrorKind::Conflict)
            .await?;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_precondition_that_holds_lets_the_effect_happen(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    let done = "created a record that must not be there, and is not";
    let operation = RecordOperation {
        precondition: Precondition::Absent,
        ..target.operation(1, 2, target.create(2, 0))
    };
    target.answers(point(5), done, operation, true).await?;
    let done = "deleted a record in the version just read";
    let version = target.version(point(5), done, 2).await?;
    let operation = RecordOperation {
        precondition: Precondition::Version(version),
        ..target.operation(2, 2, RecordChange::Delete)
    };
    target.answers(point(5), done, operation, true).await?;
    if target.can.target.updates {
        let done = "updated a record twice, by the version that the first update answered";
        let version = target.version(point(5), done, 0).await?;
        let operation = RecordOperation {
            precondition: Precondition::Version(version),
            ..target.operation(3, 0, RecordChange::Update(target.one_facet(0, 1)))
        };
        let applied = target.answers(point(5), done, operation, true).await?;
        if let Some(version) = applied.version {
            let operation = RecordOperation {
                precondition: Precondition::Version(version),
                ..target.operation(4, 0, RecordChange::Update(target.one_facet(0, 2)))
            };
            target.answers(point(5), done, operation, true).await?;
        }
    }
    Ok(())
}

/// Point 5: what does not claim the capability ignores preconditions, as their documentation says.
///
/// # Errors
/// The violation found.
pub async fn point_05_without_conditional_writes_preconditions_are_ignored(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.conditional_write {
        return Ok(());
    }
    let done = "deleted a record of another version from a system that does not claim conditional_write";
    let operation = RecordOperation {
        precondition: Precondition::Version(Version("usersync-testkit: unknown".to_owned())),
        ..target.operation(1, 0, RecordChange::Delete)
    };
    target.answers(point(5), done, operation, true).await?;
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_an_operation_id_has_its_effect_once(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.idempotency_key {
        return Ok(());
    }
    let creation = target.operation(1, 2, target.create(2, 0));
    let first = target
        .answers(point(6), "created a record", creation.clone(), true)
        .await?;
    let done = "created it again under the same operation id";
    let again = target.succeeds(point(6), done, creation.clone()).await?;
    point(6).equal(done, &first, &again)?;
    let careful = RecordOperation {
        precondition: Precondition::Absent,
        ..target.operation(2, 3, target.create(3, 0))
    };
    let done = "created a record that must not be there, twice under the same operation id";
    let once = target.answers(point(6), done, careful.clone(), true).await?;
    let twice = target.succeeds(point(6), done, careful).await?;
    point(6).equal(done, &once, &twice)?;
    let done = "a person deleted the created record, and the creation came again under the same operation id";
    if harness
        .change(target.book.as_ref(), &target.id(2), None)
        .await
        .is_err()
    {
        return Ok(());
    }
    let again = target.succeeds(point(6), done, creation).await?;
    point(6).equal(done, &first, &again)?;
    let seen = target.records(point(6), done).await?;
    point(6).equal(done, &target.plain(&[0, 1, 3]), &seen)
}

/// Point 7, as for records: an update leaves facets that it does not name as they are.
///
/// # Errors
/// The violation found.
pub async fn point_07_an_update_leaves_other_facets_as_they_are(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.updates {
        return Ok(());
    }
    let done = "updated one facet of a record";
    let facets = target.one_facet(0, 1);
    let operation = target.operation(1, 0, RecordChange::Update(facets.clone()));
    target.answers(point(7), done, operation, true).await?;
    let mut expected: Records = target.plain(&[0, 1]);
    let updated = Record {
        facets: expected[&target.id(0)]
            .facets
            .clone()
            .into_iter()
            .chain(facets.clone())
            .collect(),
        ..harness.record(0, 0)
    };
    expected.insert(target.id(0), updated);
    let seen = target.records(point(7), done).await?;
    point(7).equal(done, &expected, &seen)?;
    let done = "updated a facet to what it is";
    let operation = target.operation(2, 0, RecordChange::Update(facets));
    target.answers(point(7), done, operation, false).await?;
    Ok(())
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_without_updates_updates_are_refused(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.updates {
        return Ok(());
    }
    let done = "updated a record of a system that does not claim updates";
    let operation = target.operation(1, 0, RecordChange::Update(target.one_facet(0, 1)));
    target
        .fails(point(7), done, operation, ErrorKind::Unsupported)
        .await
}

/// Point 8.
///
/// # Errors
/// The violation found.
pub async fn point_08_updating_a_missing_record_is_not_found(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.updates {
        return Ok(());
    }
    let done = "updated a record that is not there";
    let operation = target.operation(1, 9, RecordChange::Update(target.one_facet(9, 1)));
    target.fails(point(8), done, operation, ErrorKind::NotFound).await
}

/// The largest batch worth trying.
const BATCH: usize = 5000;

/// Point 9; not tried on systems whose batches are larger than 5000.
///
/// # Errors
/// The violation found.
pub async fn point_09_a_batch_too_large_fails_whole(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let most = target.can.target.max_batch.get();
    if most > BATCH {
        return Ok(());
    }
    let done = format!("applied {} operations where {most} are allowed", most + 1);
    let results = target
        .apply(target.book.as_ref(), &target.creations(most + 1))
        .await;
    let is_refused = |result: &Result<Applied, Error>| {
        result
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::LimitExceeded)
    };
    let all_refused = results.len() == most + 1 && results.iter().all(is_refused);
    let expected = "an error of kind limit_exceeded for every operation";
    point(9).holds(all_refused, &done, expected, &results)?;
    let seen = target.records(point(9), &done).await?;
    point(9).equal(done, &target.plain(&[0, 1]), &seen)
}

/// Point 9; tried with 5000 operations where more are allowed.
///
/// # Errors
/// The violation found.
pub async fn point_09_the_largest_batch_is_accepted(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let most = target.can.target.max_batch.get().min(BATCH);
    let done = format!("applied {most} operations, as many as are allowed");
    let results = target.apply(target.book.as_ref(), &target.creations(most)).await;
    let failed: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
    point(9).holds(failed.is_empty(), &done, "success of every operation", &failed)?;
    let followed = follow(target.stream(target.book.clone(), None)).await;
    let (entries, _) = followed.complete(point(9), &done, Extent::Full)?;
    point(9).equal(format!("{done}; records"), &(most + 2), &entries.len())
}

/// Point 10.
///
/// # Errors
/// The violation found.
pub async fn point_10_other_records_and_collections_are_not_touched(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "created a record and deleted another";
    target
        .succeeds(point(10), done, target.operation(1, 3, target.create(3, 0)))
        .await?;
    target
        .succeeds(point(10), done, target.operation(2, 0, RecordChange::Delete))
        .await?;
    let seen = target.records(point(10), done).await?;
    point(10).equal(done, &target.plain(&[1, 3]), &seen)?;
    if let Some(other) = target.other.clone() {
        let seen = target.records_of(point(10), done, other).await?;
        point(10).equal(
            format!("{done}; another collection"),
            &target.plain(&[0, 2]),
            &seen,
        )?;
    }
    Ok(())
}
