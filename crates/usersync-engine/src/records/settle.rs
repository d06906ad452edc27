//! Remembering which collections are as they should be, so that the next run need not read them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use usersync_connector::{CallContext, Cursor, RecordEntry, RecordRead};
use usersync_model::{ContainerRef, ObjectId, RecordRef, Subject};
use usersync_reconcile::{Action, Fingerprint, Fingerprinter, Plan, RecordRules, Section, Tally};
use usersync_store::{Lease, Transaction, Write};

use super::RecordJob;
use super::planner::rules_of;
use super::read::{changes, id_of};
use super::served::{AgreedState, Served, delete, put};
use super::survey::{ReadCollection, RecordSurvey};
use crate::apply::commit;
use crate::engine::Engine;
use crate::error::Result;
use crate::ground::Ground;
use crate::job::{Job, JobKind};
use crate::ports::{Bounds, Readers};
use crate::preview::Made;
use crate::report::{OperationReport, Outcome, RunReport};
use crate::state::load_intents;

/// A collection whose effects are all there, as far as we know.
struct Applied {
    container: ContainerRef,
    since: Cursor,
    /// What our effects left: `None` where they ended the record.
    left: BTreeMap<RecordRef, Option<Fingerprint>>,
    tally: Tally,
}

impl Engine {
    /// Stores which collections of records are as they should be.
    pub(crate) async fn keep_collections(
        &self,
        job: &Job,
        lease: &Lease,
        made: &Made,
        report: &RunReport,
        context: &CallContext,
    ) -> Result<()> {
        let (JobKind::Records(records), Ground::Records(survey)) = (&job.kind, &made.ground) else {
            return Ok(());
        };
        let readers = self.inner.preview.readers();
        let plan = &made.planned.plan;
        let writes = survey
            .settled(readers, job, records, plan, &report.operations, context)
            .await?;
        for chunk in writes.chunks(readers.options.batch.get()) {
            let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
            transaction.writes.extend(chunk.iter().cloned());
            commit(&self.inner.store, &job.id, transaction).await?;
        }
        Ok(())
    }
}

impl RecordSurvey {
    /// What is to be remembered after a run: nothing where nothing is new.
    ///
    /// A collection that we wrote to is as it should be if its changes since it was read are ours, all of them. That is one
    /// more read of what was just written, and spares reading everything the next time.
    async fn settled(
        &self,
        readers: &Readers,
        job: &Job,
        records: &RecordJob,
        plan: &Plan,
        reports: &[OperationReport],
        context: &CallContext,
    ) -> Result<Vec<Write>> {
        let target = readers.records(&job.target)?;
        let rules = rules_of(records, target.as_ref());
        let failed: HashSet<&ContainerRef> = reports
            .iter()
            .filter(|report| report.outcome != Outcome::Applied)
            .map(|report| &report.container)
            .collect();
        let sections: BTreeMap<&ContainerRef, &Section> = plan
            .sections()
            .iter()
            .map(|section| (&section.container, section))
            .collect();
        let mut writes = Vec::new();
        let mut over = Vec::new();
        let mut applied = Vec::new();
        for (container, read) in &self.read {
            let section = sections.get(container).copied();
            let is_silent = section.is_none_or(Section::is_silent);
            let is_done = is_silent
                || section.is_some_and(|section| {
                    section.holds.is_empty()
                        && section.findings.is_empty()
                        && section.ledger.is_empty()
                        && !failed.contains(container)
                });
            if !is_done || !read.is_complete {
                continue;
            }
            match (section.filter(|section| !section.is_silent()), &read.cursor) {
                _ if !read.is_desired => over.extend(read.served.is_some().then_some(container)),
                (None, Some(cursor)) => {
                    writes.extend(self.agree(job, plan, container, read, cursor.clone(), read.tally)?);
                }
                (Some(section), Some(cursor)) => {
                    let left = left_by(section);
                    applied.extend(left.map(|left| Applied {
                        container: container.clone(),
                        since: cursor.clone(),
                        tally: after(read.tally, section),
                        left,
                    }));
                }
                (_, None) => {}
            }
        }
        writes.extend(let_go(readers, job, over).await?);
        let shared = Arc::new((readers.bounds(), Arc::clone(target), rules, context.clone()));
        let checks = applied
            .into_iter()
            .map(move |applied| verify(Arc::clone(&shared), applied));
        let mut checks = stream::iter(checks).buffered(readers.options.concurrency.get());
        while let Some((applied, cursor)) = checks.next().await {
            if let Some(cursor) = cursor
                && let Some(read) = self.read.get(&applied.container)
            {
                writes.extend(self.agree(job, plan, &applied.container, read, cursor, applied.tally)?);
            }
        }
        Ok(writes)
    }

    fn agree(
        &self,
        job: &Job,
        plan: &Plan,
        container: &ContainerRef,
        read: &ReadCollection,
        cursor: Cursor,
        tally: Tally,
    ) -> Result<Option<Write>> {
        let Some(source) = read.source else {
            return Ok(None);
        };
        let served = Served {
            principal: read.principal.clone(),
            agreed: Some(AgreedState {
                source,
                policy: plan.header().policy,
                cursor,
                tally,
            }),
        };
        if read.served.as_ref() == Some(&served) {
            return Ok(None);
        }
        put(job, &container.object, &served).map(Some)
    }
}

/// The ends of the marks of those of `over` in which nothing of the job's is left, nor may still come.
async fn let_go(readers: &Readers, job: &Job, over: Vec<&ContainerRef>) -> Result<Vec<Write>> {
    if over.is_empty() {
        return Ok(Vec::new());
    }
    let state = readers.state.as_ref();
    let intents = load_intents(state, job).await?.into_iter();
    let mut kept: BTreeSet<ContainerRef> = intents.map(|intent| intent.container).collect();
    let only = over.iter().map(|&container| container.clone()).collect();
    let mut chunks = state.ledger(&job.tenant, Some(only));
    while let Some(chunk) = chunks.try_next().await? {
        let claimed = chunk
            .into_iter()
            .filter(|entry| entry.row.claims().contains(&job.id));
        kept.extend(claimed.map(|entry| entry.key.container));
    }
    let is_over = |container: &&ContainerRef| !kept.contains(*container);
    let ends = over.into_iter().filter(is_over);
    Ok(ends.map(|container| delete(job, &container.object)).collect())
}

/// What the operations of a section leave; `None` where that cannot be told from fingerprints.
fn left_by(section: &Section) -> Option<BTreeMap<RecordRef, Option<Fingerprint>>> {
    let mut left = BTreeMap::new();
    for operation in &section.operations {
        let Subject::Record(record) = &operation.subject else {
            return None;
        };
        let fingerprint = match operation.action {
            Action::Delete => None,
            _ => Some(operation.record_base()?.target?),
        };
        left.insert(record.clone(), fingerprint);
    }
    Some(left)
}

/// What a read would count after the operations of a section.
fn after(mut tally: Tally, section: &Section) -> Tally {
    for operation in &section.operations {
        match operation.action {
            Action::Create(_) => {
                tally.present += 1;
                tally.removable += 1;
            }
            Action::Delete => {
                tally.present -= 1;
                tally.removable -= 1;
            }
            _ => {}
        }
    }
    tally
}

type Shared = (Bounds, Arc<dyn RecordRead>, RecordRules, CallContext);

/// Whether what changed is what we left, all of it and nothing else; if so, where reading goes on. A target that remembers ids may
/// have answered as it did once, and somebody has changed the record since: then it shows no change of that record now.
async fn verify(shared: Arc<Shared>, applied: Applied) -> (Applied, Option<Cursor>) {
    let (bounds, target, rules, context) = &*shared;
    let object: &ObjectId = &applied.container.object;
    let changes = changes(bounds, target, object, applied.since.clone(), context).await;
    let fingerprinter = Fingerprinter::new(rules);
    let cursor = changes.and_then(|changes| {
        let is_ours = |entry: &RecordEntry| {
            let shown = match entry {
                RecordEntry::Removed(_) => None,
                RecordEntry::Upsert(present) => Some(fingerprinter.fingerprint(&present.record)),
            };
            applied.left.get(id_of(entry)) == Some(&shown)
        };
        let shown: HashSet<&RecordRef> = changes.entries.iter().map(id_of).collect();
        let all_shown = applied.left.keys().all(|record| shown.contains(record));
        let all_ours = changes.entries.iter().all(is_ours);
        changes.cursor.filter(|_| all_ours && all_shown)
    });
    (applied, cursor)
}
