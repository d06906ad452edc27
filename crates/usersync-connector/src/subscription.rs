//! Systems that know what organisations have booked.

use std::fmt;

use async_trait::async_trait;
use usersync_license::Quantities;
use usersync_model::{ObjectId, OperationId, SubscriptionResource, SystemId};

use crate::context::CallContext;
use crate::error::Result;
use crate::membership::Applied;

/// Tells what organisations have booked.
///
/// # Behavior
/// 1. `booked` answers what is booked as of now; resources that it does not name are booked 0 times. A system that cannot tell is an
///    error, never nothing booked.
/// 2. An organisation that does not exist fails with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 3. What one organisation has booked tells nothing of another.
#[async_trait]
pub trait Subscriptions: fmt::Debug + Send + Sync + 'static {
    /// The system that keeps the subscriptions.
    fn system(&self) -> &SystemId;

    /// What an organisation has booked, by the id of its collection of records.
    async fn booked(&self, organisation: &ObjectId, context: &CallContext) -> Result<Quantities>;
}

/// Another quantity of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingChange {
    /// Names the change in the system's own records: equal for every attempt at it.
    pub id: OperationId,
    /// Of what.
    pub resource: SubscriptionResource,
    /// How many were booked when the change was decided.
    pub seen: u64,
    /// How many are to be booked.
    pub wanted: u64,
}

/// Changes what organisations have booked.
///
/// # Behavior
/// 1. After a success the next `booked` tells the quantity wanted. Other resources and other organisations are not touched.
/// 2. Where the quantity wanted is booked already it succeeds with `changed: false`, so that a change can be tried again.
/// 3. Where neither that nor the quantity seen is booked it fails with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) and has no
///    effect. The check and the effect are one step: of two changes decided on one sight, one has its effect.
/// 4. An organisation that does not exist fails with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
/// 5. A failure that is not [`outcome_unknown`](crate::Error::outcome_unknown) had no effect.
#[async_trait]
pub trait SubscriptionAdmin: Subscriptions {
    /// Changes the quantity of one resource.
    async fn adjust(
        &self,
        organisation: &ObjectId,
        change: &BookingChange,
        context: &CallContext,
    ) -> Result<Applied>;
}
