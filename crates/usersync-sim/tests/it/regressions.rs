//! What the simulator found, as small as it is.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::executor::block_on;
use futures::task::noop_waker;
use usersync_connector::{ActorState, TargetCapabilities};
use usersync_engine::{Engine, EngineError, Job, RunEnd, RunReport, RunRequest};
use usersync_memory::{
    CallKind, Fault, FaultRule, Faults, ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory,
    MemoryNotifier, MemoryStore, MemoryTarget, Moment,
};
use usersync_model::{
    Container, ContainerKind, ContainerRef, JobId, ObjectId, PartialKind, Principal, PrincipalKind,
    PrincipalRef, Selection, SystemId, TenantId,
};
use usersync_reconcile::{Guards, HoldCause, Mode, Policy};
use usersync_store::StateStore;

use crate::doubles::{FaultyStore, Wrong};

/// Ada and Bob are to be in the team.
struct Small {
    clock: ManualClock,
    store: MemoryStore,
    directory: MemoryDirectory,
    target: MemoryTarget,
    catalog: MemoryCatalog,
    actors: MemoryActors,
    tenant: TenantId,
    job: JobId,
    team: ContainerRef,
}

fn user(name: &str) -> PrincipalRef {
    PrincipalRef::parse("hr", name).expect("an id")
}

fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("an id")
}

impl Small {
    fn new() -> Self {
        let clock = ManualClock::default();
        let small = Self {
            store: MemoryStore::new(Arc::new(clock.clone())),
            clock,
            directory: MemoryDirectory::new(system("hr")),
            target: MemoryTarget::new(system("share"), TargetCapabilities::default()),
            catalog: MemoryCatalog::default(),
            actors: MemoryActors::new(),
            tenant: TenantId::new("acme").expect("an id"),
            job: JobId::new("members").expect("an id"),
            team: ContainerRef::parse("share", "team").expect("an id"),
        };
        small.actors.set(&small.tenant, user("boss"), ActorState::Active);
        for name in ["ada", "bob"] {
            let object = ObjectId::new(name).expect("an id");
            small
                .directory
                .put(Principal::new(object, PrincipalKind::User, name));
        }
        small.target.create_container(small.team.object.clone());
        let everybody = Selection::of([user("ada"), user("bob")]);
        let team = Container::new(small.team.clone(), ContainerKind::Team, "team", everybody);
        small.catalog.put(team);
        small.save(Guards::default());
        small
    }

    fn engine(&self, store: impl StateStore) -> Engine {
        self.engine_reading(store, self.directory.clone())
    }

    fn engine_reading(&self, store: impl StateStore, directory: MemoryDirectory) -> Engine {
        self.engine_over(store, directory, self.target.clone())
    }

    fn engine_over(
        &self,
        store: impl StateStore,
        directory: MemoryDirectory,
        target: MemoryTarget,
    ) -> Engine {
        Engine::builder(
            Arc::new(store),
            Arc::new(self.clock.clone()),
            Arc::new(self.catalog.clone()),
            Arc::new(self.actors.clone()),
            Arc::new(MemoryNotifier::new()),
        )
        .directory(Arc::new(directory))
        .target(Arc::new(target))
        .build()
    }

    fn job(&self, guards: Guards) -> Job {
        let policy = Policy {
            guards,
            ..Policy::new(Mode::Managed)
        };
        let (tenant, id) = (self.tenant.clone(), self.job.clone());
        Job::new(
            tenant,
            id,
            "members",
            [system("hr")],
            system("share"),
            user("boss"),
        )
        .with_policy(policy)
    }

    fn save(&self, guards: Guards) {
        let engine = self.engine(self.store.clone());
        block_on(engine.save_job(&self.job(guards))).expect("jobs can be saved");
    }

    fn members(&self) -> usize {
        self.members_of(&self.team)
    }

    fn members_of(&self, container: &ContainerRef) -> usize {
        self.target
            .members_of(&container.object)
            .map_or(0, |members| members.len())
    }

    /// A second container.
    fn add(&self, name: &str, selection: Selection) -> ContainerRef {
        let id = ContainerRef::parse("share", name).expect("an id");
        self.target.create_container(id.object.clone());
        self.catalog
            .put(Container::new(id.clone(), ContainerKind::Team, name, selection));
        id
    }

    fn run(&self, request: RunRequest) -> RunReport {
        let engine = self.engine(self.store.clone());
        block_on(engine.run(&self.tenant, &self.job, request)).expect("runs come to a report")
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

/// Seed 191 of the first simulator: a worker read a job, and before it took the lease the job was saved with another policy. The run
/// went by the old one, and the removals of the first plan after the change were not held.
#[test]
fn a_run_goes_by_the_job_as_it_is_under_its_lease() {
    let small = Small::new();
    let faults = Faults::default();
    let engine = small.engine(small.store.clone().with_faults(&faults));
    let run = || {
        let run = engine.run(&small.tenant, &small.job, RunRequest::everything());
        block_on(run).expect("runs come to a report")
    };
    assert_eq!(run().end, RunEnd::Changed);
    small.catalog.select(&small.team, Selection::of([user("ada")]));
    let (saver, other) = (
        small.engine(small.store.clone()),
        small.job(Guards {
            emptied: false,
            ..Guards::default()
        }),
    );
    let save = move || assert!(poll(pin!(saver.save_job(&other))).is_ready());
    faults.inject(FaultRule::meanwhile(save).on(CallKind::Acquire).once());
    assert_eq!(
        run().end,
        RunEnd::Held,
        "another policy holds the removals of the first plan"
    );
    assert_eq!(small.members(), 2);
}

/// Seed 171 of the second simulator: a worker stood still while its lease was being renewed. When it went on, the renewal had been
/// answered and had run out, too; it took the answer for good, and called the target although the job was somebody else's by then.
#[test]
fn a_renewal_that_ran_out_since_lets_nothing_begin() {
    let small = Small::new();
    let answers = Arc::new(AtomicBool::new(false));
    let late = FaultyStore::over(&small.store, Wrong::AnswersLate(Arc::clone(&answers)));
    let engine = small.engine(late);
    let mut run = pin!(engine.run(&small.tenant, &small.job, RunRequest::everything()));
    // It waits for the commit of its intents, and a third of the lease later for its renewal, too.
    assert!(poll(run.as_mut()).is_pending());
    small.clock.advance(Duration::from_secs(45));
    assert!(poll(run.as_mut()).is_pending());
    // It stands still for long. Somebody else has the job.
    small.clock.advance(Duration::from_secs(300));
    let other = small.engine(small.store.clone());
    let mut others = pin!(other.run(&small.tenant, &small.job, RunRequest::everything()));
    assert!(poll(others.as_mut()).is_ready());
    assert_eq!(small.members(), 2);
    let calls = small.target.calls().len();
    answers.store(true, Ordering::Relaxed);
    let ended = poll(run.as_mut());
    assert!(
        matches!(ended, Poll::Ready(Err(EngineError::LeaseLost(_)))),
        "{ended:?}"
    );
    assert_eq!(small.target.calls().len(), calls, "it calls nobody any more");
}

/// Seeds 7035, 30119, 60058, 70068 and 90092: the first run of a job was of a single container. The policy that it went by was not
/// remembered, so another one was not seen as such, and removed without asking.
#[test]
fn the_policy_of_a_first_run_of_one_container_is_remembered() {
    let small = Small::new();
    let first = small.run(RunRequest::container(small.team.clone()));
    assert_eq!(first.end, RunEnd::Changed);
    small.catalog.select(&small.team, Selection::of([user("ada")]));
    small.save(Guards {
        emptied: false,
        ..Guards::default()
    });
    assert_eq!(
        small.run(RunRequest::everything()).end,
        RunEnd::Held,
        "another policy holds the removals of the first plan"
    );
    assert_eq!(small.members(), 2);
}

/// Seeds 61, 87, 143, 174, 263 and 290: two containers selected each other, and whoever a guard held in one was wanted by the other for
/// that, and so by the first again: nobody could approve that they go.
#[test]
fn a_circle_shows_whom_a_guard_holds_in_it() {
    let small = Small::new();
    small.save(Guards {
        protected: [user("bob")].into(),
        ..Guards::default()
    });
    let (team, club) = (small.team.as_principal(), small.add("club", Selection::default()));
    small.catalog.select(&club, Selection::of([team.clone()]));
    let of_team = |picks: &[PrincipalRef]| {
        let picks = picks.iter().cloned().chain([club.as_principal()]);
        small.catalog.select(&small.team, Selection::of(picks));
    };
    of_team(&[user("ada"), user("bob")]);
    assert_eq!(small.run(RunRequest::everything()).end, RunEnd::Changed);
    of_team(&[user("ada")]);
    let held = small.run(RunRequest::everything());
    assert_eq!(held.end, RunEnd::Held);
    let plan = held.plan.expect("a plan");
    let holds = plan.sections().iter().flat_map(|section| &section.holds);
    assert!(
        holds
            .clone()
            .all(|hold| matches!(hold.cause, HoldCause::Protected(_)))
    );
    assert_eq!(holds.count(), 2, "in either of them");
    let engine = small.engine(small.store.clone());
    let held = plan.held_digest().expect("something waits");
    let hour = Duration::from_secs(3600);
    block_on(engine.approve(&small.tenant, &small.job, held, user("boss"), hour))
        .expect("it can be approved");
    assert_eq!(small.run(RunRequest::everything()).end, RunEnd::Changed);
    assert_eq!((small.members(), small.members_of(&club)), (1, 1));
    assert_eq!(small.run(RunRequest::everything()).end, RunEnd::InSync);
}

/// Seed 2486: somebody left the directory, and no complete read had missed them yet, when a container stopped selecting them and the
/// directory could not be read. They were taken out, although a read would have begun their grace.
#[test]
fn whom_a_failed_read_does_not_show_may_be_in_grace() {
    let small = Small::new();
    let policy = Policy {
        grace_hours: Some(48),
        ..Policy::new(Mode::Managed)
    };
    let job = small.job(Guards::default()).with_policy(policy);
    block_on(small.engine(small.store.clone()).save_job(&job)).expect("jobs can be saved");
    assert_eq!(small.run(RunRequest::everything()).end, RunEnd::Changed);
    small.directory.remove(&user("bob").object);
    small.catalog.select(&small.team, Selection::of([user("ada")]));
    let faults = Faults::default();
    let fault = Fault::Partial {
        shown: 0,
        kind: PartialKind::Unreadable,
    };
    faults.inject(FaultRule::new(fault).on(CallKind::Directory).once());
    let unlucky = small.engine_reading(small.store.clone(), small.directory.clone().with_faults(&faults));
    let run = block_on(unlucky.run(&small.tenant, &small.job, RunRequest::everything()));
    assert_eq!(run.expect("runs come to a report").end, RunEnd::Held);
    assert_eq!(small.members(), 2);
    assert_eq!(
        small.run(RunRequest::everything()).end,
        RunEnd::InSync,
        "his grace begins"
    );
    small.clock.advance(Duration::from_secs(48 * 3600));
    assert_eq!(small.run(RunRequest::everything()).end, RunEnd::Changed);
    assert_eq!(small.members(), 1);
}

/// Seed 4626: a job read a member as absent and was to forget its claim. Before it wrote that, another job added the member and gave up
/// its own claim, so that the row was again what was read; the claim was forgotten, and the member was nobody's for ever.
#[test]
fn a_row_that_is_again_what_it_was_is_not_the_same() {
    let small = Small::new();
    let mut more = small.job(Guards::default());
    more.id = JobId::new("more").expect("an id");
    let (engine, faults) = (small.engine(small.store.clone()), Faults::default());
    block_on(engine.save_job(&more)).expect("jobs can be saved");
    let run_more = |engine: &Engine| {
        let run = block_on(engine.run(&small.tenant, &more.id, RunRequest::everything()));
        run.expect("runs come to a report").end
    };
    assert_eq!(run_more(&engine), RunEnd::Changed);
    assert!(small.target.remove_by_hand(&small.team.object, &user("ada")));
    let select = |everybody: bool| {
        let ada = everybody.then(|| user("ada"));
        Selection::of([user("bob")].into_iter().chain(ada))
    };
    small.catalog.select(&small.team, select(false));
    let (catalog, team) = (small.catalog.clone(), small.team.clone());
    let (tenant, members) = (small.tenant.clone(), small.job.clone());
    let meanwhile = move || {
        for everybody in [true, false] {
            catalog.select(&team, select(everybody));
            let run = engine.run(&tenant, &members, RunRequest::everything());
            assert!(poll(pin!(run)).is_ready());
        }
    };
    faults.inject(FaultRule::meanwhile(meanwhile).on(CallKind::Commit).once());
    let slow = small.engine(small.store.clone().with_faults(&faults));
    let _ = run_more(&slow);
    assert_eq!(
        small.members(),
        2,
        "ada was added, and is claimed by the slow job alone"
    );
    assert_eq!(run_more(&slow), RunEnd::Changed);
    assert_eq!(small.members(), 1, "nobody selects her any more");
}

/// Found by the model of the protocol. A run confirmed what an earlier one had begun, and so wrote the member's row itself; then it
/// took the member out. Before it wrote that, another job added the member and gave up its own claim: the row said again what the run
/// had made of it, and was forgotten.
#[test]
fn a_row_of_its_own_that_is_again_what_it_was_is_not_the_same() {
    let small = Small::new();
    let mut more = small.job(Guards::default());
    more.id = JobId::new("more").expect("an id");
    let engine = small.engine(small.store.clone());
    block_on(engine.save_job(&more)).expect("jobs can be saved");
    let run_more = |engine: &Engine| {
        let run = block_on(engine.run(&small.tenant, &more.id, RunRequest::everything()));
        run.expect("runs come to a report").end
    };
    let faults = Faults::default();
    faults.inject(FaultRule::new(Fault::Timeout(Moment::After)).on(CallKind::Add));
    let unanswered = small.target.clone().with_faults(&faults);
    let deaf = small.engine_over(small.store.clone(), small.directory.clone(), unanswered);
    assert_eq!(run_more(&deaf), RunEnd::Failed);
    assert_eq!(small.members(), 2);
    let select = |everybody: bool| {
        let ada = everybody.then(|| user("ada"));
        Selection::of([user("bob")].into_iter().chain(ada))
    };
    small.catalog.select(&small.team, select(false));
    let (catalog, team, target) = (small.catalog.clone(), small.team.clone(), small.target.clone());
    let (tenant, members, done) = (small.tenant.clone(), small.job.clone(), AtomicBool::new(false));
    let meanwhile = move || {
        let there = target.members_of(&team.object).map_or(0, |members| members.len());
        if there != 1 || done.swap(true, Ordering::Relaxed) {
            return;
        }
        for everybody in [true, false] {
            catalog.select(&team, select(everybody));
            let run = engine.run(&tenant, &members, RunRequest::everything());
            assert!(poll(pin!(run)).is_ready());
        }
    };
    faults.heal();
    faults.inject(FaultRule::meanwhile(meanwhile).on(CallKind::Commit));
    let slow = small.engine(small.store.clone().with_faults(&faults));
    assert_eq!(run_more(&slow), RunEnd::Changed);
    assert_eq!(
        small.members(),
        2,
        "ada was added again, and is claimed by the slow job alone"
    );
    assert_eq!(run_more(&slow), RunEnd::Changed);
    assert_eq!(small.members(), 1, "nobody selects her any more");
}
