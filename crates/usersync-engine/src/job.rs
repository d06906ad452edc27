//! Jobs: what is read, what is written, how, and in whose name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use usersync_model::{
    ContainerKind, ContainerRef, Digest, DigestBuilder, JobId, ObjectId, PrincipalRef, ResolvePolicy,
    SystemId, TenantId,
};
use usersync_reconcile::{Mode, Policy, RecordRules};

use crate::items::ItemJob;
use crate::records::{Distribution, RecordJob};
use crate::schedule::{Interval, Schedule};

/// A job: what is read, what is written, how, and in whose name. It keeps the members of a target's containers in step with
/// their selections, or records in step with those of another system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The tenant.
    pub tenant: TenantId,
    /// Which job it is.
    pub id: JobId,
    /// The name shown to people.
    pub name: String,
    /// The directories that selections are resolved in.
    pub sources: BTreeSet<SystemId>,
    /// The system whose containers, or collections of records, are synchronized.
    pub target: SystemId,
    /// Who acts where a container has no owner; for all records.
    pub owner: PrincipalRef,
    /// How selections are resolved.
    #[serde(default)]
    pub resolve: ResolvePolicy,
    /// How what is found is treated.
    #[serde(default)]
    pub policy: Policy,
    /// When it runs by itself; by default every four hours.
    #[serde(default)]
    pub schedule: Schedule,
    /// The kinds of containers that it covers; `None` is all of them. A module of an application has a job of its own this way.
    /// Containers of other kinds count as they are at the target where they are selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<BTreeSet<ContainerKind>>,
    /// What it synchronizes; by default members.
    #[serde(default)]
    pub kind: JobKind,
}

/// What a job synchronizes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// The members of the containers that the host's catalog lists.
    #[default]
    Members,
    /// The diaries, tasks and contacts of linked pairs.
    Items(ItemJob),
    /// Records.
    Records(RecordJob),
}

impl Job {
    /// A job with the default policy.
    #[must_use]
    pub fn new(
        tenant: TenantId,
        id: JobId,
        name: impl Into<String>,
        sources: impl IntoIterator<Item = SystemId>,
        target: SystemId,
        owner: PrincipalRef,
    ) -> Self {
        Self {
            tenant,
            id,
            name: name.into(),
            sources: sources.into_iter().collect(),
            target,
            owner,
            resolve: ResolvePolicy::default(),
            policy: Policy::default(),
            schedule: Schedule::default(),
            kind: JobKind::Members,
            covers: None,
        }
    }

    /// A job that copies a group of contacts, or of other records, from one user to others: what it wrote is restored where
    /// somebody changes or deletes it, and taken back when it is not to be there any more; what is somebody's own is never
    /// touched. It runs daily, for the first time right after it is saved, unless its schedule
    /// [waits](Schedule::waiting_first).
    ///
    /// `sources` are the directories that the selection is resolved in. The collection of a user at the target has the user's
    /// id.
    #[must_use]
    pub fn distribution(
        tenant: TenantId,
        id: JobId,
        name: impl Into<String>,
        sources: impl IntoIterator<Item = SystemId>,
        target: SystemId,
        owner: PrincipalRef,
        distribution: Distribution,
    ) -> Self {
        Self {
            kind: JobKind::Records(distribution.into()),
            ..Self::new(tenant, id, name, sources, target, owner)
        }
        .with_schedule(Schedule::every(Interval::DAY))
    }

    /// A job that brings the records of a backend into a panel, organisation by organisation: new ones are made, facets that
    /// differ are updated, and what is gone from the backend is reported and stays. Nothing is cleared, and sets are united.
    /// It runs when it is asked to.
    ///
    /// `organisations` tells, for each collection of the target, from which collection of the backend it is filled.
    #[must_use]
    pub fn import(
        tenant: TenantId,
        id: JobId,
        name: impl Into<String>,
        from: SystemId,
        target: SystemId,
        owner: PrincipalRef,
        organisations: BTreeMap<ObjectId, ObjectId>,
    ) -> Self {
        Self {
            kind: JobKind::Records(RecordJob::import(from, organisations)),
            ..Self::new(tenant, id, name, [], target, owner)
        }
        .with_policy(Policy::new(Mode::AddOnly))
        .with_schedule(Schedule::manual())
    }

    /// A job that keeps the diaries, tasks and contacts of linked pairs in step, both ways: for every active link between the two
    /// systems, the kinds that the link has enabled. Its target is the second system, which the first is linked with.
    #[must_use]
    pub fn items(
        tenant: TenantId,
        id: JobId,
        name: impl Into<String>,
        owner: PrincipalRef,
        items: ItemJob,
    ) -> Self {
        let target = items.second.clone();
        Self {
            kind: JobKind::Items(items),
            ..Self::new(tenant, id, name, [], target, owner)
        }
    }

    /// The same job with other rules for the facets of records. A job of members stays as it is.
    #[must_use]
    pub fn with_rules(mut self, rules: RecordRules) -> Self {
        if let JobKind::Records(records) = &mut self.kind {
            records.rules = rules;
        }
        self
    }

    /// Every system that the job reads beside its target.
    pub fn reads(&self) -> impl Iterator<Item = &SystemId> {
        let from = match &self.kind {
            JobKind::Members => None,
            JobKind::Items(items) => Some(&items.first),
            JobKind::Records(records) => Some(&records.from),
        };
        let is_new = |from: &&SystemId| !self.sources.contains(*from);
        self.sources.iter().chain(from.filter(is_new))
    }

    /// Whether the job has something to do when that system changes: it reads it beside its target, or keeps items in step with it,
    /// which go both ways.
    #[must_use]
    pub fn follows(&self, system: &SystemId) -> bool {
        let is_side = matches!(&self.kind, JobKind::Items(items) if items.second == *system);
        is_side || self.reads().any(|read| read == system)
    }

    /// The same job for containers of these kinds only. What it claims in others from before, it hands over to whichever job
    /// claims it, too; what nobody else claims stays its own, and as it is, until somebody does.
    #[must_use]
    pub fn covering(mut self, kinds: impl IntoIterator<Item = ContainerKind>) -> Self {
        self.covers = Some(kinds.into_iter().collect());
        self
    }

    /// Whether it covers containers of `kind`.
    #[must_use]
    pub fn covers(&self, kind: &ContainerKind) -> bool {
        self.covers.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }

    /// The same job with another policy.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The same job with another schedule.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Identifies policy, sources, the kinds of containers, the way selections are resolved and, for records, where they come
    /// from and the rules for their facets; not a selection. When it changes, or the
    /// [filter](usersync_connector::Directory::filter) of something that the job reads, approvals are void and the removals of the
    /// next plan wait.
    #[must_use]
    pub fn policy_digest(&self) -> Digest {
        let resolve = serde_json::to_vec(&(&self.resolve, &self.sources, &self.target))
            .expect("ids and options have a JSON form");
        let digest = DigestBuilder::new("usersync.job-policy/1")
            .part(self.policy.digest().as_bytes())
            .part(&resolve);
        let digest = match &self.covers {
            None => digest,
            Some(kinds) => {
                let kinds = serde_json::to_vec(kinds).expect("kinds have a JSON form");
                digest.part(b"covers").part(&kinds)
            }
        };
        match &self.kind {
            JobKind::Members => digest.finish(),
            JobKind::Items(items) => {
                let items = serde_json::to_vec(items).expect("ids and options have a JSON form");
                digest.part(b"items").part(&items).finish()
            }
            JobKind::Records(records) => digest.part(records.digest().as_bytes()).finish(),
        }
    }
}

/// What a run covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// These containers.
    Containers(BTreeSet<ContainerRef>),
    /// Every container of the catalog that belongs to the job's target and that the job covers.
    #[default]
    Everything,
}

impl Scope {
    /// One container.
    #[must_use]
    pub fn container(container: ContainerRef) -> Self {
        Self::Containers(BTreeSet::from([container]))
    }
}

/// What started a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A change feed.
    Change,
    /// A person.
    #[default]
    Manual,
    /// A container was saved.
    Save,
    /// The time had come.
    Schedule,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Change => "change",
            Self::Manual => "manual",
            Self::Save => "save",
            Self::Schedule => "schedule",
        })
    }
}
