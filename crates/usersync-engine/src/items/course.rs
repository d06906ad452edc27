//! A run of a job of items: under the job's lease, with its approvals, into its history.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use usersync_model::{ContainerRef, Digest, RecordRef, Subject};
use usersync_store::Lease;

use super::{ItemJob, ItemOperationReport, ItemRequest, PairReport};
use crate::engine::{Engine, RunRequest};
use crate::error::{EngineError, Result};
use crate::job::Job;
use crate::report::{OperationReport, PausedBy, RunEnd, RunReport};
use crate::state::{load_approvals, load_state};

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
        let state = load_state(self.inner.store.as_ref(), job).await?;
        let stored: BTreeMap<Digest, DateTime<Utc>> = approvals
            .iter()
            .filter(|approval| approval.is_valid(&job.id, &policy, now))
            .map(|approval| (approval.held, approval.expires))
            .collect();
        let item_request = ItemRequest {
            trigger: request.trigger,
            approved: stored.keys().copied().collect(),
            control: request.control.clone(),
            stored,
            shown: state.and_then(|(state, _)| state.policy),
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
        // With the report, and not before: a run that is killed has shown nobody what it holds.
        let mut writes = Vec::new();
        if matches!(
            done.end,
            RunEnd::Changed | RunEnd::Failed | RunEnd::Held | RunEnd::InSync
        ) && let Some((state, _)) = load_state(self.inner.store.as_ref(), job).await?
        {
            writes.extend(state.shown(policy).map(|state| state.write(job)).transpose()?);
        }
        report.items = Some(done);
        self.keep_report(job, lease, &request.scope, &report, writes)
            .await?;
        Ok(report)
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
