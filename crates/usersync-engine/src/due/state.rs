//! What is stored of a job's schedule, and how it changes: pure, the time is an argument.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use usersync_connector::Retry;
use usersync_model::{DigestBuilder, PrincipalRef};
use usersync_store::Format;

use super::trouble::Judgement;
use crate::backoff::Backoff;
use crate::job::{Job, Scope, Trigger};
use crate::schedule::Schedule;

pub(crate) const SCHEDULE: Format = Format {
    name: "usersync.schedule",
    version: 1,
};

/// When a job runs next, and what it waits for. Nothing in it says that the job is being run: that is what its lease says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleState {
    /// The schedule that the occurrence is one of.
    schedule: Schedule,
    /// The occurrence that the job waits for.
    occurrence: Option<DateTime<Utc>>,
    /// When the job last began.
    last: Option<DateTime<Utc>>,
    /// What the run that began last was to do, until it has. It outlives a run that was killed, and is due again.
    begun: Option<Wish>,
    /// What was asked for and not begun.
    wanted: Option<Wish>,
    /// A system asked not to be called before.
    not_before: Option<DateTime<Utc>>,
    trouble: Option<Trouble>,
    pub(crate) paused: Option<Pause>,
}

/// A run that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    pub(crate) scope: Scope,
    pub(crate) trigger: Trigger,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
}

/// Failures in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trouble {
    failures: u32,
    reason: String,
    until: DateTime<Utc>,
    /// The reasons that the administrators were told of.
    told: BTreeSet<String>,
}

/// A job does nothing by itself because somebody said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Who paused it.
    pub by: PrincipalRef,
    /// Why.
    pub why: String,
    /// When.
    pub since: DateTime<Utc>,
}

/// Why a job does not run although it is asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Until somebody resumes it.
    Paused(Pause),
    /// Its systems failed, and it tries again later. A person's trigger runs it all the same.
    Quarantined {
        /// When it is tried next.
        until: DateTime<Utc>,
        /// How often it failed in a row.
        failures: u32,
        /// The stable code of what fails.
        reason: String,
    },
    /// A system asked to be left alone (`Retry-After`); that counts for everybody.
    RetryAfter {
        /// Until then.
        until: DateTime<Utc>,
    },
}

impl Wish {
    /// A run that does what both are to do.
    fn and(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let scope = match (self.scope, other.scope) {
            (Scope::Containers(mut one), Scope::Containers(other)) => {
                one.extend(other);
                Scope::Containers(one)
            }
            _ => Scope::Everything,
        };
        Self {
            scope,
            trigger: weightier(self.trigger, other.trigger),
            since: self.since.min(other.since),
        }
    }
}

/// The trigger that somebody is more likely to ask about.
fn weightier(one: Trigger, other: Trigger) -> Trigger {
    let weight = |trigger| match trigger {
        Trigger::Manual => 3,
        Trigger::Save => 2,
        Trigger::Change => 1,
        Trigger::Schedule => 0,
    };
    if weight(one) >= weight(other) { one } else { other }
}

impl ScheduleState {
    /// The state of a job that was never run.
    pub(crate) fn create(job: &Job, now: DateTime<Utc>) -> Self {
        Self {
            schedule: job.schedule.clone(),
            occurrence: job.schedule.first(None, now),
            last: None,
            begun: None,
            wanted: None,
            not_before: None,
            trouble: None,
            paused: None,
        }
    }

    /// Goes by the job's schedule, if that was changed, and by the clock, if that was set back: nothing waits until it shows again
    /// what it once did.
    pub(crate) fn follow(&mut self, job: &Job, now: DateTime<Utc>, backoff: &Backoff) {
        if self.schedule != job.schedule {
            self.schedule = job.schedule.clone();
            self.occurrence = job.schedule.first(self.last, now);
        }
        self.occurrence = self
            .occurrence
            .map(|occurrence| job.schedule.awaited(occurrence, now));
        for wish in self.begun.iter_mut().chain(&mut self.wanted) {
            wish.since = wish.since.min(now);
        }
        self.not_before = self.not_before.filter(|until| backoff.is_sane(*until, now));
        if let Some(trouble) = &mut self.trouble
            && !backoff.is_sane(trouble.until, now)
        {
            trouble.until = now;
        }
    }

    /// When the job runs by itself next; `None`: not before somebody sees to it.
    pub(crate) fn due(&self, job: &Job) -> Option<DateTime<Utc>> {
        if self.paused.is_some() {
            return None;
        }
        let scheduled = self.scheduled(job);
        let owed = self.begun.iter().chain(&self.wanted).map(|wish| wish.since);
        let next = owed.chain(scheduled).min()?;
        let until = self.trouble.as_ref().map(|trouble| trouble.until);
        [Some(next), self.not_before, until].into_iter().flatten().max()
    }

    pub(crate) fn is_due(&self, job: &Job, now: DateTime<Utc>) -> bool {
        self.due(job).is_some_and(|due| due <= now)
    }

    /// Whether something was asked for that no run has begun.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// What was asked for and not begun.
    pub(crate) fn wanted(&self) -> Option<&Wish> {
        self.wanted.as_ref()
    }

    /// When the last run of all that was due began, if that is known to have ended.
    pub(crate) fn done(&self) -> Option<DateTime<Utc>> {
        self.last.filter(|_| self.begun.is_none())
    }

    /// What was begun, and is not known to have ended.
    pub(crate) fn owed(&self) -> impl Iterator<Item = &Wish> {
        self.begun.iter()
    }

    fn scheduled(&self, job: &Job) -> Option<DateTime<Utc>> {
        Some(job.schedule.due(&job.tenant, &job.id, self.occurrence?))
    }

    /// What keeps the job from running at `now`, if anything does.
    pub(crate) fn waiting(&self, now: DateTime<Utc>) -> Option<Waiting> {
        if let Some(pause) = &self.paused {
            return Some(Waiting::Paused(pause.clone()));
        }
        if let Some(until) = self.not_before.filter(|until| now < *until) {
            return Some(Waiting::RetryAfter { until });
        }
        let trouble = self.trouble.as_ref().filter(|trouble| now < trouble.until)?;
        Some(Waiting::Quarantined {
            until: trouble.until,
            failures: trouble.failures,
            reason: trouble.reason.clone(),
        })
    }

    /// What keeps a run from being started by `trigger` at `now`.
    pub(crate) fn stops(&self, trigger: Trigger, now: DateTime<Utc>) -> Option<Waiting> {
        self.waiting(now)
            .filter(|why| !(trigger == Trigger::Manual && matches!(why, Waiting::Quarantined { .. })))
    }

    /// Notes that a run is wanted.
    pub(crate) fn want(&mut self, wish: Wish) {
        self.wanted = Some(wish.and(self.wanted.take()));
    }

    /// Begins a run of all that is due, owed or asked for, and of `wish`; answers what it is to do.
    pub(crate) fn begin(&mut self, job: &Job, now: DateTime<Utc>, wish: Option<Wish>) -> Wish {
        let scheduled = Wish {
            scope: Scope::Everything,
            trigger: Trigger::Schedule,
            since: now,
        };
        let is_time = self.scheduled(job).is_some_and(|due| due <= now);
        let wishes = [
            self.begun.take(),
            self.wanted.take(),
            wish,
            is_time.then_some(scheduled.clone()),
        ];
        let begun = wishes
            .into_iter()
            .flatten()
            .reduce(|one, other| one.and(Some(other)))
            .unwrap_or(scheduled);
        if is_time {
            self.occurrence = self
                .occurrence
                .and_then(|occurrence| job.schedule.next(occurrence, now));
        }
        self.last = Some(now);
        self.begun = Some(begun.clone());
        begun
    }

    /// Begins a run of `wish` and nothing else: what is owed stays so.
    pub(crate) fn begin_only(&mut self, wish: Wish) -> Wish {
        if let Some(owed) = self.begun.take() {
            self.want(owed);
        }
        self.begun = Some(wish.clone());
        wish
    }

    /// Ends a run; answers what the administrators are to be told, if they are.
    pub(crate) fn end(
        &mut self,
        job: &Job,
        judgement: &Judgement,
        now: DateTime<Utc>,
        backoff: &Backoff,
    ) -> Option<(String, DateTime<Utc>)> {
        match judgement {
            // What it did not do stays owed.
            Judgement::Cancelled { retry } => {
                self.not_before = self.not_before.max(backoff.not_before(now, *retry));
                None
            }
            Judgement::Idle => {
                self.begun = None;
                None
            }
            Judgement::Well { retry } => {
                self.begun = None;
                self.trouble = None;
                self.not_before = backoff.not_before(now, *retry);
                None
            }
            Judgement::Trouble { reason, retry } => {
                if let Some(begun) = self.begun.take() {
                    self.want(begun);
                }
                self.not_before = backoff.not_before(now, *retry);
                self.fail(job, reason, *retry, now, backoff)
            }
        }
    }

    fn fail(
        &mut self,
        job: &Job,
        reason: &str,
        retry: Retry,
        now: DateTime<Utc>,
        backoff: &Backoff,
    ) -> Option<(String, DateTime<Utc>)> {
        let (failures, mut told) = match self.trouble.take() {
            Some(trouble) => (trouble.failures.saturating_add(1), trouble.told),
            None => (1, BTreeSet::new()),
        };
        let who = DigestBuilder::new("usersync.quarantine/1")
            .part(job.tenant.as_str().as_bytes())
            .part(job.id.as_str().as_bytes())
            .finish();
        let until = backoff.until(now, failures, retry, &who);
        let news = backoff.is_over(failures) && told.insert(reason.to_owned());
        self.trouble = Some(Trouble {
            failures,
            reason: reason.to_owned(),
            until,
            told,
        });
        news.then(|| (reason.to_owned(), until))
    }
}
