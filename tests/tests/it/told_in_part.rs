//! Reads that end as if they were complete, and say otherwise: by what they cover, by what they name as partial, by two things that
//! cannot both be true.

use std::sync::Arc;

use futures::StreamExt;
use futures::executor::block_on;
use usersync::connector::{
    Applied, CallContext, ContainerCatalog, Extent, MemberOperation, MembersEntry, MembershipRead,
    MembershipTarget, PresentMember, ReadEvent, ReadStream, TargetCapabilities,
};
use usersync::engine::{Engine, RunRequest};
use usersync::memory::{MemoryCatalog, MemoryTarget};
use usersync::model::{
    Container, ContainerRef, ObjectId, PartialKind, PartialReason, PrincipalRef, SystemId,
};
use usersync::reconcile::Mode;
use usersync_tests::{World, container, free_policy, job};

type Retold<T> = fn(ReadEvent<T>) -> ReadEvent<T>;

/// A target that tells otherwise what there is.
#[derive(Debug)]
struct Target {
    inner: MemoryTarget,
    retold: Retold<MembersEntry>,
}

#[async_trait::async_trait]
impl MembershipRead for Target {
    fn system(&self) -> &SystemId {
        self.inner.system()
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            point_read: false,
            ..self.inner.capabilities()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, context: &CallContext) -> ReadStream<MembersEntry> {
        let retold = self.retold;
        let events = self.inner.members(containers, context);
        events.map(move |event| event.map(retold)).boxed()
    }

    async fn member(
        &self,
        container: &ObjectId,
        who: &PrincipalRef,
        context: &CallContext,
    ) -> usersync::connector::Result<Option<PresentMember>> {
        self.inner.member(container, who, context).await
    }
}

#[async_trait::async_trait]
impl MembershipTarget for Target {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        context: &CallContext,
    ) -> Vec<usersync::connector::Result<Applied>> {
        self.inner.apply(container, operations, context).await
    }
}

/// A list of containers told otherwise.
#[derive(Debug)]
struct Catalog {
    inner: MemoryCatalog,
    retold: Retold<Container>,
}

impl ContainerCatalog for Catalog {
    fn containers(&self, only: Option<Vec<ContainerRef>>, context: &CallContext) -> ReadStream<Container> {
        let retold = self.retold;
        let events = self.inner.containers(only, context);
        events.map(move |event| event.map(retold)).boxed()
    }
}

fn as_it_is<T>(event: ReadEvent<T>) -> ReadEvent<T> {
    event
}

/// The staff and the temps are in the team, and those of the team in another one.
fn world() -> World {
    let world = World::builder()
        .group("staff", "ada bob")
        .group("temps", "eve")
        .container("same", "@team")
        .container("team", "staff temps")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    assert_eq!(
        (&*world.members("team"), &*world.members("same")),
        ("ada bob eve", "ada bob eve")
    );
    world
}

fn engine(world: &World, members: Retold<MembersEntry>, containers: Retold<Container>) -> Engine {
    let catalog = Catalog {
        inner: world.catalog.clone(),
        retold: containers,
    };
    let target = Target {
        inner: world.target.clone(),
        retold: members,
    };
    Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(catalog),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .target(Arc::new(target))
    .build()
}

/// Nothing is done to anybody, whatever is covered.
fn expect_nothing(world: &World, engine: &Engine, warned: &str) {
    let before = world.end();
    for scope in [None, Some("same"), Some("team")] {
        let request = match scope {
            None => RunRequest::everything(),
            Some(name) => RunRequest::container(container(name)),
        };
        let report = block_on(engine.run(&world.tenant, &job("sync"), request)).expect("a run");
        assert!(report.operations.is_empty(), "{scope:?}: {:?}", report.operations);
        assert_eq!(world.end(), before, "{scope:?}");
        let plan = report.plan.expect("a plan");
        let warnings = &plan.header().warnings;
        let is_told = warnings.iter().any(|warning| warning.code() == warned);
        // What is selected and not planned is told of by what it makes of the selection.
        assert!(is_told || scope == Some("same"), "{scope:?}: {warnings:?}");
    }
}

/// The list shows the team, but not all that it selects, and says so of the team alone.
#[test]
fn promise_09_a_container_that_the_list_shows_in_part_is_left_alone() {
    let world = world();
    fn partial(event: ReadEvent<Container>) -> ReadEvent<Container> {
        match event {
            ReadEvent::End(mut end) => {
                let reason = PartialReason::new(PartialKind::Unreadable, "a row of the selection");
                end.partial.push((container("team").object, reason));
                ReadEvent::End(end)
            }
            event => event,
        }
    }
    let engine = engine(&world, as_it_is, partial);
    world.select("team", "staff");
    world.join("staff", "fay");
    expect_nothing(&world, &engine, "partial_catalog");
}

#[test]
fn promise_09_a_list_of_changes_is_no_list() {
    let world = world();
    fn hasty(event: ReadEvent<Container>) -> ReadEvent<Container> {
        match event {
            ReadEvent::Begin(_) => ReadEvent::Begin(Extent::Changes),
            ReadEvent::Chunk(mut containers) => {
                containers.retain(|shown| shown.id != container("team"));
                ReadEvent::Chunk(containers)
            }
            event => event,
        }
    }
    let engine = engine(&world, as_it_is, hasty);
    world.remove_by_hand("team", "eve");
    expect_nothing(&world, &engine, "partial_catalog");
}

/// The staff but for Ada are told as what changed. Whoever is not told is there all the same.
#[test]
fn promise_09_a_read_of_members_that_tells_changes_shows_nobodys_absence() {
    fn hasty(event: ReadEvent<MembersEntry>) -> ReadEvent<MembersEntry> {
        match event {
            ReadEvent::Begin(_) => ReadEvent::Begin(Extent::Changes),
            ReadEvent::Chunk(mut entries) => {
                for entry in &mut entries {
                    if let MembersEntry::Members { members, .. } = entry {
                        members.retain(|shown| shown.member.principal.object.as_str() != "ada");
                    }
                }
                ReadEvent::Chunk(entries)
            }
            event => event,
        }
    }
    let world = world();
    let engine = engine(&world, hasty, as_it_is);
    expect_nothing(&world, &engine, "partial_target");
    let found = block_on(engine.verify(&world.tenant, &job("sync"))).expect("a comparison");
    assert_eq!((found.rows.missing, found.rows.unknown), (0, 2), "{found:?}");
}

/// One page shows members of a container, and another one says that there is none.
#[test]
fn promise_09_a_container_that_is_shown_and_missing_is_neither() {
    fn after(event: ReadEvent<MembersEntry>) -> ReadEvent<MembersEntry> {
        retold(event, |shown, missing| [shown, missing])
    }
    fn before(event: ReadEvent<MembersEntry>) -> ReadEvent<MembersEntry> {
        retold(event, |shown, missing| [missing, shown])
    }
    fn retold(
        event: ReadEvent<MembersEntry>,
        order: fn(MembersEntry, MembersEntry) -> [MembersEntry; 2],
    ) -> ReadEvent<MembersEntry> {
        let both = |entry| match entry {
            MembersEntry::Members {
                container,
                mut members,
            } => {
                members.truncate(1);
                let missing = MembersEntry::Missing {
                    container: container.clone(),
                };
                order(MembersEntry::Members { container, members }, missing)
            }
            missing @ MembersEntry::Missing { .. } => [missing.clone(), missing],
        };
        match event {
            ReadEvent::Chunk(entries) => ReadEvent::Chunk(entries.into_iter().flat_map(both).collect()),
            event => event,
        }
    }
    for members in [after as Retold<MembersEntry>, before] {
        let world = world();
        let engine = engine(&world, members, as_it_is);
        expect_nothing(&world, &engine, "partial_target");
        let found = block_on(engine.verify(&world.tenant, &job("sync"))).expect("a comparison");
        assert_eq!((found.rows.missing, found.rows.unknown), (0, 4), "{found:?}");
    }
}
