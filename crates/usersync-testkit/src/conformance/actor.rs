//! The contract of [`ActorDirectory`].

use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{ActorDirectory, ActorState};
use usersync_model::{PrincipalRef, TenantId};

use super::{Cannot, Point, Violation, sample_context, suite};

/// Gives actor directories to check.
#[async_trait]
pub trait ActorHarness: Send + Sync {
    /// A directory that knows nobody. What else the harness does is done to the directory given last.
    async fn fresh(&self) -> Arc<dyn ActorDirectory>;

    /// Makes `principal` active, inactive or missing from now on, behind the directory's back.
    async fn set(&self, principal: &PrincipalRef, state: ActorState) -> Result<(), Cannot>;

    /// The tenant of the calls made.
    fn tenant(&self) -> TenantId {
        sample_context().tenant
    }

    /// A principal that can act; another one for another number.
    fn principal(&self, number: u32) -> PrincipalRef {
        PrincipalRef::parse("directory", &format!("user-{number:04}"))
            .expect("the suite's own ids hold no control characters")
    }

    /// Makes the directory unable to ask its system from now on.
    async fn disconnect(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `ActorDirectory`.
    ///
    /// Takes the name of the module, an expression for an [`ActorHarness`](crate::conformance::actor::ActorHarness), which is evaluated for
    /// each test, and, if the directory needs a runtime, an expression that is called with a check's future and runs it to its
    /// end.
    actor_directory_conformance, actor, ActorHarness, [
    point_01_the_state_is_told_as_of_now,
    point_02_a_principal_that_is_not_known_is_missing,
    point_02_a_system_that_cannot_be_asked_is_an_error,
]);

const fn point(number: u8) -> Point {
    Point("ActorDirectory", number)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_the_state_is_told_as_of_now(harness: &dyn ActorHarness) -> Checked {
    let directory = harness.fresh().await;
    let (somebody, other) = (harness.principal(0), harness.principal(1));
    if harness.set(&other, ActorState::Active).await.is_err() {
        return Ok(());
    }
    for state in [
        ActorState::Active,
        ActorState::Inactive,
        ActorState::Active,
        ActorState::Missing,
        ActorState::Inactive,
    ] {
        if harness.set(&somebody, state).await.is_err() {
            continue;
        }
        let done = format!("made somebody {state:?} and asked at once");
        let seen = directory.state(&harness.tenant(), &somebody).await;
        point(1).equal(&done, &state, &point(1).succeeds(&done, seen)?)?;
        let done = format!("made somebody {state:?} and asked for somebody else, who is active");
        let seen = directory.state(&harness.tenant(), &other).await;
        point(1).equal(&done, &ActorState::Active, &point(1).succeeds(&done, seen)?)?;
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_principal_that_is_not_known_is_missing(harness: &dyn ActorHarness) -> Checked {
    let directory = harness.fresh().await;
    let done = "asked for a principal that is not known";
    let seen = directory.state(&harness.tenant(), &harness.principal(9)).await;
    point(2).equal(done, &ActorState::Missing, &point(2).succeeds(done, seen)?)
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_system_that_cannot_be_asked_is_an_error(harness: &dyn ActorHarness) -> Checked {
    let directory = harness.fresh().await;
    let known = harness
        .set(&harness.principal(0), ActorState::Active)
        .await
        .is_ok();
    if harness.disconnect().await.is_err() {
        return Ok(());
    }
    for (number, who) in [
        (0, "somebody who was active"),
        (9, "a principal that is not known"),
    ] {
        if number == 0 && !known {
            continue;
        }
        let done = format!("asked for {who} when the system cannot be asked");
        let seen = directory
            .state(&harness.tenant(), &harness.principal(number))
            .await;
        point(2).holds(seen.is_err(), done, "an error", seen)?;
    }
    Ok(())
}
