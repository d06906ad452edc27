//! The engine: a preview, and the handles that write.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use futures::TryStreamExt;
use usersync_connector::{
    ActorDirectory, Clock, ContainerCatalog, Directory, ItemStore, MembershipTarget, Notifier, RecordRead,
    RecordTarget,
};
use usersync_model::{ContainerRef, Digest, JobId, PrincipalRef, SystemId, TenantId};
use usersync_reconcile::{Approval, Plan};
use usersync_store::{Check, Key, StateRead, StateStore, Table, Transaction, Write};

use crate::apply::{Target, commit};
use crate::audit::{self, About};
use crate::error::{EngineError, Result};
use crate::event::RunControl;
use crate::job::{Job, JobKind, Scope, Trigger};
use crate::planning::later;
use crate::ports::{Options, Readers};
use crate::preview::{Preview, Previewed};
use crate::source::Sources;
use crate::state::{
    APPROVAL, AUDIT, AuditRecord, JOB, JobState, approval_key, job_key, load_approvals, load_job, load_state,
};
use crate::sync::Mutex;

/// Runs jobs. Clones share everything.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) preview: Preview,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) targets: HashMap<SystemId, Arc<dyn MembershipTarget>>,
    pub(crate) items: HashMap<SystemId, Arc<dyn ItemStore>>,
    pub(crate) record_targets: HashMap<SystemId, Arc<dyn RecordTarget>>,
    pub(crate) notifier: Arc<dyn Notifier>,
    /// The name of this worker in leases.
    pub(crate) worker: String,
    /// The directories of each job as last read.
    pub(crate) known: Mutex<HashMap<(TenantId, JobId), Sources>>,
}

/// Puts an engine together.
#[derive(Debug)]
pub struct EngineBuilder {
    readers: Readers,
    store: Arc<dyn StateStore>,
    targets: HashMap<SystemId, Arc<dyn MembershipTarget>>,
    items: HashMap<SystemId, Arc<dyn ItemStore>>,
    record_targets: HashMap<SystemId, Arc<dyn RecordTarget>>,
    notifier: Arc<dyn Notifier>,
    worker: String,
}

impl EngineBuilder {
    /// Adds a directory.
    #[must_use]
    pub fn directory(mut self, directory: Arc<dyn Directory>) -> Self {
        self.readers = self.readers.with_directory(directory);
        self
    }

    /// Adds a target.
    #[must_use]
    pub fn target(mut self, target: Arc<dyn MembershipTarget>) -> Self {
        self.targets.insert(target.system().clone(), Arc::clone(&target));
        self.readers = self.readers.with_target(target);
        self
    }

    /// Adds a system that keeps diaries, tasks or contacts.
    #[must_use]
    pub fn items(mut self, store: Arc<dyn ItemStore>) -> Self {
        self.items.insert(store.system().clone(), store);
        self
    }

    /// Adds a system whose records are read. A target of records is read as well, and needs to be added only as that.
    #[must_use]
    pub fn record_source(mut self, source: Arc<dyn RecordRead>) -> Self {
        self.readers = self.readers.with_records(source);
        self
    }

    /// Adds a system whose records are managed.
    #[must_use]
    pub fn record_target(mut self, target: Arc<dyn RecordTarget>) -> Self {
        self.record_targets
            .insert(target.system().clone(), Arc::clone(&target));
        self.readers = self.readers.with_records(target);
        self
    }

    /// Names the administrator who acts for owners that are gone. Without one, what they own pauses.
    #[must_use]
    pub fn administrator(mut self, administrator: PrincipalRef) -> Self {
        self.readers = self.readers.with_administrator(administrator);
        self
    }

    /// Sets the figures.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.readers = self.readers.with_options(options);
        self
    }

    /// Names this worker in leases, for people who look at them.
    #[must_use]
    pub fn worker(mut self, name: impl Into<String>) -> Self {
        self.worker = name.into();
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Engine {
        let Self {
            readers,
            store,
            targets,
            items,
            record_targets,
            notifier,
            worker,
        } = self;
        let preview = Preview::new(readers);
        Engine {
            inner: Arc::new(Inner {
                preview,
                store,
                targets,
                items,
                record_targets,
                notifier,
                worker,
                known: Mutex::default(),
            }),
        }
    }
}

/// What is to be run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RunRequest {
    /// What started it.
    pub trigger: Trigger,
    /// What it covers.
    pub scope: Scope,
    /// The plan that was reviewed: the run does exactly this, or nothing.
    pub reviewed: Option<Plan>,
    /// Whether to propose to count as ours what is both present and desired, for an approval. For taking over from another
    /// tool, once.
    pub adopt: bool,
    /// Follows the run, and can end it.
    pub control: RunControl,
}

impl RunRequest {
    /// A manual run of everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// A manual run of one container.
    #[must_use]
    pub fn container(container: ContainerRef) -> Self {
        Self {
            scope: Scope::container(container),
            ..Self::default()
        }
    }

    /// The same run, started by `trigger`.
    #[must_use]
    pub fn triggered_by(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// The same run, which does exactly what `plan` says, or nothing if that is not what would be planned now.
    #[must_use]
    pub fn exactly(mut self, plan: Plan) -> Self {
        self.reviewed = Some(plan);
        self
    }

    /// The same run, which proposes to adopt.
    #[must_use]
    pub fn adopting(mut self) -> Self {
        self.adopt = true;
        self
    }

    /// The same run under `control`.
    #[must_use]
    pub fn controlled_by(mut self, control: RunControl) -> Self {
        self.control = control;
        self
    }
}

impl Engine {
    /// Starts to put an engine together. Add the directories and targets that jobs name.
    #[must_use]
    pub fn builder(
        store: Arc<dyn StateStore>,
        clock: Arc<dyn Clock>,
        catalog: Arc<dyn ContainerCatalog>,
        actors: Arc<dyn ActorDirectory>,
        notifier: Arc<dyn Notifier>,
    ) -> EngineBuilder {
        let state: Arc<dyn StateRead> = Arc::clone(&store) as Arc<dyn StateRead>;
        EngineBuilder {
            readers: Readers::new(state, clock, catalog, actors),
            store,
            targets: HashMap::new(),
            items: HashMap::new(),
            record_targets: HashMap::new(),
            notifier,
            worker: "usersync".to_owned(),
        }
    }

    /// Saves a job. Changing its policy, sources or filter voids approvals and lets the removals of the next plan wait.
    ///
    /// # Errors
    /// [`EngineError::NoConnector`] when the job names a system that the engine does not have, or when the store fails.
    pub async fn save_job(&self, job: &Job) -> Result<()> {
        let readers = self.inner.preview.readers();
        match &job.kind {
            JobKind::Members => drop(readers.target(&job.target)?),
            JobKind::Items(items) => {
                crate::items::check_mode(job)?;
                for system in [&items.first, &items.second] {
                    if !self.inner.items.contains_key(system) {
                        return Err(EngineError::NoConnector(system.clone()));
                    }
                }
            }
            JobKind::Records(records) => {
                readers.records(&records.from)?;
                self.writer(job)?;
            }
        }
        for system in &job.sources {
            readers.directory(system)?;
        }
        let mut transaction = Transaction::new(job.tenant.clone());
        transaction.write(Write::Put {
            table: Table::Job,
            key: job_key(&job.id),
            bytes: JOB.encode(job)?,
        });
        self.save_schedule(job, &mut transaction).await?;
        if load_state(self.inner.store.as_ref(), job).await?.is_none() {
            let state = JobState::create(job, readers.clock.now());
            transaction.check(Check::Value {
                table: Table::JobState,
                key: job_key(&job.id),
                revision: None,
            });
            transaction.write(state.write(job)?);
        }
        match commit(&self.inner.store, &job.id, transaction).await? {
            None => Ok(()),
            Some(_) => Err(EngineError::Busy(job.id.clone())),
        }
    }

    /// The jobs of a tenant, in the order of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn jobs(&self, tenant: &TenantId) -> Result<Vec<Job>> {
        let mut chunks = self.inner.store.values(tenant, Table::Job, &Key::of(&[]));
        let mut jobs = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            for (_, stored) in chunk {
                jobs.push(JOB.decode(&stored.bytes)?);
            }
        }
        Ok(jobs)
    }

    /// What a run would do now. Nothing is written.
    ///
    /// # Errors
    /// As [`Preview::plan`].
    pub async fn preview(&self, tenant: &TenantId, job: &JobId, scope: &Scope) -> Result<Previewed> {
        self.inner.preview.plan(tenant, job, scope).await
    }

    /// Approves the held set with this digest, for one use before `lifetime` is over. It lifts only what is still exactly
    /// that set, under the policy of now.
    ///
    /// # Errors
    /// [`EngineError::UnknownJob`], or when the store fails.
    pub async fn approve(
        &self,
        tenant: &TenantId,
        job: &JobId,
        held: Digest,
        by: PrincipalRef,
        lifetime: std::time::Duration,
    ) -> Result<Approval> {
        let job = self.job(tenant, job).await?;
        let now = self.inner.preview.readers().clock.now();
        let approval = Approval {
            job: job.id.clone(),
            held,
            policy: self.inner.preview.readers().policy_digest(&job),
            by,
            granted: now,
            expires: later(now, lifetime),
        };
        let mut transaction = Transaction::new(job.tenant.clone());
        for old in load_approvals(self.inner.store.as_ref(), &job).await? {
            if !old.is_valid(&job.id, &approval.policy, now) {
                transaction.write(Write::Delete {
                    table: Table::Approval,
                    key: approval_key(&job.id, &old.held),
                });
            }
        }
        transaction.write(Write::Put {
            table: Table::Approval,
            key: approval_key(&job.id, &held),
            bytes: APPROVAL.encode(&approval)?,
        });
        self.inner.store.commit(transaction).await?;
        Ok(approval)
    }

    /// The audit records of a tenant's operations, in the order of their writing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(&self, tenant: &TenantId) -> Result<Vec<AuditRecord>> {
        audit::load(self.inner.store.as_ref(), tenant, About::Operation, AUDIT).await
    }

    pub(crate) async fn job(&self, tenant: &TenantId, job: &JobId) -> Result<Job> {
        load_job(self.inner.store.as_ref(), tenant, job)
            .await?
            .ok_or_else(|| EngineError::UnknownJob(job.clone()))
    }

    /// The writing half of a job's target.
    pub(crate) fn writer(&self, job: &Job) -> Result<Target> {
        let no_connector = || EngineError::NoConnector(job.target.clone());
        Ok(match &job.kind {
            JobKind::Members => Target::Members(Arc::clone(
                self.inner.targets.get(&job.target).ok_or_else(no_connector)?,
            )),
            JobKind::Items(_) => return Err(EngineError::NoPlan(job.id.clone())),
            JobKind::Records(_) => {
                let target = self.inner.record_targets.get(&job.target);
                Target::Records(Arc::clone(target.ok_or_else(no_connector)?))
            }
        })
    }

    pub(crate) fn take_known(&self, job: &Job) -> Option<Sources> {
        let key = (job.tenant.clone(), job.id.clone());
        self.inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key)
    }

    pub(crate) fn keep_known(&self, job: &Job, sources: Sources) {
        // Without cursors the next read is a full one, and the graph would only take room.
        if !sources.cursors.is_empty() {
            let key = (job.tenant.clone(), job.id.clone());
            self.inner
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key, sources);
        }
    }
}
