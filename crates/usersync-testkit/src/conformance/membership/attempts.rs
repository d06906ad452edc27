//! The points of `MembershipTarget` about attempts: lost ones, repeated ones, several at the same time.

use futures::future::join;
use usersync_connector::{Error, ErrorKind, MemberChange, MemberOperation, Precondition};
use usersync_model::MemberFacets;

use super::super::object;
use super::TargetHarness;
use super::target::{Checked, Target, add, manager, pending};
use super::write::point;

/// Point 4: whoever takes a lost answer for a failure forgets what the effect left.
///
/// # Errors
/// The violation found.
pub async fn point_04_a_lost_answer_is_an_unknown_outcome(harness: &dyn TargetHarness) -> Checked {
    for (what, number, change) in [
        ("added somebody", 2, add()),
        ("removed a member", 0, MemberChange::Remove),
    ] {
        let target = Target::sample(harness).await;
        let done = format!("{what}; the answer got lost");
        let before = target.members(point(4), &done, "team").await?;
        if harness.lose_next_answer().await.is_err() {
            return Ok(());
        }
        let operation = target.operation(1, number, change);
        let answer = target.apply_one(point(4), &done, "team", operation).await?;
        let after = target.members(point(4), &done, "team").await?;
        let has_effect = before != after;
        let is_true = match &answer {
            Ok(applied) => applied.changed == has_effect,
            Err(error) => error.outcome_unknown() || !has_effect,
        };
        let expected = "an unknown outcome, or what is true of the members";
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
pub async fn point_05_of_many_that_require_one_state_one_succeeds(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.conditional_write {
        return Ok(());
    }
    for time in 0..TIMES {
        let (who, id) = (10 + time, 10 * time);
        let done = "added somebody who must not be there, twice at the same time";
        let additions = [id, id + 1].map(|id| MemberOperation {
            precondition: Precondition::Absent,
            ..target.operation(id, who, add())
        });
        one_succeeds(&target, done, additions).await?;
        if target.can.updates {
            let done = "updated a member in the version just read, twice at the same time";
            let version = target.version(point(5), done, who).await?;
            let updates = [(id + 2, manager()), (id + 3, pending())].map(|(id, facets)| MemberOperation {
                precondition: Precondition::Version(version.clone()),
                ..target.operation(id, who, MemberChange::Update(facets))
            });
            one_succeeds(&target, done, updates).await?;
        }
        let done = "removed a member in the version just read, twice at the same time";
        let version = target.version(point(5), done, who).await?;
        let removals = [id + 4, id + 5].map(|id| MemberOperation {
            precondition: Precondition::Version(version.clone()),
            ..target.operation(id, who, MemberChange::Remove)
        });
        one_succeeds(&target, done, removals).await?;
    }
    Ok(())
}

async fn one_succeeds(target: &Target<'_>, done: &str, operations: [MemberOperation; 2]) -> Checked {
    let [one, other] = operations;
    let (one, other) = join(
        target.apply_one(point(5), done, "team", one),
        target.apply_one(point(5), done, "team", other),
    )
    .await;
    let answers = [one?, other?];
    let succeeded = answers.iter().filter(|answer| answer.is_ok()).count();
    let conflicts = |error: &Error| error.kind() == ErrorKind::Conflict;
    let others = answers.iter().filter_map(|answer| answer.as_ref().err());
    let is_one = succeeded == 1 && others.clone().all(conflicts);
    point(5).holds(is_one, done, "one success and one conflict", answers)
}

/// Point 6: as of additions, also of what ends and of what changes memberships.
///
/// # Errors
/// The violation found.
pub async fn point_06_removals_and_updates_have_their_effect_once(harness: &dyn TargetHarness) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.idempotency_key {
        return Ok(());
    }
    let removal = target.operation(1, 0, MemberChange::Remove);
    let done = "removed a member";
    let first = target
        .answers(point(6), done, "team", removal.clone(), true)
        .await?;
    let done = "a person added the removed member, and the removal came again under the same operation id";
    if by_hand(&target, 0, Some(MemberFacets::default())).await.is_err() {
        return Ok(());
    }
    let again = target.succeeds(point(6), done, "team", removal).await?;
    point(6).equal(done, &first, &again)?;
    let seen = target.members(point(6), done, "team").await?;
    point(6).equal(done, &target.plain(&[0, 1]), &seen)?;
    if !target.can.updates {
        return Ok(());
    }
    let update = target.operation(2, 0, MemberChange::Update(manager()));
    let done = "updated a member";
    let first = target
        .answers(point(6), done, "team", update.clone(), true)
        .await?;
    let done = "a person changed the updated member, and the update came again under the same operation id";
    if by_hand(&target, 0, Some(pending())).await.is_err() {
        return Ok(());
    }
    let again = target.succeeds(point(6), done, "team", update).await?;
    point(6).equal(done, &first, &again)?;
    let mut expected = target.plain(&[0, 1]);
    expected.insert(harness.principal(0), pending());
    let seen = target.members(point(6), done, "team").await?;
    point(6).equal(done, &expected, &seen)
}

/// Point 6: what had no effect is not what an operation id stands for.
///
/// # Errors
/// The violation found.
pub async fn point_06_what_failed_may_succeed_under_the_same_operation_id(
    harness: &dyn TargetHarness,
) -> Checked {
    let target = Target::sample(harness).await;
    if !target.can.idempotency_key {
        return Ok(());
    }
    if target.can.conditional_write && by_hand(&target, 2, Some(MemberFacets::default())).await.is_ok() {
        let done = "added somebody who must not be there, and is";
        let addition = MemberOperation {
            precondition: Precondition::Absent,
            ..target.operation(1, 2, add())
        };
        target
            .fails(point(6), done, "team", addition.clone(), ErrorKind::Conflict)
            .await?;
        if by_hand(&target, 2, None).await.is_ok() {
            let done = "added them under the same operation id, now that they are not there";
            target.answers(point(6), done, "team", addition, true).await?;
            let seen = target.members(point(6), done, "team").await?;
            point(6).equal(done, &target.plain(&[0, 1, 2]), &seen)?;
        }
    }
    if !target.can.updates {
        return Ok(());
    }
    let done = "updated somebody who is no member";
    let update = target.operation(2, 3, MemberChange::Update(manager()));
    target
        .fails(point(6), done, "team", update.clone(), ErrorKind::NotFound)
        .await?;
    if by_hand(&target, 3, Some(MemberFacets::default())).await.is_err() {
        return Ok(());
    }
    let done = "updated them under the same operation id, now that they are a member";
    target.answers(point(6), done, "team", update, true).await?;
    Ok(())
}

async fn by_hand(
    target: &Target<'_>,
    number: u32,
    facets: Option<MemberFacets>,
) -> Result<(), super::Cannot> {
    let principal = target.harness.principal(number);
    target.harness.change(&object("team"), &principal, facets).await
}
