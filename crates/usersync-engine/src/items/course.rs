//! A run of a job of items: under the job's lease, with its approvals, into its history.

use std::collections::BTreeSet;

use usersync_model::{ContainerRef, Digest, RecordRef, Subject};
use usersync_store::{Lease, Table, Transaction, Write};

use super::{ItemJob, ItemOperationReport, ItemRequest, PairReport};
use crate::apply::commit;
use crate::engine::{Engine, RunRequest};
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::report::{OperationReport, PausedBy, RunEnd, RunReport};
use crate::state::{approval_key, load_approvals};

impl Engine {
    /// Runs a job of items whose lease this worker holds. There are no plans of such jobs that could be reviewed.
    pub(crate) async fn run_items_leased(
        &self,
        job: &Job,
        items: &ItemJob,
        lease: &Lease,
        request: &RunRequest,
        mut report: RunReport,
    ) -> Result<RunReport> {
        if request.reviewed.is_some() || request.adopt {
            return Err(EngineError::NoPlan(job.id.clone()));
        }
        let now = self.clock().now();
        let policy = self.inner.preview.readers().policy_digest(job);
        let approvals = load_approvals(self.inner.store.as_ref(), job).await?;
        let item_request = ItemRequest {
            trigger: request.trigger,
            approved: approvals
                .iter()
                .filter(|approval| approval.is_valid(&job.id, &policy, now))
                .map(|approval| approval.held)
                .collect(),
            control: request.control.clone(),
        };
        let done = self.synchronize_items(job, items, &item_request).await?;
        report.end = done.end;
        if done.end == RunEnd::Paused {
            report = self.pause(job, lease, PausedBy::NobodyActs, report).await?;
        }
        report.operations = reports(&done.pairs, |pair| &pair.operations);
        report.recovered = reports(&done.pairs, |pair| &pair.recovered);
        report.failed_reads = done
            .pairs
            .iter()
            .flat_map(|pair| pair.failed_reads.clone())
            .collect();
        report.finished = done.finished;
        let used: BTreeSet<Digest> = done.pairs.iter().filter_map(|pair| pair.approved).collect();
        report.items = Some(done);
        self.use_up(job, lease, used).await?;
        self.keep_report(job, lease, &request.scope, &report, Vec::new())
            .await?;
        Ok(report)
    }

    /// An approval lets go once.
    async fn use_up(&self, job: &Job, lease: &Lease, used: BTreeSet<Digest>) -> Result<()> {
        if used.is_empty() {
            return Ok(());
        }
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        for held in used {
            transaction.write(Write::Delete {
                table: Table::Approval,
                key: approval_key(&job.id, &held),
            });
        }
        commit(&self.inner.store, &job.id, transaction).await?;
        Ok(())
    }
}

fn reports<'a>(
    pairs: &'a [PairReport],
    of: impl Fn(&'a PairReport) -> &'a Vec<ItemOperationReport>,
) -> Vec<OperationReport> {
    let operations = pairs
        .iter()
        .flat_map(|pair| of(pair).iter().map(move |operation| (pair, operation)));
    operations
        .map(|(pair, operation)| {
            let whose = if operation.system == pair.principal.system {
                &pair.principal.object
            } else {
                &pair.account.object
            };
            OperationReport {
                operation: operation.operation,
                container: ContainerRef::new(operation.system.clone(), whose.clone()),
                subject: Subject::Record(RecordRef::new(operation.system.clone(), operation.uid.clone())),
                action: operation.action,
                outcome: operation.outcome.clone(),
            }
        })
        .collect()
}
