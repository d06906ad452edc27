//! The contracts of [`Subscriptions`](usersync_connector::Subscriptions) and [`SubscriptionAdmin`].

use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{Applied, BookingChange, CallContext, ErrorKind, Result, SubscriptionAdmin};
use usersync_license::Quantities;
use usersync_model::{Digest, ObjectId, OperationId, SubscriptionResource};

use super::{Cannot, Point, Violation, object, sample_context, suite};

/// Gives subscriptions to check.
#[async_trait]
pub trait SubscriptionHarness: Send + Sync {
    /// A connector to a system that has exactly these organisations, which have booked that. What else the harness does is done to
    /// the system given last.
    async fn fresh(&self, organisations: Vec<(ObjectId, Quantities)>) -> Arc<dyn SubscriptionAdmin>;

    /// Two resources that the system knows.
    fn resources(&self) -> [SubscriptionResource; 2] {
        ["mailboxes", "contacts"].map(|name| {
            SubscriptionResource::new(name).expect("a literal without control characters is a name")
        })
    }

    /// The context of the calls made.
    fn context(&self) -> CallContext {
        sample_context()
    }

    /// Books behind the connector's back.
    async fn book(
        &self,
        _organisation: &ObjectId,
        _resource: &SubscriptionResource,
        _quantity: u64,
    ) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes the system unable to tell and to change anything from now on.
    async fn disconnect(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Lets the system answer again.
    async fn reconnect(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contracts of `Subscriptions` and `SubscriptionAdmin`.
    ///
    /// Takes the name of the module, an expression for a
    /// [`SubscriptionHarness`](crate::conformance::subscription::SubscriptionHarness), which is evaluated for each test, and, if the system
    /// needs a runtime, an expression that is called with a check's future and runs it to its end.
    subscription_conformance, subscription, SubscriptionHarness, [
    read_point_01_what_is_booked_now_is_told,
    read_point_01_a_system_that_cannot_tell_is_an_error,
    read_point_02_an_unknown_organisation_is_not_found,
    read_point_03_each_organisation_has_its_own,
    point_01_a_success_is_visible_to_the_next_read,
    point_01_nothing_else_is_touched,
    point_02_what_is_so_already_succeeds_unchanged,
    point_03_what_was_not_seen_is_a_conflict,
    point_04_an_unknown_organisation_is_not_found,
    point_05_a_known_failure_had_no_effect,
]);

const fn read_point(number: u8) -> Point {
    Point("Subscriptions", number)
}

const fn point(number: u8) -> Point {
    Point("SubscriptionAdmin", number)
}

/// A system of two organisations, and what was done to it so far.
struct Scene<'h> {
    harness: &'h dyn SubscriptionHarness,
    system: Arc<dyn SubscriptionAdmin>,
    context: CallContext,
    resources: [SubscriptionResource; 2],
}

impl<'h> Scene<'h> {
    /// 5 and 7 of the two resources for the first organisation, 11 of the first for the other.
    async fn new(harness: &'h dyn SubscriptionHarness) -> Self {
        let resources = harness.resources();
        let [first, second] = resources.clone();
        let one = Quantities::from_iter([(first.clone(), 5), (second, 7)]);
        let other = Quantities::from_iter([(first, 11)]);
        let system = harness
            .fresh(vec![(object("org-1"), one), (object("org-2"), other)])
            .await;
        Self {
            harness,
            system,
            context: harness.context(),
            resources,
        }
    }

    async fn booked(&self, point: Point, done: &str) -> Result<[u64; 4], Violation> {
        let mut seen = [0; 4];
        for (n, organisation) in ["org-1", "org-2"].into_iter().enumerate() {
            let booked = self.system.booked(&object(organisation), &self.context).await;
            let booked =
                point.succeeds(format!("{done} and asked what {organisation} has booked"), booked)?;
            for (m, resource) in self.resources.iter().enumerate() {
                seen[2 * n + m] = booked.of(resource);
            }
        }
        Ok(seen)
    }

    async fn adjust(&self, organisation: &str, attempt: &str, seen: u64, wanted: u64) -> Result<Applied> {
        let change = BookingChange {
            id: OperationId::from_digest(&Digest::of("usersync.conformance", attempt.as_bytes())),
            resource: self.resources[0].clone(),
            seen,
            wanted,
        };
        self.system
            .adjust(&object(organisation), &change, &self.context)
            .await
    }
}

/// Point 1 of reading.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_what_is_booked_now_is_told(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    let done = "booked 5 and 7, and 11";
    read_point(1).equal(done, &[5, 7, 11, 0], &scene.booked(read_point(1), done).await?)?;
    if harness
        .book(&object("org-1"), &scene.resources[1], 8)
        .await
        .is_ok()
    {
        let done = "booked one more and asked at once";
        read_point(1).equal(done, &[5, 8, 11, 0], &scene.booked(read_point(1), done).await?)?;
    }
    Ok(())
}

/// Point 1 of reading.
///
/// # Errors
/// The violation found.
pub async fn read_point_01_a_system_that_cannot_tell_is_an_error(
    harness: &dyn SubscriptionHarness,
) -> Checked {
    let scene = Scene::new(harness).await;
    if harness.disconnect().await.is_err() {
        return Ok(());
    }
    let seen = scene.system.booked(&object("org-1"), &scene.context).await;
    let done = "asked what is booked when the system cannot tell";
    read_point(1).holds(seen.is_err(), done, "an error", seen)
}

/// Point 2 of reading.
///
/// # Errors
/// The violation found.
pub async fn read_point_02_an_unknown_organisation_is_not_found(
    harness: &dyn SubscriptionHarness,
) -> Checked {
    let scene = Scene::new(harness).await;
    let seen = scene.system.booked(&object("org-3"), &scene.context).await;
    let done = "asked what an organisation has booked that is not there";
    read_point(2).fails(done, ErrorKind::NotFound, seen)
}

/// Point 3 of reading.
///
/// # Errors
/// The violation found.
pub async fn read_point_03_each_organisation_has_its_own(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    if harness
        .book(&object("org-2"), &scene.resources[0], 12)
        .await
        .is_err()
    {
        return Ok(());
    }
    let done = "booked one more for one organisation";
    let seen = scene.booked(read_point(3), done).await?;
    read_point(3).equal(done, &[5, 7, 12, 0], &seen)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_success_is_visible_to_the_next_read(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    for (seen, wanted) in [(5, 9), (9, 3), (3, 0)] {
        let done = format!("adjusted from {seen} to {wanted}");
        let applied = point(1).succeeds(&done, scene.adjust("org-1", &done, seen, wanted).await)?;
        point(1).holds(applied.changed, &done, "an answer that it changed", applied)?;
        let booked = scene.booked(point(1), &done).await?;
        point(1).equal(&done, &wanted, &booked[0])?;
    }
    Ok(())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_nothing_else_is_touched(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    let done = "adjusted the first resource of the first organisation from 5 to 9";
    point(1).succeeds(done, scene.adjust("org-1", done, 5, 9).await)?;
    let booked = scene.booked(point(1), done).await?;
    point(1).equal(done, &[7, 11, 0], &[booked[1], booked[2], booked[3]])
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_what_is_so_already_succeeds_unchanged(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    let first = "adjusted from 5 to 9";
    point(2).succeeds(first, scene.adjust("org-1", first, 5, 9).await)?;
    for attempt in [first, "another change from 5 to 9"] {
        let done = format!("adjusted from 5 to 9, and tried again: {attempt}");
        let applied = point(2).succeeds(&done, scene.adjust("org-1", attempt, 5, 9).await)?;
        if attempt != first {
            point(2).holds(!applied.changed, &done, "an answer that nothing changed", applied)?;
        }
        let booked = scene.booked(point(2), &done).await?;
        point(2).equal(&done, &9, &booked[0])?;
    }
    Ok(())
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_what_was_not_seen_is_a_conflict(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    for seen in [0, 4, 6] {
        let done = format!("adjusted to 9 having seen {seen} where 5 are booked");
        let answer = scene.adjust("org-1", &done, seen, 9).await;
        point(3).fails(&done, ErrorKind::Conflict, answer)?;
        let booked = scene.booked(point(3), &done).await?;
        point(3).equal(&done, &[5, 7, 11, 0], &booked)?;
    }
    Ok(())
}

/// Point 4.
///
/// # Errors
/// The violation found.
pub async fn point_04_an_unknown_organisation_is_not_found(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    let done = "adjusted what an organisation has booked that is not there";
    let answer = scene.adjust("org-3", done, 0, 9).await;
    point(4).fails(done, ErrorKind::NotFound, answer)
}

/// Point 5.
///
/// # Errors
/// The violation found.
pub async fn point_05_a_known_failure_had_no_effect(harness: &dyn SubscriptionHarness) -> Checked {
    let scene = Scene::new(harness).await;
    if scene.harness.disconnect().await.is_err() {
        return Ok(());
    }
    let done = "adjusted from 5 to 9 when the system cannot change anything";
    let answer = scene.adjust("org-1", done, 5, 9).await;
    let Err(error) = answer else {
        return Err(point(5).violated(done, "an error", answer));
    };
    if scene.harness.reconnect().await.is_err() || error.outcome_unknown() {
        return Ok(());
    }
    let booked = scene.booked(point(5), done).await?;
    point(5).equal(done, &[5, 7, 11, 0], &booked)
}
