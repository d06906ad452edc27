//! A million things that somebody should see to.

use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::{
    ActorState, CallContext, Clock, Cursor, Directory, DirectoryCapabilities, Extent, ReadEnd, ReadStream,
    read_stream,
};
use usersync::engine::{Engine, Job, Options, RunReport, RunRequest, RunState};
use usersync::memory::{ManualClock, MemoryActors, MemoryCatalog, MemoryNotifier, MemoryStore, MemoryTarget};
use usersync::model::{
    Container, ContainerKind, DirectoryChange, GroupKind, ObjectId, PartialKind, PartialReason, Principal,
    PrincipalKind, Selection, SystemId,
};
use usersync::reconcile::{Mode, Plan, RenderOptions, Warning, render_html, render_markdown, render_table};
use usersync_tests::{container, every_capability, free_policy, job, tenant, user};

use crate::child::alone;

const MILLION: u64 = 1_000_000;

/// A directory that contradicts itself about `contradictions` principals, in one order or the other, and ends like this.
#[derive(Debug)]
struct Doubtful {
    system: SystemId,
    contradictions: u64,
    is_reversed: bool,
    end: ReadEnd,
}

impl Directory for Doubtful {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, _: Option<Cursor>, _: &CallContext) -> ReadStream<DirectoryChange> {
        let (count, is_reversed) = (self.contradictions, self.is_reversed);
        let numbers = (0..count).map(move |number| if is_reversed { count - 1 - number } else { number });
        let kinds = [PrincipalKind::User, PrincipalKind::Group(GroupKind::UserGroup)];
        let entries = numbers.flat_map(move |number| {
            let id = ObjectId::new(format!("c{number:08}")).unwrap();
            kinds.map(|kind| DirectoryChange::Upsert(Principal::new(id.clone(), kind, "both")))
        });
        read_stream(Extent::Full, entries, self.end.clone())
    }
}

struct Scene {
    engine: Engine,
}

impl Scene {
    /// One container that selects `missing` principals of the first directory whom it does not have.
    fn new(missing: u64, directories: Vec<Doubtful>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let catalog = MemoryCatalog::default();
        let picks = (0..missing).map(|number| user(&format!("m{number:08}")));
        catalog.put(Container::new(
            container("team"),
            ContainerKind::Team,
            "team",
            Selection::of(picks),
        ));
        let target = MemoryTarget::new(container("team").system, every_capability());
        target.create_container(container("team").object);
        let actors = MemoryActors::new();
        actors.set(&tenant(), user("boss"), ActorState::Active);
        let from: Vec<SystemId> = directories
            .iter()
            .map(|directory| directory.system.clone())
            .collect();
        let mut engine = Engine::builder(
            Arc::new(MemoryStore::new(Arc::clone(&clock))),
            clock,
            Arc::new(catalog),
            Arc::new(actors),
            Arc::new(MemoryNotifier::new()),
        )
        .target(Arc::new(target));
        for directory in directories {
            engine = engine.directory(Arc::new(directory));
        }
        let engine = engine.build();
        let to = container("team").system;
        let job = Job::new(tenant(), job("sync"), "sync", from, to, user("boss"));
        block_on(engine.save_job(&job.with_policy(free_policy(Mode::Managed)))).unwrap();
        Self { engine }
    }

    fn run(&self) -> RunReport {
        block_on(self.engine.run(&tenant(), &job("sync"), RunRequest::everything())).unwrap()
    }

    /// Fails unless what is remembered and shown of a plan with so many warnings is short, and counts them all.
    fn check(&self, plan: &Plan, count: u64) {
        let header = plan.header();
        let most = Options::default().warnings;
        assert!(header.warnings.len() <= most, "{}", header.warnings.len());
        assert_eq!(header.warnings.len() as u64 + header.more_warnings, count);

        let runs = block_on(self.engine.history(&tenant(), &job("sync"), None, 1)).unwrap();
        let RunState::Ended(result) = &runs[0].state else {
            unreachable!("the run ended: {:?}", runs[0]);
        };
        assert_eq!(result.warnings, count);
        let kept = block_on(self.engine.plan_of(&tenant(), &job("sync"), runs[0].run))
            .unwrap()
            .unwrap();
        assert!(kept.plan.to_json().len() <= Options::default().history_plan);
        assert_eq!(kept.digest, plan.digest());
        let header = kept.plan.header();
        assert_eq!(header.warnings.len() as u64 + header.more_warnings, count);

        assert!(plan.to_json().len() < 1 << 20);
        let options = RenderOptions::default();
        for shown in [
            render_markdown(plan, &options),
            render_html(plan, &options),
            render_table(plan, &options),
        ] {
            assert!(shown.len() < 2 << 20, "{} bytes", shown.len());
        }
    }
}

fn doubtful(contradictions: u64, is_reversed: bool, end: ReadEnd) -> Doubtful {
    Doubtful {
        system: user("any").system,
        contradictions,
        is_reversed,
        end,
    }
}

/// The selection itself is there before, with about 60 bytes for each principal; twice that may be added while it is resolved, and
/// nothing for the warnings.
#[test]
fn a_million_picks_of_nobody_are_counted_and_the_first_are_listed() {
    alone(
        "warnings::a_million_picks_of_nobody_are_counted_and_the_first_are_listed",
        200,
        |memory| {
            let reason = PartialReason::new(PartialKind::Unreadable, "some of it");
            let in_part = Doubtful {
                system: SystemId::new("other").unwrap(),
                ..doubtful(0, false, ReadEnd::partial(reason))
            };
            let whole = doubtful(0, false, ReadEnd::complete());
            let scene = Scene::new(MILLION, vec![whole, in_part]);
            memory.begin();
            let report = scene.run();
            let plan = report.plan.as_ref().unwrap();
            scene.check(plan, MILLION + 1);
            // The one that matters most is among them.
            let mut warnings = plan.header().warnings.iter();
            assert!(warnings.any(|warning| matches!(warning, Warning::PartialSource { .. })));
        },
    );
}

/// The graph keeps each id with its name: about 100 bytes.
#[test]
fn a_million_contradictions_are_counted_and_the_plan_does_not_depend_on_their_order() {
    alone(
        "warnings::a_million_contradictions_are_counted_and_the_plan_does_not_depend_on_their_order",
        400,
        |memory| {
            memory.begin();
            let digests = [false, true].map(|is_reversed| {
                let scene = Scene::new(0, vec![doubtful(MILLION, is_reversed, ReadEnd::complete())]);
                let report = scene.run();
                let plan = report.plan.as_ref().unwrap();
                // The contradictions, and that the directory is partial for them.
                scene.check(plan, MILLION + 1);
                plan.digest()
            });
            assert_eq!(digests[0], digests[1]);
        },
    );
}
