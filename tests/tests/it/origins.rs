//! Who put a member there, when answers are lost, processes die, and a person adds somebody meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use usersync::connector::TargetCapabilities;
use usersync::engine::RunRequest;
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Origin, PrincipalRef};
use usersync::reconcile::Mode;
use usersync::store::Table;
use usersync_tests::edit::cases;
use usersync_tests::{
    LEASE, World, container, crash, every_capability, free_policy, job, least_capability, tenant, user,
};

/// Everybody who is wanted.
const PEOPLE: [&str; 5] = ["u1", "u2", "u3", "u4", "u5"];

fn target() -> impl Strategy<Value = TargetCapabilities> {
    let every = every_capability();
    let without_key = TargetCapabilities {
        idempotency_key: false,
        ..every
    };
    let unconditional = TargetCapabilities {
        conditional_write: false,
        ..every
    };
    prop_oneof![
        Just(every),
        Just(without_key),
        Just(unconditional),
        Just(least_capability()),
        Just(TargetCapabilities::default()),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let moment = prop_oneof![1 => Just(Moment::Before), 2 => Just(Moment::After)];
    (moment, any::<bool>()).prop_map(|(moment, dies)| match dies {
        true => Fault::Hang(moment),
        false => Fault::Timeout(moment),
    })
}

/// A person adds `who` at this call of a run; tells whether that made a member.
fn add_by_hand(world: &World, who: &PrincipalRef, call: u64) -> Arc<AtomicBool> {
    let made: Arc<AtomicBool> = Arc::default();
    let (told, target, who) = (Arc::clone(&made), world.target.clone(), who.clone());
    let act = move || {
        let is_new = target.add_by_hand(&container("team").object, who.clone());
        told.store(is_new, Ordering::Relaxed);
    };
    let call = world.faults.calls() + call;
    world
        .faults
        .inject(FaultRule::meanwhile(act).at_call(call).once());
    made
}

/// Whether the journal has an addition of `who` whose outcome nobody knows.
fn is_open(world: &World, who: &PrincipalRef) -> bool {
    let intents = world.store.snapshot(&tenant()).values.remove(&Table::Intent);
    let name = format!("\"{}\"", who.object);
    let names = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(&name);
    intents.unwrap_or_default().values().any(names)
}

proptest! {
    #![proptest_config(cases(512))]

    /// What we added is ours, whatever became of the answer. What a person added is not; only where an addition of the same member
    /// came to an unknown outcome nobody can tell who was first.
    #[test]
    fn promise_16_whoever_put_a_member_there_is_on_record(
        target in target(),
        fault in fault(),
        victim in 0..PEOPLE.len(),
        times in 1..3_u64,
        adds in 0..PEOPLE.len(),
        call in 1..60_u64,
    ) {
        let mut world = World::builder()
            .capabilities(target)
            .batch(2)
            .group("staff", &PEOPLE.join(" "))
            .container("team", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let (victim, added) = (user(PEOPLE[victim]), user(PEOPLE[adds]));
        // Where both fall on one call, the person acts first.
        let made = add_by_hand(&world, &added, call);
        let rule = FaultRule::new(fault).on(CallKind::Add).principal(victim.clone()).times(times);
        world.faults.inject(rule);
        let before = world.faults.fired_in_all();
        let _ = crash(world.engine().run(&world.tenant, &job("sync"), RunRequest::everything()));
        let is_theirs = made.load(Ordering::Relaxed);
        let has_failed = world.faults.fired_in_all() - before > u64::from(is_theirs);
        let is_unclear = is_theirs && (is_open(&world, &added) || (added == victim && has_failed));
        world.faults.heal();
        world.clock.advance(LEASE * 2);
        world.restart();
        let _ = world.settle("sync");
        let mut theirs = Vec::new();
        for name in PEOPLE {
            let row = world.row("team", name).expect("everybody is claimed");
            let origin = if is_theirs && user(name) == added { Origin::Foreign } else { Origin::Ours };
            if user(name) != added || !is_unclear {
                prop_assert_eq!(row.origin, origin, "{}", name);
            }
            if row.origin == Origin::Foreign {
                theirs.push(name);
            }
        }
        // And so it is treated.
        world.select("team", "");
        let _ = world.settle("sync");
        prop_assert_eq!(world.members("team"), theirs.join(" "));
    }
}
