//! Making worlds.

use std::sync::Arc;

use usersync::connector::{ActorState, TargetCapabilities};
use usersync::engine::Job;
use usersync::memory::{
    Calls, Faults, ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryStore,
    MemoryTarget,
};
use usersync::model::{Container, ContainerKind, PrincipalRef, SystemId};
use usersync::reconcile::Policy;

use crate::names::{all, container, every_capability, group, tenant, user};
use crate::store::WorldStore;
use crate::world::World;

/// Makes a world.
#[derive(Debug)]
pub struct WorldBuilder {
    capabilities: TargetCapabilities,
    changes: bool,
    batch: usize,
    administrator: Option<PrincipalRef>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Container(Container),
    Group(String, String),
    Job(Box<Job>),
}

impl World {
    /// Starts to make a world.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder {
            capabilities: every_capability(),
            changes: false,
            batch: 3,
            administrator: None,
            entries: Vec::new(),
        }
    }
}

impl WorldBuilder {
    /// Sets what the target offers; by default everything.
    #[must_use]
    pub fn capabilities(mut self, capabilities: TargetCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Lets the directory offer a change feed.
    #[must_use]
    pub fn with_changes(mut self) -> Self {
        self.changes = true;
        self
    }

    /// Sets how many operations make a batch; by default 3.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Names an administrator, who may act.
    #[must_use]
    pub fn administrator(mut self, name: &str) -> Self {
        self.administrator = Some(user(name));
        self
    }

    /// Adds a group of the directory with these members, separated by blanks; who is not a group yet becomes a user.
    #[must_use]
    pub fn group(mut self, name: &str, members: &str) -> Self {
        self.entries
            .push(Entry::Group(name.to_owned(), members.to_owned()));
        self
    }

    /// Adds a container without an owner, empty at the target.
    #[must_use]
    pub fn container(self, name: &str, picks: &str) -> Self {
        self.add_container(Container::new(
            container(name),
            ContainerKind::Team,
            name,
            all(picks),
        ))
    }

    /// Adds a container owned by a user, empty at the target.
    #[must_use]
    pub fn owned(self, name: &str, owner: &str, picks: &str) -> Self {
        let made = Container::new(container(name), ContainerKind::Team, name, all(picks));
        self.add_container(made.with_owner(user(owner)))
    }

    /// Adds a container, empty at the target.
    #[must_use]
    pub fn add_container(mut self, container: Container) -> Self {
        self.entries.push(Entry::Container(container));
        self
    }

    /// Adds a job named `name` from `hr` to `share`, owned by `boss`.
    #[must_use]
    pub fn job(mut self, name: &str, policy: Policy) -> Self {
        self.entries
            .push(Entry::Job(Box::new(World::new_job(name, policy))));
        self
    }

    /// The world, with a store in memory. `boss` and every container's owner may act.
    #[must_use]
    pub fn build(self) -> World {
        self.build_over(|clock| MemoryStore::new(Arc::new(clock.clone())))
    }

    /// The same world over the store that `make` makes, which goes by the world's clock.
    #[must_use]
    pub fn build_over<S: WorldStore>(self, make: impl FnOnce(&ManualClock) -> S) -> World<S> {
        let clock = ManualClock::default();
        let hr = SystemId::new("hr").expect("an id");
        let directory = MemoryDirectory::new(hr).with_instance(1);
        let directory = if self.changes {
            directory.with_changes()
        } else {
            directory
        };
        let world = World {
            tenant: tenant(),
            store: make(&clock),
            clock,
            directory,
            target: MemoryTarget::new(SystemId::new("share").expect("an id"), self.capabilities),
            catalog: MemoryCatalog::default(),
            actors: MemoryActors::new(),
            notifier: MemoryNotifier::new(),
            faults: Faults::default(),
            calls: Calls::default(),
            administrator: self.administrator,
            batch: self.batch,
            portion: None,
            engine: None,
        };
        world.actors.set(&world.tenant, user("boss"), ActorState::Active);
        if let Some(administrator) = &world.administrator {
            world
                .actors
                .set(&world.tenant, administrator.clone(), ActorState::Active);
        }
        let mut world = world;
        for entry in self.entries {
            match entry {
                Entry::Container(container) => {
                    world.target.create_container(container.id.object.clone());
                    if let Some(owner) = &container.owner {
                        world.actors.set(&world.tenant, owner.clone(), ActorState::Active);
                    }
                    world.catalog.put(container);
                }
                Entry::Group(name, members) => {
                    world.put_group(&name);
                    for member in members.split_whitespace() {
                        if world.directory.principal(&user(member).object).is_none() {
                            world.put_user(member);
                        }
                        world.directory.add_member(&group(&name).object, &user(member));
                    }
                }
                Entry::Job(job) => world.save(&job),
            }
        }
        world.restart();
        world
    }
}
