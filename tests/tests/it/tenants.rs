//! One engine for two tenants whose ids are all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{
    ActorState, Applied, CallContext, ContainerCatalog, Cursor, Directory, DirectoryCapabilities,
    MemberOperation, MembersEntry, MembershipRead, MembershipTarget, Notification, PresentMember, ReadStream,
    TargetCapabilities,
};
use usersync::engine::{AuditRecord, Engine, EngineError, RunReport, RunRequest};
use usersync::memory::{MemoryCatalog, MemoryDirectory, MemoryTarget};
use usersync::model::{
    Container, ContainerRef, DirectoryChange, ObjectId, OperationId, PrincipalRef, SystemId, TenantId,
};
use usersync::reconcile::Mode;
use usersync_tests::edit::{cases, edits, mode};
use usersync_tests::yielding::{Workers, YieldingStore};
use usersync_tests::{End, World, free_policy, job, tenant, user};

/// The same system at each tenant: a call goes to the one of the tenant that it names.
#[derive(Debug)]
struct Each<T> {
    first: T,
    of: BTreeMap<TenantId, T>,
}

impl<T> Each<T> {
    fn new(worlds: &[World], part: impl Fn(&World) -> T) -> Self {
        let of = worlds.iter().map(|world| (world.tenant.clone(), part(world)));
        Self {
            first: part(&worlds[0]),
            of: of.collect(),
        }
    }

    fn of(&self, context: &CallContext) -> &T {
        &self.of[&context.tenant]
    }
}

impl Directory for Each<MemoryDirectory> {
    fn system(&self) -> &SystemId {
        self.first.system()
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        self.first.capabilities()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        self.of(context).read(since, context)
    }
}

impl ContainerCatalog for Each<MemoryCatalog> {
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container> {
        self.of(context).containers(only, context)
    }
}

#[async_trait::async_trait]
impl MembershipRead for Each<MemoryTarget> {
    fn system(&self) -> &SystemId {
        self.first.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.first.capabilities()
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        self.of(context).members(containers, context)
    }

    async fn member(
        &self,
        container: &ObjectId,
        who: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        self.of(context).member(container, who, context).await
    }
}

#[async_trait::async_trait]
impl MembershipTarget for Each<MemoryTarget> {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        self.of(context).apply(container, operations, context).await
    }
}

/// One engine over the systems of each world, and the store, the actors and the notifier of the first.
fn engine(worlds: &[World]) -> Engine {
    let first = &worlds[0];
    Engine::builder(
        Arc::new(YieldingStore(first.store.clone())),
        Arc::new(first.clock.clone()),
        Arc::new(Each::new(worlds, |world| world.catalog.clone())),
        Arc::new(first.actors.clone()),
        Arc::new(first.notifier.clone()),
    )
    .directory(Arc::new(Each::new(worlds, |world| world.directory.clone())))
    .target(Arc::new(Each::new(worlds, |world| world.target.clone())))
    .build()
}

/// A world of a tenant; beside another one, with that one's store, actors, notifier and clock.
fn world(id: &TenantId, mode: Mode, beside: Option<&World>) -> World {
    let mut world = usersync_tests::edit::world().with_changes().build();
    world.tenant = id.clone();
    if let Some(other) = beside {
        world.store = other.store.clone();
        world.clock = other.clock.clone();
        world.actors = other.actors.clone();
        world.notifier = other.notifier.clone();
    }
    world.actors.set(id, user("boss"), ActorState::Active);
    world.restart();
    let mut job = World::new_job("sync", free_policy(mode));
    job.tenant = id.clone();
    world.save(&job);
    world
}

/// What becomes of a tenant: where it ends, what is on record, and what its people are told.
fn came_to(world: &World) -> (End, Vec<AuditRecord>, Vec<Notification>) {
    let delivered = world.notifier.delivered().into_iter();
    let told = delivered.filter(|told| told.tenant == world.tenant).collect();
    (world.end(), world.audit(), told)
}

fn operations(world: &World) -> BTreeSet<OperationId> {
    world.audit().into_iter().map(|record| record.operation).collect()
}

async fn run(engine: &Engine, tenant: &TenantId) -> Result<RunReport, EngineError> {
    engine.run(tenant, &job("sync"), RunRequest::everything()).await
}

proptest! {
    #![proptest_config(cases(192))]

    /// Both tenants run at once, step by step in any order, by one engine, which remembers what it read of each: each ends as if it
    /// were alone in the world.
    #[test]
    fn promise_24_tenants_of_one_engine_end_as_if_alone(
        mode in mode(),
        stages in proptest::collection::vec((edits(8), edits(8)), 1..4),
        choices in proptest::collection::vec(0..2_usize, 0..160),
    ) {
        let tenants = [tenant(), TenantId::new("umbrella").expect("an id")];
        let first = world(&tenants[0], mode, None);
        let second = world(&tenants[1], mode, Some(&first));
        let together = [first, second];
        let shared = engine(&together);
        for stage in &stages {
            for (world, edits) in together.iter().zip([&stage.0, &stage.1]) {
                world.edit(edits);
            }
            let mut workers = Workers::default();
            for id in &tenants {
                workers.add(run(&shared, id));
            }
            for report in workers.finish(&choices) {
                prop_assert!(report.as_ref().is_ok_and(RunReport::is_ok), "{:?}", report);
            }
        }
        for (n, world_beside) in together.iter().enumerate() {
            let alone = [world(&world_beside.tenant, mode, None)];
            let own = engine(&alone);
            for stage in &stages {
                alone[0].edit(if n == 0 { &stage.0 } else { &stage.1 });
                let report = block_on(run(&own, &alone[0].tenant));
                prop_assert!(report.is_ok_and(|report| report.is_ok()));
            }
            prop_assert_eq!(came_to(world_beside), came_to(&alone[0]));
        }
        // Whoever remembers operations by their ids alone takes none for that of another tenant.
        let [first, second] = &together;
        prop_assert!(operations(first).is_disjoint(&operations(second)));
    }
}
