//! The points of `RecordTarget` about attempts: lost ones, repeated ones, several at the same time.

use futures::future::join;
use usersync_connector::{Error, ErrorKind, Precondition, RecordChange, RecordOperation};
use usersync_model::Record;

use super::super::Cannot;
use super::RecordHarness;
use super::target::{Checked, Target, point};

/// Point 4: whoever takes a lost answer for a failure forgets what the effect left.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_lost_answer_is_an_unknown_outcome(harness: &dyn RecordHarness) -> Checked {
    for what in ["created a record", "updated a record", "deleted a record"] {
        let target = Target::sample(harness).await;
        let operation = match what {
            "created a record" => target.operation(1, 2, target.create(2, 0)),
            "deleted a record" => target.operation(1, 0, RecordChange::Delete),
            _ if !target.can.target.updates => continue,
            _ => target.operation(1, 0, RecordChange::Update(target.one_facet(0, 1))),
        };
        let done = format!("{what}; the answer got lost");
        let before = target.records(point(4), &done).await?;
        if harness.lose_next_answer().await.is_err() {
            return Ok(());
        }
        let answer = target
            .apply_one(point(4), &done, target.book.as_ref(), operation)
            .await?;
        let after = target.records(point(4), &done).await?;
        let has_effect = before != after;
        let is_true = match &answer {
            Ok(applied) => applied.changed == has_effect,
            Err(error) => error.outcome_unknown() || !has_effect,
        };
        let expected = "an unknown outcome, or what is true of the records";
        point(4).holds(is_true, done, expected, (answer, has_effect))?;
    }
    Ok(())
}

/// How often something is tried at the same time.
const TIMES: u32 = 5;

/// Point 5: what is checked is what is changed, whoever comes in between.
///
/// # Errors
/// The violation found.
pub async fn point_05_of_many_that_require_one_state_one_succeeds(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.conditional_write {
        return Ok(());
    }
    for time in 0..TIMES {
        let (which, id) = (10 + time, 10 * time);
        let done = "created a record that must not be there, twice at the same time";
        let creations = [id, id + 1].map(|id| RecordOperation {
            precondition: Precondition::Absent,
            ..target.operation(id, which, target.create(which, 0))
        });
        one_succeeds(&target, done, creations).await?;
        if target.can.target.updates {
            let done = "updated a record in the version just read, twice at the same time";
            let version = target.version(point(5), done, which).await?;
            let updates = [(id + 2, 1), (id + 3, 2)].map(|(id, variant)| RecordOperation {
                precondition: Precondition::Version(version.clone()),
                ..target.operation(id, which, RecordChange::Update(target.one_facet(which, variant)))
            });
            one_succeeds(&target, done, updates).await?;
        }
        let done = "deleted a record in the version just read, twice at the same time";
        let version = target.version(point(5), done, which).await?;
        let deletions = [id + 4, id + 5].map(|id| RecordOperation {
            precondition: Precondition::Version(version.clone()),
            ..target.operation(id, which, RecordChange::Delete)
        });
        one_succeeds(&target, done, deletions).await?;
    }
    Ok(())
}

async fn one_succeeds(target: &Target<'_>, done: &str, operations: [RecordOperation; 2]) -> Checked {
    let [one, other] = operations;
    let (one, other) = join(
        target.apply_one(point(5), done, target.book.as_ref(), one),
        target.apply_one(point(5), done, target.book.as_ref(), other),
    )
    .await;
    let answers = [one?, other?];
    let succeeded = answers.iter().filter(|answer| answer.is_ok()).count();
    let conflicts = |error: &Error| error.kind() == ErrorKind::Conflict;
    let mut others = answers.iter().filter_map(|answer| answer.as_ref().err());
    let is_one = succeeded == 1 && others.all(conflicts);
    point(5).holds(is_one, done, "one success and one conflict", answers)
}

/// Point 6: as of creations, also of what ends and of what changes records.
///
/// # Errors
/// The violation found.
pub async fn point_06_deletions_and_updates_have_their_effect_once(harness: &dyn RecordHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.idempotency_key {
        return Ok(());
    }
    let deletion = target.operation(1, 0, RecordChange::Delete);
    let done = "deleted a record";
    let first = target.answers(point(6), done, deletion.clone(), true).await?;
    let done = "a person made the deleted record, and the deletion came again under the same operation id";
    if by_hand(&target, 0, Some(harness.record(0, 0))).await.is_err() {
        return Ok(());
    }
    let again = target.succeeds(point(6), done, deletion).await?;
    point(6).equal(done, &first, &again)?;
    let seen = target.records(point(6), done).await?;
    point(6).equal(done, &target.plain(&[0, 1]), &seen)?;
    if !target.can.target.updates {
        return Ok(());
    }
    let update = target.operation(2, 0, RecordChange::Update(target.one_facet(0, 1)));
    let done = "updated a record";
    let first = target.answers(point(6), done, update.clone(), true).await?;
    let done = "a person changed the updated record, and the update came again under the same operation id";
    if by_hand(&target, 0, Some(harness.record(0, 2))).await.is_err() {
        return Ok(());
    }
    let again = target.succeeds(point(6), done, update).await?;
    point(6).equal(done, &first, &again)?;
    let mut expected = target.plain(&[0, 1]);
    expected.insert(target.id(0), harness.record(0, 2));
    let seen = target.records(point(6), done).await?;
    point(6).equal(done, &expected, &seen)
}

/// Point 6: what had no effect is not what an operation id stands for.
///
/// # Errors
/// The violation found.
pub async fn point_06_what_failed_may_succeed_under_the_same_operation_id(
    harness: &dyn RecordHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.target.idempotency_key || by_hand(&target, 2, Some(harness.record(2, 1))).await.is_err() {
        return Ok(());
    }
    let done = "created a record where another one is";
    let creation = target.operation(1, 2, target.create(2, 0));
    target
        .fails(point(6), done, creation.clone(), ErrorKind::AlreadyExists)
        .await?;
    if by_hand(&target, 2, None).await.is_err() {
        return Ok(());
    }
    let done = "created it under the same operation id, now that the other one is gone";
    target.answers(point(6), done, creation, true).await?;
    let seen = target.records(point(6), done).await?;
    point(6).equal(done, &target.plain(&[0, 1, 2]), &seen)
}

async fn by_hand(target: &Target<'_>, number: u32, record: Option<Record>) -> Result<(), Cannot> {
    let id = target.id(number);
    target.harness.change(target.book.as_ref(), &id, record).await
}
