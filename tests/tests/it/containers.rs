//! Containers that are selected for others: chains, circles, exclusions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::Directory;
use usersync::engine::{RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryDirectory};
use usersync::model::{
    Activity, ContainerRef, GroupKind, PartialKind, Principal, PrincipalKind, PrincipalRef, Role,
    UnknownMembers,
};
use usersync::reconcile::{Guards, Mode, Policy, Share};
use usersync_tests::edit::{CONTAINERS, cases, edits, mode, world};
use usersync_tests::{World, container, free_policy, user};

type Filled = BTreeMap<ContainerRef, BTreeSet<PrincipalRef>>;

/// One container selects another.
#[derive(Clone, Copy, Debug)]
struct Nested {
    from: u8,
    to: u8,
    excludes: bool,
}

/// Any inclusions, circles too; or anything without a circle.
fn nestings() -> BoxedStrategy<Vec<Nested>> {
    let edge = |from, to, excludes| Nested { from, to, excludes };
    let circles = proptest::collection::vec((0..CONTAINERS, 0..CONTAINERS), 0..5);
    let chains = proptest::collection::vec((1..CONTAINERS, 0..CONTAINERS, any::<bool>()), 0..4);
    prop_oneof![
        circles.prop_map(move |edges| edges
            .into_iter()
            .map(|(from, to)| edge(from, to, false))
            .collect()),
        chains.prop_map(move |edges| edges
            .into_iter()
            .map(|(from, to, ex)| edge(from, to % from, ex))
            .collect()),
    ]
    .boxed()
}

fn nest(world: &World, edges: &[Nested]) {
    for Nested { from, to, excludes } in edges {
        let id = container(&format!("c{from}"));
        let pick = container(&format!("c{to}")).as_principal();
        world.catalog.edit(&id, |container| {
            let side = match excludes {
                true => &mut container.selection.exclude,
                false => &mut container.selection.include,
            };
            side.insert(pick);
        });
    }
}

/// Who is in each container when all is done: whom it selects, where a container stands for who is in it when all is done; and
/// who was there and stays. The least answer for circles, by going around.
fn fixpoint(world: &World, mode: Mode) -> Filled {
    let claims = world.claims();
    let present = world.present();
    let is_ours = |id: &ContainerRef, who: &PrincipalRef| {
        let row = claims.get(&(id.clone(), who.clone()));
        row.is_some_and(|(origin, _)| *origin == usersync::model::Origin::Ours)
    };
    let stays: Filled = present
        .iter()
        .map(|(id, members)| {
            let staying = members.iter().filter(|who| match mode {
                Mode::AddOnly => true,
                Mode::Managed => !is_ours(id, who),
                Mode::Mirror => false,
            });
            (id.clone(), staying.cloned().collect())
        })
        .collect();
    let mut filled = stays.clone();
    // Exclusions lead to containers with smaller numbers only, so that three rounds settle these and the rest follows.
    for _ in 0..40 {
        let mut next = Filled::new();
        for (id, staying) in &stays {
            let mut members = staying.clone();
            if let Some(container) = world.catalog.container(id) {
                let excluded = below(world, &container.selection.exclude, &filled);
                let mut selected = below(world, &container.selection.include, &filled);
                let guests = guests(world, &selected, &filled);
                selected.retain(|who| {
                    (is_active_user(world, who) || guests.contains(who)) && !excluded.contains(who)
                });
                members.extend(selected);
            }
            next.insert(id.clone(), members);
        }
        filled = next;
    }
    filled
}

/// Whom no directory shows, and who are in a container that was reached.
fn guests(world: &World, reached: &BTreeSet<PrincipalRef>, filled: &Filled) -> BTreeSet<PrincipalRef> {
    let members = reached
        .iter()
        .filter_map(|who| filled.get(&who.as_container()))
        .flatten();
    members
        .filter(|who| world.directory.principal(&who.object).is_none())
        .cloned()
        .collect()
}

fn is_active_user(world: &World, who: &PrincipalRef) -> bool {
    let known = world.directory.principal(&who.object);
    who.system.as_str() == "hr"
        && known.is_some_and(|known| !known.kind.is_group() && known.activity == Activity::Active)
}

fn below(world: &World, from: &BTreeSet<PrincipalRef>, filled: &Filled) -> BTreeSet<PrincipalRef> {
    let mut set = from.clone();
    loop {
        let before = set.len();
        for who in set.clone() {
            match who.system.as_str() {
                "share" => set.extend(filled.get(&who.as_container()).into_iter().flatten().cloned()),
                _ => set.extend(world.directory.members_of(&who.object)),
            }
        }
        if set.len() == before {
            return set;
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn containers_follow_those_that_they_select_in_one_run(
        mode in mode(),
        before in edits(14),
        stages in proptest::collection::vec((edits(8), nestings()), 1..4),
        with_changes in any::<bool>(),
    ) {
        let builder = world();
        let world = if with_changes { builder.with_changes() } else { builder }.build();
        let mut job = World::new_job("sync", free_policy(mode));
        job.resolve.unknown_members = UnknownMembers::Ignore;
        world.save(&job);
        world.edit(&before);
        let _ = world.settle("sync");
        for (stage, nesting) in stages {
            let plain: Vec<_> = (0..CONTAINERS)
                .map(|n| world.catalog.container(&container(&format!("c{n}"))).expect("a container"))
                .collect();
            world.edit(&stage);
            nest(&world, &nesting);
            let want = fixpoint(&world, mode);
            let report = world.run("sync");
            prop_assert!(report.is_ok(), "{:?}", report.plan);
            prop_assert_eq!(world.present(), want);
            prop_assert_eq!(world.run("sync").end, RunEnd::InSync);
            // The same again from a process that knows nothing.
            let fork = world.fork();
            prop_assert_eq!(fork.run("sync").end, RunEnd::InSync);
            for container in plain {
                world.catalog.put(container);
            }
        }
    }
}

#[test]
fn a_chain_of_share_groups_is_filled_in_one_run() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("c3", "@c2 -bob")
        .container("c2", "@c1")
        .container("c1", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(
        (
            &*world.members("c1"),
            &*world.members("c2"),
            &*world.members("c3")
        ),
        ("ada bob", "ada bob", "ada")
    );
    world.leave("staff", "ada");
    world.add_by_hand("c1", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!(
        (
            &*world.members("c1"),
            &*world.members("c2"),
            &*world.members("c3")
        ),
        ("bob", "bob", "")
    );
}

/// Two containers that exclude each other have no one answer: everything about them waits, and no approval helps.
#[test]
fn a_circle_through_an_exclusion_waits() {
    let world = World::builder()
        .group("staff", "ada bob")
        .container("one", "staff -@two")
        .container("two", "staff -@one")
        .container("last", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Held);
    let plan = report.plan.expect("a plan");
    let causes: BTreeSet<_> = plan
        .sections()
        .iter()
        .flat_map(|section| &section.holds)
        .map(|hold| hold.cause.code())
        .collect();
    assert_eq!(causes, BTreeSet::from(["undecidable"]));
    assert_eq!(plan.held_digest(), None);
    assert_eq!(
        (
            &*world.members("one"),
            &*world.members("two"),
            &*world.members("last")
        ),
        ("", "", "ada bob")
    );
    assert!(
        world
            .end()
            .ledger
            .keys()
            .all(|key| key.container == container("last"))
    );
    world.select("two", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert_eq!((&*world.members("one"), &*world.members("two")), ("ada", "bob"));
}

/// What the guard of a whole run holds in a share group stays there for those that select it, in the same plan.
#[test]
fn who_is_held_by_the_runs_guard_stays_for_those_that_select_the_group() {
    let guards = Guards {
        run: Some(Share { percent: 0, floor: 2 }),
        ..free_policy(Mode::Managed).guards
    };
    let policy = Policy {
        guards,
        ..Policy::default()
    };
    let world = World::builder()
        .group("staff", "ada bob cleo dan")
        .container("c1", "staff")
        .container("c2", "@c1")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    for who in ["ada", "bob", "cleo"] {
        world.leave("staff", who);
    }
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Held);
    let plan = report.plan.expect("a plan");
    assert_eq!(
        (plan.summary().removals, plan.summary().held),
        (0, 3),
        "only in c1 is there anything to hold"
    );
    assert_eq!(world.members("c2"), "ada bob cleo dan");
    // The approval is for the first group. What follows from it is too much for one run again, and waits for its own.
    world.approve("sync", plan.held_digest().expect("something waits"));
    let report = world.run("sync");
    assert_eq!(
        (&*world.members("c1"), &*world.members("c2")),
        ("dan", "ada bob cleo dan")
    );
    world.approve(
        "sync",
        report
            .plan
            .and_then(|plan| plan.held_digest())
            .expect("the rest waits"),
    );
    let _ = world.settle("sync");
    assert_eq!((&*world.members("c1"), &*world.members("c2")), ("dan", "dan"));
}

/// Who stays in a circle only because a guard holds them there is wanted by nobody for that: all of them wait, and one approval lets them
/// go. What is outside follows, and waits for its own where that is too much.
#[test]
fn whom_a_guard_holds_in_a_circle_waits_for_an_approval() {
    let shares = |container, run| Guards {
        container,
        run,
        ..free_policy(Mode::Managed).guards
    };
    let share = Some(Share {
        percent: 50,
        floor: 1,
    });
    let protected = Guards {
        protected: ["bob", "cleo", "dan"].map(usersync_tests::user).into(),
        ..shares(None, None)
    };
    let emptied = Guards {
        emptied: true,
        ..shares(None, None)
    };
    let cases = [
        ("container_emptied", emptied, "", "ada bob cleo dan"),
        ("container_shrinks", shares(share, None), "ada", "bob cleo dan"),
        ("protected_by_name", protected, "ada", "bob cleo dan"),
        ("run_limit", shares(None, share), "ada", "bob cleo dan"),
    ];
    for (code, guards, stay, go) in cases {
        let policy = Policy {
            guards,
            ..Policy::default()
        };
        let world = World::builder()
            .group("staff", "ada bob cleo dan")
            .container("one", "staff @two")
            .container("two", "@one")
            .container("self", "staff @self")
            .container("last", "@two")
            .job("sync", policy)
            .build();
        let _ = world.settle("sync");
        for who in go.split(' ') {
            world.leave("staff", who);
        }
        for _ in 0..2 {
            let report = world.run("sync");
            assert_eq!(report.end, RunEnd::Held, "{code}");
            let plan = report.plan.expect("a plan");
            let holds: BTreeSet<_> = plan
                .sections()
                .iter()
                .flat_map(|section| {
                    section
                        .holds
                        .iter()
                        .map(|hold| (&*section.name, hold.cause.code()))
                })
                .collect();
            let expected = ["one", "self", "two"].map(|name| (name, code));
            assert_eq!(holds, BTreeSet::from(expected));
            assert_eq!(world.members("last"), "ada bob cleo dan", "{code}");
        }
        let held = world.plan("sync").held_digest().expect("something waits");
        world.approve("sync", held);
        let _ = world.run("sync");
        let circle = || ["one", "self", "two"].map(|name| world.members(name));
        assert_eq!(circle(), [stay; 3], "{code}");
        if let Some(held) = world.plan("sync").held_digest() {
            world.approve("sync", held);
        }
        let _ = world.settle("sync");
        assert_eq!(world.members("last"), stay, "{code}");
        assert_eq!(world.run("sync").end, RunEnd::InSync, "{code}");
    }
}

/// Whoever is about to be wanted by a longer way around is not counted as somebody who goes, on which a guard could shut.
#[test]
fn no_guard_in_a_circle_counts_who_is_wanted_by_a_longer_way() {
    let guards = Guards {
        emptied: true,
        ..free_policy(Mode::Managed).guards
    };
    let policy = Policy {
        guards,
        ..Policy::default()
    };
    let world = World::builder()
        .group("staff", "ada bob")
        .container("one", "@two")
        .container("two", "@three")
        .container("three", "@one staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    world.leave("staff", "bob");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    let members = ["one", "two", "three"].map(|name| world.members(name));
    assert_eq!(members, ["ada"; 3]);
}

/// Where one container alone is saved, the others count as they are.
#[test]
fn a_single_container_takes_those_that_it_selects_as_they_are() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob")
        .container("c1", "staff")
        .container("c2", "@c1")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let save = |world: &World, name: &str| {
        world
            .try_run("sync", RunRequest::container(container(name)))
            .expect("a run");
        world.members(name)
    };
    assert_eq!(save(&world, "c2"), "");
    assert_eq!(save(&world, "c1"), "ada bob");
    assert_eq!(save(&world, "c2"), "ada bob");
    world.leave("staff", "bob");
    assert_eq!(save(&world, "c2"), "ada bob");
    world.add_by_hand("c1", "bob");
    world.remove_by_hand("c1", "ada");
    assert_eq!(save(&world, "c2"), "bob");
    let _ = world.settle("sync");
    assert_eq!((&*world.members("c1"), &*world.members("c2")), ("ada", "ada"));
}

/// A group of the target that the host does not list, such as one that people keep by hand, counts as it is, in runs of
/// everything as in runs of one container.
#[test]
fn a_selected_container_that_is_not_listed_counts_as_it_is() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada bob cleo")
        .container("team", "@friends")
        .container("rest", "staff -@friends")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world.target.create_container(container("friends").object);
    let expect = |world: &World, team: &str, rest: &str| {
        for fork in [world.fork(), world.fork()] {
            for name in ["team", "rest"] {
                let run = fork.try_run("sync", RunRequest::container(container(name)));
                assert!(run.expect("a run").is_ok());
            }
            assert_eq!((&*fork.members("team"), &*fork.members("rest")), (team, rest));
        }
        assert!(world.run("sync").is_ok());
        assert_eq!((&*world.members("team"), &*world.members("rest")), (team, rest));
        assert_eq!(world.run("sync").end, RunEnd::InSync);
    };
    expect(&world, "", "ada bob cleo");
    world.add_by_hand("friends", "ada");
    world.add_by_hand("friends", "bob");
    expect(&world, "ada bob", "cleo");
    world.remove_by_hand("friends", "ada");
    expect(&world, "bob", "ada cleo");
    // Where the list is not complete, it may be one that is to be changed: nothing is concluded from it.
    world.remove_by_hand("friends", "bob");
    let short = Fault::Partial {
        shown: 2,
        kind: PartialKind::Limit,
    };
    world
        .faults
        .inject(FaultRule::new(short).on(CallKind::Containers).once());
    let report = world.run("sync");
    assert!(report.operations.is_empty(), "{:?}", report.operations);
    expect(&world, "", "ada bob cleo");
    // One that is gone has nobody.
    world.target.remove_container(&container("friends").object);
    expect(&world, "", "ada bob cleo");
}

/// Who was in a container when it was looked at last says nothing of now, where the list does not show it.
#[test]
fn a_container_that_an_incomplete_list_hides_gives_nobody() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .container("all", "@zone")
        .container("zone", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build();
    let _ = world.settle("sync");
    assert_eq!((&*world.members("all"), &*world.members("zone")), ("ada", "ada"));
    world.select("zone", "");
    for name in ["all", "zone"] {
        world.remove_by_hand(name, "ada");
    }
    let short = Fault::Partial {
        shown: 1,
        kind: PartialKind::Limit,
    };
    let rule = FaultRule::new(short).on(CallKind::Containers);
    world.faults.inject(rule.once());
    let report = world.run("sync");
    assert!(report.operations.is_empty(), "{:?}", report.operations);
    assert_eq!((&*world.members("all"), &*world.members("zone")), ("", ""));
    assert!(world.run("sync").is_ok());
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// The system of the containers is a directory of the job, too, and a group of it has one of them as a member: that people may no longer be
/// added there by the job says nothing of who is in it.
#[test]
fn a_container_that_is_listed_no_more_keeps_its_members_for_those_that_reach_it_through_a_group() {
    let world = World::builder()
        .with_changes()
        .group("staff", "ada")
        .container("all", "@council")
        .container("zone", "staff")
        .build();
    let share = MemoryDirectory::new(world.target_system()).with_changes();
    for name in ["council", "zone"] {
        let kind = PrincipalKind::Group(GroupKind::UserGroup);
        share.put(Principal::new(container(name).object, kind, name));
    }
    share.add_member(&container("council").object, &container("zone").as_principal());
    let engine = world.engine_reading([
        Arc::new(world.directory.clone()) as Arc<dyn Directory>,
        Arc::new(share.clone()),
    ]);
    let mut job = World::new_job("sync", free_policy(Mode::Managed));
    job.sources.insert(world.target_system());
    block_on(engine.save_job(&job)).expect("the job can be saved");
    let run = || block_on(engine.run(&world.tenant, &job.id, RunRequest::everything())).expect("a run");
    assert!(run().is_ok());
    share.add_member(&container("zone").object, &user("ada"));
    assert!(run().is_ok());
    assert_eq!((&*world.members("all"), &*world.members("zone")), ("ada", "ada"));
    world.catalog.remove(&container("zone"));
    // The run that finds it out waits for what the next one reads.
    for end in [RunEnd::Held, RunEnd::InSync] {
        assert_eq!(run().end, end);
        assert_eq!((&*world.members("all"), &*world.members("zone")), ("ada", "ada"));
    }
    // Who leaves it is then seen.
    world.remove_by_hand("zone", "ada");
    share.remove_member(&container("zone").object, &user("ada"));
    assert!(run().is_ok());
    assert_eq!(world.members("all"), "");
    assert_eq!(run().end, RunEnd::InSync);
}

/// Users and events of an application that numbers both: whoever selects user 5 does not select event 5.
#[test]
fn a_container_with_the_id_of_a_user_is_not_that_user() {
    let world = World::builder()
        .container("ada", "bob")
        .container("team", "@ada")
        .group("staff", "bob")
        .build();
    let share = MemoryDirectory::new(world.target_system());
    for name in ["ada", "eve"] {
        share.put(Principal::new(container(name).object, PrincipalKind::User, name));
    }
    let ada = container("ada").as_principal();
    let engine = world.engine_reading([
        Arc::new(world.directory.clone()) as Arc<dyn Directory>,
        Arc::new(share.clone()),
    ]);
    let mut job = World::new_job("sync", free_policy(Mode::Managed));
    job.sources.insert(world.target_system());
    block_on(engine.save_job(&job)).expect("the job can be saved");
    let run = || block_on(engine.run(&world.tenant, &job.id, RunRequest::everything())).expect("a run");
    for _ in 0..2 {
        let report = run();
        assert!(report.is_ok(), "{report:?}");
        assert_eq!(report.plan.expect("a plan").header().warnings, []);
        let members = world
            .target
            .members_of(&container("team").object)
            .expect("the team");
        let members: Vec<_> = members.into_iter().map(|member| member.principal).collect();
        assert_eq!(members, std::slice::from_ref(&ada));
        assert_eq!(world.members("ada"), "bob");
    }
}

/// Whatever role the job gave somebody, who is wanted by nobody else does not keep himself in a container that selects itself.
#[test]
fn nobody_stays_in_a_container_that_selects_itself_by_the_role_that_he_has() {
    for role in [Role::Member, Role::Manager] {
        let world = World::builder()
            .group("staff", "ada bob")
            .container("team", "staff @team")
            .job("sync", free_policy(Mode::Managed))
            .build();
        world
            .catalog
            .edit(&container("team"), |team| team.role = role.clone());
        let _ = world.settle("sync");
        world.leave("staff", "bob");
        let _ = world.settle("sync");
        let members = world
            .target
            .members_of(&container("team").object)
            .expect("the team");
        let members: Vec<_> = members.into_iter().map(|member| member.principal).collect();
        assert_eq!(members, [user("ada")], "{role}");
    }
}
