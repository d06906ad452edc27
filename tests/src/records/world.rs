//! A small world of records: a directory, a system that is read, one that is filled, one store, and engines over them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use usersync::engine::{
    Distribution, Engine, EngineError, Job, Options, Preview, Previewed, Readers, RunEnd, RunReport,
    RunRequest, Scope,
};
use usersync::memory::{
    Calls, Faults, ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryRecords,
    MemoryStore,
};
use usersync::model::{
    AttributeName, Digest, LedgerRow, ObjectId, Principal, PrincipalKind, Record, RecordRef, Subject,
    SystemId, TenantId, Value,
};
use usersync::reconcile::{Mode, Plan, Policy};
use usersync::store::{Key, LedgerKey, StateStore, Table};

use super::names::{contact, contact_id};
use crate::names::{AUTO_APPLY, LEASE, all, container, free_policy, group, job, tenant, user};

/// A small world of records. Its fields are handles without faults, to edit and look at; the engine's calls go through
/// handles that share [`faults`](Self::faults) and [`calls`](Self::calls), numbered in one sequence.
#[derive(Debug)]
pub struct RecordWorld {
    /// The tenant.
    pub tenant: TenantId,
    /// Everybody's time.
    pub clock: ManualClock,
    /// The store.
    pub store: MemoryStore,
    /// The directory `hr`.
    pub directory: MemoryDirectory,
    /// The records that are read, `book`.
    pub source: MemoryRecords,
    /// The records that are managed, `share`.
    pub target: MemoryRecords,
    /// Who may act.
    pub actors: MemoryActors,
    /// Who is told what.
    pub notifier: MemoryNotifier,
    /// What goes wrong with the engine's calls.
    pub faults: Faults,
    /// The engine's calls.
    pub calls: Calls,
    pub(super) batch: usize,
    pub(super) engine: Option<Engine>,
}

/// Where a run has to end, however it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEnd {
    /// The target.
    pub target: BTreeMap<Option<ObjectId>, BTreeMap<RecordRef, Record>>,
    /// The ledger.
    pub ledger: BTreeMap<LedgerKey, LedgerRow>,
    /// The journal.
    pub intents: BTreeMap<Key, Vec<u8>>,
    /// The bases.
    pub bases: BTreeMap<Key, Vec<u8>>,
}

impl RecordWorld {
    /// The job `name` that copies the group `sales` of the user `seller` to `picks`, without guards.
    #[must_use]
    pub fn distribution(name: &str, picks: &str) -> Job {
        let system = |name| SystemId::new(name).expect("an id");
        let distribution = Distribution {
            from: system("book"),
            owner: user("seller"),
            group: ObjectId::new("sales").expect("an id"),
            to: all(picks),
        };
        Job::distribution(
            tenant(),
            job(name),
            name,
            [system("hr")],
            system("share"),
            user("boss"),
            distribution,
        )
        .with_policy(free_policy(Mode::Managed))
    }

    /// The job `name` that imports organisations, each `at the backend>at the panel`, apart by blanks.
    #[must_use]
    pub fn import(name: &str, organisations: &str) -> Job {
        let system = |name| SystemId::new(name).expect("an id");
        let object = |name| ObjectId::new(name).expect("an id");
        let pairs = organisations
            .split_whitespace()
            .filter_map(|pair| pair.split_once('>'));
        let organisations = pairs.map(|(from, to)| (object(to), object(from))).collect();
        Job::import(
            tenant(),
            job(name),
            name,
            system("book"),
            system("share"),
            user("boss"),
            organisations,
        )
    }

    /// The same job with another policy, for short.
    #[must_use]
    pub fn guarded(job: Job) -> Job {
        job.with_policy(Policy::default())
    }

    /// A world of its own that looks the same, with a process started anew, and without faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let clock = self.clock.fork();
        let mut fork = Self {
            tenant: self.tenant.clone(),
            store: self.store.fork_with_clock(Arc::new(clock.clone())),
            clock,
            directory: self.directory.fork(),
            source: self.source.fork(),
            target: self.target.fork(),
            actors: self.actors.fork(),
            notifier: self.notifier.fork(),
            faults: Faults::default(),
            calls: Calls::default(),
            batch: self.batch,
            engine: None,
        };
        fork.restart();
        fork
    }

    /// Ends the process and starts another.
    pub fn restart(&mut self) {
        self.engine = Some(self.new_engine("one"));
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("worlds are made with an engine")
    }

    /// The store as engines see it.
    #[must_use]
    pub fn tapped_store(&self) -> MemoryStore {
        self.store
            .clone()
            .with_faults(&self.faults)
            .with_calls(&self.calls)
    }

    /// Another worker on the same store.
    #[must_use]
    pub fn new_engine(&self, worker: &str) -> Engine {
        self.engine_on(Arc::new(self.tapped_store()), worker)
    }

    /// Another worker on a store. Its administrator, `root`, may act once [`actors`](Self::actors) says so.
    #[must_use]
    pub fn engine_on(&self, store: Arc<dyn StateStore>, worker: &str) -> Engine {
        let (faults, calls) = (&self.faults, &self.calls);
        Engine::builder(
            store,
            Arc::new(self.clock.clone()),
            Arc::new(MemoryCatalog::default()),
            Arc::new(self.actors.clone().with_faults(faults).with_calls(calls)),
            Arc::new(self.notifier.clone().with_faults(faults).with_calls(calls)),
        )
        .directory(Arc::new(
            self.directory.clone().with_faults(faults).with_calls(calls),
        ))
        .record_source(Arc::new(
            self.source.clone().with_faults(faults).with_calls(calls),
        ))
        .record_target(Arc::new(
            self.target.clone().with_faults(faults).with_calls(calls),
        ))
        .administrator(user("root"))
        .options(self.options())
        .worker(worker)
        .build()
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        options.batch = NonZeroUsize::new(self.batch).expect("batches are not empty");
        options.lease = LEASE;
        options
    }

    /// A preview that holds no handle that writes.
    #[must_use]
    pub fn preview(&self) -> Preview {
        let (faults, calls) = (&self.faults, &self.calls);
        let readers = Readers::new(
            Arc::new(self.tapped_store()),
            Arc::new(self.clock.clone()),
            Arc::new(MemoryCatalog::default()),
            Arc::new(self.actors.clone().with_faults(faults).with_calls(calls)),
        )
        .with_directory(Arc::new(
            self.directory.clone().with_faults(faults).with_calls(calls),
        ))
        .with_records(Arc::new(
            self.source.clone().with_faults(faults).with_calls(calls),
        ))
        .with_records(Arc::new(
            self.target.clone().with_faults(faults).with_calls(calls),
        ))
        .with_options(self.options());
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
            if idle && matches!(report.end, RunEnd::Held | RunEnd::InSync | RunEnd::Paused) {
                return report;
            }
        }
        unreachable!("the job {name} does not settle: {:?}", self.run(name))
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

    /// Where the world stands: what has to be equal however a run went.
    #[must_use]
    pub fn end(&self) -> RecordEnd {
        let mut store = self.store.snapshot(&self.tenant);
        RecordEnd {
            target: self.target.snapshot(),
            ledger: store.ledger,
            intents: store.values.remove(&Table::Intent).unwrap_or_default(),
            bases: store.values.remove(&Table::Base).unwrap_or_default(),
        }
    }

    /// The ledger row of a record.
    #[must_use]
    pub fn row(&self, collection: &str, record: &RecordRef) -> Option<LedgerRow> {
        let key = LedgerKey {
            container: container(collection),
            subject: Subject::Record(record.clone()),
        };
        self.store.snapshot(&self.tenant).ledger.remove(&key)
    }

    /// The plan's operations, each as `code reason id@collection`, in order.
    #[must_use]
    pub fn told(plan: &Plan) -> Vec<String> {
        let sections = plan.sections().iter();
        sections
            .flat_map(|section| {
                section.operations.iter().map(|operation| {
                    let (code, reason) = (operation.action.code(), operation.reason.code());
                    format!(
                        "{code} {reason} {}@{}",
                        operation.subject, section.container.object
                    )
                })
            })
            .collect()
    }

    /// The attributes called `name` in a collection, by record, as `id=name`, in order.
    #[must_use]
    pub fn names(&self, collection: &str) -> String {
        let collection = container(collection).object;
        let records = self.target.records_of(Some(&collection)).unwrap_or_default();
        let name = AttributeName::new("name").expect("a name");
        let shown = |record: &Record| {
            let value = record
                .facets
                .values()
                .find_map(|facet| facet.attributes.get(&name));
            match value {
                Some(Value::Text(text)) => format!("{}={text}", record.id.object),
                _ => record.id.object.to_string(),
            }
        };
        records.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// Makes or replaces a contact of the group `sales`.
    pub fn put_contact(&self, name: &str, facets: &str) {
        self.source
            .put_by_hand(Some(&container("sales").object), contact(name, facets));
    }

    /// Ends a contact of the group `sales`.
    pub fn drop_contact(&self, name: &str) {
        self.source
            .remove_by_hand(Some(&container("sales").object), &contact_id(name));
    }

    /// Puts a record into a collection of the target, as a person does.
    pub fn put_by_hand(&self, collection: &str, record: Record) {
        self.target
            .put_by_hand(Some(&container(collection).object), record);
    }

    /// Ends a record of the target, as a person does.
    pub fn drop_by_hand(&self, collection: &str, id: &RecordRef) {
        self.target
            .remove_by_hand(Some(&container(collection).object), id);
    }

    /// Puts a user into the directory, as it was first made.
    pub fn put_user(&self, name: &str) {
        self.directory
            .put(Principal::new(user(name).object, PrincipalKind::User, name));
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
}
