//! What the simulator found, as small as it is.

use std::sync::Arc;

use futures::executor::block_on;
use usersync_connector::{ActorState, TargetCapabilities};
use usersync_engine::{Engine, Job, RunEnd, RunRequest};
use usersync_memory::{
    CallKind, FaultRule, Faults, ManualClock, MemoryActors, MemoryCatalog, MemoryDirectory, MemoryNotifier, MemoryStore,
    MemoryTarget,
};
use usersync_model::{
    Container, ContainerKind, ContainerRef, JobId, ObjectId, Principal, PrincipalKind, PrincipalRef, Selection, SystemId,
    TenantId,
};
use usersync_reconcile::{Guards, Mode, Policy};

/// Seed 191 of the first simulator: a worker read a job, and before it took the lease the job was saved with another policy. The run
/// went by the old one, and the removals of the first plan after the change were not held.
#[test]
fn a_run_goes_by_the_job_as_it_is_under_its_lease() {
    let faults = Faults::default();
    let clock = ManualClock::default();
    let store = MemoryStore::new(Arc::new(clock.clone()));
    let directory = MemoryDirectory::new(SystemId::new("hr").expect("an id"));
    let target = MemoryTarget::new(SystemId::new("share").expect("an id"), TargetCapabilities::default());
    let catalog = MemoryCatalog::default();
    let actors = MemoryActors::new();
    let tenant = TenantId::new("acme").expect("an id");
    let id = JobId::new("members").expect("an id");
    let user = |name: &str| PrincipalRef::parse("hr", name).expect("an id");
    let team = ContainerRef::parse("share", "team").expect("an id");
    actors.set(&tenant, user("boss"), ActorState::Active);
    for name in ["ada", "bob"] {
        let object = ObjectId::new(name).expect("an id");
        directory.put(Principal::new(object, PrincipalKind::User, name));
    }
    target.create_container(team.object.clone());
    let everybody = Selection::of([user("ada"), user("bob")]);
    catalog.put(Container::new(team.clone(), ContainerKind::Team, "team", everybody));
    let engine = Engine::builder(
        Arc::new(store.clone().with_faults(&faults)),
        Arc::new(clock),
        Arc::new(catalog.clone()),
        Arc::new(actors),
        Arc::new(MemoryNotifier::new()),
    )
    .directory(Arc::new(directory.clone()))
    .target(Arc::new(target.clone()))
    .build();
    let job = |guards: Guards| {
        let policy = Policy {
            guards,
            ..Policy::new(Mode::Managed)
        };
        let systems = [SystemId::new("hr").expect("an id")];
        let to = SystemId::new("share").expect("an id");
        Job::new(tenant.clone(), id.clone(), "members", systems, to, user("boss")).with_policy(policy)
    };
    block_on(engine.save_job(&job(Guards::default()))).expect("jobs can be saved");
    let run = || block_on(engine.run(&tenant, &id, RunRequest::everything())).expect("runs come to a report");
    assert_eq!(run().end, RunEnd::Changed);
    catalog.select(&team, Selection::of([user("ada")]));
    let (saver, other) = (engine.clone(), job(Guards {
        emptied: false,
        ..Guards::default()
    }));
    let save = move || block_on_nested(saver.save_job(&other));
    faults.inject(FaultRule::meanwhile(save).on(CallKind::Acquire).once());
    assert_eq!(run().end, RunEnd::Held, "another policy holds the removals of the first plan");
    assert_eq!(target.members_of(&team.object).expect("a container").len(), 2);
}

/// Everything is in memory, so it is ready at once.
fn block_on_nested<T>(future: impl Future<Output = T>) {
    let mut future = std::pin::pin!(future);
    let waker = futures::task::noop_waker();
    let polled = future.as_mut().poll(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_ready());
}
