//! A small world around the engine: one directory with a change feed, one target, everything in memory.

use std::sync::Arc;

use usersync_connector::{Actor, ActorState, Authority, CallContext, TargetCapabilities};
use usersync_engine::{Engine, Job, RunReport, RunRequest};
use usersync_memory::{
    ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryStore, MemoryTarget,
    Recording,
};
use usersync_model::{
    Container, ContainerKind, ContainerRef, GroupKind, JobId, ObjectId, Principal, PrincipalKind,
    PrincipalRef, Selection, SystemId, TenantId,
};
use usersync_reconcile::{Guards, Policy};
use usersync_store::StateStore;

/// Members of each group, and so of each container.
const MEMBERS: u64 = 100;

/// How many operations the scenario has: `USERSYNC_BENCH_OPERATIONS`, or 10,000.
#[must_use]
pub fn wanted_operations() -> u64 {
    let wanted = std::env::var("USERSYNC_BENCH_OPERATIONS")
        .ok()
        .and_then(|text| text.parse().ok());
    wanted.unwrap_or(10_000).max(MEMBERS) / MEMBERS * MEMBERS
}

/// As many containers as needed, each selecting one group of a hundred users.
#[derive(Debug)]
pub struct World {
    /// The target.
    pub target: MemoryTarget,
    directory: MemoryDirectory,
    catalog: MemoryCatalog,
    clock: ManualClock,
    actors: MemoryActors,
    engine: Engine,
    job: Job,
    groups: u64,
}

impl World {
    /// A world whose first run makes `memberships` memberships.
    ///
    /// # Panics
    /// Never: every id is well-formed.
    #[must_use]
    pub fn new(memberships: u64) -> Self {
        Self::among(memberships, 1)
    }

    /// The same world in a directory of `size` times as many users and groups, the others of which nobody selected.
    ///
    /// # Panics
    /// Never: every id is well-formed.
    #[must_use]
    pub fn among(memberships: u64, size: u64) -> Self {
        let groups = memberships / MEMBERS;
        let clock = ManualClock::auto("2026-01-01T00:00:00Z".parse().expect("a well-formed time"));
        let store = in_memory(&clock);
        let directory = MemoryDirectory::new(source()).with_changes();
        let target = MemoryTarget::new(
            calendar(),
            TargetCapabilities {
                conditional_write: true,
                point_read: true,
                ..TargetCapabilities::default()
            },
        );
        let users = MEMBERS.max(memberships / 10);
        for user in 0..users * size {
            directory.put(Principal::new(
                object("user", user),
                PrincipalKind::User,
                format!("User {user}"),
            ));
        }
        let catalog = MemoryCatalog::new([]);
        for group in 0..groups * size {
            let kind = PrincipalKind::Group(GroupKind::UserGroup);
            directory.put(Principal::new(
                object("group", group),
                kind,
                format!("Group {group}"),
            ));
            let first = group / groups * users;
            for member in 0..MEMBERS {
                let user = first + (group * 37 + member) % users;
                directory.add_member(&object("group", group), &principal(object("user", user)));
            }
        }
        for group in 0..groups {
            let id = ContainerRef::new(calendar(), object("event", group));
            target.create_container(id.object.clone());
            let selection = Selection::of([principal(object("group", group))]);
            catalog.put(Container::new(
                id,
                ContainerKind::Event,
                format!("Event {group}"),
                selection,
            ));
        }
        let actors = MemoryActors::new();
        actors.set(&tenant(), owner(), ActorState::Active);
        let guards = Guards {
            window: None,
            emptied: false,
            ..Guards::default()
        };
        let policy = Policy {
            guards,
            ..Policy::default()
        };
        let job =
            Job::new(tenant(), id("events"), "Events", [source()], calendar(), owner()).with_policy(policy);
        Self::assemble(target, directory, catalog, store, clock, actors, job, groups)
    }

    /// The same world, going its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let clock = self.clock.fork();
        self.fork_onto(in_memory(&clock), clock)
    }

    /// The same world with another store, which has nothing of it yet.
    #[must_use]
    pub fn with_store(&self, store: Arc<dyn StateStore>) -> Self {
        self.fork_onto(store, self.clock.fork())
    }

    fn fork_onto(&self, store: Arc<dyn StateStore>, clock: ManualClock) -> Self {
        Self::assemble(
            self.target.fork(),
            self.directory.fork(),
            self.catalog.fork(),
            store,
            clock,
            self.actors.fork(),
            self.job.clone(),
            self.groups,
        )
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a world, put together in one place"
    )]
    fn assemble(
        target: MemoryTarget,
        directory: MemoryDirectory,
        catalog: MemoryCatalog,
        store: Arc<dyn StateStore>,
        clock: ManualClock,
        actors: MemoryActors,
        job: Job,
        groups: u64,
    ) -> Self {
        let notifier = MemoryNotifier::new();
        for calls in [
            target.call_record(),
            directory.call_record(),
            notifier.call_record(),
        ] {
            calls.set_recording(Recording::Off);
        }
        let engine = Engine::builder(
            store,
            Arc::new(clock.clone()),
            Arc::new(catalog.clone()),
            Arc::new(actors.clone()),
            Arc::new(notifier),
        )
        .directory(Arc::new(directory.clone()))
        .target(Arc::new(target.clone()))
        .build();
        futures::executor::block_on(engine.save_job(&job)).expect("the store takes a job");
        Self {
            target,
            directory,
            catalog,
            clock,
            actors,
            engine,
            job,
            groups,
        }
    }

    /// Runs the job.
    ///
    /// # Panics
    /// When the run fails.
    pub async fn run(&self, request: RunRequest) -> RunReport {
        self.engine
            .run(&tenant(), &self.job.id, request)
            .await
            .expect("nothing fails in this world")
    }

    /// Lets one user join the first group, or leave it again.
    pub fn toggle(&self, join: bool) {
        let (group, user) = (object("group", 0), principal(object("user", MEMBERS)));
        if join {
            self.directory.add_member(&group, &user);
        } else {
            self.directory.remove_member(&group, &user);
        }
    }

    /// The container that follows the first group.
    #[must_use]
    pub fn first(&self) -> ContainerRef {
        ContainerRef::new(calendar(), object("event", 0))
    }

    /// All containers.
    #[must_use]
    pub fn containers(&self) -> Vec<ObjectId> {
        (0..self.groups).map(|group| object("event", group)).collect()
    }

    /// All memberships that the first run makes.
    #[must_use]
    pub fn memberships(&self) -> Vec<(ObjectId, PrincipalRef)> {
        let of = |group| {
            let members = self.directory.members_of(&object("group", group));
            members
                .into_iter()
                .map(move |member| (object("event", group), member))
        };
        (0..self.groups).flat_map(of).collect()
    }

    /// What calls are made with.
    #[must_use]
    pub fn context(&self) -> CallContext {
        let actor = Actor {
            principal: owner(),
            authority: Authority::JobOwner,
        };
        CallContext {
            tenant: tenant(),
            job: self.job.id.clone(),
            actor,
        }
    }
}

/// A store that records no calls.
fn in_memory(clock: &ManualClock) -> Arc<dyn StateStore> {
    let store = MemoryStore::new(Arc::new(clock.clone()));
    store.call_record().set_recording(Recording::Off);
    Arc::new(store)
}

fn source() -> SystemId {
    SystemId::new("directory").expect("a well-formed id")
}

fn calendar() -> SystemId {
    SystemId::new("calendar").expect("a well-formed id")
}

fn tenant() -> TenantId {
    TenantId::new("tenant").expect("a well-formed id")
}

fn id(text: &str) -> JobId {
    JobId::new(text).expect("a well-formed id")
}

fn object(kind: &str, number: u64) -> ObjectId {
    ObjectId::new(format!("{kind}-{number:016}")).expect("a well-formed id")
}

fn principal(object: ObjectId) -> PrincipalRef {
    PrincipalRef::new(source(), object)
}

fn owner() -> PrincipalRef {
    principal(object("user", 0))
}
