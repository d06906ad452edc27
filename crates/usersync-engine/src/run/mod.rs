//! Running a job.

mod carry_out;
mod end;
mod review;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use tracing::Instrument;
use usersync_connector::CallContext;
use usersync_model::{JobId, TenantId};
use usersync_store::{Lease, StoreErrorKind};

use self::review::{check_current, check_ownership};
use crate::actor::job_actor;
use crate::caught::caught;
use crate::engine::{Engine, RunRequest};
use crate::error::{EngineError, Result};
use crate::event::{RunControl, RunEvent};
use crate::history::RunNumber;
use crate::job::{Job, JobKind, Trigger};
use crate::order::in_order;
use crate::preview::{PlanRequest, make_plan};
use crate::report::{PausedBy, RunEnd, RunReport};
use crate::state::lease_name;

impl Engine {
    /// Runs a job: finds out what became of earlier operations, plans anew, applies what no guard holds, records it, and delivers
    /// notifications.
    ///
    /// May be dropped or killed at any point: the next run ends where an undisturbed one would have.
    ///
    /// # Errors
    /// [`EngineError`] when nothing could be planned, when a reviewed plan is not what would be planned now, when another worker
    /// has the job, or when the store fails. What goes wrong with single operations is in the report.
    pub async fn run(&self, tenant: &TenantId, job: &JobId, request: RunRequest) -> Result<RunReport> {
        let job = self.job(tenant, job).await?;
        if let Some(plan) = &request.reviewed {
            check_ownership(plan, &job)?;
        }
        let (job, lease, asked) = self.lease(&job).await?;
        let report = self.run_under(&job, &lease, asked, &request).await;
        self.end_lease(&job, &lease, &request.control, report).await
    }

    /// Takes the lease on a job, and answers it with the job as it is by then: what was read before may have been saved anew, and
    /// another policy holds the removals of the next plan. Answers when it was asked for, too: it lasts from then on at least.
    pub(crate) async fn lease(&self, job: &Job) -> Result<(Job, Lease, DateTime<Utc>)> {
        let name = lease_name(&job.tenant, &job.id);
        let ttl = self.inner.preview.readers().options.lease;
        let asked = self.clock().now();
        let lease = match self.inner.store.acquire(&name, &self.inner.worker, ttl).await {
            Ok(lease) => lease,
            Err(error) if error.kind() == StoreErrorKind::Held => {
                return Err(EngineError::Busy(job.id.clone()));
            }
            Err(error) => return Err(error.into()),
        };
        match self.job(&job.tenant, &job.id).await {
            Ok(job) => Ok((job, lease, asked)),
            Err(error) => {
                self.let_go(job, &lease).await;
                Err(error)
            }
        }
    }

    /// Lets others have the job. Whoever took the lease over keeps it; a lease that cannot be released expires.
    async fn let_go(&self, job: &Job, lease: &Lease) {
        if let Err(error) = self.inner.store.release(lease).await {
            tracing::warn!(name: "usersync.lease.unreleased", job = %job.id, %error, "the lease stays until it expires");
        }
    }

    /// Runs a job whose lease this worker asked for at `asked`, holds, and keeps.
    pub(crate) async fn run_under(
        &self,
        job: &Job,
        lease: &Lease,
        asked: DateTime<Utc>,
        request: &RunRequest,
    ) -> Result<RunReport> {
        let span = tracing::info_span!("usersync.run", tenant = %job.tenant, job = %job.id, trigger = %request.trigger);
        let started = self.clock().now();
        // On the heap, so that the futures of hosts stay small: without optimisation they are copied from frame to frame.
        let run = self.run_leased(job, lease, request).boxed();
        let kept = self.keep_lease_while(job, lease, asked, run);
        let report = caught(kept).instrument(span).await;
        let report = report.unwrap_or_else(|message| {
            tracing::error!(name: "usersync.run.panicked", job = %job.id, panic = ?message, "a connector or the host panicked");
            let job = job.id.clone();
            Err(EngineError::Panicked { job, message })
        });
        if let Err(error) = &report {
            let kept = self.keep_failure(job, lease, request.trigger, &request.scope, started, error);
            if let Err(error) = kept.await {
                tracing::warn!(name: "usersync.history.failed", job = %job.id, %error, "a failed run could not be recorded");
            }
        }
        report
    }

    /// Lets others have the job, and delivers what its run has to tell.
    pub(crate) async fn end_lease(
        &self,
        job: &Job,
        lease: &Lease,
        control: &RunControl,
        report: Result<RunReport>,
    ) -> Result<RunReport> {
        // What was on its way when something panicked was let go of and cannot be called back: it has the rest of the lease to arrive.
        if !matches!(report, Err(EngineError::Panicked { .. })) {
            self.let_go(job, lease).await;
        }
        if report.is_ok()
            && let Err(error) = self.deliver(&job.tenant).await
        {
            // The run is over and recorded; what was not delivered is delivered later.
            tracing::warn!(name: "usersync.outbox.failed", job = %job.id, %error, "notifications stay in the outbox");
        }
        control.tell(RunEvent::Finished);
        let report = report?;
        tracing::info!(name: "usersync.run.finished", job = %job.id, end = report.end.code(), operations = report.operations.len(), "a run ended");
        Ok(report)
    }

    /// Runs every job of a tenant now, those that fill what others read first.
    ///
    /// # Errors
    /// When the list of jobs cannot be read. How each job went is in the answer.
    pub async fn run_all(
        &self,
        tenant: &TenantId,
        trigger: Trigger,
    ) -> Result<Vec<(JobId, Result<RunReport>)>> {
        let mut results = Vec::new();
        for job in in_order(self.jobs(tenant).await?) {
            let request = RunRequest::everything().triggered_by(trigger);
            let report = self.run(tenant, &job.id, request).await;
            results.push((job.id, report));
        }
        Ok(results)
    }

    async fn run_leased(&self, job: &Job, lease: &Lease, request: &RunRequest) -> Result<RunReport> {
        let readers = self.inner.preview.readers();
        let started = readers.clock.now();
        let mut report = RunReport {
            job: job.id.clone(),
            run: RunNumber::of(lease),
            trigger: request.trigger,
            end: RunEnd::Paused,
            paused: None,
            items: None,
            plan: None,
            recovered: Vec::new(),
            failed_reads: Vec::new(),
            operations: Vec::new(),
            started,
            finished: started,
        };
        if let JobKind::Items(items) = &job.kind {
            return self.run_items_leased(job, items, lease, request, report).await;
        }
        let actor = match job_actor(readers, job).await? {
            Ok(actor) => actor,
            Err(_) => {
                let report = self.pause(job, lease, PausedBy::NobodyActs, report).await?;
                self.keep_report(job, lease, &request.scope, &report, Vec::new())
                    .await?;
                return Ok(report);
            }
        };
        let context = CallContext {
            tenant: job.tenant.clone(),
            job: job.id.clone(),
            actor,
        };
        let plan_request = PlanRequest {
            scope: request.scope.clone(),
            adopt: request.adopt,
            explains: false,
        };
        let known = self.take_known(job);
        let made = make_plan(readers, job, &plan_request, known, &context, &request.control)
            .boxed()
            .await;
        let mut made = match made {
            Err(EngineError::SourceGone(_)) => {
                let report = self.pause(job, lease, PausedBy::SourceGone, report).await?;
                self.keep_report(job, lease, &request.scope, &report, Vec::new())
                    .await?;
                return Ok(report);
            }
            made => made?,
        };
        // What was not read to its end is no other state of things.
        if let Some(reviewed) = request
            .reviewed
            .as_ref()
            .filter(|_| !request.control.is_cancelled())
        {
            check_current(reviewed, &made)?;
        }
        let mut shown = None;
        if !request.control.is_cancelled() {
            shown = self
                .carry_out(job, lease, request, &context.actor, &mut made, &mut report)
                .await?;
            self.keep_collections(job, lease, &made, &report, &context)
                .await?;
        }
        self.conclude(job, lease, request, made, shown, report).await
    }
}
