//! Running what is due, and what is asked for while the job is being run.

mod agenda;
mod feed;
mod pause;
mod state;
mod trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::future::{BoxFuture, Either, FutureExt, select};
use usersync_connector::Clock;
use usersync_model::{ContainerRef, JobId, TenantId};
use usersync_store::{Check, Key, Lease, Revision, Table, Transaction, Write};

use self::state::{SCHEDULE, Wish};
use self::trouble::{Judgement, judge, judge_error};
use crate::apply::commit;
use crate::engine::{Engine, RunRequest};
use crate::error::{EngineError, Result};
use crate::event::RunControl;
use crate::job::{Job, Scope, Trigger};
use crate::record::quarantined;
use crate::report::RunReport;
use crate::state::job_key;

pub use self::agenda::Agenda;
pub(crate) use self::state::ScheduleState;
pub use self::state::{Pause, Waiting};

#[cfg(feature = "fuzzing")]
pub(crate) const STORED: crate::fuzzing::StoredFormat = crate::fuzzing::stored!(SCHEDULE, ScheduleState);

/// How far the run of a saved container came within its deadline.
pub enum Saved {
    /// It ended.
    Done(Box<RunReport>),
    /// It goes on: whoever polls this future drives it to its end. `None`: it was [queued](Self::Queued) after all.
    Continues(BoxFuture<'static, Result<Option<RunReport>>>),
    /// It is left to the run that follows the one under way, or to a later one: see [`Triggered`].
    Queued(Option<Waiting>),
}

/// What became of a trigger.
#[derive(Debug)]
pub enum Triggered {
    /// The job is being run. Exactly one more run follows, for this and every other trigger that comes until then: whoever
    /// runs the job does it, or [`Engine::run_due`], if that worker dies, or was only asked for one container or one
    /// [`run`](Engine::run), or already did what came before this.
    Coalesced,
    /// It was run.
    Ran {
        /// How that went.
        report: Box<RunReport>,
        /// The runs that were asked for meanwhile.
        followed: Vec<Result<RunReport>>,
    },
    /// The job does not run now. It is noted, and the first run after that covers it.
    Waits(Waiting),
}

impl Engine {
    /// The clock that the engine goes by.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.preview.readers().clock)
    }

    /// Runs every job of a tenant that is due, those that fill what others read first, and delivers what the outbox holds. For
    /// hosts with a scheduler of their own, to be called every minute or so; it does little when nothing is due.
    ///
    /// A job is due when its schedule says so (whatever was missed since its last run is one run), when a trigger came while it
    /// was being run or was waiting, or when its last run was killed or told to end before it was done. It is not due while it is
    /// [paused](Self::pause_job), while a system asked not to be called (`Retry-After`), or in the growing pauses after failures.
    /// What another worker runs is left to that worker.
    ///
    /// # Errors
    /// When the jobs or their schedules cannot be read. How each run went is in the answer.
    pub async fn run_due(&self, tenant: &TenantId) -> Result<Vec<(JobId, Result<RunReport>)>> {
        let now = self.now();
        let agenda = self.agenda(tenant).await?;
        let mut results = Vec::new();
        for entry in agenda.into_iter().filter(|entry| entry.is_due(now)) {
            for report in self.run_if_due(tenant, &entry.job, &RunControl::new()).await {
                results.push((entry.job.clone(), report));
            }
        }
        if let Err(error) = self.deliver(tenant).await {
            tracing::warn!(name: "usersync.outbox.failed", %tenant, %error, "notifications stay in the outbox");
        }
        Ok(results)
    }

    /// Runs a job if it is due, and once more if something was asked for meanwhile; what is asked for during that is due the next
    /// time, so that others have their turn. No reports: it is not due, or another worker runs it.
    pub async fn run_if_due(
        &self,
        tenant: &TenantId,
        job: &JobId,
        control: &RunControl,
    ) -> Vec<Result<RunReport>> {
        let first = match self.job(tenant, job).await {
            Ok(job) => self
                .run_one(&job, control, ScheduleState::is_due)
                .await
                .transpose(),
            Err(error) => Some(Err(error)),
        };
        let Some(first) = first else { return Vec::new() };
        let mut reports = vec![first];
        self.follow_up(tenant, job, control, 1, &mut reports).await;
        reports
    }

    /// Runs a job now for `scope`, if it is not being run and nothing keeps it waiting, and then for what was asked for meanwhile.
    /// What cannot be done now is noted durably, and not lost.
    ///
    /// # Errors
    /// As [`run`](Self::run). Such a run is due again after a pause.
    pub async fn trigger(
        &self,
        tenant: &TenantId,
        job: &JobId,
        trigger: Trigger,
        scope: Scope,
        control: &RunControl,
    ) -> Result<Triggered> {
        let started = self.start(tenant, job, trigger, scope, control).await?;
        let Triggered::Ran { report, .. } = started else {
            return Ok(started);
        };
        let mut followed = Vec::new();
        self.follow_up(tenant, job, control, usize::MAX, &mut followed)
            .await;
        Ok(Triggered::Ran { report, followed })
    }

    /// Runs a job for one container that was just saved, and waits for at most `deadline`. While the job is being run, that is
    /// left to the one run that follows. What others ask for meanwhile is done behind it, if it goes on past the deadline, and
    /// is otherwise left to [`run_due`](Self::run_due).
    ///
    /// What is held is in the report's plan with its digest, for a confirmation in the same dialogue.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn save_container(
        &self,
        tenant: &TenantId,
        job: &JobId,
        container: ContainerRef,
        deadline: Duration,
    ) -> Result<Saved> {
        let is_over = Arc::new(AtomicBool::new(false));
        let goes_on = Arc::clone(&is_over);
        let (engine, tenant, job) = (self.clone(), tenant.clone(), job.clone());
        let run = async move {
            let (scope, control) = (Scope::container(container), RunControl::new());
            let triggered = engine
                .start(&tenant, &job, Trigger::Save, scope, &control)
                .await?;
            if goes_on.load(Ordering::Relaxed) {
                let reports = &mut Vec::new();
                engine
                    .follow_up(&tenant, &job, &control, usize::MAX, reports)
                    .await;
            }
            Ok(triggered)
        };
        let sleep = self.clock().sleep(deadline);
        match select(run.boxed(), sleep).await {
            Either::Left((triggered, _)) => triggered.map(|triggered| match triggered {
                Triggered::Coalesced => Saved::Queued(None),
                Triggered::Ran { report, .. } => Saved::Done(report),
                Triggered::Waits(why) => Saved::Queued(Some(why)),
            }),
            Either::Right(((), run)) => {
                is_over.store(true, Ordering::Relaxed);
                let report = |triggered| match triggered {
                    Triggered::Ran { report, .. } => Some(*report),
                    Triggered::Coalesced | Triggered::Waits(_) => None,
                };
                Ok(Saved::Continues(
                    run.map(move |triggered| triggered.map(report)).boxed(),
                ))
            }
        }
    }

    /// Starts a run, or notes that one is wanted.
    async fn start(
        &self,
        tenant: &TenantId,
        job: &JobId,
        trigger: Trigger,
        scope: Scope,
        control: &RunControl,
    ) -> Result<Triggered> {
        let job = self.job(tenant, job).await?;
        let since = self.now();
        let wish = Wish {
            scope,
            trigger,
            since,
        };
        let mut noted = false;
        let (job, lease, asked) = loop {
            match self.lease(&job).await {
                Ok(leased) => break leased,
                // Whoever has the lease now looks for what is wanted after giving it back, and that is after it was noted.
                Err(EngineError::Busy(_)) if noted => return Ok(Triggered::Coalesced),
                Err(EngineError::Busy(_)) => {
                    self.change(&job, None, |state| Ok((state.want(wish.clone()), None)))
                        .await?;
                    noted = true;
                }
                Err(error) => return Err(error),
            }
        };
        let mut waiting = None;
        let begin = |state: &mut ScheduleState, now| {
            if noted && !state.is_wanted() {
                return None;
            }
            waiting = state.stops(trigger, now);
            if waiting.is_some() {
                state.want(wish.clone());
                return None;
            }
            // Somebody waits for a saved container, and not for what was to be done besides.
            Some(match &wish.scope {
                Scope::Containers(_) if !noted => state.begin_only(wish.clone()),
                _ => state.begin(&job, now, Some(wish.clone())),
            })
        };
        match self.run_begun(&job, (lease, asked), control, begin).await? {
            Some(report) => Ok(Triggered::Ran {
                report: Box::new(report),
                followed: Vec::new(),
            }),
            None => Ok(waiting.map_or(Triggered::Coalesced, Triggered::Waits)),
        }
    }

    /// Runs the job at most so often, as long as something is wanted that no run has begun. What only a feed wants is done once: it
    /// may never rest, and whoever listens to one looks for what is due, too.
    async fn follow_up(
        &self,
        tenant: &TenantId,
        job: &JobId,
        control: &RunControl,
        most: usize,
        reports: &mut Vec<Result<RunReport>>,
    ) {
        for turn in 0..most {
            if control.is_cancelled() {
                break;
            }
            let is_wanted = |state: &ScheduleState, job: &Job, now| {
                let wanted = state.wanted();
                wanted.is_some_and(|wish| turn == 0 || wish.trigger != Trigger::Change)
                    && state.is_due(job, now)
            };
            let run = async {
                let job = self.job(tenant, job).await?;
                self.run_one(&job, control, is_wanted).await
            };
            let Some(report) = run.await.transpose() else {
                break;
            };
            let went_on = report.is_ok();
            reports.push(report);
            if !went_on {
                break;
            }
        }
    }

    /// Runs the job once if it is `wanted`, by what is stored before and after its lease was taken.
    async fn run_one(
        &self,
        job: &Job,
        control: &RunControl,
        wanted: impl Fn(&ScheduleState, &Job, DateTime<Utc>) -> bool,
    ) -> Result<Option<RunReport>> {
        let now = self.now();
        let stored = self.load_schedule(job).await?.map(|(state, _)| state);
        let mut state = stored.unwrap_or_else(|| ScheduleState::create(job, now));
        state.follow(job, now, &self.inner.preview.readers().options.retry);
        if !wanted(&state, job, now) {
            return Ok(None);
        }
        let (job, lease, asked) = match self.lease(job).await {
            Ok(leased) => leased,
            Err(EngineError::Busy(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let begin =
            |state: &mut ScheduleState, now| wanted(state, &job, now).then(|| state.begin(&job, now, None));
        self.run_begun(&job, (lease, asked), control, begin).await
    }

    /// Begins a run under its lease, and with the time when that was asked for, if `begin` says what it is to do, runs it, and ends it.
    async fn run_begun(
        &self,
        job: &Job,
        (lease, asked): (Lease, DateTime<Utc>),
        control: &RunControl,
        mut begin: impl FnMut(&mut ScheduleState, DateTime<Utc>) -> Option<Wish>,
    ) -> Result<Option<RunReport>> {
        let now = self.now();
        let begun = self
            .change(job, Some(&lease), |state| {
                let wish = begin(state, now);
                let begun = |wish: &Wish| self.begun(job, &lease, wish.trigger, &wish.scope, now);
                let write = wish.as_ref().map(begun).transpose()?;
                Ok((wish, write))
            })
            .await;
        let wish = match begun {
            Ok(Some(wish)) => wish,
            nothing => {
                self.inner.store.release(&lease).await?;
                return nothing.map(|_| None);
            }
        };
        let request = RunRequest {
            trigger: wish.trigger,
            scope: wish.scope,
            control: control.clone(),
            ..RunRequest::default()
        };
        let report = self.run_under(job, &lease, asked, &request).await;
        let judgement = match &report {
            Ok(report) => Some(judge(job, report)),
            Err(error) => judge_error(error),
        };
        if let Some(judgement) = judgement
            && let Err(error) = self.end_run(job, &lease, &judgement).await
        {
            // What is not recorded as done is done again.
            tracing::warn!(name: "usersync.schedule.failed", job = %job.id, %error, "how a run went could not be recorded");
        }
        self.end_lease(job, &lease, control, report).await.map(Some)
    }

    async fn end_run(&self, job: &Job, lease: &Lease, judgement: &Judgement) -> Result<()> {
        let now = self.now();
        let backoff = &self.inner.preview.readers().options.retry;
        self.change(job, Some(lease), |state| {
            let news = state.end(job, judgement, now, backoff);
            let write = news
                .map(|(reason, until)| quarantined(job, &reason, until))
                .transpose()?;
            Ok(((), write))
        })
        .await
    }

    /// Changes what is stored of a job's schedule, as often as somebody else changes it first; what `change` answers in
    /// the end is written with it.
    async fn change<T>(
        &self,
        job: &Job,
        lease: Option<&Lease>,
        mut change: impl FnMut(&mut ScheduleState) -> Result<(T, Option<Write>)>,
    ) -> Result<T> {
        loop {
            let now = self.now();
            let (before, revision) = self.load_schedule(job).await?.unzip();
            let mut state = before.clone().unwrap_or_else(|| ScheduleState::create(job, now));
            state.follow(job, now, &self.inner.preview.readers().options.retry);
            let (answer, write) = change(&mut state)?;
            if before.as_ref() == Some(&state) && write.is_none() {
                return Ok(answer);
            }
            let mut transaction = Transaction::new(job.tenant.clone());
            if let Some(lease) = lease {
                transaction = transaction.under(lease.fence());
            }
            transaction.check(schedule_check(job, revision));
            transaction.write(schedule_write(job, &state)?);
            transaction.writes.extend(write);
            if commit(&self.inner.store, &job.id, transaction).await?.is_none() {
                return Ok(answer);
            }
        }
    }

    /// What goes into the transaction that saves a job, so that its schedule counts from there.
    pub(crate) async fn save_schedule(&self, job: &Job, transaction: &mut Transaction) -> Result<()> {
        let now = self.now();
        let (before, revision) = self.load_schedule(job).await?.unzip();
        let mut state = before.clone().unwrap_or_else(|| ScheduleState::create(job, now));
        state.follow(job, now, &self.inner.preview.readers().options.retry);
        if before.as_ref() != Some(&state) {
            transaction.check(schedule_check(job, revision));
            transaction.write(schedule_write(job, &state)?);
        }
        Ok(())
    }

    /// What is stored of the schedules of a tenant's jobs.
    pub(crate) async fn schedules(&self, tenant: &TenantId) -> Result<BTreeMap<Key, ScheduleState>> {
        let mut states = BTreeMap::new();
        let mut chunks = self.inner.store.values(tenant, Table::Schedule, &Key::of(&[]));
        while let Some(chunk) = chunks.try_next().await? {
            for (key, stored) in chunk {
                states.insert(key, SCHEDULE.decode(&stored.bytes)?);
            }
        }
        Ok(states)
    }

    async fn load_schedule(&self, job: &Job) -> Result<Option<(ScheduleState, Revision)>> {
        let stored = self
            .inner
            .store
            .value(&job.tenant, Table::Schedule, &job_key(&job.id))
            .await?;
        match stored {
            Some(stored) => Ok(Some((SCHEDULE.decode(&stored.bytes)?, stored.revision))),
            None => Ok(None),
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.preview.readers().clock.now()
    }
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(report) => f.debug_tuple("Done").field(report).finish(),
            Self::Continues(_) => f.write_str("Continues"),
            Self::Queued(why) => f.debug_tuple("Queued").field(why).finish(),
        }
    }
}

fn schedule_check(job: &Job, revision: Option<Revision>) -> Check {
    Check::Value {
        table: Table::Schedule,
        key: job_key(&job.id),
        revision,
    }
}

fn schedule_write(job: &Job, state: &ScheduleState) -> Result<Write> {
    Ok(Write::Put {
        table: Table::Schedule,
        key: job_key(&job.id),
        bytes: SCHEDULE.encode(state)?,
    })
}
