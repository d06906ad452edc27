//! Seats, taken and given back in the store.

use std::sync::Arc;

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use usersync_connector::EntitlementSource;
use usersync_license::{
    OverUse, Refusal, ResourcePlacement, SeatCounts, SeatHolder, SeatKind, SeatLimits, SeatRule, Seats,
};
use usersync_model::{PrincipalRef, TenantId};
use usersync_store::{
    Check, Format, Key, Revision, StateStore, StoreError, StoreErrorKind, Table, Transaction, Write,
};

use crate::error::Result;

const SEAT: Format = Format {
    name: "usersync.seat",
    version: 1,
};

/// The seats of tenants: taken one by one, each in one conditional step of the store, so that no interleaving of workers and no
/// crash ever exceeds the entitlement that the taker was shown.
///
/// The seats of links are taken and given back by [`Links`](crate::Links), with the links. This is for hosts that give seats to
/// principals for anything else; a seat that is released here is gone for links, too.
#[derive(Clone, Debug)]
pub struct SeatRegister {
    store: Arc<dyn StateStore>,
    entitlements: Arc<dyn EntitlementSource>,
    placement: ResourcePlacement,
}

/// How taking a seat ended, when it was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The principal had it before.
    Already,
    /// It was free, and is the principal's now.
    Now,
}

/// The seats of a tenant beside what it is entitled to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupancy {
    /// Who has a seat.
    pub seats: Seats,
    /// The limits in force.
    pub limits: SeatLimits,
    /// By how much they are exceeded, after an entitlement was reduced. Nobody loses a seat by that.
    pub over_use: Option<OverUse>,
}

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: crate::fuzzing::StoredFormat = crate::fuzzing::stored!(SEAT, StoredSeat);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSeat {
    principal: PrincipalRef,
    resource: bool,
}

impl SeatRegister {
    /// The seats in `store`, within what `entitlements` tells.
    #[must_use]
    pub fn new(
        store: Arc<dyn StateStore>,
        entitlements: Arc<dyn EntitlementSource>,
        placement: ResourcePlacement,
    ) -> Self {
        Self {
            store,
            entitlements,
            placement,
        }
    }

    /// Takes a seat for `holder`: one, however often it is asked for.
    ///
    /// The inner result is the entitlement's answer: a refusal says what to do about it.
    ///
    /// # Errors
    /// When the entitlement cannot be told, or the store fails.
    pub async fn take(
        &self,
        tenant: &TenantId,
        holder: &SeatHolder,
    ) -> Result<std::result::Result<Taken, Refusal>> {
        let key = seat_key(&holder.principal);
        loop {
            if let Some((seated, _)) = self.seat(tenant, &key).await? {
                let same = seated.kind == holder.kind;
                return Ok(if same {
                    Ok(Taken::Already)
                } else {
                    Err(Refusal::BothKinds)
                });
            }
            let limits = self.limits(tenant).await?;
            // A clear refusal before the attempt; the attempt itself is what counts.
            if let Err(refusal) = limits.admit(self.counts(tenant).await?, holder.kind) {
                return Ok(Err(refusal));
            }
            let mut transaction = Transaction::new(tenant.clone());
            transaction.check(Check::Value {
                table: Table::Seat,
                key: key.clone(),
                revision: None,
            });
            for rule in SeatRule::ALL {
                let counters = rule.kinds().iter().map(|kind| counter_key(*kind)).collect();
                transaction.check(Check::AtMost {
                    counters,
                    limit: limits.limit(rule),
                });
            }
            transaction.write(Write::Put {
                table: Table::Seat,
                key: key.clone(),
                bytes: encode(holder)?,
            });
            transaction.write(Write::Add {
                counter: counter_key(holder.kind),
                delta: 1,
            });
            match self.store.commit(transaction).await {
                Ok(()) => return Ok(Ok(Taken::Now)),
                // Somebody was faster: look again. Each round, somebody got a seat, so there is an end to it.
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives a seat back, and answers whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<bool> {
        let key = seat_key(principal);
        loop {
            let Some((holder, revision)) = self.seat(tenant, &key).await? else {
                return Ok(false);
            };
            let mut transaction = Transaction::new(tenant.clone());
            transaction.check(Check::Value {
                table: Table::Seat,
                key: key.clone(),
                revision: Some(revision),
            });
            transaction.write(Write::Delete {
                table: Table::Seat,
                key: key.clone(),
            });
            transaction.write(Write::Add {
                counter: counter_key(holder.kind),
                delta: -1,
            });
            match self.store.commit(transaction).await {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Who has a seat, and whether that is too many.
    ///
    /// # Errors
    /// When the entitlement cannot be told, or the store fails or holds something that is no seat.
    pub async fn occupancy(&self, tenant: &TenantId) -> Result<Occupancy> {
        let mut chunks = self.store.values(tenant, Table::Seat, &Key::of(&[]));
        let mut holders = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            for (_, stored) in chunk {
                holders.push(decode(&stored.bytes)?);
            }
        }
        let seats = Seats::new(holders).map_err(|conflict| {
            StoreError::new(StoreErrorKind::Corrupt, "a seat is taken twice").with_source(conflict)
        })?;
        let limits = self.limits(tenant).await?;
        let over_use = limits.over_use(seats.counts());
        Ok(Occupancy {
            seats,
            limits,
            over_use,
        })
    }

    async fn limits(&self, tenant: &TenantId) -> Result<SeatLimits> {
        Ok(self
            .entitlements
            .entitlement(tenant)
            .await?
            .limits(self.placement))
    }

    async fn counts(&self, tenant: &TenantId) -> Result<SeatCounts> {
        Ok(SeatCounts {
            resources: self
                .store
                .counter(tenant, &counter_key(SeatKind::Resource))
                .await?,
            users: self.store.counter(tenant, &counter_key(SeatKind::User)).await?,
        })
    }

    async fn seat(&self, tenant: &TenantId, key: &Key) -> Result<Option<(SeatHolder, Revision)>> {
        match self.store.value(tenant, Table::Seat, key).await? {
            Some(stored) => Ok(Some((decode(&stored.bytes)?, stored.revision))),
            None => Ok(None),
        }
    }
}

pub(crate) fn seat_key(principal: &PrincipalRef) -> Key {
    Key::of(&[principal.system.as_str(), principal.object.as_str()])
}

pub(crate) fn counter_key(kind: SeatKind) -> Key {
    Key::of(&["seats", kind.code()])
}

pub(crate) fn encode(holder: &SeatHolder) -> Result<Vec<u8>> {
    let stored = StoredSeat {
        principal: holder.principal.clone(),
        resource: holder.kind == SeatKind::Resource,
    };
    Ok(SEAT.encode(&stored)?)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<SeatHolder> {
    let StoredSeat { principal, resource } = SEAT.decode(bytes)?;
    Ok(if resource {
        SeatHolder::resource(principal)
    } else {
        SeatHolder::user(principal)
    })
}
