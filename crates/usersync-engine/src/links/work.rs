//! The work of links, spread over workers by rank.

use std::time::Duration;

use usersync_connector::CallContext;
use usersync_model::{Link, LinkState, PrincipalRef, RankSet, SystemId, TenantId};
use usersync_store::{Key, Lease, LeaseName, Revision, StateRead, StoreErrorKind, Table};

use super::Links;
use super::record::{LINK, LinkEntry, LinkId, load_links};
use crate::error::Result;

/// A link whose work nobody else does meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkWork {
    /// The link as it is now.
    pub link: Link,
    /// The lease. What is written for the link goes under its fence; it is to be released in the end.
    pub lease: Lease,
}

/// Names the lease under which the work of a link is done, whatever its rank. It stays the same when the rank changes, so that whoever
/// has the new rank cannot begin while the worker of the old one has not ended.
#[must_use]
pub fn link_lease(tenant: &TenantId, link: &Link) -> LeaseName {
    lease_between(tenant, link.principal(), &link.account().system)
}

/// The same for the link of a principal with an account of this system, which may be no more.
pub(crate) fn lease_between(tenant: &TenantId, principal: &PrincipalRef, accounts: &SystemId) -> LeaseName {
    LeaseName {
        tenant: tenant.clone(),
        key: Key::of(&[
            "link",
            principal.system.as_str(),
            principal.object.as_str(),
            accounts.as_str(),
        ]),
    }
}

/// The links between two systems, without proposals, ascending by principal.
pub(crate) async fn links_between(
    state: &dyn StateRead,
    tenant: &TenantId,
    principals: &SystemId,
    accounts: &SystemId,
) -> Result<Vec<Link>> {
    let links = load_links(state, tenant).await?;
    let of_pair = |id: &LinkId| id.principal.system == *principals && id.accounts == *accounts;
    let links = links.into_iter().filter(|(id, _)| of_pair(id));
    Ok(links
        .map(|(_, (entry, _))| entry.link)
        .filter(Link::is_kept)
        .collect())
}

/// The link of a principal with an account of this system, as it is now, and which write it was.
pub(crate) async fn link_of(
    state: &dyn StateRead,
    tenant: &TenantId,
    principal: &PrincipalRef,
    accounts: &SystemId,
) -> Result<Option<(LinkEntry, Revision)>> {
    let Some(stored) = state
        .value(tenant, Table::Link, &link_key(principal, accounts))
        .await?
    else {
        return Ok(None);
    };
    Ok(Some((LINK.decode(&stored.bytes)?, stored.revision)))
}

/// Under what the link of a principal with an account of this system is stored.
pub(crate) fn link_key(principal: &PrincipalRef, accounts: &SystemId) -> Key {
    let id = LinkId {
        principal: principal.clone(),
        accounts: accounts.clone(),
    };
    id.key()
}

impl Links {
    /// The active links of these ranks, ascending by principal: what a worker of these ranks has to do, as it is now. Each is to be
    /// begun with [`begin`](Self::begin).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn links_of_rank(&self, context: &CallContext, ranks: &RankSet) -> Result<Vec<Link>> {
        let book = self.book(context).await?;
        let links = self.pair(&book).map(|(_, entry)| &entry.link);
        Ok(links.filter(|link| is_work_of(link, ranks)).cloned().collect())
    }

    /// Begins the work of a link in the name of `worker`; `None` if somebody else is at it, or it is no longer active, or no longer
    /// of these ranks.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(
        &self,
        context: &CallContext,
        principal: &PrincipalRef,
        ranks: &RankSet,
        worker: &str,
        ttl: Duration,
    ) -> Result<Option<LinkWork>> {
        let Some(link) = self.work(context, principal, ranks).await? else {
            return Ok(None);
        };
        let lease = match self
            .store
            .acquire(&link_lease(&context.tenant, &link), worker, ttl)
            .await
        {
            Ok(lease) => lease,
            Err(error) if error.kind() == StoreErrorKind::Held => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only what it is under the lease counts: it may have moved while it was waited for.
        match self.work(context, principal, ranks).await {
            Ok(Some(link)) => Ok(Some(LinkWork { link, lease })),
            other => {
                self.store.release(&lease).await?;
                other.map(|_| None)
            }
        }
    }

    /// Ends the work of a link.
    ///
    /// # Errors
    /// When the store fails; the lease expires then.
    pub async fn end(&self, work: LinkWork) -> Result<()> {
        Ok(self.store.release(&work.lease).await?)
    }

    async fn work(
        &self,
        context: &CallContext,
        principal: &PrincipalRef,
        ranks: &RankSet,
    ) -> Result<Option<Link>> {
        let id = self.id(principal);
        let link = link_of(self.store.as_ref(), &context.tenant, principal, &id.accounts).await?;
        Ok(link
            .map(|(entry, _)| entry.link)
            .filter(|link| is_work_of(link, ranks)))
    }
}

pub(crate) fn is_work_of(link: &Link, ranks: &RankSet) -> bool {
    link.state() == LinkState::Active && ranks.covers(link.rank())
}
