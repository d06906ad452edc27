//! The points about leases and fences.

use usersync_store::{Key, StoreErrorKind, Table};

use super::StoreHarness;
use super::subject::{Checked, MINUTE, Subject, point};

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_lower_token_is_fenced(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(2)).await;
    let old = subject.acquire("acquired a lease", "job").await?;
    let done = "wrote under a lease that is held";
    subject.succeeds(done, subject.write_under(&old, b"mine").await)?;
    if harness.advance(2 * MINUTE).await.is_err() {
        return Ok(());
    }
    let new = subject.acquire("acquired a lease that expired", "job").await?;
    subject
        .is_fenced(
            "wrote under a lease that somebody else took after it expired",
            &old,
        )
        .await?;
    let done = "wrote under the newer lease";
    subject.succeeds(done, subject.write_under(&new, b"theirs").await)?;
    subject
        .is_fenced("wrote under the older lease once more", &old)
        .await
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_released_lease_is_fenced(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(2)).await;
    let old = subject.acquire("acquired a lease", "job").await?;
    subject.succeeds("released it", subject.store.release(&old).await)?;
    subject
        .is_fenced("wrote under a lease that was released", &old)
        .await?;
    let new = subject.acquire("acquired a released lease", "job").await?;
    subject
        .is_fenced("wrote under a lease that was released and taken again", &old)
        .await?;
    let done = "wrote under the newer lease";
    subject.succeeds(done, subject.write_under(&new, b"theirs").await)
}

/// Point 2: a lease that merely expired still writes.
///
/// # Errors
/// The violation found.
pub async fn point_02_an_expired_lease_writes_until_it_is_taken(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(2)).await;
    let lease = subject.acquire("acquired a lease", "job").await?;
    if harness.advance(2 * MINUTE).await.is_err() {
        return Ok(());
    }
    let done = "wrote under a lease that expired and that nobody took";
    subject.succeeds(done, subject.write_under(&lease, b"late").await)?;
    let seen = subject
        .bytes(done, Table::JobState, &Key::of(&["fenced"]))
        .await?;
    subject.point.equal(done, &Some(b"late".to_vec()), &seen)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_lease_of_another_tenant_is_fenced(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(2)).await;
    let other = subject.of("acme-2");
    let done = "acquired a lease of one name for each of two tenants";
    let ours = subject.acquire(done, "job").await?;
    let theirs = other.acquire(done, "job").await?;
    let only_theirs = other.acquire("acquired a lease of another name", "job-2").await?;
    for lease in [&theirs, &only_theirs] {
        subject
            .is_fenced("wrote under a lease of another tenant that is held", lease)
            .await?;
    }
    let done = "wrote under the tenant's own lease";
    subject.succeeds(done, subject.write_under(&ours, b"ours").await)?;
    subject.succeeds(done, other.write_under(&theirs, b"theirs").await)
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_held_lease_is_refused_to_everybody(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(5)).await;
    let done = "acquired a lease for a minute";
    let before = subject.succeeds(done, subject.store.now().await)?;
    let lease = subject.acquire(done, "job").await?;
    let after = subject.succeeds(done, subject.store.now().await)?;
    let by_the_clock = before + MINUTE <= lease.expires && lease.expires <= after + MINUTE;
    let expected = format!("to expire a minute after {before}, by the store's clock");
    subject.point.holds(by_the_clock, done, expected, lease.expires)?;
    subject
        .point
        .equal(done, &subject.lease_name("job"), &lease.name)?;
    subject
        .is_held("acquired a lease that somebody else holds", "job")
        .await?;
    let done = "acquired a lease again as its holder";
    let result = subject.store.acquire(&lease.name, "worker", MINUTE).await;
    subject.fails(done, StoreErrorKind::Held, result)?;
    if harness.advance(MINUTE / 2).await.is_ok() {
        subject
            .is_held("acquired a lease half a minute before it expires", "job")
            .await?;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_free_lease_is_given_with_a_higher_token(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(5)).await;
    let mut last = subject.acquire("acquired a lease", "job").await?;
    for _ in 0..3 {
        let done = "released a lease and acquired it again";
        subject.succeeds(done, subject.store.release(&last).await)?;
        let next = subject.acquire(done, "job").await?;
        subject.rises(done, last.token, next.token)?;
        last = next;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_an_expired_lease_is_given_with_a_higher_token(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(5)).await;
    let mut last = subject.acquire("acquired a lease", "job").await?;
    for _ in 0..3 {
        if harness.advance(2 * MINUTE).await.is_err() {
            return Ok(());
        }
        let done = "acquired a lease that expired";
        let next = subject.acquire(done, "job").await?;
        subject.rises(done, last.token, next.token)?;
        last = next;
    }
    Ok(())
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_leases_of_other_names_and_tenants_are_apart(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(5)).await;
    let lease = subject.acquire("acquired a lease", "job").await?;
    subject
        .acquire("acquired a lease of another name", "job-2")
        .await?;
    let other = subject.of("acme-2");
    let theirs = other
        .acquire("acquired a lease of that name for another tenant", "job")
        .await?;
    let done = "released the lease of another tenant";
    subject.succeeds(done, subject.store.release(&theirs).await)?;
    subject.is_held(done, "job").await?;
    subject.succeeds(done, subject.write_under(&lease, b"mine").await)
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_renewing_extends_the_newest_lease(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(6)).await;
    let lease = subject.acquire("acquired a lease for a minute", "job").await?;
    let can_wait = harness.advance(MINUTE / 2).await.is_ok();
    let done = "renewed a lease for two minutes";
    let before = subject.succeeds(done, subject.store.now().await)?;
    let renewed = subject.succeeds(done, subject.store.renew(&lease, 2 * MINUTE).await)?;
    let is_longer = renewed.expires >= before + 2 * MINUTE;
    let expected = format!("to expire two minutes after {before} or later");
    subject.point.holds(is_longer, done, expected, renewed.expires)?;
    subject
        .point
        .equal(format!("{done}; token"), &lease.token, &renewed.token)?;
    if can_wait && harness.advance(MINUTE).await.is_ok() {
        subject
            .is_held("acquired a renewed lease after it would have expired", "job")
            .await?;
        let done = "wrote under a renewed lease";
        subject.succeeds(done, subject.write_under(&renewed, b"mine").await)?;
    }
    Ok(())
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_an_expired_lease_is_renewed_while_nobody_took_it(
    harness: &dyn StoreHarness,
) -> Checked {
    let subject = Subject::fresh(harness, point(6)).await;
    let lease = subject.acquire("acquired a lease", "job").await?;
    if harness.advance(2 * MINUTE).await.is_err() {
        return Ok(());
    }
    let done = "renewed a lease that expired and that nobody took";
    subject.succeeds(done, subject.store.renew(&lease, MINUTE).await)?;
    subject
        .is_held("acquired a lease that was renewed after it expired", "job")
        .await
}

/// Point 6.
///
/// # Errors
/// The violation found.
pub async fn point_06_a_lost_lease_is_not_renewed(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(6)).await;
    let old = subject.acquire("acquired a lease", "job").await?;
    subject.succeeds("released it", subject.store.release(&old).await)?;
    let new = subject.acquire("acquired it again", "job").await?;
    let done = "renewed a lease that somebody else took";
    subject.fails(
        done,
        StoreErrorKind::Fenced,
        subject.store.renew(&old, MINUTE).await,
    )?;
    subject.succeeds(
        "renewed the newest lease",
        subject.store.renew(&new, MINUTE).await,
    )?;
    if harness.advance(2 * MINUTE).await.is_err() {
        return Ok(());
    }
    subject.acquire("acquired a lease that expired", "job").await?;
    let done = "renewed a lease that somebody took after it expired";
    subject.fails(
        done,
        StoreErrorKind::Fenced,
        subject.store.renew(&new, MINUTE).await,
    )
}

/// Point 6: whoever gave a lease up takes it again, with another token.
///
/// # Errors
/// The violation found.
pub async fn point_06_a_released_lease_is_not_renewed(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(6)).await;
    let old = subject.acquire("acquired a lease", "job").await?;
    subject.succeeds("released it", subject.store.release(&old).await)?;
    let done = "renewed a lease that was released and that nobody took since";
    let renewed = subject.store.renew(&old, MINUTE).await;
    subject.fails(done, StoreErrorKind::Fenced, renewed)?;
    subject.is_fenced("wrote under it", &old).await?;
    let new = subject.acquire("acquired it again", "job").await?;
    subject.rises(done, old.token, new.token)
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_a_released_lease_is_free(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(7)).await;
    let lease = subject.acquire("acquired a lease", "job").await?;
    subject.succeeds("released a lease", subject.store.release(&lease).await)?;
    subject.succeeds(
        "released a lease that is free",
        subject.store.release(&lease).await,
    )?;
    subject
        .acquire("acquired a lease right after it was released", "job")
        .await?;
    Ok(())
}

/// Point 7.
///
/// # Errors
/// The violation found.
pub async fn point_07_releasing_a_lost_lease_does_nothing(harness: &dyn StoreHarness) -> Checked {
    let subject = Subject::fresh(harness, point(7)).await;
    let old = subject.acquire("acquired a lease", "job").await?;
    subject.succeeds("released it", subject.store.release(&old).await)?;
    let new = subject.acquire("acquired it again", "job").await?;
    let done = "released a lease that somebody else has by now";
    subject.succeeds(done, subject.store.release(&old).await)?;
    subject.is_held(done, "job").await?;
    subject.succeeds(done, subject.write_under(&new, b"theirs").await)
}
