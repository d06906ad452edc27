//! Subscriptions in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use usersync_connector::{
    Applied, BookingChange, CallContext, Error, ErrorKind, Result, SubscriptionAdmin, Subscriptions,
};
use usersync_license::Quantities;
use usersync_model::{ObjectId, SubscriptionResource, SystemId};

use crate::call::{CallKind, CallSite};
use crate::shared::lock;
use crate::sync::Mutex;
use crate::tap::{Tap, tapped};

/// What organisations have booked. Clones share it; tests keep one to book by hand. An organisation that was never set is not
/// there.
#[derive(Clone, Debug)]
pub struct MemorySubscriptions {
    system: SystemId,
    booked: Arc<Mutex<BTreeMap<ObjectId, Quantities>>>,
    tap: Tap,
}

tapped!(MemorySubscriptions);

impl MemorySubscriptions {
    /// No organisation is known.
    #[must_use]
    pub fn new(system: SystemId) -> Self {
        Self {
            system,
            booked: Arc::default(),
            tap: Tap::default(),
        }
    }

    /// One of its own with the same content, without faults and with an empty record of calls.
    #[must_use]
    pub fn fork(&self) -> Self {
        let booked = lock(&self.booked).clone();
        Self {
            system: self.system.clone(),
            booked: Arc::new(Mutex::new(booked)),
            tap: self.tap.fork(),
        }
    }

    /// Says what an organisation has booked from now on; makes it if it is not there.
    pub fn set(&self, organisation: ObjectId, booked: Quantities) {
        lock(&self.booked).insert(organisation, booked);
    }

    /// Books one resource, as a person would; makes the organisation if it is not there.
    pub fn book_by_hand(&self, organisation: ObjectId, resource: SubscriptionResource, quantity: u64) {
        let mut booked = lock(&self.booked);
        booked.entry(organisation).or_default().set(resource, quantity);
    }

    /// What an organisation has booked now. Not a call: neither numbered nor recorded.
    #[must_use]
    pub fn booked_by(&self, organisation: &ObjectId) -> Option<Quantities> {
        lock(&self.booked).get(organisation).cloned()
    }

    fn missing(&self, organisation: &ObjectId, kind: CallKind) -> Error {
        let message = format!("no subscription of {organisation} is known; set one first");
        Error::new(ErrorKind::NotFound, message).at(&self.system, kind.code())
    }
}

#[async_trait]
impl Subscriptions for MemorySubscriptions {
    fn system(&self) -> &SystemId {
        &self.system
    }

    async fn booked(&self, organisation: &ObjectId, context: &CallContext) -> Result<Quantities> {
        let site = CallSite::new(CallKind::Booked)
            .on(&self.system)
            .context(context)
            .containers(std::slice::from_ref(organisation));
        self.tap
            .call(site, || {
                let booked = self.booked_by(organisation);
                booked.ok_or_else(|| self.missing(organisation, CallKind::Booked))
            })
            .await
    }
}

#[async_trait]
impl SubscriptionAdmin for MemorySubscriptions {
    async fn adjust(
        &self,
        organisation: &ObjectId,
        change: &BookingChange,
        context: &CallContext,
    ) -> Result<Applied> {
        let site = CallSite::new(CallKind::Adjust)
            .on(&self.system)
            .context(context)
            .containers(std::slice::from_ref(organisation))
            .operation(change.id, 0);
        let act = || {
            let mut all = lock(&self.booked);
            let booked = all
                .get_mut(organisation)
                .ok_or_else(|| self.missing(organisation, CallKind::Adjust))?;
            let now = booked.of(&change.resource);
            if now == change.wanted {
                return Ok(Applied::unchanged());
            }
            if now != change.seen {
                let message = format!(
                    "{now} are booked, not {}; look again and decide anew",
                    change.seen
                );
                return Err(
                    Error::new(ErrorKind::Conflict, message).at(&self.system, CallKind::Adjust.code())
                );
            }
            booked.set(change.resource.clone(), change.wanted);
            Ok(Applied::changed())
        };
        self.tap.call(site, act).await
    }
}
