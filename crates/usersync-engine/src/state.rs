//! What the engine stores, and under which keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use usersync_connector::{Actor, Cursor};
use usersync_model::{
    ContainerRef, Digest, DigestBuilder, Facet, FacetName, JobId, MemberFacets, OperationId, PrincipalRef,
    RecordRef, Subject, SystemId, TenantId,
};
use usersync_reconcile::{Approval, RecordBase};
use usersync_store::{Format, Key, LeaseName, Revision, StateRead, Table, Write};

use crate::error::Result;
use crate::grant::Grant;
use crate::job::{Job, Scope};
use crate::recover::Recovery;
use crate::standing::StandingHolds;

pub(crate) const JOB: Format = Format {
    name: "usersync.job",
    version: 1,
};
pub(crate) const JOB_STATE: Format = Format {
    name: "usersync.job-state",
    version: 1,
};
pub(crate) const INTENT: Format = Format {
    name: "usersync.intent",
    version: 1,
};
pub(crate) const APPROVAL: Format = Format {
    name: "usersync.approval",
    version: 1,
};
pub(crate) const CURSOR: Format = Format {
    name: "usersync.cursor",
    version: 1,
};
pub(crate) const BASE: Format = Format {
    name: "usersync.base",
    version: 1,
};
pub(crate) const DEPARTURE: Format = Format {
    name: "usersync.departure",
    version: 1,
};
pub(crate) const NOTIFICATION: Format = Format {
    name: "usersync.notification",
    version: 1,
};
pub(crate) const AUDIT: Format = Format {
    name: "usersync.audit",
    version: 1,
};

/// Of so many sets of containers it is remembered what was told to be held in them; then it may be told once more.
const MOST_TOLD: usize = 64;

/// What a job remembers between runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobState {
    /// Tells this state from one made anew.
    pub(crate) lineage: Digest,
    /// Rises with the first commit of every run that writes.
    pub(crate) serial: u64,
    /// The policy of the last plan that showed all that it removes, in a run that came to a report; or, before there was one, of the
    /// first run that wrote.
    pub(crate) policy: Option<Digest>,
    /// Whether a run changed something by another policy since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mixed: bool,
    /// The held set that the last run of everything had, which was told of.
    pub(crate) told: Option<Digest>,
    /// Those of runs of single containers since then, by a digest of what these covered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) told_within: BTreeMap<Digest, Digest>,
    /// Why the job waits for somebody, if that was told.
    pub(crate) paused: Option<String>,
    /// Whether it was told that operations wait for somebody who may act for the owners of their containers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unowned: bool,
    /// The guards that stay shut.
    pub(crate) holds: StandingHolds,
    /// What an approval let go and is not known to be done yet.
    pub(crate) granted: Option<Grant>,
}

impl JobState {
    pub(crate) fn create(job: &Job, now: DateTime<Utc>) -> Self {
        let lineage = DigestBuilder::new("usersync.lineage/1")
            .part(job.tenant.as_str().as_bytes())
            .part(job.id.as_str().as_bytes())
            .part(now.to_rfc3339().as_bytes())
            .finish();
        Self {
            lineage,
            serial: 0,
            policy: None,
            mixed: false,
            told: None,
            told_within: BTreeMap::new(),
            paused: None,
            unowned: false,
            holds: StandingHolds::default(),
            granted: None,
        }
    }

    /// The same state once it is told that `held` waits, or that nothing does, as a run of `scope` found.
    pub(crate) fn knowing(&self, held: Option<Digest>, scope: &Scope) -> Self {
        let mut state = self.clone();
        match (scope, held) {
            (Scope::Everything, _) => {
                state.told = held;
                if held.is_none() || held != self.told {
                    state.told_within.clear();
                }
            }
            (Scope::Containers(containers), None) => {
                state.told_within.remove(&digest_of(containers));
            }
            (Scope::Containers(containers), Some(held)) => {
                if state.told_within.len() >= MOST_TOLD {
                    state.told_within.clear();
                }
                state.told_within.insert(digest_of(containers), held);
            }
        }
        state
    }

    /// Whether it was told that `held` waits, and it may have waited ever since.
    pub(crate) fn is_known(&self, held: &Digest) -> bool {
        self.told
            .iter()
            .chain(self.told_within.values())
            .any(|told| told == held)
    }

    /// The same state once a plan by `policy` showed all that it removes; `None` if it is the same.
    pub(crate) fn shown(&self, policy: Digest) -> Option<Self> {
        (self.mixed || self.policy != Some(policy)).then(|| Self {
            policy: Some(policy),
            mixed: false,
            ..self.clone()
        })
    }

    /// The same state once it is told whether operations wait for somebody who may act, as a run of `scope` found; `None` if it is the
    /// same.
    pub(crate) fn waiting(&self, unowned: bool, scope: &Scope) -> Option<Self> {
        // Single containers say nothing about the others.
        let is_news = unowned != self.unowned && (unowned || *scope == Scope::Everything);
        is_news.then(|| Self {
            unowned,
            ..self.clone()
        })
    }

    pub(crate) fn write(&self, job: &Job) -> Result<Write> {
        Ok(Write::Put {
            table: Table::JobState,
            key: job_key(&job.id),
            bytes: JOB_STATE.encode(self)?,
        })
    }
}

/// An operation begun: durable before its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intent {
    pub(crate) operation: OperationId,
    pub(crate) container: ContainerRef,
    pub(crate) subject: Subject,
    pub(crate) effect: Effect,
    pub(crate) actor: Actor,
    /// Whether an approval let it go.
    pub(crate) approved: bool,
    pub(crate) reason: String,
    pub(crate) plan: Digest,
    /// When it was first attempted, by the engine's clock.
    pub(crate) since: DateTime<Utc>,
    /// The hour, counted from the epoch, whose quota of removals it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<i64>,
    /// Of a removal: up to which write its ledger row was known when it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) row: Option<Revision>,
    /// Of a removal: whether somebody wrote its ledger row since.
    #[serde(skip)]
    pub(crate) is_overtaken: bool,
}

/// What an operation does to a membership or a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Add(MemberFacets),
    /// Counts what is there as ours; writes nothing at the target, so there is never an intent for it.
    Adopt,
    Change {
        to: BTreeMap<FacetName, Facet>,
        agreed: RecordBase,
    },
    Create {
        agreed: RecordBase,
    },
    Delete,
    Remove,
    Update {
        to: MemberFacets,
        /// The base to store: not what is written, where the target keeps a change of its own.
        agreed: MemberFacets,
    },
}

impl Effect {
    /// Whether it makes something.
    pub(crate) fn is_addition(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Create { .. })
    }

    /// Whether it ends something.
    pub(crate) fn is_removal(&self) -> bool {
        matches!(self, Self::Delete | Self::Remove)
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Adopt => "adopt",
            Self::Change { .. } => "change",
            Self::Create { .. } => "create",
            Self::Delete => "delete",
            Self::Remove => "remove",
            Self::Update { .. } => "update",
        }
    }
}

/// Who did what, when, and by what right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// The job.
    pub job: JobId,
    /// The operation.
    pub operation: OperationId,
    /// The container.
    pub container: ContainerRef,
    /// Whose membership, or which record.
    pub subject: Subject,
    /// The stable code of what was done.
    pub action: String,
    /// The stable code of why.
    pub reason: String,
    /// The stable code of how it ended.
    pub outcome: String,
    /// Who acted, and by what right.
    pub actor: Actor,
    /// Whether an approval let it go.
    pub approved: bool,
    /// The plan.
    pub plan: Digest,
    /// When it was recorded, by the engine's clock.
    pub at: DateTime<Utc>,
}

/// Since when a principal is missing from its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Departure {
    pub(crate) principal: PrincipalRef,
    pub(crate) since: DateTime<Utc>,
}

fn digest_of(containers: &BTreeSet<ContainerRef>) -> Digest {
    let mut digest = DigestBuilder::new("usersync.containers/1");
    for container in containers {
        digest = digest
            .part(container.system.as_str().as_bytes())
            .part(container.object.as_str().as_bytes());
    }
    digest.finish()
}

pub(crate) fn job_key(job: &JobId) -> Key {
    Key::of(&[job.as_str()])
}

pub(crate) fn lease_name(tenant: &TenantId, job: &JobId) -> LeaseName {
    LeaseName {
        tenant: tenant.clone(),
        key: Key::of(&["job", job.as_str()]),
    }
}

pub(crate) fn intent_key(job: &JobId, operation: &str) -> Key {
    Key::of(&[job.as_str(), operation])
}

/// Notifications have the same key in the outbox and among those refused.
pub(crate) fn letter_key(notification: &str) -> Key {
    Key::of(&[notification])
}

pub(crate) fn approval_key(job: &JobId, held: &Digest) -> Key {
    Key::of(&[job.as_str(), &held.to_string()])
}

pub(crate) fn cursor_key(job: &JobId, system: &SystemId) -> Key {
    Key::of(&[job.as_str(), system.as_str()])
}

pub(crate) fn departure_key(job: &JobId, principal: &PrincipalRef) -> Key {
    Key::of(&[job.as_str(), principal.system.as_str(), principal.object.as_str()])
}

/// The base of a job's record in a collection.
pub(crate) fn base_key(job: &JobId, collection: &ContainerRef, record: &RecordRef) -> Key {
    Key::of(&[
        job.as_str(),
        collection.system.as_str(),
        collection.object.as_str(),
        record.system.as_str(),
        record.object.as_str(),
    ])
}

/// What the bases of a job's records in a collection start with.
pub(crate) fn bases_key(job: &JobId, collection: &ContainerRef) -> Key {
    Key::of(&[
        job.as_str(),
        collection.system.as_str(),
        collection.object.as_str(),
    ])
}

/// The counter of removals within one hour, counted from the epoch.
pub(crate) fn window_key(job: &JobId, hour: i64) -> Key {
    Key::of(&["removals", job.as_str(), &hour.to_string()])
}

/// The hours of a window that ends now, counted from the epoch.
pub(crate) fn window_hours(now: DateTime<Utc>, hours: u32) -> RangeInclusive<i64> {
    let this = now.timestamp().div_euclid(3600);
    this - i64::from(hours.max(1)) + 1..=this
}

/// The counters of a window that ends now.
pub(crate) fn window_keys(job: &JobId, now: DateTime<Utc>, hours: u32) -> Vec<Key> {
    window_hours(now, hours)
        .map(|hour| window_key(job, hour))
        .collect()
}

pub(crate) async fn load_job(state: &dyn StateRead, tenant: &TenantId, job: &JobId) -> Result<Option<Job>> {
    match state.value(tenant, Table::Job, &job_key(job)).await? {
        Some(stored) => Ok(Some(JOB.decode(&stored.bytes)?)),
        None => Ok(None),
    }
}

pub(crate) async fn load_state(state: &dyn StateRead, job: &Job) -> Result<Option<(JobState, Revision)>> {
    match state
        .value(&job.tenant, Table::JobState, &job_key(&job.id))
        .await?
    {
        Some(stored) => Ok(Some((JOB_STATE.decode(&stored.bytes)?, stored.revision))),
        None => Ok(None),
    }
}

pub(crate) async fn load_intents(state: &dyn StateRead, job: &Job) -> Result<Vec<Intent>> {
    load_all(state, job, Table::Intent, INTENT).await
}

pub(crate) async fn load_approvals(state: &dyn StateRead, job: &Job) -> Result<Vec<Approval>> {
    load_all(state, job, Table::Approval, APPROVAL).await
}

pub(crate) async fn load_departures(state: &dyn StateRead, job: &Job) -> Result<Vec<Departure>> {
    load_all(state, job, Table::Departure, DEPARTURE).await
}

/// Every value of a table whose key starts with the job.
async fn load_all<T: DeserializeOwned>(
    state: &dyn StateRead,
    job: &Job,
    table: Table,
    format: Format,
) -> Result<Vec<T>> {
    let mut chunks = state.values(&job.tenant, table, &job_key(&job.id));
    let mut values = Vec::new();
    while let Some(chunk) = chunks.try_next().await? {
        for (_, stored) in chunk {
            values.push(format.decode(&stored.bytes)?);
        }
    }
    Ok(values)
}

pub(crate) async fn load_cursor(
    state: &dyn StateRead,
    job: &Job,
    system: &SystemId,
) -> Result<Option<Cursor>> {
    match state
        .value(&job.tenant, Table::Cursor, &cursor_key(&job.id, system))
        .await?
    {
        Some(stored) => Ok(Some(CURSOR.decode(&stored.bytes)?)),
        None => Ok(None),
    }
}

/// How many removals went within the window, without those that may be tried again: these are part of what is planned.
pub(crate) async fn window_used(
    state: &dyn StateRead,
    job: &Job,
    now: DateTime<Utc>,
    recoveries: &[&Recovery],
) -> Result<u64> {
    let Some(window) = job.policy.guards.window else {
        return Ok(0);
    };
    let mut used = 0;
    for key in window_keys(&job.id, now, window.hours) {
        used += state.counter(&job.tenant, &key).await?;
    }
    let hours = window_hours(now, window.hours);
    let again: u64 = recoveries
        .iter()
        .map(|recovery| recovery.quota_used(&hours))
        .sum();
    Ok(used.saturating_sub(again))
}
