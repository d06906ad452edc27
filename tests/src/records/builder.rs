//! Making worlds of records.

use std::sync::Arc;

use usersync::connector::{ActorState, TargetCapabilities};
use usersync::engine::Job;
use usersync::memory::{
    Calls, Faults, ManualClock, MemoryActors, MemoryDirectory, MemoryNotifier, MemoryRecords, MemoryStore,
};
use usersync::model::{GroupKind, Principal, PrincipalKind, SystemId};

use super::world::RecordWorld;
use crate::names::{container, every_capability, group, tenant, user};

/// Makes a world of records.
#[derive(Debug)]
pub struct RecordWorldBuilder {
    capabilities: TargetCapabilities,
    changes: bool,
    batch: usize,
    users: String,
    jobs: Vec<Job>,
}

impl RecordWorld {
    /// Starts to make a world.
    #[must_use]
    pub fn builder() -> RecordWorldBuilder {
        RecordWorldBuilder {
            capabilities: every_capability(),
            changes: true,
            batch: 3,
            users: String::new(),
            jobs: Vec::new(),
        }
    }
}

impl RecordWorldBuilder {
    /// Sets what the target offers; by default everything.
    #[must_use]
    pub fn capabilities(mut self, capabilities: TargetCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Lets the target offer no reads of changes.
    #[must_use]
    pub fn without_changes(mut self) -> Self {
        self.changes = false;
        self
    }

    /// Sets how many operations make a batch; by default 3.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Adds users, members of the group `staff`, each with an empty collection at the target.
    #[must_use]
    pub fn staff(mut self, names: &str) -> Self {
        names.clone_into(&mut self.users);
        self
    }

    /// Adds a job.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// The world. `boss` may act; `seller` has an empty group `sales`.
    #[must_use]
    pub fn build(self) -> RecordWorld {
        let system = |name| SystemId::new(name).expect("an id");
        let clock = ManualClock::default();
        let target = MemoryRecords::new(system("share"), self.capabilities).with_instance(1);
        let mut world = RecordWorld {
            tenant: tenant(),
            store: MemoryStore::new(Arc::new(clock.clone())),
            clock,
            directory: MemoryDirectory::new(system("hr")).with_instance(1),
            source: MemoryRecords::new(system("book"), every_capability()),
            target: if self.changes {
                target.with_changes()
            } else {
                target
            },
            actors: MemoryActors::new(),
            notifier: MemoryNotifier::new(),
            faults: Faults::default(),
            calls: Calls::default(),
            batch: self.batch,
            engine: None,
        };
        world.actors.set(&world.tenant, user("boss"), ActorState::Active);
        world.put_user("seller");
        world.source.create_collection(container("sales").object);
        let staff = PrincipalKind::Group(GroupKind::UserGroup);
        world
            .directory
            .put(Principal::new(group("staff").object, staff, "staff"));
        for name in self.users.split_whitespace() {
            world.join("staff", name);
            world.target.create_collection(user(name).object);
        }
        for job in &self.jobs {
            world.save(job);
        }
        world.restart();
        world
    }
}
