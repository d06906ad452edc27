//! Reading and planning in portions comes to what reading and planning everything at once comes to.

use std::num::NonZeroUsize;

use usersync::engine::RunEnd;
use usersync::reconcile::{Mode, Policy};
use usersync_tests::{World, container};

/// Containers that select a group, containers that select containers, and two that select each other.
fn world(policy: Policy) -> World {
    let staff: Vec<String> = (0..30).map(|number| format!("u{number:02}")).collect();
    World::builder()
        .group("staff", &staff.join(" "))
        .group("few", "u01 u02")
        .container("base", "staff")
        .container("all", "@base")
        .container("most", "@base -few")
        .container("far", "@all")
        .container("left", "@right few")
        .container("right", "@left u07")
        .container("plain", "staff")
        .container("empty", "few")
        .administrator("root")
        .job("sync", policy)
        .build()
}

/// What people do between two runs.
type Step = fn(&World);

const STEPS: [(&str, Step); 8] = [
    ("nothing", |_| ()),
    ("guests and drift", |world| {
        world.add_by_hand("base", "guest");
        world.add_by_hand("plain", "guest");
        world.remove_by_hand("most", "u09");
    }),
    ("somebody leaves", |world| world.leave("staff", "u10")),
    ("many leave", |world| {
        for number in 11..28 {
            world.leave("staff", &format!("u{number}"));
        }
    }),
    ("what is held is approved", |world| {
        if let Some(held) = world.plan("sync").held_digest() {
            world.approve("sync", held);
        }
    }),
    ("somebody departs", |world| world.depart("u05")),
    ("containers end", |world| {
        world.target.remove_container(&container("all").object);
        world.catalog.remove(&container("plain"));
    }),
    ("somebody is picked who is nobody", |world| {
        world.select("empty", "few ghost")
    }),
];

fn compare(policy: &Policy) {
    let mut ends = Vec::new();
    // A container alone, two of them, and more than there are with few members.
    for portion in [1, 600, 2000] {
        let mut parts = world(policy.clone());
        parts.set_portion(NonZeroUsize::new(portion).unwrap());
        let whole = world(policy.clone());
        for (what, step) in STEPS {
            step(&whole);
            step(&parts);
            let (one, other) = (whole.plan("sync"), parts.plan("sync"));
            assert_eq!(one.to_json(), other.to_json(), "{what}, portions of {portion}");
            let (one, other) = (whole.run("sync"), parts.run("sync"));
            let plans = [&one, &other].map(|report| report.plan.as_ref().unwrap().to_json());
            assert_eq!(plans[0], plans[1], "{what}, portions of {portion}");
            assert_eq!(
                one.to_string(),
                other.to_string(),
                "{what}, portions of {portion}"
            );
            assert_eq!(
                whole.snapshot(),
                parts.snapshot(),
                "{what}, portions of {portion}"
            );
            ends.push(one.end);
        }
    }
    assert!(ends.contains(&RunEnd::Changed), "{ends:?}");
}

#[test]
fn promise_01_portions_make_no_difference_to_a_plan() {
    for mode in [Mode::Managed, Mode::Mirror, Mode::AddOnly] {
        compare(&Policy::new(mode));
        compare(&Policy {
            grace_hours: Some(24),
            ..Policy::new(mode)
        });
    }
}
