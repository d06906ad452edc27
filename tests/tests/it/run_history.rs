//! What is remembered of runs, and the list of jobs made of it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{ActorState, ErrorKind, Retry};
use usersync::engine::{
    Engine, EngineError, JobEntry, KeptPlan, NextRun, Options, RunControl, RunEnd, RunNumber, RunRecord,
    RunRequest, RunState, Scope, Trigger, Triggered, Waiting,
};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Container, ContainerKind};
use usersync::reconcile::{Mode, Plan, Policy, RenderOptions, render_table};
use usersync::store::{Key, StateStore, StoreErrorKind, Table, Transaction, Write};
use usersync_tests::{
    Crash, DurableStore, World, WorldStore, all, container, crash, free_policy, job, tenant, user,
};

fn world() -> World {
    World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

fn history(world: &World) -> Vec<RunRecord> {
    block_on(world.engine().history(&tenant(), &job("sync"), None, 1000)).expect("it can be read")
}

fn codes(world: &World) -> Vec<String> {
    history(world)
        .iter()
        .map(|record| record.code().to_owned())
        .collect()
}

fn plan_of(world: &World, run: RunNumber) -> Option<KeptPlan> {
    block_on(world.engine().plan_of(&tenant(), &job("sync"), run)).expect("it can be read")
}

fn entry(world: &World) -> JobEntry {
    let mut list = block_on(world.engine().job_list(&tenant())).expect("it can be read");
    assert_eq!(list.len(), 1);
    list.remove(0)
}

fn trigger(world: &World, trigger: Trigger, scope: Scope) -> Triggered {
    let control = RunControl::new();
    let (tenant, job, engine) = (tenant(), job("sync"), world.engine());
    block_on(engine.trigger(&tenant, &job, trigger, scope, &control)).expect("it comes to an answer")
}

fn engine_with(world: &World, change: impl FnOnce(&mut Options)) -> Engine {
    let mut options = Options::default();
    change(&mut options);
    Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .target(Arc::new(world.target.clone()))
    .options(options)
    .worker("sparing")
    .build()
}

fn stored_runs(world: &World) -> usize {
    let mut store = WorldStore::content(&world.store, &tenant());
    store.values.remove(&Table::Run).unwrap_or_default().len()
}

#[test]
fn runs_are_remembered_the_newest_first_with_their_plans() {
    let world = world();
    let first = world.run("sync");
    world.clock.advance(Duration::from_secs(60));
    let second = world.run("sync");
    let records = history(&world);
    assert_eq!(codes(&world), ["in_sync", "changed"]);
    assert_eq!(
        records.iter().map(|record| record.run).collect::<Vec<_>>(),
        [second.run, first.run]
    );
    assert!(records[0].started > records[1].started);

    let result = records[1].result().expect("it came to a report");
    let plan = first.plan.as_ref().expect("there was a plan");
    assert_eq!(result.plan, Some(plan.digest()));
    assert_eq!(result.summary, plan.summary());
    let counts: Vec<_> = result
        .outcomes
        .iter()
        .map(|one| {
            (
                one.action.as_str(),
                one.outcome.as_str(),
                one.recovered,
                one.count,
            )
        })
        .collect();
    assert_eq!(counts, [("add", "applied", false, 4)]);
    let kept = plan_of(&world, first.run).expect("it is kept");
    assert_eq!(&kept.plan, plan);
    assert_eq!((kept.digest, kept.dropped), (plan.digest(), 0));
    assert!(render_table(&kept.plan, &RenderOptions::default()).contains("ada"));
    assert_eq!(plan_of(&world, second.run), None, "there was nothing to say");

    let pages = |before| {
        block_on(world.engine().history(&tenant(), &job("sync"), before, 1)).expect("it can be read")
    };
    assert_eq!(pages(None), records[..1]);
    assert_eq!(pages(Some(second.run)), records[1..]);
    assert_eq!(pages(Some(first.run)), []);
}

#[test]
fn the_oldest_runs_are_forgotten_with_their_plans() {
    let world = world();
    let engine = engine_with(&world, |options| options.history = NonZeroUsize::new(3).unwrap());
    let run = |engine: &Engine| {
        block_on(engine.run(&tenant(), &job("sync"), RunRequest::everything()))
            .unwrap()
            .run
    };
    let mut runs = Vec::new();
    for round in 0..6 {
        match round % 2 {
            0 => world.join("staff", "cleo"),
            _ => world.leave("staff", "cleo"),
        }
        runs.push(run(&engine));
        let kept: Vec<_> = history(&world).iter().map(|record| record.run).collect();
        let wanted: Vec<_> = runs.iter().rev().take(3).copied().collect();
        assert_eq!(kept, wanted);
        assert_eq!(stored_runs(&world), 2 * wanted.len(), "with a plan for each");
    }
    assert_eq!(plan_of(&world, runs[2]), None);
    assert!(plan_of(&world, runs[3]).is_some());
    let engine = engine_with(&world, |options| options.history = NonZeroUsize::MIN);
    let last = run(&engine);
    assert_eq!(
        history(&world)
            .iter()
            .map(|record| record.run)
            .collect::<Vec<_>>(),
        [last]
    );
    assert_eq!(stored_runs(&world), 1);
}

#[test]
fn of_a_large_plan_what_is_held_is_kept() {
    let names: Vec<String> = (0..60).map(|n| format!("u{n:02}")).collect();
    let world = World::builder()
        .group("staff", &names.join(" "))
        .group("guests", &names[..20].join(" "))
        .container("team", "staff")
        .container("album", "guests")
        .job("sync", Policy::new(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    // The additions are many, and so are the removals that a guard holds.
    for name in &names[..15] {
        world.leave("guests", name);
    }
    for n in 0..300 {
        world.join("staff", &format!("v{n:03}"));
    }
    for (room, want_all_holds) in [(24 * 1024, true), (2000, false), (0, false)] {
        let world = world.fork();
        let engine = engine_with(&world, |options| options.history_plan = room);
        let report = block_on(engine.run(&tenant(), &job("sync"), RunRequest::everything())).unwrap();
        let plan: &Plan = report.plan.as_ref().unwrap();
        assert_eq!((plan.summary().additions, plan.summary().held), (300, 15));
        let kept = plan_of(&world, report.run).expect("some of it is kept");
        assert_eq!((kept.digest, kept.summary), (plan.digest(), plan.summary()));
        let holds = kept.plan.summary().held;
        assert_eq!(kept.plan.summary().operations(), 0);
        assert_eq!(kept.dropped, 300 + 15 - holds);
        assert_eq!(holds == 15, want_all_holds, "{holds} in {room} bytes");
        assert_eq!(kept.plan.held_digest() == plan.held_digest(), want_all_holds);
        let cut = serde_json::to_string(&kept).unwrap();
        assert!(cut.len() < room + 4000, "{} bytes", cut.len());
        assert_eq!(entry(&world).held, plan.held_digest().map(|digest| (digest, 15)));
    }
}

/// What holds an entry counts as well: its container, whose name may be of any length.
#[test]
fn of_a_plan_with_long_names_as_much_is_kept_as_has_room() {
    let long = "n".repeat(3000);
    let builder = World::builder().group("staff", "ada");
    let builder = (0..30).fold(builder, |builder, n| {
        let id = container(&format!("album{n:02}"));
        builder.add_container(Container::new(id, ContainerKind::Team, &long, all("staff")))
    });
    let world = builder.job("sync", Policy::new(Mode::Managed)).build();
    let _ = world.settle("sync");
    world.leave("staff", "ada");
    for room in [0, 2000, 20_000, 60_000] {
        let world = world.fork();
        let engine = engine_with(&world, |options| options.history_plan = room);
        let report = block_on(engine.run(&tenant(), &job("sync"), RunRequest::everything())).unwrap();
        let plan = report.plan.as_ref().unwrap();
        assert_eq!(plan.summary().held, 30);
        let kept = plan_of(&world, report.run).expect("some of it is kept");
        let most = room / long.len();
        let held = kept.plan.summary().held as usize;
        assert!(held <= most && held >= most / 2, "{held} in {room} bytes");
        let cut = serde_json::to_string(&kept).unwrap();
        assert!(cut.len() < room + 4000, "{} bytes in {room}", cut.len());
    }
}

/// A newer program, or a hand, wrote the record of a run in a way that this one does not read: it stays, and runs go on.
#[test]
fn a_record_that_cannot_be_read_keeps_no_run_from_its_end() {
    let world = world();
    let _ = world.run("sync");
    let _ = world.run("sync");
    let runs = WorldStore::content(&world.store, &tenant())
        .values
        .remove(&Table::Run);
    let mut keys: Vec<Key> = runs.expect("they are there").into_keys().collect();
    keys.retain(|key| key.parts().next() == Some("run"));
    let newest = keys.into_iter().min().expect("one is the newest");
    let mut transaction = Transaction::new(tenant());
    let bytes = b"from the future".to_vec();
    transaction.write(Write::Put {
        table: Table::Run,
        key: newest.clone(),
        bytes: bytes.clone(),
    });
    block_on(StateStore::commit(&world.store, transaction)).expect("the store works");
    assert_eq!(history(&world).len(), 1, "the other is told");
    assert_eq!(entry(&world).last.as_ref(), history(&world).first());
    world.join("staff", "cleo");
    let report = world.try_run("sync", RunRequest::everything()).expect("it ends");
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(history(&world).len(), 2);
    assert_eq!(entry(&world).last.map(|record| record.run), Some(report.run));
    let runs = WorldStore::content(&world.store, &tenant())
        .values
        .remove(&Table::Run);
    assert_eq!(runs.expect("they are there")[&newest], bytes, "it stays as it is");
}

#[test]
fn failed_and_refused_and_paused_runs_are_remembered() {
    let world = world();
    let plan = world.plan("sync");
    let _ = world.run("sync");
    let request = || RunRequest::everything().exactly(plan.clone());
    assert!(matches!(
        world.try_run("sync", request()),
        Err(EngineError::Stale(_))
    ));
    let unavailable = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world
        .faults
        .inject(FaultRule::new(unavailable).on(CallKind::State).once());
    assert!(matches!(
        world.try_run("sync", RunRequest::everything()),
        Err(EngineError::Connector(_))
    ));
    world.actors.set(&tenant(), user("boss"), ActorState::Inactive);
    assert_eq!(world.run("sync").end, RunEnd::Paused);
    assert_eq!(codes(&world), ["paused", "connector", "stale", "changed"]);
    let RunState::Failed { message, .. } = &history(&world)[2].state else {
        unreachable!("it was refused")
    };
    assert_eq!(
        message,
        "the plan is stale: the job has run since, or the plan was used; make a new one"
    );

    let store = FaultRule::new(Fault::StoreFailed(StoreErrorKind::Unavailable))
        .on(CallKind::Commit)
        .once();
    world.faults.inject(store);
    world.actors.set(&tenant(), user("boss"), ActorState::Active);
    world.join("staff", "cleo");
    assert!(world.try_run("sync", RunRequest::everything()).is_err());
    assert_eq!(codes(&world).len(), 4, "it could not be recorded");
}

/// Killed at any call, by hand or by schedule: each run is there once, and those that had begun are known as killed as soon as
/// another has ended.
#[test]
fn promise_14_a_killed_run_is_remembered_once_and_as_killed() {
    let (mut killed, mut unseen) = (0, 0);
    for (scheduled, moment) in [
        (false, Moment::Before),
        (false, Moment::After),
        (true, Moment::Before),
        (true, Moment::After),
    ] {
        for call in 1.. {
            let mut world = world();
            world.clock.advance(Duration::from_secs(24 * 3600));
            world
                .faults
                .inject(FaultRule::new(Fault::Hang(moment)).at_call(world.faults.calls() + call));
            let engine = world.engine().clone();
            let run = async {
                if scheduled {
                    let _ = engine.run_due(&tenant()).await.expect("jobs can be read");
                } else {
                    let name = job("sync");
                    let _ = engine
                        .run(&tenant(), &name, RunRequest::everything())
                        .await
                        .expect("it comes to a report");
                }
            };
            let is_over = matches!(crash(run), Crash::Ended(()));
            world.faults.heal();
            world.restart();
            let begun = history(&world);
            assert!(begun.len() <= 1);
            let listed = entry(&world);
            assert_eq!(listed.last.iter().chain(&listed.under_way).count(), begun.len());
            if let Some(under_way) = &listed.under_way {
                assert_eq!((under_way.worker.as_str(), under_way.code()), ("one", "begun"));
            }
            world.clock.advance(Duration::from_secs(3600));
            let next = world.run("sync");
            let records = history(&world);
            assert_eq!(records.len(), begun.len() + 1, "call {call}");
            assert_eq!(records[0].run, next.run);
            if let [record] = &begun[..] {
                let after = &records[1];
                assert_eq!(after.run, record.run);
                match &record.state {
                    RunState::Begun => {
                        killed += 1;
                        assert!(matches!(after.state, RunState::Killed { .. }), "{after:?}");
                    }
                    _ => assert_eq!(after, record),
                }
            } else {
                unseen += 1;
            }
            if is_over {
                break;
            }
        }
    }
    assert!(killed > 10 && unseen > 2, "{killed} killed, {unseen} not seen");
}

#[test]
fn a_run_without_changes_is_one_transaction_and_a_small_record() {
    let world = world();
    let _ = world.settle("sync");
    let runs = stored_runs(&world);
    let commits = || world.calls.count(CallKind::Commit);
    let before = commits();
    let _ = world.run("sync");
    assert_eq!(commits() - before, 1);
    assert_eq!(stored_runs(&world), runs + 1);
    let mut store = WorldStore::content(&world.store, &tenant());
    let values = store.values.remove(&Table::Run).unwrap_or_default();
    let largest = values.values().map(Vec::len).min();
    assert!(largest.is_some_and(|bytes| bytes < 600), "{largest:?} bytes");
}

#[test]
fn the_list_tells_of_last_and_next_runs() {
    let world = world();
    let new = entry(&world);
    assert_eq!(
        (new.last, new.under_way, new.held, new.pending),
        (None, None, None, Vec::new())
    );
    assert!(matches!(new.next, NextRun::Due(_)), "{:?}", new.next);
    let _ = block_on(world.engine().run_due(&tenant())).expect("jobs can be read");
    let listed = entry(&world);
    let last = listed.last.expect("it ran");
    assert_eq!((last.trigger, last.code()), (Trigger::Schedule, "changed"));
    let NextRun::At(next) = listed.next else {
        unreachable!("it has a schedule: {:?}", listed.next)
    };
    world.clock.set(next);
    assert_eq!(entry(&world).next, NextRun::Due(next));

    let by = user("boss");
    block_on(world.engine().pause_job(&tenant(), &job("sync"), by, "a fair")).expect("it can be paused");
    assert!(matches!(
        trigger(&world, Trigger::Save, Scope::container(container("team"))),
        Triggered::Waits(_)
    ));
    let listed = entry(&world);
    let NextRun::Waits(Waiting::Paused(pause)) = &listed.next else {
        unreachable!("it is paused: {:?}", listed.next)
    };
    assert_eq!(pause.why, "a fair");
    assert_eq!(listed.pending.len(), 1);
    assert_eq!(listed.pending[0].scope, Scope::container(container("team")));
    assert_eq!(listed.pending[0].trigger, Trigger::Save);
}

/// A run of one container does not hide what the last run of everything held.
#[test]
fn the_list_keeps_telling_of_what_waits() {
    let world = World::builder()
        .group("staff", "ada bob")
        .group("few", "ada")
        .container("team", "staff")
        .container("album", "few")
        .job("sync", Policy::new(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    assert_eq!(entry(&world).held, None);
    world.leave("staff", "ada");
    world.leave("staff", "bob");
    let held = world
        .run("sync")
        .plan
        .expect("there is a plan")
        .held_digest()
        .expect("the team would be empty");
    assert_eq!(entry(&world).held, Some((held, 2)));
    for _ in 0..20 {
        let ran = trigger(&world, Trigger::Save, Scope::container(container("album")));
        assert!(matches!(ran, Triggered::Ran { .. }));
    }
    let listed = entry(&world);
    assert_eq!(listed.last.expect("it ran").trigger, Trigger::Save);
    assert_eq!(listed.held, Some((held, 2)));
    world.approve("sync", held);
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(entry(&world).held, None);
}

/// While a run goes on, the list tells which worker runs it, and the runs of other tenants and jobs are not mixed in.
#[test]
fn the_list_tells_of_a_run_under_way() {
    let world = world();
    world.save(&World::new_job("sync2", free_policy(Mode::Managed)));
    world.faults.inject(
        FaultRule::new(Fault::Hang(Moment::Before))
            .on(CallKind::Add)
            .once(),
    );
    let other = world.new_engine("two");
    let (tenant, name, control) = (tenant(), job("sync"), RunControl::new());
    let mut run = Box::pin(other.trigger(&tenant, &name, Trigger::Manual, Scope::Everything, &control));
    let waker = futures::task::noop_waker();
    let polled = run.as_mut().poll(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending());
    world.faults.heal();
    let list = block_on(world.engine().job_list(&tenant)).expect("it can be read");
    let shown: Vec<_> = list
        .iter()
        .map(|entry| {
            (
                entry.job.id.as_str(),
                entry.under_way.as_ref().map(|run| run.worker.as_str()),
            )
        })
        .collect();
    assert_eq!(shown, [("sync", Some("two")), ("sync2", None)]);
    assert_eq!(list[0].pending, [], "what is under way does not wait");
}

/// What a process that is gone did stays known, over a file too.
#[test]
fn what_is_remembered_outlives_the_process() {
    let mut world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build_over(DurableStore::in_file);
    let first = world.run("sync");
    let second = world.run("sync");
    world.restart();
    let remembered = |world: &World<DurableStore>| {
        block_on(world.engine().history(&tenant(), &job("sync"), None, 10)).expect("it can be read")
    };
    let records = remembered(&world);
    let runs: Vec<_> = records.iter().map(|record| (record.run, record.code())).collect();
    assert_eq!(runs, [(second.run, "in_sync"), (first.run, "changed")]);
    let kept = block_on(world.engine().plan_of(&tenant(), &job("sync"), first.run)).expect("it can be read");
    assert_eq!(kept.map(|kept| kept.plan), first.plan);

    // Killed at its first effect.
    world.join("staff", "cleo");
    let hang = FaultRule::new(Fault::Hang(Moment::Before)).on(CallKind::Add);
    world.faults.inject(hang);
    let engine = world.engine().clone();
    let name = job("sync");
    let stopped = crash(engine.run(&tenant(), &name, RunRequest::everything()));
    assert!(matches!(stopped, Crash::Stopped));
    drop(engine);
    world.faults.heal();
    world.clock.advance(Duration::from_secs(3600));
    world.restart();
    let list = block_on(world.engine().job_list(&tenant())).expect("it can be read");
    assert!(list[0].under_way.is_some(), "no more is known");
    let _ = world.run("sync");
    let records = remembered(&world);
    let codes: Vec<_> = records.iter().map(|record| record.code()).collect();
    assert_eq!(codes, ["changed", "killed", "in_sync", "changed"]);
    assert_eq!(world.members("team"), "ada bob cleo");
}
