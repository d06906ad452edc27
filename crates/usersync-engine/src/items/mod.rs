//! Runs that keep the diaries, tasks and contacts of linked pairs in step, both ways.

mod apply;
mod course;
mod gate;
mod keep;
mod link;
mod pair;
mod read;
mod report;
mod round;
mod rows;
mod settle;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use usersync_connector::{Actor, CallContext};
use usersync_model::{Digest, Link, PrincipalRef, RankSet, SystemId};
use usersync_reconcile::{ItemConflict, Mode};
use usersync_store::{Key, Lease, StoreErrorKind, Table, Transaction, Write};

use crate::actor::job_actor;
use crate::apply::commit;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::event::{RunControl, RunEvent};
use crate::job::{Job, Trigger};
use crate::links::{is_work_of, lease_between, links_between};
use crate::report::RunEnd;

use self::link::{LinkEnd, LinkRun};
use self::state::{PairState, STATE};

pub use self::report::{
    HeldItem, ItemFinding, ItemOperationReport, ItemProblem, ItemReach, ItemReport, PairReport, SkippedLink,
    SkippedWhy,
};

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: [crate::fuzzing::StoredFormat; 3] = [
    crate::fuzzing::stored!(state::INTENT, state::ItemIntent),
    crate::fuzzing::stored!(state::ROW, state::Row),
    crate::fuzzing::stored!(state::STATE, state::PairState),
];

/// What a job of items synchronizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemJob {
    /// The system that has the principals.
    pub first: SystemId,
    /// The system that has the accounts linked with them.
    pub second: SystemId,
    /// Who wins when both sides changed the same of an item.
    #[serde(default)]
    pub conflict: ItemConflict,
    /// The links that this worker works on.
    #[serde(default)]
    pub ranks: RankSet,
}

impl ItemJob {
    /// A job over the links of every rank between two systems, that reports conflicts.
    #[must_use]
    pub fn new(first: SystemId, second: SystemId) -> Self {
        Self {
            first,
            second,
            conflict: ItemConflict::default(),
            ranks: RankSet::default(),
        }
    }

    /// The same job with another way to settle conflicts.
    #[must_use]
    pub fn with_conflict(mut self, conflict: ItemConflict) -> Self {
        self.conflict = conflict;
        self
    }

    /// The same job for the links of these ranks.
    #[must_use]
    pub fn with_ranks(mut self, ranks: RankSet) -> Self {
        self.ranks = ranks;
        self
    }
}

/// How items are to be run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ItemRequest {
    /// What started the run.
    pub trigger: Trigger,
    /// What may go although it waits: as [`PairReport::held`] names it, and only while it is still exactly that.
    pub approved: BTreeSet<Digest>,
    /// Follows the run, and can end it.
    pub control: RunControl,
    /// What of it is stored as an approval of the job, and until when that is good: it lets go once.
    pub(crate) stored: BTreeMap<Digest, DateTime<Utc>>,
    /// The policy of the last run of the job that came to a report.
    pub(crate) shown: Option<Digest>,
}

impl ItemRequest {
    /// A run by hand.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same run, started by `trigger`.
    #[must_use]
    pub fn triggered_by(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// The same run, which lets go what waits, if it is what `held` names.
    #[must_use]
    pub fn approving(mut self, held: Digest) -> Self {
        self.approved.insert(held);
        self
    }

    /// The same run under `control`.
    #[must_use]
    pub fn controlled_by(mut self, control: RunControl) -> Self {
        self.control = control;
        self
    }
}

impl Engine {
    /// Synchronizes the items of every active link of the job's ranks, both ways, for the kinds that each link has enabled; the job
    /// itself gives tenant, name, owner and guards. A saved job of [`JobKind::Items`](crate::JobKind::Items) does this when it runs;
    /// calling it is for hosts that keep no such job.
    ///
    /// Each item is compared with what both sides said when they last agreed, by meaning. What changed on one side is written
    /// into the other side's own text, property by property; all else of it stays byte for byte. Links are worked on under a lease
    /// of their own, so that no two workers meet. What links that are no more left behind here is dropped; the items stay.
    ///
    /// May be dropped or killed at any point: the next run ends where an undisturbed one would have.
    ///
    /// # Errors
    /// [`EngineError`] when a system is not known to the engine, the job's mode is not [`Managed`](Mode::Managed), or the store fails.
    /// What goes wrong with single items, reads and links is in the report.
    pub async fn run_items(&self, job: &Job, items: &ItemJob, request: &ItemRequest) -> Result<ItemReport> {
        let report = self.synchronize_items(job, items, request).await;
        request.control.tell(RunEvent::Finished);
        report
    }

    pub(crate) async fn synchronize_items(
        &self,
        job: &Job,
        items: &ItemJob,
        request: &ItemRequest,
    ) -> Result<ItemReport> {
        check_mode(job)?;
        let readers = self.inner.preview.readers();
        let store = |system: &SystemId| {
            let store = self.inner.items.get(system);
            store.ok_or_else(|| EngineError::NoConnector(system.clone()))
        };
        let stores = [store(&items.first)?, store(&items.second)?];
        let started = readers.clock.now();
        let mut report = ItemReport {
            job: job.id.clone(),
            trigger: request.trigger,
            end: RunEnd::Paused,
            pairs: Vec::new(),
            skipped: Vec::new(),
            forgotten: 0,
            started,
            finished: started,
        };
        let Ok(actor) = job_actor(readers, job).await? else {
            return Ok(report);
        };
        let links = links_between(
            self.inner.store.as_ref(),
            &job.tenant,
            &items.first,
            &items.second,
        )
        .await?;
        report.forgotten = self.forget_removed(job, items, &links).await?;
        let context = call_context(job, &actor);
        let work = links.iter().filter(|link| is_work_of(link, &items.ranks));
        let runs: Vec<BoxFuture<'_, Result<(&Link, LinkEnd)>>> = work
            .map(|link| {
                let run = LinkRun {
                    engine: self,
                    job,
                    items,
                    request,
                    stores,
                    context: context.clone(),
                    policy: readers.policy_digest(job),
                };
                async move { Ok((link, run.run(link).await?)) }.boxed()
            })
            .collect();
        let ends: Vec<(&Link, LinkEnd)> = stream::iter(runs)
            .buffered(readers.options.concurrency.get())
            .try_collect()
            .await?;
        for (link, LinkEnd { pairs, skipped }) in ends {
            report.pairs.extend(pairs);
            report.skipped.extend(skipped.map(|why| SkippedLink {
                principal: link.principal().clone(),
                account: link.account().clone(),
                why,
            }));
        }
        report.settle(request.control.is_cancelled(), readers.clock.now());
        Ok(report)
    }

    /// Drops what is remembered of links that are no more; answers of how many.
    async fn forget_removed(&self, job: &Job, items: &ItemJob, links: &[Link]) -> Result<u64> {
        let state = self.inner.store.as_ref();
        let known: BTreeSet<[&str; 4]> = links.iter().map(link_parts).collect();
        let mut gone: BTreeMap<Vec<String>, Vec<Key>> = BTreeMap::new();
        let mut chunks = state.values(&job.tenant, Table::Cursor, &Key::of(&[job.id.as_str()]));
        while let Some(chunk) = chunks.try_next().await? {
            for (key, _) in chunk {
                let parts: Vec<&str> = key.parts().collect();
                if let [_, first, principal, second, account, _kind] = parts[..]
                    && first == items.first.as_str()
                    && second == items.second.as_str()
                    && !known.contains(&[first, principal, second, account])
                {
                    let link = [first, principal, second, account].map(str::to_owned).to_vec();
                    gone.entry(link).or_default().push(key);
                }
            }
        }
        let mut forgotten = 0;
        for (link, pairs) in gone {
            let Ok(principal) = PrincipalRef::parse(&link[0], &link[1]) else {
                continue;
            };
            let name = lease_between(&job.tenant, &principal, &items.second);
            let ttl = self.inner.preview.readers().options.lease;
            let mut lease = match self.inner.store.acquire(&name, &self.inner.worker, ttl).await {
                Ok(lease) => lease,
                Err(error) if error.kind() == StoreErrorKind::Held => continue,
                Err(error) => return Err(error.into()),
            };
            let outcome = self.forget_link(job, items, &link, &pairs, &mut lease).await;
            // As at the end of the work on a link.
            if let Err(error) = self.inner.store.release(&lease).await {
                tracing::warn!(name: "usersync.lease.unreleased", job = %job.id, %error, "the lease stays until it expires");
            }
            match outcome {
                Ok(was_forgotten) => forgotten += u64::from(was_forgotten),
                // Whoever took it over is at it.
                Err(EngineError::LeaseLost(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(forgotten)
    }

    /// Drops what is remembered of a link under its lease, unless it was linked anew while that was waited for.
    async fn forget_link(
        &self,
        job: &Job,
        items: &ItemJob,
        link: &[String],
        pairs: &[Key],
        lease: &mut Lease,
    ) -> Result<bool> {
        let state = self.inner.store.as_ref();
        let now = links_between(state, &job.tenant, &items.first, &items.second).await?;
        if now.iter().any(|now| link_parts(now)[..] == *link) {
            return Ok(false);
        }
        for pair in pairs {
            self.forget(job, pair, lease).await?;
        }
        Ok(true)
    }

    /// Drops what is remembered of a pair of collections; its state last, so that a forgetting that is interrupted goes on. Where it takes
    /// more than one transaction, the state says first that the rest counts no more: the link may be back before all is dropped.
    async fn forget(&self, job: &Job, pair: &Key, lease: &mut Lease) -> Result<()> {
        let mut writes = Vec::new();
        for table in [Table::Base, Table::Intent, Table::Place] {
            let mut chunks = self.inner.store.values(&job.tenant, table, pair);
            while let Some(chunk) = chunks.try_next().await? {
                writes.extend(chunk.into_iter().map(|(key, _)| Write::Delete { table, key }));
            }
        }
        let (table, key) = (Table::Cursor, pair.clone());
        writes.push(Write::Delete { table, key });
        let batch = self.inner.preview.readers().options.batch.get();
        let mut first = None;
        if writes.len() > batch {
            let forgotten = PairState {
                forgotten: true,
                ..PairState::default()
            };
            let (bytes, key) = (STATE.encode(&forgotten)?, pair.clone());
            first = Some(vec![Write::Put { table, key, bytes }]);
        }
        let mut writes = writes.into_iter().peekable();
        while first.is_some() || writes.peek().is_some() {
            self.renew_in_time(&job.id, lease).await?;
            let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
            let next = || writes.by_ref().take(batch).collect();
            transaction.writes = first.take().unwrap_or_else(next);
            commit(&self.inner.store, &job.id, transaction).await?;
        }
        Ok(())
    }
}

/// Both sides are written to, so that there is no one side to only add to, or to make equal.
pub(crate) fn check_mode(job: &Job) -> Result<()> {
    match job.policy.mode {
        Mode::Managed => Ok(()),
        mode => Err(EngineError::ModeOfItems(mode)),
    }
}

fn call_context(job: &Job, actor: &Actor) -> CallContext {
    CallContext {
        tenant: job.tenant.clone(),
        job: job.id.clone(),
        actor: actor.clone(),
    }
}

/// What names a link, account and all.
fn link_parts(link: &Link) -> [&str; 4] {
    [
        link.principal().system.as_str(),
        link.principal().object.as_str(),
        link.account().system.as_str(),
        link.account().object.as_str(),
    ]
}
