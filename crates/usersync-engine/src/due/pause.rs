//! Pausing and resuming jobs, on record.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use usersync_model::{JobId, PrincipalRef, TenantId};
use usersync_store::{Format, Key, Log, LogEntry, Write};

use super::state::Pause;
use crate::engine::Engine;
use crate::error::Result;

const JOB_AUDIT: Format = Format {
    name: "usersync.job-audit",
    version: 1,
};

/// Keeps the records of jobs apart from those of operations, whose keys begin with the id of one.
const PREFIX: &str = "job";

/// Who paused or resumed a job, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JobAuditRecord {
    /// The job.
    pub job: JobId,
    /// The stable code of what was done: `paused`, `resumed`.
    pub action: String,
    /// Who did it.
    pub by: PrincipalRef,
    /// Why.
    pub why: String,
    /// When, by the engine's clock.
    pub at: DateTime<Utc>,
}

impl Engine {
    /// Pauses a job: it neither runs by itself nor when it is triggered, until somebody resumes it. A run under way goes on.
    /// [`run`](Self::run) still runs it. Answers whether it was not paused before; if it was, the first pause stands.
    ///
    /// # Errors
    /// [`EngineError::UnknownJob`](crate::EngineError::UnknownJob), or when the store fails.
    pub async fn pause_job(
        &self,
        tenant: &TenantId,
        job: &JobId,
        by: PrincipalRef,
        why: &str,
    ) -> Result<bool> {
        let job = self.job(tenant, job).await?;
        let since = self.clock().now();
        self.change(&job, None, |state| {
            if state.paused.is_some() {
                return Ok((false, None));
            }
            let pause = Pause {
                by: by.clone(),
                why: why.to_owned(),
                since,
            };
            let write = record(&job.id, "paused", pause.clone())?;
            state.paused = Some(pause);
            Ok((true, Some(write)))
        })
        .await
    }

    /// Ends the pause of a job. What it missed and what was asked for meanwhile is one run, and is due at once. Answers whether
    /// it was paused.
    ///
    /// # Errors
    /// [`EngineError::UnknownJob`](crate::EngineError::UnknownJob), or when the store fails.
    pub async fn resume_job(
        &self,
        tenant: &TenantId,
        job: &JobId,
        by: PrincipalRef,
        why: &str,
    ) -> Result<bool> {
        let job = self.job(tenant, job).await?;
        let since = self.clock().now();
        self.change(&job, None, |state| {
            if state.paused.take().is_none() {
                return Ok((false, None));
            }
            let end = Pause {
                by: by.clone(),
                why: why.to_owned(),
                since,
            };
            Ok((true, Some(record(&job.id, "resumed", end)?)))
        })
        .await
    }

    /// Who paused and resumed jobs of a tenant, in the order of that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn job_audit(&self, tenant: &TenantId) -> Result<Vec<JobAuditRecord>> {
        let mut chunks = self.inner.store.log(tenant, Log::Audit, 0);
        let mut records = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            for entry in chunk.iter().filter(|entry| is_of_job(entry)) {
                records.push(JOB_AUDIT.decode(&entry.bytes)?);
            }
        }
        Ok(records)
    }
}

/// Whether an entry of the audit log is about a job, and not about an operation.
pub(crate) fn is_of_job(entry: &LogEntry) -> bool {
    entry.key.parts().next() == Some(PREFIX)
}

fn record(job: &JobId, action: &str, end: Pause) -> Result<Write> {
    let moment = end.since.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string();
    let key = Key::of(&[PREFIX, job.as_str(), &moment, action]);
    let record = JobAuditRecord {
        job: job.clone(),
        action: action.to_owned(),
        by: end.by,
        why: end.why,
        at: end.since,
    };
    Ok(Write::Append {
        log: Log::Audit,
        key,
        bytes: JOB_AUDIT.encode(&record)?,
    })
}
