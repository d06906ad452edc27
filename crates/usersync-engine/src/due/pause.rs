//! Pausing and resuming jobs, on record.

use usersync_model::{JobId, PrincipalRef, TenantId};
use usersync_store::Write;

use super::state::Pause;
use crate::engine::Engine;
use crate::error::Result;
use crate::job_audit::JobAuditRecord;

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
}

fn record(job: &JobId, action: &str, end: Pause) -> Result<Write> {
    let Pause { by, why, since: at } = end;
    JobAuditRecord {
        job: job.clone(),
        action: action.to_owned(),
        notification: None,
        by,
        why,
        at,
    }
    .write()
}
