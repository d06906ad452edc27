//! The points of `ItemStore` about attempts: lost ones, repeated ones, several at the same time.

use futures::future::join;
use usersync_connector::{Error, ErrorKind, ItemChange, ItemOperation, Precondition};

use super::ItemHarness;
use super::target::{Checked, Target, point, uid};

/// Point 5: whoever takes a lost answer for a failure writes again what is there.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_lost_answer_is_an_unknown_outcome(harness: &dyn ItemHarness) -> Checked {
    for what in ["created an item", "updated an item", "deleted an item"] {
        let target = Target::sample(harness).await;
        let done = format!("{what}; the answer got lost");
        let operation = match what {
            "created an item" => target.operation(1, 7, target.create(7, 0)),
            "updated an item" => target.operation(1, 0, target.update(point(5), &done, 0, 1).await?),
            _ => {
                let href = target.item(point(5), &done, 0).await?.href;
                target.operation(1, 0, ItemChange::Delete { href })
            }
        };
        let before = target.items_said(point(5), &done, &target.book).await?;
        if harness.lose_next_answer().await.is_err() {
            return Ok(());
        }
        let answer = target.apply_one(point(5), &done, operation).await?;
        let after = target.items_said(point(5), &done, &target.book).await?;
        let has_effect = before != after;
        let is_true = match &answer {
            Ok(applied) => applied.changed == has_effect,
            Err(error) => error.outcome_unknown() || !has_effect,
        };
        let expected = "an unknown outcome, or what is true of the items";
        point(5).holds(is_true, done, expected, (answer, has_effect))?;
    }
    Ok(())
}

/// How often something is tried at the same time.
const TIMES: u32 = 5;

/// Point 6: what is checked is what is changed, whoever comes in between.
///
/// # Errors
/// The violation found.
pub async fn point_06_of_many_that_require_one_version_one_succeeds(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    let done = "updated an item of the version just read, twice at the same time";
    for time in 0..TIMES {
        let Some(version) = target.item(point(6), done, 0).await?.version else {
            return Err(point(6).violated(done, "an item with a version", "none"));
        };
        let mut operations = Vec::new();
        for n in [1, 2] {
            let update = target.update(point(6), done, 0, 10 * time + n).await?;
            operations.push(ItemOperation {
                precondition: Precondition::Version(version.clone()),
                ..target.operation(10 * time + n, 0, update)
            });
        }
        let (mut answers, other) = join(target.apply(&operations[..1]), target.apply(&operations[1..])).await;
        answers.extend(other);
        let succeeded = answers.iter().filter(|answer| answer.is_ok()).count();
        let conflicts = |error: &Error| error.kind() == ErrorKind::Conflict;
        let mut others = answers.iter().filter_map(|answer| answer.as_ref().err());
        let is_one = answers.len() == 2 && succeeded == 1 && others.all(conflicts);
        point(6).holds(is_one, done, "one success and one conflict", answers)?;
    }
    Ok(())
}

/// Point 7: as of creations, also of what changes and of what ends items.
///
/// # Errors
/// The violation found.
pub async fn point_07_updates_and_deletions_have_their_effect_once(harness: &dyn ItemHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.idempotency_key {
        return Ok(());
    }
    let done = "updated an item, twice under one operation id, with a person's change between";
    let update = target.operation(1, 0, target.update(point(7), done, 0, 1).await?);
    let first = target.answers(point(7), done, update.clone(), true).await?;
    let by_hand = Some(harness.text(0, 2));
    if harness.change(&target.book, &uid(0), by_hand).await.is_err() {
        return Ok(());
    }
    let again = target.answers(point(7), done, update, true).await?;
    point(7).equal(done, &first, &again)?;
    let seen = target.items_said(point(7), done, &target.book).await?;
    point(7).equal(done, &target.said(&[(0, 2), (1, 0)]), &seen)?;
    let done = "deleted an item, twice under one operation id";
    let href = target.item(point(7), done, 1).await?.href;
    let deletion = target.operation(2, 1, ItemChange::Delete { href });
    let first = target.answers(point(7), done, deletion.clone(), true).await?;
    let again = target.answers(point(7), done, deletion, true).await?;
    point(7).equal(done, &first, &again)
}
