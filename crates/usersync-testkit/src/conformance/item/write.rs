//! The points of `ItemStore`.

use usersync_connector::{ErrorKind, ItemChange, ItemOperation, Precondition, Version};

use super::super::object;
use super::ItemHarness;
use super::target::{Checked, Target, point};

/// Point 1: each operation is answered, in order, and failures stop no other.
///
/// # Errors
/// The violation found.
pub async fn point_01_one_result_per_operation_in_their_order(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.max_batch.get() < 3 {
        return Ok(());
    }
    let done = "create an item, one that is there, and another";
    let operations: Vec<ItemOperation> = [7, 0, 8]
        .map(|number| target.operation(number, number, target.create(number, 0)))
        .to_vec();
    let results = target.apply(&operations).await;
    let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
    point(1).equal(done, &vec![true, false, true], &ok)?;
    let seen = target.items_said(point(1), done, &target.book).await?;
    point(1).equal(done, &target.said(&[(0, 0), (1, 0), (7, 0), (8, 0)]), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_one_uid_is_one_item(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    for (id, variant) in [(1, 0), (2, 5)] {
        let done = "create an item whose UID is there";
        let operation = target.operation(id, 0, target.create(0, variant));
        target
            .fails(point(2), done, operation, ErrorKind::AlreadyExists)
            .await?;
    }
    let done = "create an item whose UID another collection has";
    let operation = target.operation(3, 2, target.create(2, 0));
    target.answers(point(2), done, operation, true).await.map(drop)
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_deleting_nothing_succeeds_unchanged(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "delete where nothing is";
    let href = object("nowhere");
    let operation = target.operation(1, 9, ItemChange::Delete { href });
    target.answers(point(3), done, operation, false).await.map(drop)
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_updating_nothing_is_not_found(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let change = ItemChange::Update {
        href: object("nowhere"),
        content: harness.text(9, 0).into(),
    };
    let operation = target.operation(1, 9, change);
    target
        .fails(
            point(3),
            "update where nothing is",
            operation,
            ErrorKind::NotFound,
        )
        .await
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_success_is_visible_to_the_next_read(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "create, update and delete an item each";
    let update = target.update(point(4), done, 0, 1).await?;
    let href = target.item(point(4), done, 1).await?.href;
    for (number, change) in [
        (7, target.create(7, 0)),
        (0, update),
        (1, ItemChange::Delete { href }),
    ] {
        let operation = target.operation(number, number, change);
        target.answers(point(4), done, operation, true).await?;
    }
    let seen = target.items_said(point(4), done, &target.book).await?;
    point(4).equal(done, &target.said(&[(0, 1), (7, 0)]), &seen)
}

/// Point 4, where the system has versions.
///
/// # Errors
/// The violation found.
pub async fn point_04_the_version_answered_is_the_one_shown(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    let done = "create and update an item, and read its version";
    let mut seen = Vec::new();
    for (id, variant) in [(1, 0), (2, 1)] {
        let change = match variant {
            0 => target.create(7, 0),
            _ => target.update(point(4), done, 7, variant).await?,
        };
        let applied = target
            .answers(point(4), done, target.operation(id, 7, change), true)
            .await?;
        let shown = target.item(point(4), done, 7).await?.version;
        point(4).holds(shown.is_some(), done, "a version", &shown)?;
        point(4).equal(done, &applied.version, &shown)?;
        point(4).holds(
            !seen.contains(&shown),
            done,
            "another version after every write",
            &shown,
        )?;
        seen.push(shown);
    }
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_a_precondition_that_does_not_hold_is_a_conflict(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    let done = "update and delete an item of another version";
    let item = target.item(point(6), done, 0).await?;
    let old = item.version.unwrap_or(Version(String::new()));
    let update = target.update(point(6), done, 0, 1).await?;
    let current = ItemOperation {
        precondition: Precondition::Version(old.clone()),
        ..target.operation(1, 0, update)
    };
    target.answers(point(6), done, current, true).await?;
    let update = target.update(point(6), done, 0, 2).await?;
    let delete = ItemChange::Delete { href: item.href };
    for (id, change) in [(2, update), (3, delete)] {
        let stale = ItemOperation {
            precondition: Precondition::Version(old.clone()),
            ..target.operation(id, 0, change)
        };
        target.fails(point(6), done, stale, ErrorKind::Conflict).await?;
    }
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_without_conditional_writes_preconditions_are_ignored(
    harness: &dyn ItemHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if target.can.target.conditional_write {
        return Ok(());
    }
    let done = "update an item of no version";
    let operation = ItemOperation {
        precondition: Precondition::Version(Version("none".to_owned())),
        ..target.operation(1, 0, target.update(point(6), done, 0, 1).await?)
    };
    target.answers(point(6), done, operation, true).await.map(drop)
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_an_operation_id_has_its_effect_once(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.idempotency_key {
        return Ok(());
    }
    let done = "create an item twice under one operation id, with its deletion between";
    let create = target.operation(1, 7, target.create(7, 0));
    let first = target.answers(point(7), done, create.clone(), true).await?;
    let href = target.item(point(7), done, 7).await?.href;
    let delete = target.operation(2, 7, ItemChange::Delete { href });
    target.answers(point(7), done, delete, true).await?;
    let again = target.answers(point(7), done, create, true).await?;
    point(7).equal(done, &first, &again)?;
    let seen = target.items_said(point(7), done, &target.book).await?;
    point(7).equal(done, &target.said(&[(0, 0), (1, 0)]), &seen)
}

/// Point 8.
///
/// # Errors
/// The violation found.
pub async fn point_08_a_batch_too_large_fails_whole(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let most = u32::try_from(target.can.target.max_batch.get()).unwrap_or(u32::MAX);
    // Nobody sends more than this at once.
    if most > 10_000 {
        return Ok(());
    }
    let done = "apply one operation more than the largest batch has";
    let operations: Vec<ItemOperation> = (0..=most)
        .map(|n| target.operation(n, 100 + n, target.create(100 + n, 0)))
        .collect();
    let results = target.apply(&operations).await;
    point(8).equal(done, &operations.len(), &results.len())?;
    for result in results {
        point(8).fails(done, ErrorKind::LimitExceeded, result)?;
    }
    let seen = target.items_said(point(8), done, &target.book).await?;
    point(8).equal(done, &target.said(&[(0, 0), (1, 0)]), &seen)
}

/// Point 9.
///
/// # Errors
/// The violation found.
pub async fn point_09_other_items_and_collections_are_not_touched(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    let done = "update and delete an item that another collection has too";
    let update = target.update(point(9), done, 0, 1).await?;
    target
        .answers(point(9), done, target.operation(1, 0, update), true)
        .await?;
    let href = target.item(point(9), done, 0).await?.href;
    let delete = target.operation(2, 0, ItemChange::Delete { href });
    target.answers(point(9), done, delete, true).await?;
    let seen = target.items_said(point(9), done, &target.book).await?;
    point(9).equal(done, &target.said(&[(1, 0)]), &seen)?;
    let seen = target.items_said(point(9), done, &target.other).await?;
    point(9).equal(done, &target.said(&[(0, 0), (2, 0)]), &seen)?;
    Ok(())
}
