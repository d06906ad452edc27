//! What is stored of links.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use usersync_connector::Actor;
use usersync_model::{
    AccountRef, Authorization, Digest, JobId, Link, LinkState, ObjectId, OperationId, PrincipalRef, SystemId,
    TenantId,
};
use usersync_store::{Format, Key, Revision, StateRead, StoreError, StoreErrorKind, Table, Write};

use crate::error::Result;
use crate::seats::{self, Seat};

pub(super) const LINK: Format = Format {
    name: "usersync.link",
    version: 2,
};
pub(super) const CLAIM: Format = Format {
    name: "usersync.link_claim",
    version: 1,
};
pub(super) const CONSENT: Format = Format {
    name: "usersync.consent",
    version: 1,
};
pub(super) const AUDIT: Format = Format {
    name: "usersync.link_audit",
    version: 1,
};

pub(super) const QUEUE: Format = Format {
    name: "usersync.seat_queue",
    version: 1,
};

/// A link with what goes on about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LinkEntry {
    /// The link.
    pub link: Link,
    /// When it was proposed.
    pub staged: DateTime<Utc>,
    /// Since when a proposal waits for a seat, after it was to be saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<DateTime<Utc>>,
    /// Since when complete reads miss what they miss now of the principal and the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<DateTime<Utc>>,
    /// The consent that its owner was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// What the token store last said of the owner's consent: what it goes on saying undoes nothing that was done since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed: Option<Authorization>,
    /// Whether the principal or the account was an administrator's when a person confirmed the pair.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Which life of the link it is, once it is saved: the revision of the proposal, which no other one of the pair ever has. What is
    /// remembered of an earlier life counts no more. `None` if version 1 saved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) life: Option<Revision>,
}

/// An owner was asked to consent, and has not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Of the token; the token itself is stored nowhere here.
    pub(super) hash: Digest,
    /// Until when the token is taken.
    pub until: DateTime<Utc>,
}

/// Who did what to a link, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkAuditRecord {
    /// The job in whose name it was done.
    pub job: JobId,
    /// The operation.
    pub operation: OperationId,
    /// The principal.
    pub principal: PrincipalRef,
    /// The account.
    pub account: AccountRef,
    /// The stable code of what was done.
    pub action: String,
    /// What the link is after it.
    pub state: LinkState,
    /// The stable code of what linked the two: a rule's, or `by_hand`.
    pub evidence: String,
    /// Who acted, and by what right.
    pub actor: Actor,
    /// When it was recorded.
    pub at: DateTime<Utc>,
}

/// Names the link of a principal with an account of one system: there is one at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkId {
    pub(super) principal: PrincipalRef,
    pub(super) accounts: SystemId,
}

impl LinkId {
    pub(super) fn of(link: &Link) -> Self {
        Self {
            principal: link.principal().clone(),
            accounts: link.account().system.clone(),
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::of(&[
            "link",
            self.principal.system.as_str(),
            self.principal.object.as_str(),
            self.accounts.as_str(),
        ])
    }
}

/// Under what an account is claimed by the link that it has with a principal of `principals`.
pub(super) fn claim_key(account: &AccountRef, principals: &SystemId) -> Key {
    Key::of(&[
        "account",
        account.system.as_str(),
        account.object.as_str(),
        principals.as_str(),
    ])
}

pub(super) fn consent_key(hash: &Digest) -> Key {
    Key::of(&["consent", &hash.to_string()])
}

pub(super) fn links_prefix() -> Key {
    Key::of(&["link"])
}

/// Under what is stored when seats were last given back, or waited for. Whoever moves seats checks that it is what it was before
/// they looked, so that nobody begins to wait for a seat while it is given back, and neither of the two sees it.
pub(super) fn queue_key() -> Key {
    Key::of(&["queue"])
}

/// Notes that seats were given back, or are waited for.
pub(crate) fn moved_queue(at: DateTime<Utc>) -> Result<Write> {
    Ok(Write::Put {
        table: Table::Link,
        key: queue_key(),
        bytes: QUEUE.encode(&at)?,
    })
}

/// Whether the principal has a saved link, with an account of any system. Read after its seat, it is so while that is the same.
pub(crate) async fn is_linked(
    state: &dyn StateRead,
    tenant: &TenantId,
    principal: &PrincipalRef,
) -> Result<bool> {
    let prefix = Key::of(&["link", principal.system.as_str(), principal.object.as_str()]);
    let mut chunks = state.values(tenant, Table::Link, &prefix);
    while let Some(chunk) = chunks.try_next().await? {
        for (key, stored) in chunk {
            if decode(&key, &stored.bytes)?.1.link.is_kept() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The links and seats of a tenant, as they are stored at one time.
#[derive(Debug)]
pub(super) struct Book {
    /// The revision of what is stored of the queue for seats; `None`: it was not read.
    pub(super) queue: Option<Option<Revision>>,
    pub(super) links: BTreeMap<LinkId, (LinkEntry, Revision)>,
    pub(super) seats: BTreeMap<PrincipalRef, (Seat, Revision)>,
}

impl Book {
    pub(super) async fn load(state: &dyn StateRead, tenant: &TenantId) -> Result<Self> {
        // Before all else: where it is still the same, seats and links that were read after it vouch for each other.
        let queue = state.value(tenant, Table::Link, &queue_key()).await?;
        // Then seats: whatever begins or ends a link writes its seat, so that a seat that is still what it was here vouches for
        // the links that were read after it.
        let seats = load_seats(state, tenant).await?;
        let links = load_links(state, tenant).await?;
        Ok(Self {
            queue: Some(queue.map(|stored| stored.revision)),
            links,
            seats,
        })
    }

    /// As much of it as concerns these links, without seats: enough for what neither begins nor ends a link.
    pub(super) async fn of(
        state: &dyn StateRead,
        tenant: &TenantId,
        ids: impl IntoIterator<Item = LinkId>,
    ) -> Result<Self> {
        let mut links = BTreeMap::new();
        for id in ids {
            let key = id.key();
            if let Some(stored) = state.value(tenant, Table::Link, &key).await? {
                let (id, entry) = decode(&key, &stored.bytes)?;
                links.insert(id, (entry, stored.revision));
            }
        }
        Ok(Self {
            queue: None,
            links,
            seats: BTreeMap::new(),
        })
    }

    /// The links between two systems.
    pub(super) fn pair<'a>(
        &'a self,
        principals: &'a SystemId,
        accounts: &'a SystemId,
    ) -> impl Iterator<Item = (&'a LinkId, &'a LinkEntry)> {
        self.links
            .iter()
            .filter(move |(id, _)| id.principal.system == *principals && id.accounts == *accounts)
            .map(|(id, (entry, _))| (id, entry))
    }

    pub(super) fn entry(&self, id: &LinkId) -> Option<&LinkEntry> {
        self.links.get(id).map(|(entry, _)| entry)
    }

    /// Which of these accounts has which principal of `principals`, linked or proposed.
    pub(super) fn claims<'a>(
        &'a self,
        principals: &'a SystemId,
        accounts: &'a SystemId,
    ) -> BTreeMap<&'a ObjectId, &'a PrincipalRef> {
        self.pair(principals, accounts)
            .map(|(id, entry)| (&entry.link.account().object, &id.principal))
            .collect()
    }
}

pub(super) async fn load_links(
    state: &dyn StateRead,
    tenant: &TenantId,
) -> Result<BTreeMap<LinkId, (LinkEntry, Revision)>> {
    let mut links = BTreeMap::new();
    let mut chunks = state.values(tenant, Table::Link, &links_prefix());
    while let Some(chunk) = chunks.try_next().await? {
        for (key, stored) in chunk {
            let (id, entry) = decode(&key, &stored.bytes)?;
            links.insert(id, (entry, stored.revision));
        }
    }
    Ok(links)
}

fn decode(key: &Key, bytes: &[u8]) -> Result<(LinkId, LinkEntry)> {
    let entry: LinkEntry = LINK.decode(bytes)?;
    let id = LinkId::of(&entry.link);
    if id.key() == *key {
        Ok((id, entry))
    } else {
        Err(StoreError::new(StoreErrorKind::Corrupt, "a link is stored as another").into())
    }
}

async fn load_seats(
    state: &dyn StateRead,
    tenant: &TenantId,
) -> Result<BTreeMap<PrincipalRef, (Seat, Revision)>> {
    let mut seats = BTreeMap::new();
    let mut chunks = state.values(tenant, Table::Seat, &Key::of(&[]));
    while let Some(chunk) = chunks.try_next().await? {
        for (_, stored) in chunk {
            let seat = seats::decode(&stored.bytes)?;
            seats.insert(seat.holder.principal.clone(), (seat, stored.revision));
        }
    }
    Ok(seats)
}
