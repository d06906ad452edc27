//! What there is: the systems of each tenant, the store, and engines over them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use usersync_connector::{
    Account, AccountDirectory, Actor, Authority, CallContext, DirectoryCapabilities, RecordEntry, RecordRead,
    TargetCapabilities,
};
use usersync_engine::{Distribution, Engine, Interval, Job, Links, Options, Schedule};
use usersync_memory::{MemoryAccounts, MemoryRecords};
use usersync_model::{
    Activity, AttributeName, Container, ContainerKind, DirectoryChange, Facet, FacetName, JobId, ObjectId,
    PrincipalKind, PrincipalRef, Record, RecordKind, RecordRef, Selection, SystemId, TenantId,
    UnknownMembers, Value,
};
use usersync_reconcile::{Drift, Guards, Mode, Policy, Share, Window};
use usersync_store::StateStore;

use crate::choice::Stream;
use crate::config::Config;
use crate::core::Core;
use crate::executor::Process;
use crate::history::Shown;
use crate::plug::Parts;
use crate::rarities::Rarities;
use crate::tenant::Tenant;
use crate::wire::{
    Entitled, Remembered, Wire, WireAccounts, WireActors, WireCatalog, WireDirectory, WireEntitlement,
    WireNotifier, WireRecords, WireStore, WireTarget,
};

/// What there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) workers: usize,
    store: Arc<dyn StateStore>,
    systems: Vec<SystemId>,
    remembered: Memory,
    pub(crate) rarities: Rarities,
    /// Whether the roles that containers give change.
    pub(crate) has_roles: bool,
    options: Options,
}

/// What sources showed some time ago.
#[derive(Debug)]
struct Memory {
    catalog: Remembered<Container>,
    people: Vec<Remembered<DirectoryChange>>,
    book: Remembered<RecordEntry>,
    backend: Remembered<RecordEntry>,
}

pub(crate) fn object(name: &str) -> ObjectId {
    ObjectId::new(name).expect("names of the simulator hold no control characters")
}

pub(crate) fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("names of the simulator hold no control characters")
}

pub(crate) fn principal(system: &SystemId, name: &str) -> PrincipalRef {
    PrincipalRef::new(system.clone(), object(name))
}

/// Who acts for owners who are gone.
pub(crate) const ADMINISTRATOR: &str = "admin";

/// The group of contacts that is copied.
pub(crate) const GROUP: &str = "sales";
/// Whose contacts they are.
pub(crate) const SELLER: &str = "seller";

/// How many organisations there are at the backend.
pub(crate) const ORGANISATIONS: usize = 2;

/// Where organisations come from.
pub(crate) fn backend_system() -> SystemId {
    system("backend")
}

/// Where organisations are brought into.
pub(crate) fn panel_system() -> SystemId {
    system("panel")
}

/// The target of every tenant.
pub(crate) fn target_system() -> SystemId {
    system("share")
}

impl World {
    pub(crate) fn new(core: &Core, config: &Config, parts: &Parts) -> Self {
        let pick = |bound: usize| core.lock().choices.below(Stream::World, bound);
        let systems: Vec<SystemId> = ["hr", "lab"][..=pick(2)]
            .iter()
            .map(|name| system(name))
            .collect();
        let workers = 1 + pick(config.workers);
        let has_changes = pick(2) == 1;
        let capabilities = TargetCapabilities {
            idempotency_key: pick(2) == 0,
            point_read: pick(3) != 2,
            conditional_write: pick(2) == 0,
            max_batch: NonZeroUsize::new(1 + pick(3)).expect("1 and more is not zero"),
            updates: pick(4) != 3,
        };
        let rarities = Rarities::choose(core);
        let mut options = Options::default();
        options.portion = rarities.portion.unwrap_or(options.portion);
        options.batch = NonZeroUsize::new(1 + pick(4)).expect("1 and more is not zero");
        options.concurrency = NonZeroUsize::new(1 + pick(3)).expect("1 and more is not zero");
        let tenants = 1 + pick(config.tenants);
        let names = ["acme", "umbrella", "initech", "globex"];
        let tenants: Vec<_> = (0..tenants)
            .map(|n| match names.get(n) {
                Some(name) => (*name).to_owned(),
                None => format!("tenant-{n}"),
            })
            .map(|name| {
                let changes = (has_changes, rarities.differences);
                Tenant::new(core, config, parts, &name, &systems, changes, capabilities)
            })
            .collect();
        let store = (parts.store)(&core.clock);
        let world = Self {
            core: core.clone(),
            tenants,
            workers,
            store,
            remembered: Memory {
                catalog: Remembered::new(Shown::Catalog),
                people: systems
                    .iter()
                    .map(|system| Remembered::new(Shown::People(system.clone())))
                    .collect(),
                book: Remembered::new(Shown::Records),
                backend: Remembered::new(Shown::Records),
            },
            systems,
            rarities,
            has_roles: core.lock().choices.below(Stream::Roles, 3) == 2 && capabilities.updates,
            options,
        };
        for tenant in &world.tenants {
            tenant.note(core);
        }
        core.choose_faults(config);
        world
    }

    /// An engine of a process.
    pub(crate) fn engine(&self, process: Process) -> Engine {
        let store = WireStore {
            core: self.core.clone(),
            process,
            inner: Arc::clone(&self.store),
            entitled: Entitled::default(),
        };
        let catalog = WireCatalog {
            wire: self.wire(process, |tenant| tenant.catalog.clone()),
            remembered: self.remembered.catalog.clone(),
        };
        let source =
            |part: fn(&Tenant) -> &MemoryRecords, remembered: &Remembered<RecordEntry>| WireRecords {
                remembered: Some(remembered.clone()),
                ..self.records(process, part)
            };
        let book = source(|tenant| &tenant.book, &self.remembered.book);
        let backend = source(|tenant| &tenant.backend, &self.remembered.backend);
        let actors = WireActors(self.wire(process, |tenant| tenant.actors.clone()));
        let notifier = WireNotifier(self.wire(process, |tenant| tenant.notifier.clone()));
        let target = WireTarget {
            wire: self.wire(process, |tenant| Arc::clone(&tenant.target)),
            system: target_system(),
            capabilities: self.tenants[0].target.capabilities(),
        };
        let clock = Arc::new(self.core.clock.clone());
        let mut builder = Engine::builder(
            Arc::new(store),
            clock,
            Arc::new(catalog),
            Arc::new(actors),
            Arc::new(notifier),
        )
        .target(Arc::new(target))
        .record_source(Arc::new(book))
        .record_target(Arc::new(self.records(process, |tenant| &tenant.books)))
        .record_source(Arc::new(backend))
        .record_target(Arc::new(self.records(process, |tenant| &tenant.panel)))
        .administrator(principal(&self.systems[0], ADMINISTRATOR))
        .options(self.options)
        .worker(format!("{process:?}"));
        for (place, system) in self.systems.iter().enumerate() {
            let first = &self.tenants[0].connectors[place];
            let directory = WireDirectory {
                wire: self.wire(process, |tenant| Arc::clone(&tenant.connectors[place])),
                system: system.clone(),
                capabilities: DirectoryCapabilities {
                    changes: first.capabilities().changes,
                    tracks_partial: false,
                },
                filter: first.filter(),
                remembered: self.remembered.people[place].clone(),
            };
            builder = builder.directory(Arc::new(directory));
        }
        builder.build()
    }

    /// What links the people of each tenant with mailboxes, as one caller of a process sees it.
    pub(crate) fn links(&self, process: Process) -> Links {
        let told = Entitled::default();
        let store = WireStore {
            core: self.core.clone(),
            process,
            inner: Arc::clone(&self.store),
            entitled: Arc::clone(&told),
        };
        let accounts = |part: fn(&Tenant) -> &MemoryAccounts| {
            let first = part(&self.tenants[0]);
            Arc::new(WireAccounts {
                wire: self.wire(process, |tenant| part(tenant).clone()),
                system: AccountDirectory::system(first).clone(),
                capabilities: AccountDirectory::capabilities(first),
            })
        };
        let entitlements = WireEntitlement {
            wire: self.wire(process, |tenant| tenant.entitlement.clone()),
            told,
        };
        Links::new(
            Arc::new(store),
            Arc::new(self.core.clock.clone()),
            accounts(|tenant| &tenant.persons),
            accounts(|tenant| &tenant.mailboxes),
            Arc::new(entitlements),
        )
    }

    fn records(&self, process: Process, part: fn(&Tenant) -> &MemoryRecords) -> WireRecords {
        let first = part(&self.tenants[0]);
        WireRecords {
            wire: self.wire(process, |tenant| part(tenant).clone()),
            system: RecordRead::system(first).clone(),
            capabilities: RecordRead::capabilities(first),
            remembered: None,
        }
    }

    fn wire<T: Clone>(&self, process: Process, part: impl Fn(&Tenant) -> T) -> Wire<T> {
        let parts = self
            .tenants
            .iter()
            .map(|tenant| (tenant.id.clone(), part(tenant)));
        Wire::new(&self.core, process, parts)
    }

    /// The jobs that the world begins with.
    pub(crate) fn first_jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for tenant in &self.tenants {
            for (n, id) in tenant.jobs.iter().enumerate() {
                jobs.push(self.job(tenant, id, n));
            }
        }
        jobs
    }

    /// A job as the seed makes it.
    pub(crate) fn job(&self, tenant: &Tenant, id: &JobId, number: usize) -> Job {
        let mut job = self.usual_job(tenant, id, number);
        if self.rarities.foreigners {
            job.resolve.unknown_members = UnknownMembers::Ignore;
        }
        job
    }

    fn usual_job(&self, tenant: &Tenant, id: &JobId, number: usize) -> Job {
        let mut state = self.core.lock();
        let mut pick = |bound: usize| state.choices.below(Stream::World, bound);
        let mode = [
            Mode::Managed,
            Mode::Managed,
            Mode::Managed,
            Mode::Mirror,
            Mode::AddOnly,
        ][pick(5)];
        let drift = [Drift::Restore, Drift::Restore, Drift::Respect][pick(3)];
        let figures = [(100, 50), (50, 2), (25, 1)];
        let mut share = || {
            let (percent, floor) = figures[pick(figures.len())];
            Share { percent, floor }
        };
        let guards = Guards {
            container: Some(share()),
            run: Some(share()),
            window: Some(Window {
                hours: 6,
                share: share(),
            }),
            ..Guards::default()
        };
        let guards = Guards {
            emptied: pick(2) == 1,
            privileged: pick(2) == 1,
            ..guards
        };
        let policy = Policy {
            drift,
            guards,
            grace_hours: [None, None, Some(1), Some(40)][pick(4)],
            ..Policy::new(mode)
        };
        let every = [300, 60, 1800][pick(3)];
        let interval =
            Interval::new(std::time::Duration::from_secs(every)).expect("minutes are whole seconds");
        let owner = principal(&self.systems[0], "boss");
        let schedule = Schedule::every(interval).with_jitter([0, 30][pick(2)]);
        if number == 3 {
            let organisations = (0..=pick(ORGANISATIONS))
                .map(|n| (object(&format!("p{n}")), object(&format!("o{n}"))))
                .collect();
            let (name, from, to) = (id.as_str(), backend_system(), panel_system());
            let import = Job::import(
                tenant.id.clone(),
                id.clone(),
                name,
                from,
                to,
                owner,
                organisations,
            );
            return import.with_schedule(schedule);
        }
        if number == 2 {
            // What a mirror makes of people's own contacts is another matter.
            let policy = match mode {
                Mode::Mirror => Policy {
                    mode: Mode::Managed,
                    ..policy
                },
                _ => policy,
            };
            let group = format!("g{}", pick(tenant.groups));
            let user = format!("u{}", pick(tenant.users));
            let to = Selection::of([
                principal(&self.systems[0], &group),
                principal(&self.systems[0], &user),
            ]);
            let distribution = Distribution {
                from: system("book"),
                owner: principal(&self.systems[0], SELLER),
                group: object(GROUP),
                to,
            };
            let sources = self.systems.iter().cloned();
            let (name, target) = (id.as_str(), system("books"));
            return Job::distribution(
                tenant.id.clone(),
                id.clone(),
                name,
                sources,
                target,
                owner,
                distribution,
            )
            .with_policy(policy)
            .with_schedule(schedule);
        }
        let mut job = Job::new(
            tenant.id.clone(),
            id.clone(),
            id.as_str(),
            self.systems.iter().cloned(),
            target_system(),
            owner,
        )
        .with_policy(policy)
        .with_schedule(schedule);
        if number == 1 {
            job = match pick(4) {
                0 => job,
                1 => job.covering([ContainerKind::Event]),
                2 => job.covering([ContainerKind::Event, ContainerKind::Project]),
                _ => job.covering([]),
            };
        }
        job
    }
}

/// A person or a mailbox: the same address on both sides.
pub(crate) fn account(number: usize) -> Account {
    Account {
        id: object(&format!("a{number}")),
        kind: PrincipalKind::User,
        name: format!("account {number}"),
        addresses: vec![format!("person{number}@acme.example")],
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: BTreeMap::new(),
    }
}

/// In whose name links are made.
pub(crate) fn link_context(tenant: &TenantId) -> CallContext {
    CallContext {
        tenant: tenant.clone(),
        job: JobId::new("links").expect("names of the simulator hold no control characters"),
        actor: Actor {
            principal: principal(&system("hr"), "boss"),
            authority: Authority::JobOwner,
        },
    }
}

/// A contact of this system.
pub(crate) fn contact(number: usize, name: usize, from: &str) -> Record {
    let text = |text: &str| Value::Text(text.to_owned());
    let attribute = AttributeName::new("name").expect("names of the simulator hold no control characters");
    let facet = FacetName::new("general").expect("names of the simulator hold no control characters");
    let attributes = BTreeMap::from([(attribute, text(&format!("name {name}")))]);
    Record {
        id: RecordRef::new(system(from), object(&format!("k{number}"))),
        kind: RecordKind::new("contact").expect("names of the simulator hold no control characters"),
        facets: BTreeMap::from([(facet, Facet { attributes })]),
    }
}
