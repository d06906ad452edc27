//! What one tenant has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use usersync_connector::{ActorState, Directory, EntitlementSource, TargetCapabilities};
use usersync_engine::Job;
use usersync_license::Entitlement;
use usersync_memory::{
    MemoryAccounts, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryEntitlement, MemoryNotifier,
    MemoryRecords,
};
use usersync_model::{
    Container, ContainerKind, ContainerRef, GroupKind, JobId, ObjectId, Principal, PrincipalKind, Selection,
    Subject, SystemId, TenantId,
};
use usersync_store::LedgerKey;

use crate::choice::Stream;
use crate::config::Config;
use crate::core::Core;
use crate::differences::Differences;
use crate::history::Tenant as History;
use crate::model::People;
use crate::plug::{Parts, TargetSpec, TargetUnderTest};
use crate::world::{
    ADMINISTRATOR, GROUP, ORGANISATIONS, SELLER, account, backend_system, object, panel_system, principal,
    system, target_system,
};

/// What one tenant has.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) directories: Vec<MemoryDirectory>,
    /// What shows them to the engine.
    pub(crate) connectors: Vec<Arc<dyn Directory>>,
    pub(crate) catalog: MemoryCatalog,
    pub(crate) containers: Vec<ContainerRef>,
    /// Those that the catalog does not list now.
    pub(crate) unlisted: Mutex<BTreeMap<ContainerRef, Container>>,
    pub(crate) target: Arc<dyn TargetUnderTest>,
    pub(crate) actors: MemoryActors,
    pub(crate) notifier: MemoryNotifier,
    pub(crate) persons: MemoryAccounts,
    pub(crate) mailboxes: MemoryAccounts,
    pub(crate) entitlement: MemoryEntitlement,
    /// The address book whose group is copied, and everybody's own.
    pub(crate) book: MemoryRecords,
    pub(crate) books: MemoryRecords,
    /// The organisations at the backend, and at the panel that they are brought into.
    pub(crate) backend: MemoryRecords,
    pub(crate) panel: MemoryRecords,
    pub(crate) jobs: Vec<JobId>,
    pub(crate) users: usize,
    pub(crate) groups: usize,
}

impl Tenant {
    pub(crate) fn new(
        core: &Core,
        config: &Config,
        parts: &Parts,
        name: &str,
        systems: &[SystemId],
        (has_changes, has_differences): (bool, bool),
        capabilities: TargetCapabilities,
    ) -> Self {
        let pick = |bound: usize| core.lock().choices.below(Stream::World, bound);
        let (users, groups) = (1 + pick(config.users), 1 + pick(config.groups));
        let id = TenantId::new(name).expect("names of the simulator hold no control characters");
        let directories = systems.iter().map(|system| {
            let directory = MemoryDirectory::new(system.clone()).with_instance(1);
            let directory = if has_changes {
                directory.with_changes()
            } else {
                directory
            };
            for n in 0..users {
                directory.put(Principal::new(
                    object(&format!("u{n}")),
                    PrincipalKind::User,
                    "user",
                ));
            }
            // Whose contacts are copied; always there.
            directory.put(Principal::new(object(SELLER), PrincipalKind::User, "seller"));
            for n in 0..groups {
                let kind = PrincipalKind::Group(GroupKind::UserGroup);
                directory.put(Principal::new(object(&format!("g{n}")), kind, "group"));
            }
            directory
        });
        let directories: Vec<_> = directories.collect();
        let connectors = directories.iter().map(|directory| match &parts.directory {
            Some(wrap) => wrap(directory.clone()),
            None if has_changes && has_differences => Arc::new(Differences::of(directory)),
            None => Arc::new(directory.clone()),
        });
        let connectors = connectors.collect();
        let spec = TargetSpec::new(target_system(), capabilities, &core.clock);
        let target = (parts.target)(&spec);
        let catalog = MemoryCatalog::default();
        let kinds = [ContainerKind::Event, ContainerKind::Project, ContainerKind::Group];
        let mut containers = Vec::new();
        for n in 0..=pick(config.containers) {
            let container = ContainerRef::new(target_system(), object(&format!("c{n}")));
            target.create_container(container.object.clone());
            let included = principal(&systems[0], &format!("g{}", n % groups));
            let made = Container::new(
                container.clone(),
                kinds[n % kinds.len()].clone(),
                "container",
                Selection::of([included]),
            );
            let made = match n {
                0 => made.with_owner(principal(&systems[0], "u0")),
                _ => made,
            };
            catalog.put(made);
            containers.push(container);
        }
        let actors = MemoryActors::new();
        for name in ["boss", ADMINISTRATOR, "u0"] {
            let actor = principal(&systems[0], name);
            actors.set(&id, actor.clone(), ActorState::Active);
            core.lock().history.set_actor(&id, actor, true);
        }
        let job = |name: &&str| JobId::new(name).expect("names of the simulator hold no control characters");
        let accounts = |name: &str| MemoryAccounts::new(system(name)).with_vouched_addresses();
        let (persons, mailboxes) = (accounts("crm"), accounts("mail"));
        for n in 0..users {
            persons.put(account(n));
            mailboxes.put(account(n));
        }
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&id, Some(Entitlement::new(2)));
        let jobs = ["members", "more", "copies", "imports"][..=pick(4)]
            .iter()
            .map(job)
            .collect();
        let every = TargetCapabilities {
            updates: true,
            ..capabilities
        };
        let book = MemoryRecords::new(system("book"), every).with_instance(1);
        let books = MemoryRecords::new(system("books"), every).with_instance(1);
        let backend = MemoryRecords::new(backend_system(), every).with_instance(1);
        let panel = MemoryRecords::new(panel_system(), every).with_instance(1);
        let [book, books, backend, panel] = [book, books, backend, panel].map(|records| match has_changes {
            true => records.with_changes(),
            false => records,
        });
        for n in 0..ORGANISATIONS {
            backend.create_collection(object(&format!("o{n}")));
            panel.create_collection(object(&format!("p{n}")));
        }
        book.create_collection(object(GROUP));
        for n in 0..users {
            books.create_collection(object(&format!("u{n}")));
        }
        Self {
            id,
            connectors,
            directories,
            catalog,
            containers,
            unlisted: Mutex::default(),
            target,
            actors,
            notifier: MemoryNotifier::new(),
            persons,
            mailboxes,
            entitlement,
            book,
            books,
            backend,
            panel,
            jobs,
            users,
            groups,
        }
    }

    /// The members who have another role than their container gives now, and which; nobody where the target keeps no roles.
    pub(crate) fn outdated_roles(&self) -> BTreeMap<LedgerKey, String> {
        let mut outdated = BTreeMap::new();
        let containers = self
            .containers
            .iter()
            .filter(|_| self.target.capabilities().updates);
        for container in containers.filter_map(|id| self.catalog.container(id)) {
            let members = self.target.members_now(&container.id.object).unwrap_or_default();
            for member in members
                .into_iter()
                .filter(|member| member.facets.role != container.role)
            {
                let told = format!("{}, and not {}", member.facets.role, container.role);
                outdated.insert(LedgerKey::member(container.id.clone(), member.principal), told);
            }
        }
        outdated
    }

    /// A copy that is wanted and is not what it is copied from.
    pub(crate) fn differing_copy(&self, history: &History) -> Option<String> {
        let (moment, jobs) = (history.now(), history.jobs());
        let contacts = self.book.records_of(Some(&object(GROUP))).unwrap_or_default();
        for n in 0..self.users {
            let collection = object(&format!("u{n}"));
            let container = ContainerRef::new(system("books"), collection.clone());
            for copy in self.books.records_of(Some(&collection)).unwrap_or_default() {
                let key = LedgerKey {
                    container: container.clone(),
                    subject: Subject::Record(copy.id.clone()),
                };
                let follows = |job: &Job| moment.wants(job, &key) == Some(true);
                let from = contacts.iter().find(|contact| contact.id == copy.id);
                if jobs.values().any(follows) && from.is_some_and(|from| from.facets != copy.facets) {
                    return Some(format!(
                        "{} in {container} of {}: {:?}",
                        copy.id, self.id, copy.facets
                    ));
                }
            }
        }
        None
    }

    /// Writes down how the sources are now.
    pub(crate) fn note(&self, core: &Core) {
        let now = core.now();
        let mut state = core.lock();
        for directory in &self.directories {
            state
                .history
                .set_people(now, &self.id, directory.system(), People::of(directory));
        }
        let listed = self.containers.iter().filter_map(|id| {
            let container = self.catalog.container(id)?;
            Some((id.clone(), container))
        });
        let listed: BTreeMap<_, _> = listed.collect();
        state.history.set_catalog(&self.id, listed);
        let ids = |records: &MemoryRecords, collection: &ObjectId| {
            let there = records.records_of(Some(collection)).unwrap_or_default();
            there.into_iter().map(|record| record.id).collect()
        };
        let mut records = BTreeMap::from([(object(GROUP), ids(&self.book, &object(GROUP)))]);
        for n in 0..ORGANISATIONS {
            let organisation = object(&format!("o{n}"));
            records.insert(organisation.clone(), ids(&self.backend, &organisation));
        }
        state.history.set_records(&self.id, records);
        if let Some(entitled) = self.entitled() {
            state.history.set_entitled(&self.id, entitled);
        }
    }

    /// What it is entitled to now.
    pub(crate) fn entitled(&self) -> Option<Entitlement> {
        block_on(self.entitlement.entitlement(&self.id)).ok()
    }
}
