//! When jobs run, as far as is known.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use usersync_model::{JobId, SystemId, TenantId};

use super::state::{ScheduleState, Waiting};
use crate::engine::Engine;
use crate::error::Result;
use crate::job::Job;
use crate::order::{FillersWithin, in_order};
use crate::state::job_key;

/// When a job runs, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agenda {
    /// The job.
    pub job: JobId,
    /// When it runs by itself next; in the past, if it is due, or being run. `None`: never, or not while it is paused.
    pub due: Option<DateTime<Utc>>,
    /// When its last run of all that was due began, if that ended.
    pub done: Option<DateTime<Utc>>,
    /// Why it does not run now, although it may be asked to.
    pub waiting: Option<Waiting>,
    /// What it reads beside its target; with its target, where another job keeps the groups, or makes the accounts, that it selects
    /// there.
    pub sources: BTreeSet<SystemId>,
    /// What it fills.
    pub target: SystemId,
}

impl Engine {
    /// When each job of a tenant runs; those that fill what others read first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn agenda(&self, tenant: &TenantId) -> Result<Vec<Agenda>> {
        let now = self.now();
        let backoff = &self.inner.preview.readers().options.retry;
        let mut states = self.schedules(tenant).await?;
        let jobs = in_order(self.jobs(tenant).await?);
        let fillers = FillersWithin::among(&jobs);
        let entry = |job: &Job| {
            // Copies within one system are made beside each other.
            let mut sources: BTreeSet<SystemId> = job.reads().cloned().collect();
            sources.remove(&job.target);
            if fillers.feed(job) {
                sources.insert(job.target.clone());
            }
            let mut state = states
                .remove(&job_key(&job.id))
                .unwrap_or_else(|| ScheduleState::create(job, now));
            state.follow(job, now, backoff);
            Agenda {
                due: state.due(job),
                done: state.done(),
                waiting: state.waiting(now),
                job: job.id.clone(),
                sources,
                target: job.target.clone(),
            }
        };
        Ok(jobs.iter().map(entry).collect())
    }

    /// When the next job of a tenant is due; in the past, if one is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_due(&self, tenant: &TenantId) -> Result<Option<DateTime<Utc>>> {
        Ok(self
            .agenda(tenant)
            .await?
            .iter()
            .filter_map(|entry| entry.due)
            .min())
    }
}

impl Agenda {
    /// Whether the job is due at `now`.
    #[must_use]
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}
