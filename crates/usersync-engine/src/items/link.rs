//! One link: every kind of items that it has enabled, under its lease.

use std::sync::Arc;

use usersync_connector::{CallContext, ItemStore};
use usersync_model::{Digest, ItemKind, Link};
use usersync_store::{Lease, Revision, StoreErrorKind};

use super::report::{PairReport, SkippedWhy};
use super::round::PairRun;
use super::{ItemJob, ItemRequest};
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::links::{is_work_of, lease_between, link_of};

/// How the work on a link went.
#[derive(Debug, Default)]
pub(super) struct LinkEnd {
    pub(super) pairs: Vec<PairReport>,
    pub(super) skipped: Option<SkippedWhy>,
}

/// What working on a link takes.
#[derive(Debug)]
pub(super) struct LinkRun<'a> {
    pub(super) engine: &'a Engine,
    pub(super) job: &'a Job,
    pub(super) items: &'a ItemJob,
    pub(super) request: &'a ItemRequest,
    pub(super) stores: [&'a Arc<dyn ItemStore>; 2],
    pub(super) context: CallContext,
    pub(super) policy: Digest,
}

impl LinkRun<'_> {
    pub(super) async fn run(&self, link: &Link) -> Result<LinkEnd> {
        let mut end = LinkEnd::default();
        if self.request.control.is_cancelled() {
            return Ok(end);
        }
        let inner = &self.engine.inner;
        let name = lease_between(&self.job.tenant, link.principal(), &link.account().system);
        let ttl = inner.preview.readers().options.lease;
        let mut lease = match inner.store.acquire(&name, &inner.worker, ttl).await {
            Ok(lease) => lease,
            Err(error) if error.kind() == StoreErrorKind::Held => {
                end.skipped = Some(SkippedWhy::Busy);
                return Ok(end);
            }
            Err(error) => return Err(error.into()),
        };
        let outcome = self.run_leased(link, &mut lease, &mut end).await;
        // Whoever took the lease over keeps it; a lease that cannot be released expires.
        if let Err(error) = inner.store.release(&lease).await {
            tracing::warn!(name: "usersync.lease.unreleased", job = %self.job.id, %error, "the lease stays until it expires");
        }
        match outcome {
            Ok(()) => Ok(end),
            Err(EngineError::LeaseLost(_)) => {
                end.skipped = Some(SkippedWhy::LeaseLost);
                Ok(end)
            }
            Err(EngineError::Store(error)) if is_about_a_value(error.kind()) => {
                tracing::error!(name: "usersync.items.unreadable", job = %self.job.id, %error, "what is stored of a link cannot be read");
                end.skipped = Some(SkippedWhy::Unreadable);
                Ok(end)
            }
            Err(error) => Err(error),
        }
    }

    async fn run_leased(&self, link: &Link, lease: &mut Lease, end: &mut LinkEnd) -> Result<()> {
        for kind in ItemKind::ALL {
            if let Some(now) = self.now(link, kind).await?
                && !self.request.control.is_cancelled()
            {
                let mut run = PairRun::new(self, link, now, kind, lease);
                let outcome = run.run().await;
                end.pairs.push(run.into_report());
                outcome?;
            }
        }
        Ok(())
    }

    /// What a link is now, if it is still to be worked on and covers `kind`. Only that counts: it may have moved, gone, or been given
    /// other options.
    pub(super) async fn now(&self, link: &Link, kind: ItemKind) -> Result<Option<LinkNow>> {
        let state = self.engine.inner.store.as_ref();
        let accounts = &link.account().system;
        let found = link_of(state, &self.job.tenant, link.principal(), accounts).await?;
        Ok(found.and_then(|(entry, revision)| {
            let options = entry.link.options();
            let is_enabled = match kind {
                ItemKind::Contact => options.contact,
                ItemKind::Diary => options.diary,
                ItemKind::Task => options.task,
            };
            let is_same = entry.link.account() == link.account();
            (is_same && is_enabled && is_work_of(&entry.link, &self.items.ranks)).then_some(LinkNow {
                life: entry.life,
                revision,
            })
        }))
    }
}

/// Whether a store failed at one value only, so that it may serve for others.
fn is_about_a_value(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Corrupt | StoreErrorKind::NewerFormat)
}

/// A link as it was read under its lease, which keeps nobody from changing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkNow {
    /// Tells it from one of the same pair that was there before.
    pub(super) life: Option<Revision>,
    pub(super) revision: Revision,
}
