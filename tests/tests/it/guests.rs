//! Members of a selected container whom no directory shows: people who were added by hand, and people who left and are held.

use std::num::NonZeroUsize;

use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{ReadOf, RunEnd, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{
    Absence, Activity, ContainerRef, PartialKind, Principal, PrincipalKind, Standing, Subject, UnknownMembers,
};
use usersync::reconcile::{Guards, Mode, Policy, Share};
use usersync_tests::{World, container, free_policy, group, user};

/// A crew of twelve, and an event for the crew and one more.
fn world(guards: Guards) -> World {
    let people: Vec<String> = (1..=12).map(|n| format!("p{n:02}")).collect();
    let world = World::builder()
        .group("staff", &people.join(" "))
        .group("outsider", "")
        .container("crew", "staff")
        .container("event", "outsider")
        .job(
            "sync",
            Policy {
                guards,
                ..Policy::default()
            },
        )
        .build();
    world.catalog.edit(&container("event"), |event| {
        event.selection.include.insert(container("crew").as_principal());
    });
    let _ = world.settle("sync");
    world
}

fn free() -> Guards {
    free_policy(Mode::Managed).guards
}

#[test]
fn a_guest_of_a_selected_container_is_a_member_of_what_selects_it() {
    let world = world(free());
    world.add_by_hand("crew", "guest");
    world.add_by_hand("event", "stranger");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert!(
        world.members("event").contains("guest"),
        "{}",
        world.members("event")
    );
    assert!(world.members("event").contains("stranger"));
    assert!(!world.members("crew").contains("stranger"));
    assert_eq!(world.run("sync").end, RunEnd::InSync);
    world.remove_by_hand("crew", "guest");
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert!(!world.members("event").contains("guest"));
    assert!(
        world.members("event").contains("stranger"),
        "nobody's business but theirs"
    );
}

/// What is said of a guest is what is planned for them.
#[test]
fn a_guest_is_explained_by_the_container_that_has_them() {
    let world = world(free());
    world.add_by_hand("crew", "guest");
    let explain = |container: &ContainerRef, who: &str| {
        let preview = world.planned("sync", &Scope::Everything);
        let planned = |operation: &usersync::reconcile::Operation| {
            operation.subject == Subject::Principal(user("guest"))
        };
        let sections = preview.plan().sections().iter();
        let is_added = sections
            .filter(|section| section.container == *container)
            .any(|section| section.operations.iter().any(planned));
        (
            is_added,
            preview.explain(container, &user(who)).expect("it is covered"),
        )
    };
    let event = container("event");
    let (is_added, why) = explain(&event, "guest");
    assert!(is_added);
    assert_eq!(why.absent, []);
    let selected = why.selected.expect("the guest is selected");
    assert_eq!(selected.standing, Standing::Yes);
    assert_eq!(selected.to_string(), "crew (share group) > hr:guest");
    // Of the crew itself, the guest is no more than a guest.
    let (_, why) = explain(&container("crew"), "guest");
    assert_eq!((why.selected, why.present), (None, Some(true)));
    assert_eq!(why.absent, [Absence::NotInDirectory, Absence::NotSelected]);
    let (_, why) = explain(&event, "stranger");
    assert_eq!(why.selected, None);
    // Where the directory that would show them was read in part, they are a guest or not.
    world.hide_directory_once();
    let (is_added, why) = explain(&event, "guest");
    assert!(!is_added);
    let selected = why.selected.map(|selected| selected.standing);
    assert_eq!(selected, Some(Standing::Unknown));
    assert!(
        matches!(why.absent[..], [Absence::Unknown(_)]),
        "{:?}",
        why.absent
    );
    // Excluded is excluded.
    world.catalog.edit(&event, |event| {
        event.selection.exclude.insert(user("guest"));
    });
    let (is_added, why) = explain(&event, "guest");
    assert!(!is_added);
    assert_eq!(why.selected, None);
    assert!(
        why.absent
            .iter()
            .any(|absence| matches!(absence, Absence::Excluded(_))),
        "{:?}",
        why.absent
    );
}

/// Found by the simulator (seed 3494). Somebody added a person by hand who is inactive, and the directory cannot be read: nobody knows
/// then that it would show them.
#[test]
fn promise_09_whom_a_failed_read_does_not_show_is_no_guest() {
    let world = world(free());
    let id = user("old");
    let old = Principal::new(id.object, PrincipalKind::User, "Old");
    world.directory.put(old.with_activity(Activity::Inactive));
    world.add_by_hand("crew", "old");
    let before = world.members("event");
    world.hide_directory_once();
    let _ = world.run("sync");
    assert_eq!(world.members("event"), before, "the directory was not read");
    let _ = world.run("sync");
    assert_eq!(world.members("event"), before, "the directory was read");
}

/// A guest of a selected container may be a guest of an excluded one, too: that one was read in part, and nobody but guests is selected.
#[test]
fn promise_09_a_guest_who_may_be_excluded_is_not_added() {
    let world = World::builder()
        .group("nobody", "")
        .container("crew", "nobody")
        .container("band", "nobody")
        .container("event", "nobody")
        .job("sync", free_policy(Mode::Managed))
        .build();
    world.catalog.edit(&container("event"), |event| {
        event.selection.include.insert(container("crew").as_principal());
        event.selection.exclude.insert(container("band").as_principal());
    });
    let _ = world.settle("sync");
    for name in ["crew", "band"] {
        world.add_by_hand(name, "guest");
    }
    let hidden = Fault::PartialOf {
        object: container("band").object,
        shown: 0,
        kind: PartialKind::Limit,
    };
    world.faults.inject(FaultRule::new(hidden).on(CallKind::Members));
    let _ = world.run("sync");
    assert_eq!(world.members("event"), "");
    world.faults.heal();
    let _ = world.settle("sync");
    assert_eq!(world.members("event"), "");
    world.remove_by_hand("band", "guest");
    let _ = world.settle("sync");
    assert_eq!(world.members("event"), "guest");
}

/// A run of the event alone reads the event, and the crew that it selects, which the run does not plan.
#[test]
fn whichever_read_of_members_fails_the_report_tells_of_it() {
    for portion in [None, NonZeroUsize::new(1)] {
        let mut failures = 0;
        loop {
            let mut world = world(free());
            if let Some(portion) = portion {
                world.set_portion(portion);
            }
            let (kind, retry) = (ErrorKind::Unavailable, Retry::Later);
            let rule = FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Members);
            world.faults.inject(rule.after(failures).once());
            let request = RunRequest::container(container("event"));
            let report = world.try_run("sync", request).expect("a run comes to a report");
            if world.faults.fired_in_all() == 0 {
                break;
            }
            failures += 1;
            let [failed] = &report.failed_reads[..] else {
                unreachable!("one read failed: {:?}", report.failed_reads)
            };
            assert_eq!(failed.what, ReadOf::Target(world.target_system()));
            assert_eq!((failed.kind, failed.retry), (kind.code(), retry));
        }
        assert_eq!(failures, 2, "in portions: {portion:?}");
    }
}

#[test]
fn an_excluded_guest_stays_away() {
    let world = world(free());
    world.add_by_hand("crew", "guest");
    world.catalog.edit(&container("event"), |event| {
        event.selection.exclude.insert(usersync_tests::user("guest"));
    });
    let _ = world.settle("sync");
    assert!(!world.members("event").contains("guest"));
}

/// Found by the simulator (seed 606122). A guest of the crew is named by a group that the event excludes, or by one within it, which names
/// them still although no directory shows them.
#[test]
fn a_guest_whom_an_excluded_group_names_stays_away() {
    for unknown_members in [UnknownMembers::Ignore, UnknownMembers::Partial] {
        for naming in ["banned", "inner"] {
            let world = world(free());
            let mut job = World::new_job("sync", free_policy(Mode::Managed));
            job.resolve.unknown_members = unknown_members;
            world.save(&job);
            for name in ["banned", "inner"] {
                world.put_group(name);
            }
            world
                .directory
                .add_member(&group("banned").object, &group("inner"));
            world.catalog.edit(&container("event"), |event| {
                event.selection.exclude.insert(group("banned"));
            });
            world.directory.add_member(&group(naming).object, &user("guest"));
            world.add_by_hand("crew", "guest");
            world.add_by_hand("crew", "other");
            let _ = world.settle("sync");
            let (members, told) = (world.members("event"), format!("{naming}, {unknown_members:?}"));
            assert!(!members.contains("guest"), "{told}: {members}");
            // Where the group may name somebody else than it seems to, nobody is known not to be excluded.
            let is_known = unknown_members == UnknownMembers::Ignore;
            assert_eq!(members.contains("other"), is_known, "{told}: {members}");
            let why = world.planned("sync", &Scope::Everything);
            let why = why
                .explain(&container("event"), &user("guest"))
                .expect("it is covered");
            assert_eq!(why.selected, None, "{told}");
        }
    }
}

#[test]
fn people_who_left_and_are_held_stay_in_what_selects_them_until_they_may_go() {
    let world = world(Guards {
        run: Some(Share {
            percent: 20,
            floor: 2,
        }),
        ..free()
    });
    for n in 1..=6 {
        world.depart(&format!("p{n:02}"));
    }
    let report = world.run("sync");
    assert_eq!(report.end, RunEnd::Held);
    let plan = report.plan.expect("a plan");
    let codes: Vec<_> = plan
        .sections()
        .iter()
        .flat_map(|section| {
            section
                .holds
                .iter()
                .map(|hold| (section.name.as_str(), hold.cause.code()))
        })
        .collect();
    assert_eq!(
        codes,
        [("crew", "run_limit"); 6],
        "the event only follows the crew"
    );
    world.approve("sync", plan.held_digest().expect("something waits"));
    assert_eq!(world.run("sync").end, RunEnd::Held, "six more go in the event");
    assert!(!world.members("crew").contains("p01"));
    let planned = world.planned("sync", &Scope::Everything);
    world.approve("sync", planned.plan().held_digest().expect("something waits"));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    assert!(!world.members("event").contains("p01"));
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}
