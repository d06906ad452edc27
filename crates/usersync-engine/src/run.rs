//! Running a job.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use tracing::Instrument;
use usersync_connector::{Actor, CallContext};
use usersync_model::{Digest, JobId, TenantId};
use usersync_reconcile::Plan;
use usersync_store::{Check, Lease, LedgerKey, StoreErrorKind, Table, Transaction, Write};

use crate::actor::job_actor;
use crate::apply::{Applier, commit};
use crate::caught::caught;
use crate::departure::without_memberships;
use crate::engine::{Engine, RunRequest};
use crate::error::{EngineError, Result};
use crate::event::{RunControl, RunEvent};
use crate::grant::Grant;
use crate::history::RunNumber;
use crate::job::{Job, JobKind, Scope, Trigger};
use crate::order::in_order;
use crate::preview::{Made, PlanRequest, make_plan};
use crate::record::{Moment, Recovered, audit, base_write, held, notification, paused};
use crate::recover::{Recovery, base_after};
use crate::report::{NotStarted, OperationReport, Outcome, PausedBy, RunEnd, RunReport};
use crate::source::Sources;
use crate::state::{
    CURSOR, DEPARTURE, Departure, JobState, approval_key, cursor_key, departure_key, intent_key, job_key,
    lease_name, load_cursor, window_key,
};

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
        report.finished = readers.clock.now();
        self.keep_report(job, lease, &request.scope, &report, writes)
            .await?;
        Ok(report)
    }

    /// Does what the plan says. Answers the policy of which the plan showed all that it removes.
    async fn carry_out(
        &self,
        job: &Job,
        lease: &Lease,
        request: &RunRequest,
        actor: &Actor,
        made: &mut Made,
        report: &mut RunReport,
    ) -> Result<Option<Digest>> {
        let target = self.writer(job)?;
        report.recovered = self
            .confirm_recovered(job, lease, &made.recovery, request)
            .await?;
        let shown = self.open(job, lease, request, actor, made).await?;
        let mut applier = Applier {
            readers: self.inner.preview.readers(),
            store: &self.inner.store,
            target,
            job,
            lease: lease.clone(),
            control: &request.control,
            plan: &made.planned.plan,
        };
        applier.settle_ledger(&mut made.ground).await?;
        report.operations = applier.apply(&made.ground, &made.recovery).await?;
        let left = made
            .state
            .granted
            .as_ref()
            .map(|grant| left_of(grant, &report.operations));
        if let Some(left) = left
            && left != made.state.granted
        {
            let state = JobState {
                granted: left,
                ..made.state.clone()
            };
            let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
            transaction.write(state.write(job)?);
            commit(&self.inner.store, &job.id, transaction).await?;
            made.state = state;
        }
        Ok(shown)
    }

    /// Records the effects of earlier runs that the target shows.
    async fn confirm_recovered(
        &self,
        job: &Job,
        lease: &Lease,
        recovery: &Recovery,
        request: &RunRequest,
    ) -> Result<Vec<OperationReport>> {
        let now = Moment::of(self.inner.preview.readers().clock.now())?;
        let mut reports = Vec::new();
        for confirmed in &recovery.confirmed {
            if request.control.is_cancelled() {
                break;
            }
            let intent = &confirmed.intent;
            let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
            let key = LedgerKey {
                container: intent.container.clone(),
                subject: intent.subject.clone(),
            };
            transaction.check(confirmed.before.check(key.clone()));
            transaction.write(Write::Ledger {
                key,
                row: confirmed.after.clone(),
            });
            if let Some(base) = base_after(&intent.effect) {
                let write = base_write(&job.id, &intent.container, &intent.subject, base)?;
                transaction.writes.extend(write);
            }
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: intent_key(&job.id, &intent.operation.to_string()),
            });
            let recovered = Recovered::of(intent)?;
            transaction.write(audit(job, recovered.told(), &Outcome::Applied, &now));
            if let Some(write) = notification(job, recovered.told())? {
                transaction.write(write);
            }
            // A row that changed since it was read: the intent stays, and the next run looks again.
            let outcome = match commit(&self.inner.store, &job.id, transaction).await? {
                None => Outcome::Applied,
                Some(_) => Outcome::Superseded,
            };
            reports.push(OperationReport {
                operation: intent.operation,
                container: intent.container.clone(),
                subject: intent.subject.clone(),
                action: intent.effect.code(),
                outcome,
            });
        }
        Ok(reports)
    }

    /// The run's first commit: the serial rises, so that plans made before are stale; what the plan uses up is used up. A run
    /// that has nothing to write does not write this either. Answers the policy whose hold is over once the run comes to its report.
    async fn open(
        &self,
        job: &Job,
        lease: &Lease,
        request: &RunRequest,
        actor: &Actor,
        made: &mut Made,
    ) -> Result<Option<Digest>> {
        let plan = &made.planned.plan;
        let summary = plan.summary();
        let mut transaction = Transaction::new(job.tenant.clone()).under(lease.fence());
        for departed in &made.planned.departures.begun {
            let departure = Departure {
                principal: departed.clone(),
                since: made.now,
            };
            transaction.write(Write::Put {
                table: Table::Departure,
                key: departure_key(&job.id, departed),
                bytes: DEPARTURE.encode(&departure)?,
            });
        }
        for back in &made.planned.departures.ended {
            transaction.write(Write::Delete {
                table: Table::Departure,
                key: departure_key(&job.id, back),
            });
        }
        if let Some(used) = made.planned.approval {
            transaction.write(Write::Delete {
                table: Table::Approval,
                key: approval_key(&job.id, &used),
            });
        }
        for obsolete in made.recovery.obsolete(plan) {
            transaction.write(Write::Delete {
                table: Table::Intent,
                key: intent_key(&job.id, &obsolete.operation.to_string()),
            });
            if let Some(hour) = obsolete.quota {
                transaction.write(Write::Add {
                    counter: window_key(&job.id, hour),
                    delta: -1,
                });
            }
        }
        transaction.writes.extend(made.ground.marks(job, plan)?);
        let waits = plan.held_digest();
        let known = made.state.knowing(waits, &request.scope);
        if let Some(digest) = waits.filter(|digest| !made.state.is_known(digest)) {
            transaction.write(held(job, actor, summary.approvable, digest, known.serial)?);
        }
        // The plan that holds the removals of a new policy is one that shows them all, or all that somebody approved.
        let is_known = made.planned.is_complete || made.planned.approval.is_some();
        let shows_all = request.scope == Scope::Everything && is_known;
        let changes = summary.operations() > 0 || summary.ledger > 0 || made.ground.cedes();
        let current = plan.header().policy;
        let shown = shows_all.then_some(current);
        let is_other = made.state.policy.is_some_and(|before| before != current);
        let mixed = made.state.mixed || (changes && is_other);
        // Until another policy has shown what it removes, the one before it may come back.
        let holds = if (is_other || made.state.mixed) && shown.is_none() {
            &made.state.holds
        } else {
            &made.planned.holds
        };
        let same = made.state == known
            && made.state.mixed == mixed
            && shown.is_none_or(|policy| made.state.shown(policy).is_none())
            && made.state.paused.is_none()
            && made.state.holds == *holds
            && made.state.granted == made.planned.granted;
        if transaction.writes.is_empty() && !changes && same {
            return Ok(None);
        }
        transaction.write(self.begun(job, lease, request.trigger, &request.scope, made.now)?);
        let state = JobState {
            serial: made.state.serial + 1,
            // Whatever a first run saw of it all: another policy is another one than that.
            policy: made.state.policy.or(Some(current)),
            mixed,
            paused: None,
            holds: holds.clone(),
            granted: made.planned.granted.clone(),
            ..known
        };
        self.put_state(job, &state, made.revision, transaction).await?;
        made.state = state;
        Ok(shown)
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
        let Some((state, revision)) = crate::state::load_state(self.inner.store.as_ref(), job).await? else {
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

    async fn put_state(
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

/// What of a grant is not done yet.
fn left_of(grant: &Grant, operations: &[OperationReport]) -> Option<Grant> {
    let done = operations.iter().filter(|operation| operation.outcome.is_ok());
    let done: HashSet<_> = done
        .map(|operation| (&operation.container, &operation.subject))
        .collect();
    grant.without(|container, subject| done.contains(&(container, subject)))
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

/// Whether a reviewed plan is one of this job at all.
fn check_ownership(plan: &Plan, job: &Job) -> Result<()> {
    let header = plan.header();
    if header.tenant == job.tenant && header.job == job.id && header.target == job.target {
        Ok(())
    } else {
        Err(EngineError::Foreign)
    }
}

/// Whether a reviewed plan is of this state of the job, in time, and still what would be planned.
fn check_current(reviewed: &Plan, made: &Made) -> Result<()> {
    let envelope = reviewed.envelope();
    if envelope.lineage != made.state.lineage {
        return Err(EngineError::Foreign);
    }
    if envelope.serial != made.state.serial {
        return Err(EngineError::Stale("the job has run since, or the plan was used"));
    }
    if made.now >= envelope.expires {
        return Err(EngineError::Stale("it expired"));
    }
    let found = made.planned.plan.digest();
    if reviewed.digest() != found {
        return Err(EngineError::Drifted {
            expected: reviewed.digest(),
            found,
        });
    }
    Ok(())
}
