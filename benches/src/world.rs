//! A small world around the engine: one directory with a change feed, one target, everything in memory.

use std::sync::Arc;

use usersync_connector::{
    Actor, ActorState, Authority, CallContext, Clock, MembershipTarget, TargetCapabilities,
};
use usersync_engine::{Engine, Job, Options, Previewed, RunReport, RunRequest, Scope};
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

/// As many containers as needed, each selecting one group of a hundred users.
#[derive(Debug)]
pub struct World {
    /// The target.
    pub target: MemoryTarget,
    systems: Systems,
    engine: Engine,
}

/// All but the target and the engine.
#[derive(Debug)]
struct Systems {
    directory: MemoryDirectory,
    catalog: MemoryCatalog,
    clock: ManualClock,
    actors: MemoryActors,
    job: Job,
    groups: u64,
}

impl Systems {
    fn fork(&self) -> Self {
        Self {
            directory: self.directory.fork(),
            catalog: self.catalog.fork(),
            clock: self.clock.fork(),
            actors: self.actors.fork(),
            job: self.job.clone(),
            groups: self.groups,
        }
    }
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
        let store = in_memory(Arc::new(clock.clone()));
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
        let systems = Systems {
            directory,
            catalog,
            clock,
            actors,
            job,
            groups,
        };
        Self::assemble(systems, target, store, None)
    }

    /// The same world, going its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let systems = self.systems.fork();
        let store = in_memory(Arc::new(systems.clock.clone()));
        Self::assemble(systems, self.target.fork(), store, None)
    }

    /// The same world with another store, which has nothing of it yet.
    #[must_use]
    pub fn with_store(&self, store: Arc<dyn StateStore>) -> Self {
        Self::assemble(self.systems.fork(), self.target.fork(), store, None)
    }

    /// The same world by another clock, with `between` around its target.
    #[must_use]
    pub fn by_clock(
        &self,
        clock: Arc<dyn Clock>,
        options: Options,
        between: impl FnOnce(MemoryTarget) -> Arc<dyn MembershipTarget>,
    ) -> Self {
        let target = self.target.fork();
        let way = Way {
            target: between(target.clone()),
            clock: Arc::clone(&clock),
            options,
        };
        Self::assemble(self.systems.fork(), target, in_memory(clock), Some(way))
    }

    fn assemble(
        systems: Systems,
        target: MemoryTarget,
        store: Arc<dyn StateStore>,
        way: Option<Way>,
    ) -> Self {
        let notifier = MemoryNotifier::new();
        for calls in [
            target.call_record(),
            systems.directory.call_record(),
            notifier.call_record(),
        ] {
            calls.set_recording(Recording::Off);
        }
        let way = way.unwrap_or_else(|| Way {
            target: Arc::new(target.clone()),
            clock: Arc::new(systems.clock.clone()),
            options: Options::default(),
        });
        let engine = Engine::builder(
            store,
            way.clock,
            Arc::new(systems.catalog.clone()),
            Arc::new(systems.actors.clone()),
            Arc::new(notifier),
        )
        .directory(Arc::new(systems.directory.clone()))
        .target(way.target)
        .options(way.options)
        .build();
        futures::executor::block_on(engine.save_job(&systems.job)).expect("the store takes a job");
        Self {
            target,
            systems,
            engine,
        }
    }

    /// Runs the job.
    ///
    /// # Panics
    /// When the run fails.
    pub async fn run(&self, request: RunRequest) -> RunReport {
        self.engine
            .run(&tenant(), &self.systems.job.id, request)
            .await
            .expect("nothing fails in this world")
    }

    /// Reads and plans what a run would, and writes nothing.
    ///
    /// # Panics
    /// When the preview fails.
    pub async fn preview(&self) -> Previewed {
        self.engine
            .preview(&tenant(), &self.systems.job.id, &Scope::Everything)
            .await
            .expect("nothing fails in this world")
    }

    /// Lets one user join the first group, or leave it again.
    pub fn toggle(&self, join: bool) {
        let (group, user) = (object("group", 0), principal(object("user", MEMBERS)));
        if join {
            self.systems.directory.add_member(&group, &user);
        } else {
            self.systems.directory.remove_member(&group, &user);
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
        (0..self.systems.groups)
            .map(|group| object("event", group))
            .collect()
    }

    /// All memberships that the first run makes.
    #[must_use]
    pub fn memberships(&self) -> Vec<(ObjectId, PrincipalRef)> {
        let of = |group| {
            let members = self.systems.directory.members_of(&object("group", group));
            members
                .into_iter()
                .map(move |member| (object("event", group), member))
        };
        (0..self.systems.groups).flat_map(of).collect()
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
            job: self.systems.job.id.clone(),
            actor,
        }
    }
}

/// How the engine comes to its target, and by which time.
struct Way {
    target: Arc<dyn MembershipTarget>,
    clock: Arc<dyn Clock>,
    options: Options,
}

/// A store that records no calls.
fn in_memory(clock: Arc<dyn Clock>) -> Arc<dyn StateStore> {
    let store = MemoryStore::new(clock);
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
