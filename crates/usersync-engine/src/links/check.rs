//! Whether what is stored of links and seats agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use usersync_license::SeatKind;
use usersync_model::{PrincipalRef, TenantId};
use usersync_store::{Format, Key, StateRead, Table};

use super::record::{CLAIM, CONSENT, LINK, LinkEntry, LinkId, claim_key, consent_key, links_prefix};
use crate::error::Result;
use crate::seats::{self, Seat};

/// Something stored of links or seats that contradicts something else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LinkProblem {
    /// A claim on an account, or a consent asked for, belongs to no link.
    Dangling {
        /// Whose it says it is.
        principal: PrincipalRef,
    },
    /// A saved link has no seat, or one of another kind.
    NoSeat {
        /// Whose link.
        principal: PrincipalRef,
    },
    /// A principal has a seat, no saved link, and, as far as is known, no need of it by the host. It is no contradiction where the
    /// host took it, through a [`SeatRegister`](crate::SeatRegister), before seats said so.
    SeatWithoutLink {
        /// Whose seat.
        principal: PrincipalRef,
    },
    /// A counter of seats is not the number of seats of its kind.
    SeatsMiscounted {
        /// The stable code of the kind.
        kind: &'static str,
        /// How many seats there are.
        seats: u64,
        /// How many the counter tells.
        counted: u64,
    },
    /// A link's account is not claimed by it: another principal could be linked with it.
    Unclaimed {
        /// Whose link.
        principal: PrincipalRef,
    },
    /// Something cannot be read, or is stored under a key that is not its own.
    Unreadable {
        /// In which table.
        table: &'static str,
        /// How many.
        values: u64,
    },
}

impl LinkProblem {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dangling { .. } => "dangling",
            Self::NoSeat { .. } => "no_seat",
            Self::SeatWithoutLink { .. } => "seat_without_link",
            Self::SeatsMiscounted { .. } => "seats_miscounted",
            Self::Unclaimed { .. } => "unclaimed",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

impl fmt::Display for LinkProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dangling { principal } => write!(
                f,
                "something of a link of {principal} is there that the link does not know; restore the store from a backup"
            ),
            Self::NoSeat { principal } => {
                write!(
                    f,
                    "{principal} is linked and has no seat of its kind; remove the link and save it again"
                )
            }
            Self::SeatWithoutLink { principal } => {
                write!(
                    f,
                    "{principal} has a seat and no link; release the seat if nothing else needs it"
                )
            }
            Self::SeatsMiscounted { kind, seats, counted } => write!(
                f,
                "{seats} seats of kind {kind} are taken, but {counted} counted; restore the store from a backup"
            ),
            Self::Unclaimed { principal } => {
                write!(
                    f,
                    "the account of {principal} is not claimed; remove the link and save it again"
                )
            }
            Self::Unreadable { table, values } => write!(
                f,
                "{values} values of table {table} cannot be read; restore the store from a backup"
            ),
        }
    }
}

/// Compares the links, claims, consents, seats and counters of a tenant: everything that a store cannot compare itself, since values
/// mean nothing to it. Works on any store, reads only, and answers all problems in their order.
///
/// Nobody should write meanwhile: what is read is not read at one time.
///
/// # Errors
/// When the store fails.
pub async fn check_links(state: &dyn StateRead, tenant: &TenantId) -> Result<Vec<LinkProblem>> {
    let mut found = BTreeSet::new();
    let mut unreadable = 0;
    let links: BTreeMap<Key, LinkEntry> =
        read(state, tenant, Table::Link, &links_prefix(), LINK, &mut unreadable).await?;
    let (links, misplaced): (BTreeMap<_, _>, BTreeMap<_, _>) = links
        .into_iter()
        .partition(|(key, entry)| LinkId::of(&entry.link).key() == *key);
    unreadable += misplaced.len() as u64;
    let claims: BTreeMap<Key, LinkId> = read(
        state,
        tenant,
        Table::Link,
        &Key::of(&["account"]),
        CLAIM,
        &mut unreadable,
    )
    .await?;
    let asked: BTreeMap<Key, LinkId> = read(
        state,
        tenant,
        Table::Link,
        &Key::of(&["consent"]),
        CONSENT,
        &mut unreadable,
    )
    .await?;
    note_unreadable(&mut found, Table::Link, unreadable);

    let mut linked = BTreeSet::new();
    for entry in links.values() {
        let id = LinkId::of(&entry.link);
        let claim = claim_key(entry.link.account(), &id.principal.system);
        let is_asked = |key: &Key| asked.get(key) == Some(&id);
        let has_lost = entry
            .asked
            .as_ref()
            .is_some_and(|asked| !is_asked(&consent_key(&asked.hash)));
        if claims.get(&claim) != Some(&id) || has_lost {
            found.insert(LinkProblem::Unclaimed {
                principal: id.principal.clone(),
            });
        }
        if entry.link.is_kept() {
            linked.insert((id.principal, SeatKind::of(entry.link.kind())));
        }
    }
    for (key, id) in claims.iter().chain(&asked) {
        let is_known = links.get(&id.key()).is_some_and(|entry| {
            let consent = entry.asked.as_ref().map(|asked| consent_key(&asked.hash));
            claim_key(entry.link.account(), &id.principal.system) == *key || consent.as_ref() == Some(key)
        });
        if !is_known {
            found.insert(LinkProblem::Dangling {
                principal: id.principal.clone(),
            });
        }
    }
    check_seats(state, tenant, &linked, &mut found).await?;
    Ok(found.into_iter().collect())
}

async fn check_seats(
    state: &dyn StateRead,
    tenant: &TenantId,
    linked: &BTreeSet<(PrincipalRef, Option<SeatKind>)>,
    found: &mut BTreeSet<LinkProblem>,
) -> Result<()> {
    let mut seated: BTreeMap<PrincipalRef, Seat> = BTreeMap::new();
    let mut unreadable = 0;
    let mut chunks = state.values(tenant, Table::Seat, &Key::of(&[]));
    while let Some(chunk) = chunks.try_next().await? {
        for (key, stored) in chunk {
            match seats::decode(&stored.bytes) {
                Ok(seat) if seats::seat_key(&seat.holder.principal) == key => {
                    seated.insert(seat.holder.principal.clone(), seat);
                }
                Ok(_) | Err(_) => unreadable += 1,
            }
        }
    }
    note_unreadable(found, Table::Seat, unreadable);
    let without_seat = linked.iter().filter(|(principal, kind)| {
        let seat = seated.get(principal);
        seat.is_none_or(|seat| Some(seat.holder.kind) != *kind)
    });
    found.extend(without_seat.map(|(principal, _)| LinkProblem::NoSeat {
        principal: principal.clone(),
    }));
    let linked: BTreeSet<_> = linked.iter().map(|(principal, _)| principal).collect();
    let without_link = seated
        .iter()
        .filter(|(principal, seat)| !seat.is_hosts && !linked.contains(principal));
    found.extend(without_link.map(|(principal, _)| LinkProblem::SeatWithoutLink {
        principal: principal.clone(),
    }));
    for kind in SeatKind::ALL {
        let counted = state.counter(tenant, &seats::counter_key(kind)).await?;
        let seats = seated.values().filter(|seat| seat.holder.kind == kind).count() as u64;
        if seats != counted {
            let kind = kind.code();
            found.insert(LinkProblem::SeatsMiscounted { kind, seats, counted });
        }
    }
    Ok(())
}

fn note_unreadable(found: &mut BTreeSet<LinkProblem>, table: Table, values: u64) {
    if values > 0 {
        let table = table.code();
        found.insert(LinkProblem::Unreadable { table, values });
    }
}

async fn read<T: DeserializeOwned>(
    state: &dyn StateRead,
    tenant: &TenantId,
    table: Table,
    prefix: &Key,
    format: Format,
    unreadable: &mut u64,
) -> Result<BTreeMap<Key, T>> {
    let mut values = BTreeMap::new();
    let mut chunks = state.values(tenant, table, prefix);
    while let Some(chunk) = chunks.try_next().await? {
        for (key, stored) in chunk {
            match format.decode(&stored.bytes) {
                Ok(value) => {
                    values.insert(key, value);
                }
                Err(_) => *unreadable += 1,
            }
        }
    }
    Ok(values)
}
