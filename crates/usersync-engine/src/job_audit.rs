//! What people did to jobs, on record.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_model::{JobId, OperationId, PrincipalRef, TenantId};
use usersync_store::{Format, Key, Log, Write};

use crate::audit::{self, About};
use crate::engine::Engine;
use crate::error::Result;

const JOB_AUDIT: Format = Format {
    name: "usersync.job-audit",
    version: 1,
};

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: crate::fuzzing::StoredFormat = crate::fuzzing::stored!(JOB_AUDIT, JobAuditRecord);

/// Who did something to a job, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct JobAuditRecord {
    /// The job.
    pub job: JobId,
    /// The stable code of what was done: `discarded` (a dead letter), `paused`, `resumed`.
    pub action: String,
    /// The key of the notification that it was done to, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notification: Option<OperationId>,
    /// Who did it.
    pub by: PrincipalRef,
    /// Why.
    pub why: String,
    /// When, by the engine's clock.
    pub at: DateTime<Utc>,
}

impl JobAuditRecord {
    /// Puts it on record.
    pub(crate) fn write(&self) -> Result<Write> {
        let moment = self.at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string();
        let notification = self.notification.map(|key| key.to_string());
        let mut parts = vec![About::Job.prefix(), self.job.as_str(), &moment, &self.action];
        parts.extend(notification.as_deref());
        Ok(Write::Append {
            log: Log::Audit,
            key: Key::of(&parts),
            bytes: JOB_AUDIT.encode(self)?,
        })
    }
}

impl Engine {
    /// Who paused and resumed jobs of a tenant and discarded their dead letters, in the order of that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn job_audit(&self, tenant: &TenantId) -> Result<Vec<JobAuditRecord>> {
        audit::load(self.inner.store.as_ref(), tenant, About::Job, JOB_AUDIT).await
    }
}
