//! The list of jobs, as an administrator sees it.

use chrono::{DateTime, Utc};
use usersync_model::{Digest, TenantId};

use crate::due::{ScheduleState, Waiting};
use crate::engine::Engine;
use crate::error::Result;
use crate::history::{RunNumber, RunRecord, RunState};
use crate::job::{Job, JobKind, Scope, Trigger};
use crate::order::in_order;
use crate::state::job_key;

/// One job of a tenant: what it is, how it went, and when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobEntry {
    /// The job.
    pub job: Job,
    /// Its newest run with an end; a run of single containers counts.
    pub last: Option<RunRecord>,
    /// The run that began after that, if one did. It is under way, or was killed and the next run will find out.
    pub under_way: Option<RunRecord>,
    /// What waits for an approval since the last run of everything: the digest to approve, and how many operations it lets go.
    /// `None` for a job of items: its digests are those of its pairs, in [`RunReport::items`](crate::RunReport::items).
    pub held: Option<(Digest, u64)>,
    /// When it runs next.
    pub next: NextRun,
    /// What was asked for and no run has begun, or no run has ended.
    pub pending: Vec<Pending>,
}

/// When a job runs next, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextRun {
    /// At this time.
    At(DateTime<Utc>),
    /// Now: it is due since this time.
    Due(DateTime<Utc>),
    /// When somebody asks for it.
    OnDemand,
    /// Not as things stand.
    Waits(Waiting),
}

/// A run that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// What asked for it.
    pub trigger: Trigger,
    /// What it is to cover.
    pub scope: Scope,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl Engine {
    /// The jobs of a tenant, those that fill what others read first, with their last and next runs.
    ///
    /// Reads every job and its schedule, and the newest records of its runs: up to the last run of everything, and some more
    /// that come with them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn job_list(&self, tenant: &TenantId) -> Result<Vec<JobEntry>> {
        let now = self.clock().now();
        let backoff = &self.inner.preview.readers().options.retry;
        let mut states = self.schedules(tenant).await?;
        let mut entries = Vec::new();
        for job in in_order(self.jobs(tenant).await?) {
            let state = states.remove(&job_key(&job.id));
            let mut state = state.unwrap_or_else(|| ScheduleState::create(&job, now));
            state.follow(&job, now, backoff);
            entries.push(self.entry(job, &state, now).await?);
        }
        Ok(entries)
    }

    async fn entry(&self, job: Job, state: &ScheduleState, now: DateTime<Utc>) -> Result<JobEntry> {
        let mut entry = JobEntry {
            last: None,
            under_way: None,
            held: None,
            next: next_run(&job, state, now),
            pending: Vec::new(),
            job,
        };
        let mut before: Option<RunNumber> = None;
        'runs: loop {
            let records = self
                .history(&entry.job.tenant, &entry.job.id, before, PAGE)
                .await?;
            let is_last_page = records.len() < PAGE;
            before = records.last().map(|record| record.run);
            for record in records {
                if entry.is_decided_by(record) {
                    break 'runs;
                }
            }
            if is_last_page {
                break;
            }
        }
        let is_under_way = entry.under_way.is_some();
        let owed = state.owed().filter(|_| !is_under_way);
        entry.pending = owed
            .chain(state.wanted())
            .map(|wish| Pending {
                trigger: wish.trigger,
                scope: wish.scope.clone(),
                since: wish.since,
            })
            .collect();
        Ok(entry)
    }
}

/// How many runs are looked at together.
const PAGE: usize = 16;

impl JobEntry {
    /// Takes in the next older run; answers whether nothing older matters.
    fn is_decided_by(&mut self, record: RunRecord) -> bool {
        if record.state == RunState::Begun {
            // What began before another run ended is over.
            if self.last.is_none() && self.under_way.is_none() {
                self.under_way = Some(record);
            }
            return false;
        }
        let result = record.result().filter(|_| record.scope == Scope::Everything);
        // Runs of items have no plan, and tell what waits pair by pair.
        let has_no_plans = matches!(self.job.kind, JobKind::Items(_));
        let found = result.is_some_and(|result| has_no_plans || result.plan.is_some());
        self.held = result.and_then(|result| Some((result.held?, result.summary.approvable)));
        self.last.get_or_insert(record);
        found
    }
}

fn next_run(job: &Job, state: &ScheduleState, now: DateTime<Utc>) -> NextRun {
    if let Some(waiting) = state.waiting(now) {
        return NextRun::Waits(waiting);
    }
    match state.due(job) {
        None => NextRun::OnDemand,
        Some(due) if due <= now => NextRun::Due(due),
        Some(due) => NextRun::At(due),
    }
}
