//! How a run ends, and what is stored of it.

use usersync_model::Digest;
use usersync_reconcile::Plan;
use usersync_store::{Check, Lease, Table, Transaction, Write};

use crate::apply::commit;
use crate::departure::without_memberships;
use crate::engine::{Engine, RunRequest};
use crate::error::{EngineError, Result};
use crate::job::{Job, Scope};
use crate::preview::Made;
use crate::record::paused;
use crate::report::{NotStarted, Outcome, PausedBy, RunEnd, RunReport};
use crate::source::Sources;
use crate::state::{CURSOR, JobState, cursor_key, departure_key, job_key, load_cursor, load_state};

impl Engine {
    /// Records how a run went that came to its end, and what the next one goes on from. `shown`: the policy of which its plan showed all
    /// that it removes.
    pub(super) async fn conclude(
        &self,
        job: &Job,
        lease: &Lease,
        request: &RunRequest,
        made: Made,
        shown: Option<Digest>,
        mut report: RunReport,
    ) -> Result<RunReport> {
        report.end = end(&made.planned.plan, &report, request);
        let mut writes = Vec::new();
        if matches!(report.end, RunEnd::Changed | RunEnd::Held | RunEnd::InSync) {
            self.keep_cursors(job, lease, made.ground.sources()).await?;
            let state = self.inner.store.as_ref();
            let forgotten = without_memberships(state, job, &request.scope, &made, &report).await?;
            writes.extend(forgotten.iter().map(|departed| Write::Delete {
                table: Table::Departure,
                key: departure_key(&job.id, departed),
            }));
        }
        // With the report, and not before: a run that is killed has shown nobody what it holds.
        let mut state = shown.and_then(|policy| made.state.shown(policy));
        let nobody = Outcome::NotStarted(NotStarted::NobodyActs);
        let unowned = report
            .operations
            .iter()
            .any(|operation| operation.outcome == nobody);
        if report.end != RunEnd::Cancelled
            && let Some(known) = state
                .as_ref()
                .unwrap_or(&made.state)
                .waiting(unowned, &request.scope)
        {
            if unowned {
                writes.push(paused(job, nobody.code(), known.serial)?);
            }
            state = Some(known);
        }
        writes.extend(state.map(|state| state.write(job)).transpose()?);
        let Made { ground, planned, .. } = made;
        let mut sources = ground.into_sources();
        report.failed_reads = std::mem::take(&mut sources.failed);
        self.keep_known(job, sources);
        report.plan = Some(planned.plan);
        report.finished = self.clock().now();
        self.keep_report(job, lease, &request.scope, &report, writes)
            .await?;
        Ok(report)
    }

    /// Tells once that the job waits for somebody.
    pub(crate) async fn pause(
        &self,
        job: &Job,
        lease: &Lease,
        by: PausedBy,
        mut report: RunReport,
    ) -> Result<RunReport> {
        report.paused = Some(by);
        let Some((state, revision)) = load_state(self.inner.store.as_ref(), job).await? else {
            return Ok(report);
        };
        if state.paused.as_deref() == Some(by.code()) {
            return Ok(report);
        }
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        transaction.write(paused(job, by.code(), state.serial)?);
        let state = JobState {
            paused: Some(by.code().to_owned()),
            serial: state.serial + 1,
            ..state
        };
        self.put_state(job, &state, revision, transaction).await?;
        Ok(report)
    }

    pub(super) async fn put_state(
        &self,
        job: &Job,
        state: &JobState,
        revision: u64,
        mut transaction: Transaction,
    ) -> Result<()> {
        transaction.check(Check::Value {
            table: Table::JobState,
            key: job_key(&job.id),
            revision: Some(revision),
        });
        transaction.write(state.write(job)?);
        match commit(&self.inner.store, &job.id, transaction).await? {
            None => Ok(()),
            Some(_) => Err(EngineError::Stale("the job has run since")),
        }
    }

    /// Stores where the next reads of changes continue, once what was read has had its effects.
    async fn keep_cursors(&self, job: &Job, lease: &Lease, sources: &Sources) -> Result<()> {
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        for (system, cursor) in &sources.cursors {
            if load_cursor(self.inner.store.as_ref(), job, system)
                .await?
                .as_ref()
                != Some(cursor)
            {
                let bytes = CURSOR.encode(cursor)?;
                transaction.write(Write::Put {
                    table: Table::Cursor,
                    key: cursor_key(&job.id, system),
                    bytes,
                });
            }
        }
        if !transaction.writes.is_empty() {
            commit(&self.inner.store, &job.id, transaction).await?;
        }
        Ok(())
    }

    /// Stores how the run went, together with `writes`.
    pub(crate) async fn keep_report(
        &self,
        job: &Job,
        lease: &Lease,
        scope: &Scope,
        report: &RunReport,
        writes: Vec<Write>,
    ) -> Result<()> {
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        self.ended(job, lease, scope, report, &mut transaction).await?;
        transaction.writes.extend(writes);
        commit(&self.inner.store, &job.id, transaction).await?;
        Ok(())
    }
}

fn end(plan: &Plan, report: &RunReport, request: &RunRequest) -> RunEnd {
    let all_ok = report
        .operations
        .iter()
        .all(|operation| operation.outcome.is_ok());
    if request.control.is_cancelled() {
        RunEnd::Cancelled
    } else if !all_ok {
        RunEnd::Failed
    } else if plan.summary().held > 0 {
        RunEnd::Held
    } else if report.operations.is_empty() && report.recovered.is_empty() {
        RunEnd::InSync
    } else {
        RunEnd::Changed
    }
}
