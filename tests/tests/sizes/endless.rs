//! Reads that never end by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use usersync::connector::wrap::ReadLimits;
use usersync::connector::{
    ActorState, Applied, CallContext, Clock, ContainerCatalog, Cursor, Directory, DirectoryCapabilities,
    Extent, MemberOperation, MembersEntry, MembershipRead, MembershipTarget, PresentMember, ReadEvent,
    ReadStream, Result, TargetCapabilities,
};
use usersync::engine::{Engine, Job, Options, RunEnd, RunReport, RunRequest};
use usersync::memory::{
    ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryStore, MemoryTarget,
};
use usersync::model::{
    Container, ContainerKind, DirectoryChange, GroupKind, Member, MemberFacets, ObjectId, PartialKind,
    PartialReason, Principal, PrincipalKind, PrincipalRef, SystemId,
};
use usersync::reconcile::{Mode, Warning};
use usersync_tests::{all, container, every_capability, free_policy, group, job, tenant, user};

/// What every page shows, by the number of the page.
type Page<T> = Arc<dyn Fn(u64) -> Vec<T> + Send + Sync>;

/// Pages without an end, and how many were taken.
struct Pages<T> {
    page: Page<T>,
    taken: Arc<AtomicU64>,
}

impl<T: Send + 'static> Pages<T> {
    fn of(page: impl Fn(u64) -> Vec<T> + Send + Sync + 'static) -> Self {
        Self {
            page: Arc::new(page),
            taken: Arc::default(),
        }
    }

    fn stream(&self) -> ReadStream<T> {
        let (page, taken) = (Arc::clone(&self.page), Arc::clone(&self.taken));
        let pages = (0..).map(move |number| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok(ReadEvent::Chunk(page(number)))
        });
        stream::iter(std::iter::once(Ok(ReadEvent::Begin(Extent::Full))).chain(pages)).boxed()
    }
}

impl<T> std::fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

#[derive(Debug)]
struct Source(SystemId, Pages<DirectoryChange>);

impl Directory for Source {
    fn system(&self) -> &SystemId {
        &self.0
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, _: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        self.1.stream()
    }
}

#[derive(Debug)]
struct Endless(SystemId, Pages<MembersEntry>);

#[async_trait]
impl MembershipRead for Endless {
    fn system(&self) -> &SystemId {
        &self.0
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities::default()
    }

    fn members(&self, _: Vec<ObjectId>, _: &CallContext) -> ReadStream<MembersEntry> {
        self.1.stream()
    }

    async fn member(&self, _: &ObjectId, _: &PrincipalRef, _: &CallContext) -> Result<Option<PresentMember>> {
        Ok(None)
    }
}

#[async_trait]
impl MembershipTarget for Endless {
    async fn apply(
        &self,
        _: &ObjectId,
        operations: &[MemberOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        let done = |_| {
            Ok(Applied {
                changed: true,
                version: None,
            })
        };
        operations.iter().map(done).collect()
    }
}

#[derive(Debug)]
struct List(Pages<Container>);

impl ContainerCatalog for List {
    fn containers(
        &self,
        _: Option<Vec<usersync::model::ContainerRef>>,
        _: &CallContext,
    ) -> ReadStream<Container> {
        self.0.stream()
    }
}

/// A job from `hr`, where `ada` is in `staff`, to `share`, where the team that selects `staff` has her and `bob`, who was there
/// before. Both are ours.
struct Scene {
    store: MemoryStore,
    clock: Arc<ManualClock>,
    directory: MemoryDirectory,
    target: MemoryTarget,
    catalog: MemoryCatalog,
    options: Options,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let directory = MemoryDirectory::new(group("staff").system);
        directory.put(principal("staff", PrincipalKind::Group(GroupKind::UserGroup)));
        for name in ["ada", "bob"] {
            directory.put(principal(name, PrincipalKind::User));
            directory.add_member(&group("staff").object, &user(name));
        }
        let catalog = MemoryCatalog::default();
        catalog.put(team("team"));
        let target = MemoryTarget::new(container("team").system, every_capability());
        target.create_container(container("team").object);
        let mut scene = Self {
            store: MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>),
            clock,
            directory,
            target,
            catalog,
            options: Options::default(),
        };
        let (directory, target) = (scene.directory.clone(), scene.target.clone());
        let report = scene.run(
            Arc::new(directory),
            Arc::new(target),
            Arc::new(scene.catalog.clone()),
        );
        assert_eq!(report.end, RunEnd::Changed);
        assert_eq!(scene.members(), ["ada", "bob"]);
        scene
            .directory
            .remove_member(&group("staff").object, &user("bob"));
        scene.options.read = ReadLimits {
            entries: 100_000,
            members_per_group: 50_000,
            chunks: 1000,
            ..ReadLimits::default()
        };
        scene
    }

    fn run(
        &self,
        directory: Arc<dyn Directory>,
        target: Arc<dyn MembershipTarget>,
        catalog: Arc<dyn ContainerCatalog>,
    ) -> RunReport {
        let actors = MemoryActors::new();
        actors.set(&tenant(), user("boss"), ActorState::Active);
        let (from, to) = (directory.system().clone(), target.system().clone());
        let engine = Engine::builder(
            Arc::new(self.store.clone()),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
            catalog,
            Arc::new(actors),
            Arc::new(MemoryNotifier::new()),
        )
        .directory(directory)
        .target(target)
        .options(self.options)
        .build();
        let job_ = Job::new(tenant(), job("sync"), "sync", [from], to, user("boss"));
        block_on(engine.save_job(&job_.with_policy(free_policy(Mode::Managed)))).unwrap();
        block_on(engine.run(&tenant(), &job("sync"), RunRequest::everything())).unwrap()
    }

    fn with_source(
        &self,
        page: impl Fn(u64) -> Vec<DirectoryChange> + Send + Sync + 'static,
    ) -> (RunReport, u64) {
        let pages = Pages::of(page);
        let taken = Arc::clone(&pages.taken);
        let source = Source(group("staff").system, pages);
        let report = self.run(
            Arc::new(source),
            Arc::new(self.target.clone()),
            Arc::new(self.catalog.clone()),
        );
        (report, taken.load(Ordering::Relaxed))
    }

    fn members(&self) -> Vec<String> {
        let members = self.target.members_of(&container("team").object).unwrap();
        members
            .iter()
            .map(|member| member.principal.object.to_string())
            .collect()
    }
}

fn principal(name: &str, kind: PrincipalKind) -> Principal {
    Principal::new(user(name).object, kind, name)
}

fn team(name: &str) -> Container {
    Container::new(container(name), ContainerKind::Team, name, all("staff"))
}

fn staff(members: Vec<ObjectId>) -> DirectoryChange {
    DirectoryChange::Members {
        group: group("staff").object,
        system: group("staff").system,
        members,
    }
}

/// Why one read of the run was partial.
fn reason(report: &RunReport) -> &PartialReason {
    let warnings = &report.plan.as_ref().unwrap().header().warnings;
    let partial: Vec<_> = warnings
        .iter()
        .filter(|warning| warning.is_partial_read())
        .collect();
    match partial[..] {
        [
            Warning::PartialCatalog { reason }
            | Warning::PartialSource { reason, .. }
            | Warning::PartialTarget { reason },
        ] => reason,
        _ => unreachable!("one read is partial, not {partial:?}"),
    }
}

/// The limit that ended a read of the run.
fn limit(report: &RunReport) -> &str {
    let reason = reason(report);
    assert_eq!(reason.kind, PartialKind::Limit, "{reason}");
    assert!(reason.detail.contains("raise `ReadLimits::"), "{reason}");
    &reason.detail
}

#[test]
fn promise_09_a_directory_without_an_end_is_read_in_part() {
    let whole = || {
        vec![
            DirectoryChange::Upsert(principal("staff", PrincipalKind::Group(GroupKind::UserGroup))),
            DirectoryChange::Upsert(principal("ada", PrincipalKind::User)),
            staff(vec![user("ada").object]),
        ]
    };
    type Script = Box<dyn Fn(u64) -> Vec<DirectoryChange> + Send + Sync>;
    let cases: Vec<(&str, Script, &str)> = vec![
        ("pages of nothing", Box::new(|_| Vec::new()), "1000 chunks"),
        (
            "the same page again and again",
            Box::new(move |_| whole()),
            "1000 chunks",
        ),
        (
            "a large page again and again",
            Box::new(move |_| (0..500).flat_map(|_| whole()).collect()),
            "100000 entries",
        ),
        (
            "always somebody new",
            Box::new(|page| {
                let name = |n: u64| format!("u{}", page * 1000 + n);
                (0..1000)
                    .map(|n| DirectoryChange::Upsert(principal(&name(n), PrincipalKind::User)))
                    .collect()
            }),
            "100000 entries",
        ),
        (
            "a group with always another member",
            Box::new(|page| {
                let name = |n: u64| format!("u{}", page * 1000 + n);
                vec![staff((0..1000).map(|n| user(&name(n)).object).collect())]
            }),
            // Those beyond the limit of a group do not count.
            "1000 chunks",
        ),
    ];
    for (what, page, want) in cases {
        let scene = Scene::new();
        let (report, taken) = scene.with_source(page);
        let found = limit(&report);
        assert!(found.contains(want), "{what}: {found}");
        assert!(taken <= 1001, "{what}: {taken} pages");
        assert_eq!(scene.members(), ["ada", "bob"], "{what}: nobody is removed");
        assert_eq!(report.end, RunEnd::Held, "{what}");
    }
}

#[test]
fn promise_09_contradictions_without_an_end_are_read_in_part() {
    let scene = Scene::new();
    let (report, taken) = scene.with_source(|page| {
        let name = |n: u64| format!("u{}", page * 1000 + n);
        let kinds = [PrincipalKind::User, PrincipalKind::Group(GroupKind::UserGroup)];
        let both = |n| kinds.map(|kind| DirectoryChange::Upsert(principal(&name(n), kind)));
        (0..1000).flat_map(both).collect()
    });
    assert_eq!(reason(&report).kind, PartialKind::Contradiction);
    assert!(taken <= 51, "{taken} pages of 2000 entries");
    let header = report.plan.as_ref().unwrap().header();
    assert!(header.warnings.len() <= 1000);
    // One of each two entries contradicts the other.
    assert!(
        (49_000..51_000).contains(&header.more_warnings),
        "{}",
        header.more_warnings
    );
    assert_eq!(scene.members(), ["ada", "bob"]);
}

#[test]
fn promise_09_pages_of_nothing_end_by_the_limits_that_nobody_set() {
    let mut scene = Scene::new();
    scene.options = Options::default();
    let (report, taken) = scene.with_source(|_| Vec::new());
    assert!(limit(&report).contains("1000000 chunks"));
    assert_eq!(taken, 1_000_001);
    assert_eq!(scene.members(), ["ada", "bob"]);
}

#[test]
fn promise_09_a_target_or_a_list_of_containers_without_an_end_is_read_in_part() {
    let scene = Scene::new();
    let members = |names: Vec<String>| MembersEntry::Members {
        container: container("team").object,
        members: names
            .iter()
            .map(|name| PresentMember {
                member: Member {
                    principal: user(name),
                    facets: MemberFacets::default(),
                },
                version: None,
            })
            .collect(),
    };
    let always_new = move |page: u64| {
        vec![members(
            (0..100).map(|n| format!("u{}", page * 100 + n)).collect(),
        )]
    };
    let same = move |_| vec![members(vec!["bob".to_owned()])];
    let empty = |_| Vec::new();
    for (target, want) in [
        (Pages::of(empty), "1000 chunks"),
        (Pages::of(same), "1000 chunks"),
        (Pages::of(always_new), "1000 chunks"),
    ] {
        let target = Endless(container("team").system, target);
        let report = scene.run(
            Arc::new(scene.directory.clone()),
            Arc::new(target),
            Arc::new(scene.catalog.clone()),
        );
        assert!(limit(&report).contains(want));
        let plan = report.plan.unwrap();
        let operations = plan.sections().iter().flat_map(|section| &section.operations);
        // Who is seen may be removed: that rests on no missing part.
        assert!(operations.count() <= 1, "{plan:?}");
    }

    let scene = Scene::new();
    let list = List(Pages::of(|page| vec![team(&format!("t{page}"))]));
    let report = scene.run(
        Arc::new(scene.directory.clone()),
        Arc::new(scene.target.clone()),
        Arc::new(list),
    );
    assert!(limit(&report).contains("1000 chunks"));
    assert_eq!(scene.members(), ["ada", "bob"]);
}
