//! A reviewed plan has its effect once, in time, and on what it was made from; else it has none.

use std::time::Duration;

use proptest::prelude::*;
use usersync::connector::ActorState;
use usersync::engine::{EngineError, RunEnd, RunRequest};
use usersync::model::Subject;
use usersync::reconcile::{Action, Drift, Mode, Plan};
use usersync_tests::edit::{Edit, cases, edits, mode, world};
use usersync_tests::{Model, World, free_policy, user};

/// What happens between the review and the run that is to carry the plan out.
#[derive(Clone, Debug)]
enum Meanwhile {
    /// People and the directory go on.
    Edits(Vec<Edit>),
    /// The job runs by its schedule.
    Run,
    /// The plan is carried out.
    Use,
    /// The plan is carried out, and people undo all of it, so that the world looks as before.
    UseAndUndo,
    /// So many hours pass.
    Wait(u64),
}

fn meanwhile() -> impl Strategy<Value = Meanwhile> {
    prop_oneof![
        3 => edits(5).prop_map(Meanwhile::Edits),
        1 => Just(Meanwhile::Run),
        1 => Just(Meanwhile::Use),
        3 => Just(Meanwhile::UseAndUndo),
        2 => (0..48_u64).prop_map(Meanwhile::Wait),
    ]
}

/// How long a plan is good for.
const LIFETIME: u64 = 24;

fn carry_out(world: &World, plan: &Plan) {
    let request = RunRequest::everything().exactly(plan.clone());
    assert!(
        world
            .try_run("sync", request)
            .expect("the plan is current")
            .is_ok()
    );
}

fn undo(world: &World, plan: &Plan) {
    for section in plan.sections() {
        for operation in &section.operations {
            let Subject::Principal(who) = &operation.subject else {
                continue;
            };
            match operation.action {
                Action::Add(_) => world.target.remove_by_hand(&section.container.object, who),
                Action::Remove => world.target.add_by_hand(&section.container.object, who.clone()),
                _ => false,
            };
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn promise_12_a_plan_has_its_effect_once_and_on_what_it_was_made_from(
        mode in mode(),
        before in edits(14),
        after in edits(8),
        meanwhile in meanwhile(),
    ) {
        let world = world().job("sync", free_policy(mode)).build();
        world.edit(&before);
        let _ = world.settle("sync");
        world.edit(&after);
        let model = |world: &World| Model::of(world, "sync", mode, Drift::Restore);
        let seen = model(&world);
        let plan = world.plan("sync");
        let mut is_stale = false;
        match &meanwhile {
            Meanwhile::Edits(edits) => world.edit(edits),
            Meanwhile::Run => {
                is_stale = !seen.operations.is_empty();
                let _ = world.run("sync");
            }
            Meanwhile::Use | Meanwhile::UseAndUndo => {
                is_stale = !seen.operations.is_empty();
                carry_out(&world, &plan);
                if matches!(meanwhile, Meanwhile::UseAndUndo) {
                    undo(&world, &plan);
                }
            }
            Meanwhile::Wait(hours) => {
                is_stale = *hours >= LIFETIME;
                world.clock.advance(Duration::from_secs(hours * 3600));
            }
        }
        let now = model(&world);
        let is_untouched = match &meanwhile {
            Meanwhile::Edits(edits) => edits.is_empty(),
            Meanwhile::Wait(hours) => *hours < LIFETIME,
            _ => false,
        };
        let snapshot = world.snapshot();
        world.calls.clear();
        match world.try_run("sync", RunRequest::everything().exactly(plan)) {
            Ok(report) => {
                prop_assert!(!is_stale, "a plan that was used or expired was carried out");
                prop_assert_eq!(&seen.operations, &now.operations, "it is about another world");
                prop_assert!(report.is_ok(), "{}", report);
                prop_assert_eq!(world.present(), now.after);
            }
            Err(error) => {
                prop_assert!(!is_untouched, "nothing happened meanwhile: {}", error);
                prop_assert_eq!(world.calls.effects(), 0);
                prop_assert_eq!(world.snapshot(), snapshot);
            }
        }
    }
}

/// What a job that stood still would do is shown anew once it goes on.
#[test]
fn promise_12_a_plan_from_before_a_pause_is_stale() {
    let world = World::builder()
        .group("staff", "ada")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    world.join("staff", "bob");
    let plan = world.plan("sync");
    let boss = |state| world.actors.set(&world.tenant, user("boss"), state);
    boss(ActorState::Inactive);
    assert_eq!(world.run("sync").end, RunEnd::Paused);
    boss(ActorState::Active);
    let refused = world.try_run("sync", RunRequest::everything().exactly(plan));
    assert!(matches!(refused, Err(EngineError::Stale(_))), "{refused:?}");
    assert_eq!(world.members("team"), "ada");
    carry_out(&world, &world.plan("sync"));
    assert_eq!(world.members("team"), "ada bob");
}

/// The property above tries plans that look current in all but having been used.
#[test]
fn an_undone_plan_looks_as_it_did() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .job("sync", free_policy(Mode::Mirror))
        .build();
    let _ = world.settle("sync");
    world.add_by_hand("team", "eve");
    world.remove_by_hand("team", "bob");
    let plan = world.plan("sync");
    carry_out(&world, &plan);
    undo(&world, &plan);
    assert_eq!(world.plan("sync").digest(), plan.digest());
}
