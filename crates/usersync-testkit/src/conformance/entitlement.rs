//! The contract of [`EntitlementSource`].

use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::EntitlementSource;
use usersync_license::{Entitlement, ExtraSeats};
use usersync_model::TenantId;

use super::{Cannot, Point, Violation, sample_context, suite};

/// Gives entitlement sources to check.
#[async_trait]
pub trait EntitlementHarness: Send + Sync {
    /// A source in which `entitlement` is in force. What else the harness does is done to the source given last.
    async fn fresh(&self, entitlement: Entitlement) -> Arc<dyn EntitlementSource>;

    /// The tenant of the calls made.
    fn tenant(&self) -> TenantId {
        sample_context().tenant
    }

    /// Puts another entitlement in force, behind the source's back.
    async fn set(&self, _entitlement: Entitlement) -> Result<(), Cannot> {
        Err(Cannot)
    }

    /// Makes the source unable to tell from now on.
    async fn disconnect(&self) -> Result<(), Cannot> {
        Err(Cannot)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `EntitlementSource`.
    ///
    /// Takes the name of the module, an expression for an
    /// [`EntitlementHarness`](crate::conformance::entitlement::EntitlementHarness), which is evaluated for each test, and, if the source needs a
    /// runtime, an expression that is called with a check's future and runs it to its end.
    entitlement_source_conformance, entitlement, EntitlementHarness, [
    point_01_what_is_in_force_now_is_told,
    point_01_a_source_that_cannot_tell_is_an_error,
]);

const POINT: Point = Point("EntitlementSource", 1);

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_what_is_in_force_now_is_told(harness: &dyn EntitlementHarness) -> Checked {
    let first = Entitlement::new(25);
    let source = harness.fresh(first).await;
    let seen = source.entitlement(&harness.tenant()).await;
    let done = "asked for the entitlement";
    POINT.equal(done, &first, &POINT.succeeds(done, seen)?)?;
    for next in [
        first.with_extra(ExtraSeats::MAX),
        Entitlement::new(3),
        Entitlement::new(0),
    ] {
        if harness.set(next).await.is_err() {
            continue;
        }
        let done = format!("changed the entitlement to {next:?} and asked at once");
        let seen = source.entitlement(&harness.tenant()).await;
        POINT.equal(&done, &next, &POINT.succeeds(&done, seen)?)?;
    }
    Ok(())
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_a_source_that_cannot_tell_is_an_error(harness: &dyn EntitlementHarness) -> Checked {
    let source = harness.fresh(Entitlement::new(25)).await;
    if harness.disconnect().await.is_err() {
        return Ok(());
    }
    let done = "asked for the entitlement when the source cannot tell";
    let seen = source.entitlement(&harness.tenant()).await;
    POINT.holds(seen.is_err(), done, "an error", seen)
}
