//! Tenants with equal ids in one file.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use usersync::connector::ActorState;
use usersync::engine::RunRequest;
use usersync::memory::{Fault, FaultRule, ManualClock, MemoryStore, Moment};
use usersync::model::TenantId;
use usersync::reconcile::{Guards, Mode, Policy, Share, Window};
use usersync::store::Log;
use usersync_tests::edit::{Edit, Pick, cases, edits, mode};
use usersync_tests::{Crash, DurableStore, LEASE, World, WorldStore, crash, free_policy, job, tenant, user};

/// Changes, at which call the process dies, and whether another is started.
type Stage = (Vec<Edit>, Option<u64>, bool);

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let stage = (edits(8), proptest::option::of(1..80_u64), any::<bool>());
    proptest::collection::vec(stage, 1..5)
}

fn tenants() -> [TenantId; 2] {
    [tenant(), TenantId::new("umbrella").expect("an id")]
}

fn policy(mode: Mode) -> Policy {
    let share = Share { percent: 0, floor: 4 };
    let guards = Guards {
        window: Some(Window { hours: 6, share }),
        ..free_policy(mode).guards
    };
    Policy {
        guards,
        grace_hours: Some(3),
        ..free_policy(mode)
    }
}

/// A tenant in a place of its own, or beside another one.
fn build<S: WorldStore>(id: &TenantId, mode: Mode, make: impl FnOnce(&ManualClock) -> S) -> World<S> {
    let mut world = usersync_tests::edit::world().build_over(make);
    world.tenant = id.clone();
    world.actors.set(id, user("boss"), ActorState::Active);
    world.restart();
    let mut job = World::new_job("sync", policy(mode));
    job.tenant = id.clone();
    world.save(&job);
    world
}

fn play<S: WorldStore>(world: &mut World<S>, (edits, kill, restarts): &Stage) {
    world.edit(edits);
    world.clock.advance(Duration::from_secs(3600));
    if let Some(call) = kill {
        let call = world.faults.calls() + call;
        world
            .faults
            .inject(FaultRule::new(Fault::Hang(Moment::After)).at_call(call));
    }
    let run = crash(
        world
            .engine()
            .run(&world.tenant, &job("sync"), RunRequest::everything()),
    );
    world.faults.heal();
    if *restarts || matches!(run, Crash::Stopped) {
        world.clock.advance(LEASE * 2);
        world.restart();
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// Each of two tenants with equal ids in one file ends as if it were alone, in memory; also where their processes die.
    #[test]
    fn promise_24_tenants_in_one_file_end_as_if_alone(
        mode in mode(),
        first in stages(),
        second in stages(),
        is_hosted in any::<bool>(),
    ) {
        let both = [&first, &second];
        let make = if is_hosted { DurableStore::in_host_database } else { DurableStore::in_file };
        let [one, other] = tenants();
        let mut together = Vec::from([build(&one, mode, make)]);
        let file = together[0].store.clone();
        together.push(build(&other, mode, |clock| file.with_clock(clock)));
        for n in 0..first.len().max(second.len()) {
            for (world, stages) in together.iter_mut().zip(both) {
                if let Some(stage) = stages.get(n) {
                    play(world, stage);
                }
            }
        }
        for (world, stages) in together.iter().zip(both) {
            let mut alone = build(&world.tenant, mode, |clock| MemoryStore::new(Arc::new(clock.clone())));
            stages.iter().for_each(|stage| play(&mut alone, stage));
            prop_assert_eq!(world.end(), alone.end());
            prop_assert_eq!(world.audit(), alone.audit());
            prop_assert_eq!(world.notifier.delivered(), alone.notifier.delivered());
            prop_assert_eq!(world.log_len(Log::Outbox), alone.log_len(Log::Outbox));
        }
        file.assert_sound();
    }
}

/// The same with a thread for each, so that they meet at the file.
#[test]
fn promise_24_tenants_at_once_in_one_file_end_as_if_alone() {
    let stages: Vec<Stage> = (0..12_u8)
        .map(|n| {
            let edits = vec![
                Edit::Join(n % 4, Pick::User(n % 6)),
                Edit::Select(n % 3, vec![Pick::Group(n % 4)], vec![]),
                Edit::Leave(n % 3, Pick::User(n % 5)),
            ];
            (edits, None, n % 3 == 0)
        })
        .collect();
    let [one, other] = tenants();
    let first = build(&one, Mode::Managed, DurableStore::in_file);
    let file = first.store.clone();
    let second = build(&other, Mode::Managed, |clock| file.with_clock(clock));
    let stages = &stages;
    let together: Vec<_> = thread::scope(|scope| {
        let threads = [first, second].map(|mut world| {
            scope.spawn(move || {
                stages.iter().for_each(|stage| play(&mut world, stage));
                world
            })
        });
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no world panics"))
            .collect()
    });
    for world in &together {
        let mut alone = build(&world.tenant, Mode::Managed, DurableStore::in_file);
        stages.iter().for_each(|stage| play(&mut alone, stage));
        assert_eq!(world.end(), alone.end());
        assert_eq!(world.notifier.delivered(), alone.notifier.delivered());
        assert!(world.audit().len() > 3);
    }
    file.assert_sound();
}
