//! A whole small world: one directory, one target, one catalog, one store, and engines over them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::executor::block_on;
use futures::task::noop_waker;
use usersync::connector::{Clock, Directory, Notification};
use usersync::engine::{
    AuditRecord, Engine, EngineError, Job, Options, Preview, Previewed, Readers, RunEnd, RunReport,
    RunRequest, Scope,
};
use usersync::memory::{
    CallKind, Calls, Fault, FaultRule, Faults, ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory,
    MemoryNotifier, MemoryStore, MemoryTarget, StoreSnapshot,
};
use usersync::model::{
    Digest, GroupKind, LedgerRow, MemberFacets, MembershipState, ObjectId, PartialKind, Principal,
    PrincipalKind, PrincipalRef, Role, SystemId, TenantId,
};
use usersync::reconcile::{Plan, Policy};
use usersync::store::{Key, LedgerKey, Log, StateRead, StateStore, Table};

use crate::names::{AUTO_APPLY, LEASE, all, container, group, job, tenant, user};
use crate::store::WorldStore;

/// A whole small world. Its fields are handles without faults, to edit and look at; the engine's calls go through handles that
/// share [`faults`](Self::faults) and [`calls`](Self::calls), numbered in one sequence.
#[derive(Debug)]
pub struct World<S = MemoryStore> {
    /// The tenant.
    pub tenant: TenantId,
    /// Everybody's time.
    pub clock: ManualClock,
    /// The store.
    pub store: S,
    /// The directory `hr`.
    pub directory: MemoryDirectory,
    /// The target `share`.
    pub target: MemoryTarget,
    /// The containers.
    pub catalog: MemoryCatalog,
    /// Who may act.
    pub actors: MemoryActors,
    /// Who is told what.
    pub notifier: MemoryNotifier,
    /// What goes wrong with the engine's calls.
    pub faults: Faults,
    /// The engine's calls.
    pub calls: Calls,
    /// Who acts for owners that are gone.
    pub administrator: Option<PrincipalRef>,
    pub(crate) batch: usize,
    pub(crate) portion: Option<NonZeroUsize>,
    pub(crate) engine: Option<Engine>,
}

/// Everything but the directory, the catalog and what is remembered of runs, to compare: that tells of every run, also of those
/// that had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The target.
    pub target: BTreeMap<ObjectId, BTreeMap<PrincipalRef, MemberFacets>>,
    /// The store.
    pub store: StoreSnapshot,
    /// What people were told.
    pub delivered: Vec<Notification>,
}

/// Where a run has to end, however it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The target.
    pub target: BTreeMap<ObjectId, BTreeMap<PrincipalRef, MemberFacets>>,
    /// The ledger.
    pub ledger: BTreeMap<LedgerKey, LedgerRow>,
    /// The journal.
    pub intents: BTreeMap<Key, Vec<u8>>,
    /// Who left the directory since when.
    pub departures: BTreeMap<Key, Vec<u8>>,
}

/// How a future that may be stopped ended.
#[derive(Debug)]
pub enum Crash<T> {
    /// It never came to the fault, and ended.
    Ended(T),
    /// It was stopped while it waited for an answer that never came.
    Stopped,
}

/// Polls `future` for as long as it makes progress, and drops it once it waits for something that never comes. Only for
/// worlds whose calls are ready at once unless they hang.
pub fn crash<T>(future: impl Future<Output = T>) -> Crash<T> {
    let mut future = Box::pin(future);
    let waker = noop_waker();
    match future.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(output) => Crash::Ended(output),
        Poll::Pending => Crash::Stopped,
    }
}

impl World {
    /// The job `name` from `hr` to `share`, owned by `boss`.
    #[must_use]
    pub fn new_job(name: &str, policy: Policy) -> Job {
        let system = |name| SystemId::new(name).expect("an id");
        Job::new(
            tenant(),
            job(name),
            name,
            [system("hr")],
            system("share"),
            user("boss"),
        )
        .with_policy(policy)
    }
}

impl<S: WorldStore> World<S> {
    /// A world of its own that looks the same, with a process started anew, and without faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let clock = self.clock.fork();
        let mut fork = Self {
            tenant: self.tenant.clone(),
            store: self.store.forked(&clock),
            clock,
            directory: self.directory.fork(),
            target: self.target.fork(),
            catalog: self.catalog.fork(),
            actors: self.actors.fork(),
            notifier: self.notifier.fork(),
            faults: Faults::default(),
            calls: Calls::default(),
            administrator: self.administrator.clone(),
            batch: self.batch,
            portion: self.portion,
            engine: None,
        };
        fork.restart();
        fork
    }

    /// Ends the process and starts another: what an engine keeps in memory is gone, and a store in a file is opened anew.
    pub fn restart(&mut self) {
        self.engine = None;
        self.store.reopen();
        self.engine = Some(self.new_engine("one"));
    }

    /// Ends the process and starts another, by a clock that shows so much less.
    pub fn set_back(&mut self, by: Duration) {
        let clock = ManualClock::new(self.clock.now() - by);
        self.store = self.store.forked(&clock);
        self.clock = clock;
        self.restart();
    }

    /// Has so many memberships read and planned at once, as [`Options::portion`] says.
    pub fn set_portion(&mut self, portion: NonZeroUsize) {
        self.portion = Some(portion);
        self.restart();
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("worlds are made with an engine")
    }

    /// Another worker on the same store.
    #[must_use]
    pub fn new_engine(&self, worker: &str) -> Engine {
        self.engine_over(&self.catalog, worker)
    }

    /// Another worker on the same store whose host lists other containers.
    #[must_use]
    pub fn engine_over(&self, catalog: &MemoryCatalog, worker: &str) -> Engine {
        let store: Arc<dyn StateStore> = Arc::new(self.tapped_store());
        let mut builder = Engine::builder(
            store,
            Arc::new(self.clock.clone()),
            Arc::new(catalog.clone().with_faults(&self.faults).with_calls(&self.calls)),
            Arc::new(
                self.actors
                    .clone()
                    .with_faults(&self.faults)
                    .with_calls(&self.calls),
            ),
            Arc::new(
                self.notifier
                    .clone()
                    .with_faults(&self.faults)
                    .with_calls(&self.calls),
            ),
        )
        .directory(Arc::new(
            self.directory
                .clone()
                .with_faults(&self.faults)
                .with_calls(&self.calls),
        ))
        .target(Arc::new(self.tapped_target()))
        .options(self.options())
        .worker(worker);
        if let Some(administrator) = &self.administrator {
            builder = builder.administrator(administrator.clone());
        }
        builder.build()
    }

    /// Another worker that reads these directories, without faults.
    #[must_use]
    pub fn engine_reading(&self, directories: impl IntoIterator<Item = Arc<dyn Directory>>) -> Engine {
        let store: Arc<dyn StateStore> = Arc::new(self.store.tapped(&Faults::default(), &Calls::default()));
        let builder = Engine::builder(
            store,
            Arc::new(self.clock.clone()),
            Arc::new(self.catalog.clone()),
            Arc::new(self.actors.clone()),
            Arc::new(self.notifier.clone()),
        )
        .target(Arc::new(self.target.clone()))
        .options(self.options());
        let directories = directories.into_iter();
        directories
            .fold(builder, |builder, directory| builder.directory(directory))
            .build()
    }

    /// The store as engines see it.
    #[must_use]
    pub fn tapped_store(&self) -> S {
        self.store.tapped(&self.faults, &self.calls)
    }

    fn tapped_target(&self) -> MemoryTarget {
        self.target
            .clone()
            .with_faults(&self.faults)
            .with_calls(&self.calls)
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        options.batch = NonZeroUsize::new(self.batch).expect("batches are not empty");
        options.lease = LEASE;
        options.portion = self.portion.unwrap_or(options.portion);
        options
    }

    /// A preview that holds no handle that writes.
    #[must_use]
    pub fn preview(&self) -> Preview {
        let state: Arc<dyn StateRead> = Arc::new(self.tapped_store());
        let mut readers = Readers::new(
            state,
            Arc::new(self.clock.clone()),
            Arc::new(
                self.catalog
                    .clone()
                    .with_faults(&self.faults)
                    .with_calls(&self.calls),
            ),
            Arc::new(
                self.actors
                    .clone()
                    .with_faults(&self.faults)
                    .with_calls(&self.calls),
            ),
        )
        .with_directory(Arc::new(
            self.directory
                .clone()
                .with_faults(&self.faults)
                .with_calls(&self.calls),
        ))
        .with_target(Arc::new(self.tapped_target()))
        .with_options(self.options());
        if let Some(administrator) = &self.administrator {
            readers = readers.with_administrator(administrator.clone());
        }
        Preview::new(readers)
    }

    /// Saves a job.
    pub fn save(&self, job: &Job) {
        block_on(self.new_engine("setup").save_job(job)).expect("jobs can be saved");
    }

    /// Runs a job.
    ///
    /// # Errors
    /// As the engine.
    pub fn try_run(&self, name: &str, request: RunRequest) -> Result<RunReport, EngineError> {
        block_on(self.engine().run(&self.tenant, &job(name), request))
    }

    /// Runs a job over everything; it has to come to an end by itself.
    #[must_use]
    pub fn run(&self, name: &str) -> RunReport {
        self.try_run(name, RunRequest::everything())
            .expect("the run comes to a report")
    }

    /// Runs a job until it has nothing to apply any more, and answers the last report.
    #[must_use]
    pub fn settle(&self, name: &str) -> RunReport {
        for _ in 0..AUTO_APPLY {
            let report = self.run(name);
            let idle = report.operations.is_empty() && report.recovered.is_empty();
            if idle && matches!(report.end, RunEnd::Held | RunEnd::InSync) {
                return report;
            }
        }
        unreachable!(
            "the job {name} does not settle in {AUTO_APPLY} runs: {:?}",
            self.run(name)
        )
    }

    /// What a run of `name` over everything would do.
    #[must_use]
    pub fn plan(&self, name: &str) -> Plan {
        self.planned(name, &Scope::Everything).plan().clone()
    }

    /// What a run of `name` would do, with what it rests on.
    #[must_use]
    pub fn planned(&self, name: &str, scope: &Scope) -> Previewed {
        block_on(self.preview().plan(&self.tenant, &job(name), scope)).expect("a preview comes to a plan")
    }

    /// Approves a held set for an hour.
    pub fn approve(&self, name: &str, held: Digest) {
        let hour = Duration::from_secs(3600);
        let job = job(name);
        let approval = self
            .engine()
            .approve(&self.tenant, &job, held, user("boss"), hour);
        block_on(approval).expect("an approval can be given");
    }

    /// Everything but the directory, the catalog and what is remembered of runs.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut store = self.store.content(&self.tenant);
        store.values.remove(&Table::Run);
        Snapshot {
            target: self.target.snapshot(),
            store,
            delivered: self.notifier.delivered(),
        }
    }

    /// Where the world stands: what has to be equal however a run went.
    #[must_use]
    pub fn end(&self) -> End {
        let mut store = self.store.content(&self.tenant);
        End {
            target: self.target.snapshot(),
            ledger: store.ledger,
            intents: store.values.remove(&Table::Intent).unwrap_or_default(),
            departures: store.values.remove(&Table::Departure).unwrap_or_default(),
        }
    }

    /// How many entries a log has that were not delivered.
    #[must_use]
    pub fn log_len(&self, log: Log) -> usize {
        self.store
            .content(&self.tenant)
            .logs
            .get(&log)
            .map_or(0, Vec::len)
    }

    /// The audit records.
    #[must_use]
    pub fn audit(&self) -> Vec<AuditRecord> {
        block_on(self.new_engine("auditor").audit(&self.tenant)).expect("the audit log can be read")
    }

    /// The names of those in a container, in order, joined by blanks; roles other than member behind a colon.
    #[must_use]
    pub fn members(&self, name: &str) -> String {
        let members = self
            .target
            .members_of(&container(name).object)
            .unwrap_or_default();
        let show = |member: &usersync::model::Member| {
            let mut text = member.principal.object.to_string();
            if member.facets.role != Role::Member {
                text += &format!(":{}", member.facets.role);
            }
            if member.facets.state != MembershipState::Active {
                text += &format!(":{}", member.facets.state);
            }
            text
        };
        members.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    /// The ledger row of a user in a container.
    #[must_use]
    pub fn row(&self, name: &str, who: &str) -> Option<LedgerRow> {
        let key = LedgerKey::member(container(name), user(who));
        self.store.content(&self.tenant).ledger.remove(&key)
    }

    /// The system of the target.
    #[must_use]
    pub fn target_system(&self) -> SystemId {
        container("any").system
    }

    /// Puts a user into the directory, as it was first made.
    pub fn put_user(&self, name: &str) {
        self.directory
            .put(Principal::new(user(name).object, PrincipalKind::User, name));
    }

    /// Puts a group into the directory.
    pub fn put_group(&self, name: &str) {
        let kind = PrincipalKind::Group(GroupKind::UserGroup);
        self.directory.put(Principal::new(group(name).object, kind, name));
    }

    /// Adds a user to a group of the directory.
    pub fn join(&self, name: &str, who: &str) {
        if self.directory.principal(&user(who).object).is_none() {
            self.put_user(who);
        }
        self.directory.add_member(&group(name).object, &user(who));
    }

    /// Takes a user out of a group of the directory.
    pub fn leave(&self, name: &str, who: &str) {
        self.directory.remove_member(&group(name).object, &user(who));
    }

    /// Deletes a user from the directory.
    pub fn depart(&self, who: &str) {
        self.directory.remove(&user(who).object);
    }

    /// Lets the next read of the directory show nobody and say that it is not all.
    pub fn hide_directory_once(&self) {
        let fault = Fault::Partial {
            shown: 0,
            kind: PartialKind::Unreadable,
        };
        let rule = FaultRule::new(fault).on(CallKind::Directory);
        self.faults.inject(rule.once());
    }

    /// Changes what a container selects.
    pub fn select(&self, name: &str, picks: &str) {
        assert!(
            self.catalog.select(&container(name), all(picks)),
            "no container {name}"
        );
    }

    /// Adds a member at the target, as a person does.
    pub fn add_by_hand(&self, name: &str, who: &str) {
        self.target.add_by_hand(&container(name).object, user(who));
    }

    /// Removes a member at the target, as a person does.
    pub fn remove_by_hand(&self, name: &str, who: &str) {
        self.target.remove_by_hand(&container(name).object, &user(who));
    }

    /// The containers of the target with the names of those in them.
    #[must_use]
    pub fn presence(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = |members: BTreeMap<PrincipalRef, MemberFacets>| {
            members
                .into_keys()
                .map(|principal| principal.object.to_string())
                .collect()
        };
        let containers = self.target.snapshot().into_iter();
        containers
            .map(|(id, members)| (id.to_string(), names(members)))
            .collect()
    }
}
