//! One link: every kind of items that it has enabled, under its lease.

use std::sync::Arc;

use usersync_connector::{CallContext, ItemStore};
use usersync_model::{ItemKind, Link};
use usersync_store::{Lease, StoreErrorKind};

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
            Err(error) => Err(error),
        }
    }

    async fn run_leased(&self, link: &Link, lease: &mut Lease, end: &mut LinkEnd) -> Result<()> {
        for kind in ItemKind::ALL {
            // Only what the link is now counts: it may have moved, gone, or been given other options.
            let now = link_of(
                self.engine.inner.store.as_ref(),
                &self.job.tenant,
                link.principal(),
                &link.account().system,
            )
            .await?;
            let is_same = |now: &Link| now.account() == link.account() && is_work_of(now, &self.items.ranks);
            let Some(now) = now.filter(is_same) else {
                return Ok(());
            };
            let options = now.options();
            let is_enabled = match kind {
                ItemKind::Contact => options.contact,
                ItemKind::Diary => options.diary,
                ItemKind::Task => options.task,
            };
            if is_enabled && !self.request.control.is_cancelled() {
                let mut run = PairRun::new(self, &now, kind, lease);
                let outcome = run.run().await;
                end.pairs.push(run.into_report());
                outcome?;
            }
        }
        Ok(())
    }
}
