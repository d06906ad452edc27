//! What is remembered of a job's runs: that they began, how they ended, and what they planned.

mod kept;
mod record;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use usersync_model::{JobId, TenantId};
use usersync_store::{Key, Lease, Table, Transaction, Write};

use self::kept::RUN_PLAN;
use self::record::{RUN, plan_key, run_key, runs_key};
use crate::apply::commit;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::job::{Job, Scope, Trigger};
use crate::report::RunReport;

pub use self::kept::KeptPlan;
pub use self::record::{
    OperationFailure, OutcomeCount, ReadFailure, RunNumber, RunRecord, RunResult, RunState,
};

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: [crate::fuzzing::StoredFormat; 2] = [
    crate::fuzzing::stored!(RUN, RunRecord),
    crate::fuzzing::stored!(RUN_PLAN, KeptPlan),
];

impl Engine {
    /// The runs of a job that are remembered, the newest first: at most `limit` of those before `before`, or of all. Runs that
    /// found the job taken were none; a run that was killed before it had written anything may be missing, unless a schedule or
    /// a [trigger](Self::trigger) began it.
    ///
    /// A record that cannot be read is left out, and warned of in the log.
    ///
    /// Reads the records of the runs up to there; [`Options::history`](crate::Options::history) are kept, each of a few hundred
    /// bytes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn history(
        &self,
        tenant: &TenantId,
        job: &JobId,
        before: Option<RunNumber>,
        limit: usize,
    ) -> Result<Vec<RunRecord>> {
        let mut records = Vec::new();
        let mut chunks = self.inner.store.values(tenant, Table::Run, &runs_key(job));
        while records.len() < limit
            && let Some(chunk) = chunks.try_next().await?
        {
            let is_before = |run: RunNumber| before.is_none_or(|before| run < before);
            for (key, stored) in chunk {
                if records.len() < limit && RunNumber::of_key(&key).is_none_or(is_before) {
                    records.extend(readable(job, &key, &stored.bytes));
                }
            }
        }
        Ok(records)
    }

    /// The plan of a run, as far as it is kept: `None` for a run that is not remembered, that came to no plan, or whose plan had
    /// nothing to say.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn plan_of(&self, tenant: &TenantId, job: &JobId, run: RunNumber) -> Result<Option<KeptPlan>> {
        let key = plan_key(job, run);
        match self.inner.store.value(tenant, Table::Run, &key).await? {
            Some(stored) => Ok(Some(RUN_PLAN.decode(&stored.bytes)?)),
            None => Ok(None),
        }
    }

    /// Tells that a run has begun. For the first transaction of the run.
    pub(crate) fn begun(
        &self,
        job: &Job,
        lease: &Lease,
        trigger: Trigger,
        scope: &Scope,
        started: DateTime<Utc>,
    ) -> Result<Write> {
        self.put(job, lease, trigger, scope, started, RunState::Begun)
    }

    /// Tells how a run ended, with its plan, and what became of earlier ones; forgets the oldest. For the last transaction of
    /// the run.
    pub(crate) async fn ended(
        &self,
        job: &Job,
        lease: &Lease,
        scope: &Scope,
        report: &RunReport,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let options = &self.inner.preview.readers().options;
        let state = RunState::ended(report);
        transaction.write(self.put(job, lease, report.trigger, scope, report.started, state)?);
        let has_something = |plan: &&usersync_reconcile::Plan| {
            !plan.sections().is_empty() || !plan.header().warnings.is_empty()
        };
        if let Some(plan) = report.plan.as_ref().filter(has_something) {
            transaction.write(Write::Put {
                table: Table::Run,
                key: plan_key(&job.id, RunNumber::of(lease)),
                bytes: RUN_PLAN.encode(&KeptPlan::of(plan, options.history_plan))?,
            });
        }
        self.sweep(job, lease, report.finished, transaction).await
    }

    /// Tells that a run came to no report. One that lost its lease writes nothing, and one that lost its store cannot.
    pub(crate) async fn keep_failure(
        &self,
        job: &Job,
        lease: &Lease,
        trigger: Trigger,
        scope: &Scope,
        started: DateTime<Utc>,
        error: &EngineError,
    ) -> Result<()> {
        if matches!(error, EngineError::LeaseLost(_) | EngineError::Store(_)) {
            return Ok(());
        }
        let now = self.clock().now();
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        let state = RunState::failed(error, now);
        transaction.write(self.put(job, lease, trigger, scope, started, state)?);
        self.sweep(job, lease, now, &mut transaction).await?;
        commit(&self.inner.store, &job.id, transaction).await?;
        Ok(())
    }

    /// Earlier runs without an end were killed: this one has their lease. The oldest runs are forgotten.
    async fn sweep(
        &self,
        job: &Job,
        lease: &Lease,
        noticed: DateTime<Utc>,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let kept = self.inner.preview.readers().options.history.get();
        let this = RunNumber::of(lease);
        let mut chunks = self
            .inner
            .store
            .values(&job.tenant, Table::Run, &runs_key(&job.id));
        // This one counts, whether it is there yet or not.
        let mut seen = 1;
        let mut may_be_open = true;
        while let Some(chunk) = chunks.try_next().await? {
            for (key, stored) in chunk {
                let Some(run) = RunNumber::of_key(&key).filter(|run| *run != this) else {
                    continue;
                };
                seen += 1;
                if seen > kept {
                    for key in [key, plan_key(&job.id, run)] {
                        transaction.write(Write::Delete {
                            table: Table::Run,
                            key,
                        });
                    }
                } else if may_be_open {
                    // Each run that ends settles those before it. So does one that cannot be read, or no run would end any more.
                    let open = readable(&job.id, &key, &stored.bytes);
                    let open = open.filter(|record| record.state == RunState::Begun);
                    may_be_open = open.is_some();
                    if let Some(record) = open {
                        let state = RunState::Killed { noticed };
                        transaction.write(Write::Put {
                            table: Table::Run,
                            key,
                            bytes: RUN.encode(&RunRecord { state, ..record })?,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn put(
        &self,
        job: &Job,
        lease: &Lease,
        trigger: Trigger,
        scope: &Scope,
        started: DateTime<Utc>,
        state: RunState,
    ) -> Result<Write> {
        let record = RunRecord {
            job: job.id.clone(),
            run: RunNumber::of(lease),
            trigger,
            scope: scope.clone(),
            worker: self.inner.worker.clone(),
            started,
            state,
        };
        Ok(Write::Put {
            table: Table::Run,
            key: run_key(&job.id, record.run),
            bytes: RUN.encode(&record)?,
        })
    }
}

/// The record of a run, if it is one: a newer program may have written it.
fn readable(job: &JobId, key: &Key, bytes: &[u8]) -> Option<RunRecord> {
    let record = RUN.decode(bytes);
    if let Err(error) = &record {
        let run = RunNumber::of_key(key).map(|run| run.to_string());
        tracing::warn!(name: "usersync.history.unreadable", %job, run, %error, "what is stored of a run cannot be read");
    }
    record.ok()
}
