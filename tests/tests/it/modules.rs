//! Jobs of single modules of an application: each covers the containers of some kinds of one target.

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::engine::{Job, RunEnd, RunRequest, Trigger};
use usersync::model::{Container, ContainerKind};
use usersync::reconcile::{Mode, Policy};
use usersync_tests::{World, all, container, free_policy, tenant};

fn job(name: &str, policy: &Policy, kinds: &[ContainerKind]) -> Job {
    World::new_job(name, policy.clone()).covering(kinds.iter().cloned())
}

fn put(world: &World, name: &str, kind: ContainerKind, picks: &str) {
    let made = Container::new(container(name), kind, name, all(picks));
    world.target.create_container(made.id.object.clone());
    world.catalog.put(made);
}

/// A share group for which everybody of the staff is selected, and an event and a project for which that group is.
fn world() -> World {
    let world = World::builder().group("staff", "ada bob").build();
    put(&world, "friends", ContainerKind::Group, "staff");
    put(&world, "party", ContainerKind::Event, "@friends");
    put(&world, "album", ContainerKind::PhotoAlbum, "@friends -ada");
    world
}

fn run_all(world: &World) -> Vec<(String, RunEnd)> {
    let reports = block_on(world.engine().run_all(&tenant(), Trigger::Manual)).expect("jobs can be read");
    reports
        .into_iter()
        .map(|(job, report)| (job.to_string(), report.expect("the run comes to a report").end))
        .collect()
}

#[test]
fn a_job_leaves_containers_of_other_kinds_alone() {
    let world = world();
    let policy = free_policy(Mode::Managed);
    world.save(&job("groups", &policy, &[ContainerKind::Group]));
    world.save(&job(
        "rest",
        &policy,
        &[ContainerKind::Event, ContainerKind::PhotoAlbum],
    ));
    world.save(&job("nothing", &policy, &[]));
    assert_eq!(world.run("nothing").end, RunEnd::InSync);
    assert_eq!(world.run("rest").end, RunEnd::InSync, "the group is empty as yet");
    assert_eq!(world.run("groups").end, RunEnd::Changed);
    let shown = |world: &World| ["friends", "party", "album"].map(|name| world.members(name));
    assert_eq!(shown(&world), ["ada bob", "", ""]);
    assert_eq!(world.run("rest").end, RunEnd::Changed);
    assert_eq!(shown(&world), ["ada bob", "ada bob", "bob"]);

    let report = world
        .try_run("groups", RunRequest::container(container("party")))
        .expect("the run comes to a report");
    let warnings = report.plan.expect("there is a plan").header().warnings.clone();
    assert_eq!(warnings.len(), 1, "the event is not the business of this job");
    assert_eq!(warnings[0].code(), "unlisted_container");
}

#[test]
fn jobs_of_groups_run_before_those_that_select_them() {
    let world = world();
    let policy = free_policy(Mode::Managed);
    world.save(&job("albums", &policy, &[ContainerKind::PhotoAlbum]));
    world.save(&job("events", &policy, &[ContainerKind::Event]));
    world.save(&job("groups", &policy, &[ContainerKind::Group]));
    let changed = |name: &str| (name.to_owned(), RunEnd::Changed);
    assert_eq!(run_all(&world), ["groups", "albums", "events"].map(changed));
    assert_eq!(world.members("party"), "ada bob");

    world.leave("staff", "bob");
    block_on(world.engine().changed(&tenant(), &"hr".parse().expect("an id"))).expect("it can be noted");
    let agenda = block_on(world.engine().agenda(&tenant())).expect("it can be read");
    let reads_target: Vec<bool> = agenda
        .iter()
        .map(|entry| entry.sources.contains(&entry.target))
        .collect();
    assert_eq!(reads_target, [false, true, true], "they wait for the groups");
    let reports = block_on(world.engine().run_due(&tenant())).expect("jobs can be read");
    let order: Vec<String> = reports.iter().map(|(job, _)| job.to_string()).collect();
    assert_eq!(order, ["groups", "albums", "events"]);
    assert_eq!(world.members("party"), "ada");
}

#[test]
fn other_kinds_are_another_policy() {
    let world = world();
    let policy = free_policy(Mode::Managed);
    let groups = job("groups", &policy, &[ContainerKind::Group]);
    let more = job("groups", &policy, &[ContainerKind::Group, ContainerKind::Event]);
    let all = World::new_job("groups", policy);
    let digests = [&groups, &more, &all].map(Job::policy_digest);
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);

    world.save(&groups);
    let _ = world.settle("groups");
    world.leave("staff", "ada");
    world.save(&more);
    assert_eq!(
        world.run("groups").end,
        RunEnd::Held,
        "removals of the first plan wait"
    );
    assert_eq!(world.members("friends"), "ada bob");
    let _ = world.settle("groups");
    assert_eq!(world.members("friends"), "bob");
    assert_eq!(world.members("party"), "bob");
}

/// What was done by one job of everything can be divided among jobs of its own.
#[test]
fn promise_08_a_narrower_job_hands_over_what_others_claim() {
    for narrow_first in [false, true] {
        let world = world();
        let policy = free_policy(Mode::Managed);
        world.save(&World::new_job("all", policy.clone()));
        let _ = world.settle("all");
        let narrow = || {
            world.save(&job("all", &policy, &[ContainerKind::Group]));
            let _ = world.settle("all");
        };
        if narrow_first {
            narrow();
            let row = world.row("party", "bob").expect("nobody else claims it");
            assert!(row.is_claimed_by(&usersync_tests::job("all")));
        }
        world.save(&job(
            "events",
            &policy,
            &[ContainerKind::Event, ContainerKind::PhotoAlbum],
        ));
        let _ = world.settle("events");
        narrow();
        let row = world.row("party", "bob").expect("the other job claims it");
        let claims: Vec<&str> = row.claims().iter().map(usersync::model::JobId::as_str).collect();
        assert_eq!(claims, ["events"], "narrowed first: {narrow_first}");
        let before = world.end();
        let _ = world.settle("all");
        assert_eq!(world.end(), before);

        world.leave("staff", "bob");
        let _ = run_all(&world);
        assert_eq!(
            ["friends", "party", "album"].map(|name| world.members(name)),
            ["ada", "ada", ""]
        );
    }
}

const KINDS: [ContainerKind; 3] = [ContainerKind::Event, ContainerKind::Poll, ContainerKind::Project];

#[derive(Clone, Debug)]
struct Step {
    group: usize,
    who: usize,
    joins: bool,
    /// What a container selects from now on: groups of the directory, share groups, and what is excluded of either.
    container: usize,
    picks: (u8, u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        0..3_usize,
        0..4_usize,
        any::<bool>(),
        0..7_usize,
        (0..8_u8, 0..8_u8, 0..64_u8),
    );
    let step = step.prop_map(|(group, who, joins, container, picks)| Step {
        group,
        who,
        joins,
        container,
        picks,
    });
    proptest::collection::vec(step, 1..12)
}

/// Containers 0 to 2 are share groups, which select share groups before them; the others select any.
fn name_of(place: usize) -> String {
    format!("c{place}")
}

fn kind_of(place: usize) -> ContainerKind {
    match place {
        0..=2 => ContainerKind::Group,
        _ => KINDS[place % 3].clone(),
    }
}

fn picks(step: &Step) -> String {
    let chosen = |bits: u8, at: usize| bits & (1 << at) != 0;
    let (directory, share, excluded) = step.picks;
    let below = step.container.min(3);
    let mut picks: Vec<String> = Vec::new();
    picks.extend(
        (0..3)
            .filter(|at| chosen(directory, *at))
            .map(|at| format!("g{at}")),
    );
    picks.extend(
        (0..below)
            .filter(|at| chosen(share, *at))
            .map(|at| format!("@c{at}")),
    );
    picks.extend(
        (0..3)
            .filter(|at| chosen(excluded, *at))
            .map(|at| format!("-g{at}")),
    );
    picks.extend(
        (0..below)
            .filter(|at| chosen(excluded, at + 3))
            .map(|at| format!("-@c{at}")),
    );
    picks.join(" ")
}

fn edit(world: &World, step: &Step) {
    let (group, who) = (format!("g{}", step.group), format!("u{}", step.who));
    match step.joins {
        true => world.join(&group, &who),
        false => world.leave(&group, &who),
    }
    world.select(&name_of(step.container), &picks(step));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// One job of everything, and one job for each kind, end at the same members after each step.
    #[test]
    fn jobs_of_their_own_end_where_one_job_of_everything_ends(steps in steps(), guest in 0..7_usize, mirror in any::<bool>()) {
        let policy = free_policy(if mirror { Mode::Mirror } else { Mode::Managed });
        let build = || {
            let world = World::builder().group("g0", "u0 u1").group("g1", "u2").group("g2", "").build();
            for place in 0..7 {
                put(&world, &name_of(place), kind_of(place), "");
            }
            // Somebody whom no directory shows.
            world.add_by_hand(&name_of(guest), "guest");
            world
        };
        let (one, many) = (build(), build());
        one.save(&World::new_job("all", policy.clone()));
        many.save(&job("c-rest", &policy, &KINDS[1..]));
        many.save(&job("d-groups", &policy, &[ContainerKind::Group]));
        many.save(&job("b-events", &policy, &KINDS[..1]));
        for step in &steps {
            for world in [&one, &many] {
                edit(world, step);
            }
            let _ = one.run("all");
            let _ = run_all(&many);
            let shown = |world: &World| -> BTreeMap<_, _> { world.presence() };
            prop_assert_eq!(shown(&many), shown(&one), "after {:?}", step);
        }
    }
}
