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
use crate::links;

const SEAT: Format = Format {
    name: "usersync.seat",
    version: 2,
};

/// The seats of tenants: taken one by one, each in one conditional step of the store, so that no interleaving of workers and no
/// crash ever exceeds the entitlement that the taker was shown.
///
/// The seats of links are taken and given back by [`Links`](crate::Links), with the links. This is for hosts that give seats to
/// principals for anything else. A principal has one seat for both: what was taken here stays when the last link ends, and what is
/// released here stays while there is a saved link.
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
    /// Version 1 does not say it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    host: bool,
}

/// A seat, with what keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) holder: SeatHolder,
    /// Whether the host took it, through a [`SeatRegister`]; otherwise it is there for links alone.
    pub(crate) is_hosts: bool,
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

    /// Takes a seat for `holder`: one, however often it is asked for, and whether links share it or not. It does not wait, and takes
    /// no notice of links that wait for a seat.
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
        let table = Table::Seat;
        let key = seat_key(&holder.principal);
        let bytes = encode(&Seat {
            holder: holder.clone(),
            is_hosts: true,
        })?;
        loop {
            let mut transaction = Transaction::new(tenant.clone());
            let before = self.seat(tenant, &key).await?;
            transaction.check(Check::Value {
                table,
                key: key.clone(),
                revision: before.as_ref().map(|(_, revision)| *revision),
            });
            transaction.write(Write::Put {
                table,
                key: key.clone(),
                bytes: bytes.clone(),
            });
            let taken = match before {
                Some((seat, _)) if seat.holder.kind != holder.kind => return Ok(Err(Refusal::BothKinds)),
                Some((seat, _)) if seat.is_hosts => return Ok(Ok(Taken::Already)),
                Some(_) => Taken::Already,
                None => {
                    let limits = self.limits(tenant).await?;
                    // A clear refusal before the attempt; the attempt itself is what counts.
                    if let Err(refusal) = limits.admit(self.counts(tenant).await?, holder.kind) {
                        return Ok(Err(refusal));
                    }
                    for rule in SeatRule::ALL {
                        let counters = rule.kinds().iter().map(|kind| counter_key(*kind)).collect();
                        transaction.check(Check::AtMost {
                            counters,
                            limit: limits.limit(rule),
                        });
                    }
                    transaction.write(Write::Add {
                        counter: counter_key(holder.kind),
                        delta: 1,
                    });
                    Taken::Now
                }
            };
            if self.commit(transaction).await? {
                return Ok(Ok(taken));
            }
        }
    }

    /// Gives back what [`take`](Self::take) took, and answers whether a seat is free by that: a principal that has a saved link keeps
    /// its seat until the last one ends. Who waits gets it with the next call of [`Links`](crate::Links) that saves or removes links;
    /// until then [`Links::waiting`](crate::Links::waiting) says who that is.
    ///
    /// # Errors
    /// When the store fails, or holds a link of the principal that cannot be read.
    pub async fn release(&self, tenant: &TenantId, principal: &PrincipalRef) -> Result<bool> {
        let table = Table::Seat;
        let key = seat_key(principal);
        loop {
            let Some((seat, revision)) = self.seat(tenant, &key).await? else {
                return Ok(false);
            };
            // Whoever begins or ends a link writes its seat: while that is the same, the links that are read after it are.
            let is_linked = links::is_linked(self.store.as_ref(), tenant, principal).await?;
            if is_linked && !seat.is_hosts {
                return Ok(false);
            }
            let mut transaction = Transaction::new(tenant.clone());
            transaction.check(Check::Value {
                table,
                key: key.clone(),
                revision: Some(revision),
            });
            let key = key.clone();
            if is_linked {
                let bytes = encode(&Seat {
                    is_hosts: false,
                    ..seat
                })?;
                transaction.write(Write::Put { table, key, bytes });
            } else {
                transaction.write(Write::Delete { table, key });
                transaction.write(Write::Add {
                    counter: counter_key(seat.holder.kind),
                    delta: -1,
                });
                // Whoever is about to wait looks again.
                transaction.write(links::moved_queue(self.store.now().await?)?);
            }
            if self.commit(transaction).await? {
                return Ok(!is_linked);
            }
        }
    }

    /// Commits; `false` if somebody was faster: look again. Each round, somebody's change was committed, so there is an end to it.
    async fn commit(&self, transaction: Transaction) -> Result<bool> {
        match self.store.commit(transaction).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
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
                holders.push(decode(&stored.bytes)?.holder);
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

    async fn seat(&self, tenant: &TenantId, key: &Key) -> Result<Option<(Seat, Revision)>> {
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

pub(crate) fn encode(seat: &Seat) -> Result<Vec<u8>> {
    let stored = StoredSeat {
        principal: seat.holder.principal.clone(),
        resource: seat.holder.kind == SeatKind::Resource,
        host: seat.is_hosts,
    };
    Ok(SEAT.encode(&stored)?)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Seat> {
    let StoredSeat {
        principal,
        resource,
        host,
    } = SEAT.decode(bytes)?;
    let holder = match resource {
        true => SeatHolder::resource(principal),
        false => SeatHolder::user(principal),
    };
    Ok(Seat {
        holder,
        is_hosts: host,
    })
}
