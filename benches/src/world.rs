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
        let groups = memberships / MEMBERS;
        let clock = ManualClock::auto("2026-01-01T00:00:00Z".parse().expect("a well-formed time"));
        let store = MemoryStore::new(Arc::new(clock.clone()));
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
        for user in 0..users {
            directory.put(Principal::new(
                object("user", user),
                PrincipalKind::User,
                format!("User {user}"),
            ));
        }
        let catalog = MemoryCatalog::new([]);
        for group in 0..groups {
            let kind = PrincipalKind::Group(GroupKind::UserGroup);
            directory.put(Principal::new(
                object("group", group),
                kind,
                format!("Group {group}"),
            ));
            for member in 0..MEMBERS {
                let user = (group * 37 + member) % users;
                directory.add_member(&object("group", group), &principal(object("user", user)));
            }
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
        Self::assemble(
            self.target.fork(),
            self.directory.fork(),
            self.catalog.fork(),
            MemoryStore::new(Arc::new(clock.clone())),
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
        store: MemoryStore,
        clock: ManualClock,
        actors: MemoryActors,
        job: Job,
        groups: u64,
    ) -> Self {
        let notifier = MemoryNotifier::new();
        for calls in [
            target.call_record(),
            directory.call_record(),
            store.call_record(),
            notifier.call_record(),
        ] {
            calls.set_recording(Recording::Off);
        }
        let engine = Engine::builder(
            Arc::new(store),
            Arc::new(clock.clone()),
            Arc::new(catalog.clone()),
            Arc::new(actors.clone()),
            Arc::new(notifier),
        )
        .directory(Arc::new(directory.clone()))
        .target(Arc::new(target.clone()))
        .build();
        futures::executor::block_on(engine.save_job(&job)).expect("the store in memory does not fail");
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
