//! A directory tells that something changed.

use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::Clock;
use usersync::engine::{Engine, Job, RunControl, RunReport, Schedule, Scope, Trigger, Triggered, Waiting};
use usersync::memory::{CallKind, FaultRule};
use usersync::model::SystemId;
use usersync::reconcile::Mode;
use usersync_tests::records::RecordWorld;
use usersync_tests::yielding::{Workers, YieldingDirectory, YieldingStore};
use usersync_tests::{Crash, World, container, crash, free_policy, job, user};

/// Two jobs read `hr` and run only when asked to; one reads nothing.
fn world() -> World {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build();
    for name in ["sync", "other"] {
        world.save(&World::new_job(name, free_policy(Mode::Managed)).with_schedule(Schedule::manual()));
    }
    let share = container("team").system;
    let blind = Job::new(
        world.tenant.clone(),
        job("blind"),
        "blind",
        [],
        share,
        user("boss"),
    );
    world.save(&blind.with_schedule(Schedule::manual()));
    world
}

fn changed(world: &World, system: &str) -> String {
    let system = SystemId::new(system).expect("an id");
    let jobs = block_on(world.engine().changed(&world.tenant, &system)).expect("the store works");
    jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What runs because it is due.
fn due(world: &World) -> String {
    let ran = block_on(world.engine().run_due(&world.tenant)).expect("the jobs are listed");
    let show = |(id, report): &(_, Result<RunReport, _>)| {
        let report = report.as_ref().expect("the run comes to a report");
        format!("{id} {} {}", report.trigger, report.end.code())
    };
    ran.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_job_that_reads_the_system_runs_once_for_any_number_of_changes() {
    let world = world();
    assert_eq!(due(&world), "");
    assert_eq!(changed(&world, "hr"), "other sync");
    world.calls.clear();
    for _ in 0..3 {
        assert_eq!(changed(&world, "hr"), "other sync");
    }
    assert_eq!(
        world.calls.count(CallKind::Commit),
        0,
        "it is noted already, and nothing is written"
    );
    assert_eq!(due(&world), "other change changed, sync change in_sync");
    assert_eq!(due(&world), "");
    assert_eq!(changed(&world, "share"), "");
    assert_eq!(changed(&world, "crm"), "");
    assert_eq!(due(&world), "");
}

#[test]
fn jobs_of_records_follow_where_those_come_from() {
    let world = RecordWorld::builder()
        .job(RecordWorld::distribution("copies", "staff"))
        .job(RecordWorld::import("import", "north>n"))
        .build();
    let changed = |system: &str| {
        let system = SystemId::new(system).expect("an id");
        let jobs = block_on(world.engine().changed(&world.tenant, &system)).expect("the store works");
        jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(changed("hr"), "copies");
    assert_eq!(changed("book"), "copies import");
    assert_eq!(changed("share"), "");
}

#[test]
fn a_person_who_asks_too_is_the_one_to_ask_about() {
    let world = world();
    let _ = changed(&world, "hr");
    let next = block_on(world.engine().next_due(&world.tenant)).expect("the jobs are listed");
    assert_eq!(next, Some(world.clock.now()));
    let (sync, control) = (job("sync"), usersync::engine::RunControl::new());
    let scope = usersync::engine::Scope::Everything;
    let triggered = world
        .engine()
        .trigger(&world.tenant, &sync, Trigger::Manual, scope, &control);
    let _ = block_on(triggered).expect("the store works");
    assert_eq!(due(&world), "other change in_sync");
}

#[test]
fn a_paused_job_catches_up_when_it_is_resumed() {
    let world = world();
    let (engine, id) = (world.engine(), job("sync"));
    block_on(engine.pause_job(&world.tenant, &id, user("boss"), "moving")).expect("the store works");
    let _ = changed(&world, "hr");
    assert_eq!(due(&world), "other change changed");
    let agenda = block_on(engine.agenda(&world.tenant)).expect("the jobs are listed");
    let paused = agenda.iter().find(|entry| entry.job == id).expect("the job");
    assert!(
        paused.due.is_none() && matches!(paused.waiting, Some(Waiting::Paused(_))),
        "{paused:?}"
    );
    block_on(engine.resume_job(&world.tenant, &id, user("boss"), "moved")).expect("the store works");
    assert_eq!(due(&world), "sync change in_sync");
}

async fn run_due(engine: Engine) -> Vec<String> {
    let tenant = usersync_tests::tenant();
    let ran = engine.run_due(&tenant).await.expect("the jobs are listed");
    ran.iter().map(|(id, _)| id.to_string()).collect()
}

/// Changes that come while one of the jobs is under way are one more run of it, and that one sees them; the other job, which has
/// not begun, runs once.
#[test]
fn changes_during_a_run_are_one_more_run() {
    let world = world();
    let directory = YieldingDirectory::new(world.directory.clone(), 10);
    let engine = Engine::builder(
        Arc::new(YieldingStore(world.store.clone())),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(directory.clone()))
    .target(Arc::new(world.target.clone()))
    .build();
    let _ = changed(&world, "hr");
    let mut workers = Workers::default();
    let running = workers.add(run_due(engine));
    while directory.reads().begun.is_empty() {
        assert!(!workers.step(running));
    }
    for _ in 0..5 {
        assert!(!workers.step(running));
    }
    world.join("staff", "cleo");
    for _ in 0..3 {
        assert_eq!(changed(&world, "hr"), "other sync");
    }
    assert_eq!(workers.finish(&[]), [["other", "other", "sync"]]);
    assert_eq!(directory.reads().most, 1);
    assert_eq!(world.members("team"), "ada bob cleo");
    assert_eq!(due(&world), "");
}

/// Whenever the directory is read, it has changed again by the end of it.
fn restless(world: &World, times: u64) {
    let (engine, tenant) = (world.new_engine("feed"), world.tenant.clone());
    let hr = SystemId::new("hr").expect("an id");
    let change = move || {
        let noted = crash(engine.changed(&tenant, &hr));
        assert!(matches!(noted, Crash::Ended(Ok(_))));
    };
    let rule = FaultRule::meanwhile(change).on(CallKind::Directory);
    world.faults.inject(rule.times(times));
}

/// One look runs a job for what was noted before and for what was noted meanwhile, and then comes to the others.
#[test]
fn a_feed_that_never_rests_keeps_nobody_from_his_turn() {
    let world = world();
    restless(&world, 30);
    let _ = changed(&world, "hr");
    let twice = "other change changed, other change in_sync, sync change in_sync, sync change in_sync";
    assert_eq!(due(&world), twice);
    assert_eq!(due(&world), twice.replace("changed", "in_sync"));
    // Nor does a person wait for the feed to rest.
    let (sync, control) = (job("sync"), RunControl::new());
    let asked = world
        .engine()
        .trigger(&world.tenant, &sync, Trigger::Manual, Scope::Everything, &control);
    let Ok(Triggered::Ran { followed, .. }) = block_on(asked) else {
        unreachable!("nothing keeps it waiting")
    };
    assert_eq!(followed.len(), 1);
    world.faults.heal();
    assert_eq!(due(&world), "other change in_sync, sync change in_sync");
    assert_eq!(due(&world), "");
}
