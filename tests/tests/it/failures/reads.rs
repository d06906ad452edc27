//! Reads that show less than there is.

use std::time::Duration;

use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{RunEnd, RunReport, RunRequest};
use usersync::ldap::{IdAttribute, IdEncoding, LdifDirectory, LdifProfile};
use usersync::memory::{CallKind, Fault, FaultRule, MemoryDirectory, Moment};
use usersync::model::PartialKind;
use usersync::reconcile::{Guards, Policy, Warning};
use usersync_tests::{World, container, group, user};

use crate::failures::naive::{self, Deeds};
use crate::failures::{held, run_reading, system, warnings};

const STAFF: &str = "p01 p02 p03 p04 p05 p06 p07 p08 p09 p10 p11 p12";
const WITHOUT_P12: &str = "p01 p02 p03 p04 p05 p06 p07 p08 p09 p10 p11";

/// Twelve people in a group and, by it, in a team. The guards are those that every job has.
fn staffed() -> World {
    staffed_with(Guards::default())
}

fn staffed_with(guards: Guards) -> World {
    let policy = Policy {
        guards,
        ..Policy::default()
    };
    let world = World::builder()
        .group("staff", STAFF)
        .container("team", "staff")
        .job("sync", policy)
        .build();
    assert_eq!(world.settle("sync").end, RunEnd::InSync);
    assert_eq!(world.members("team"), STAFF);
    world
}

/// The same situation once for the naive synchronizer: what it did, and whom it left in the team.
fn naively(world: &World, fault: &Fault, kind: CallKind) -> (Deeds, String) {
    let fork = world.fork();
    fork.faults.inject(FaultRule::new(fault.clone()).on(kind));
    (naive::sync(&fork), fork.members("team"))
}

/// And once for ours.
fn run_with(world: &World, fault: &Fault, kind: CallKind) -> RunReport {
    world.faults.inject(FaultRule::new(fault.clone()).on(kind));
    let report = world.run("sync");
    assert!(world.faults.fired_in_all() > 0, "{fault:?} did not happen");
    world.faults.heal();
    report
}

/// What a 503, a time-out, a refusal, and a success without content look like, wherever something is read. Meanwhile somebody really
/// left; the first run after the outage takes out that one and nobody else.
#[test]
fn f01_an_error_answered_as_an_empty_list_removes_nobody() {
    let failed = |kind, retry| Fault::Failed { kind, retry };
    for (what, fault) in [
        ("a 503", failed(ErrorKind::Unavailable, Retry::Later)),
        ("a refusal", failed(ErrorKind::PermissionDenied, Retry::Never)),
        ("a time-out", Fault::Timeout(Moment::Before)),
        (
            "a connection that breaks",
            Fault::FailedAfter {
                shown: 0,
                kind: ErrorKind::Unavailable,
                retry: Retry::Later,
            },
        ),
        ("a success without content", Fault::Truncated { shown: 0 }),
    ] {
        for (kind, warning) in [
            (CallKind::Directory, "partial_source"),
            (CallKind::Containers, "partial_catalog"),
            (CallKind::Members, "partial_target"),
        ] {
            let world = staffed();
            world.leave("staff", "p12");

            let (deeds, left) = naively(&world, &fault, kind);
            if kind == CallKind::Members {
                assert_eq!(deeds.added, 11, "{what}: everybody is added once more");
            } else {
                assert_eq!((deeds.removed, &*left), (12, ""), "{what}: everybody is gone");
            }

            let report = run_with(&world, &fault, kind);
            assert!(report.operations.is_empty(), "{what} of {kind}: {report}");
            assert_eq!(world.members("team"), STAFF, "{what} of {kind}");
            assert!(
                warnings(&report).contains(warning),
                "{what} of {kind}: {report:?}"
            );
            let plan = report.plan.expect("a plan");
            assert_eq!(
                plan.held_digest(),
                None,
                "{what} of {kind}: nobody can approve it"
            );

            let report = world.run("sync");
            assert_eq!((report.end, report.operations.len()), (RunEnd::Changed, 1));
            assert_eq!(world.members("team"), WITHOUT_P12);
        }
    }
}

/// A connector that makes an empty list of an error itself, and says that this is all: nothing tells it from a directory that
/// lost everybody. Then a person decides.
#[test]
fn f01_an_empty_directory_that_claims_to_be_complete_empties_nothing_unasked() {
    let world = staffed();
    let nobody = MemoryDirectory::new(system("hr"));

    let naive = world.fork();
    assert_eq!(naive::sync_by(&naive, &naive::groups(&nobody)).removed, 12);

    let report = run_reading(&world, nobody);
    assert_eq!(report.end, RunEnd::Held);
    assert_eq!(held(&report), ["container_emptied"].into());
    assert_eq!(warnings(&report), ["missing_pick"].into());
    assert_eq!(world.members("team"), STAFF);

    assert_eq!(world.run("sync").end, RunEnd::InSync, "the outage is over");
}

/// Some groups, or some members of a group, are missing, and the read says so or breaks off: wherever that is, nobody goes.
#[test]
fn f02_a_part_of_the_groups_is_not_all_of_them() {
    let cut_short = |shown| Fault::PartialOf {
        object: group("staff").object,
        shown,
        kind: PartialKind::Unreadable,
    };
    let broken_off = |shown| Fault::Truncated { shown };
    let faults = (0..12).flat_map(|shown| {
        [
            (cut_short(shown), "partial_selection"),
            (broken_off(shown), "partial_source"),
        ]
    });
    let world = staffed();
    for (fault, warning) in faults {
        let (deeds, _) = naively(&world, &fault, CallKind::Directory);
        assert!(deeds.removed > 0, "{fault:?} costs somebody the membership");

        let fork = world.fork();
        let report = run_with(&fork, &fault, CallKind::Directory);
        assert_eq!(report.end, RunEnd::Held, "{fault:?}");
        assert_eq!(held(&report), ["incomplete_source"].into(), "{fault:?}");
        assert_eq!(warnings(&report), [warning].into(), "{fault:?}");
        assert_eq!(fork.members("team"), STAFF, "{fault:?}");
        let report = fork.run("sync");
        assert_eq!(
            (report.end, warnings(&report)),
            (RunEnd::InSync, [].into()),
            "{fault:?}"
        );
    }
}

/// Members that are missing at random from a read that claims to be complete. Many of them meet the guards, few of them a sentinel.
#[test]
fn f02_members_that_are_missing_at_random_wait_for_a_person() {
    let sentinels = Guards {
        sentinels: [user("p03")].into(),
        ..Guards::default()
    };
    for (guards, missing, cause) in [
        (
            Guards::default(),
            "p01 p03 p04 p06 p07 p09 p11",
            "container_shrinks",
        ),
        (sentinels, "p03 p08", "sentinel_missing"),
    ] {
        let world = staffed_with(guards);
        let forget = |world: &World| missing.split(' ').for_each(|who| world.depart(who));

        let naive = world.fork();
        forget(&naive);
        assert_eq!(naive::sync(&naive).removed, missing.split(' ').count());

        let outage = world.fork();
        forget(&outage);
        let report = outage.run("sync");
        assert_eq!(report.end, RunEnd::Held);
        assert_eq!(held(&report), [cause].into());
        assert_eq!(outage.members("team"), STAFF);
        for who in missing.split(' ') {
            outage.join("staff", who);
        }
        let report = outage.run("sync");
        assert_eq!((report.end, report.operations.len()), (RunEnd::InSync, 0));
        assert_eq!(outage.members("team"), STAFF);
    }
}

/// An export of a group of `count` people. Beyond 1,500 Active Directory shows no `member`, but `member;range=0-1499`.
fn export(count: usize) -> String {
    let mut file = String::new();
    for n in 0..count {
        file += &format!("dn: uid=u{n},dc=example\nobjectClass: inetOrgPerson\nid: u{n}\nuid: u{n}\n\n");
    }
    file += "dn: cn=all,dc=example\nobjectClass: groupOfNames\nid: all\n";
    let name = if count > 1500 {
        "member;range=0-1499"
    } else {
        "member"
    };
    if count > 1500 {
        file += "member:\n";
    }
    for n in 0..count.min(1500) {
        file += &format!("{name}: uid=u{n},dc=example\n");
    }
    file
}

/// The 1,501st member comes, and the attribute that the members were in is empty.
#[test]
fn f03_the_1501st_member_does_not_empty_the_group() {
    let mut profile = LdifProfile::default();
    profile.rules.ids = vec![IdAttribute::new("id", IdEncoding::Text)];
    let world = World::builder()
        .container("team", "all")
        .job("sync", Policy::default())
        .batch(1000)
        .build();
    let run = |export: String| {
        let directory = LdifDirectory::from_bytes(system("hr"), export.into_bytes());
        run_reading(&world, directory.with_profile(profile.clone()))
    };
    let members = || world.presence()["team"].len();
    assert_eq!(run(export(1500)).end, RunEnd::Changed);
    assert_eq!(members(), 1500);

    // Who looks for `member` finds nobody.
    let found = |export: &str| export.lines().filter(|line| line.starts_with("member: ")).count();
    assert_eq!((found(&export(1500)), found(&export(1501))), (1500, 0));

    // Whom the export shows is known to be a member. Nothing is known of the one whom it does not show, nor of whoever is shown no
    // more.
    let report = run(export(1501));
    assert!(report.operations.is_empty());
    assert_eq!((report.end, members()), (RunEnd::InSync, 1500));
    assert_eq!(warnings(&report), ["partial_selection"].into());
    let pushed_out = export(1501).replacen("member;range=0-1499: uid=u0,dc=example\n", "", 1);
    let report = run(pushed_out);
    assert_eq!((report.end, members()), (RunEnd::Held, 1500));
    assert_eq!(held(&report), ["incomplete_source"].into());

    // The group shrinks to what can be shown again, without u0.
    let small = export(1500).replacen("member: uid=u0,dc=example\n", "", 1);
    let report = run(small);
    assert_eq!((report.end, report.operations.len()), (RunEnd::Changed, 1));
    assert_eq!(members(), 1499);
}

/// A directory that is asked too often says nothing of who is there. The report says when to come again.
#[test]
fn f04_a_rate_limit_is_no_absence() {
    let world = staffed();
    let after = Duration::from_secs(90);
    let fault = Fault::RateLimited { after };

    let (deeds, left) = naively(&world, &fault, CallKind::Directory);
    assert_eq!((deeds.removed, &*left), (12, ""));

    let report = run_with(&world, &fault, CallKind::Directory);
    let [failed] = &report.failed_reads[..] else {
        unreachable!("one read failed: {:?}", report.failed_reads)
    };
    assert_eq!((failed.kind, failed.retry), ("rate_limited", Retry::After(after)));
    assert_eq!(held(&report), ["incomplete_source"].into());
    assert_eq!(world.members("team"), STAFF);
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// An answer about one person that comes back empty, when one container is saved: there is no such question to a directory. It is
/// read as a whole, and what it does not say is not taken for absence.
#[test]
fn f06_an_empty_answer_about_somebody_removes_nobody() {
    let world = staffed();
    world.calls.clear();
    for fault in [Fault::Truncated { shown: 0 }, Fault::Timeout(Moment::Before)] {
        assert_eq!(naively(&world, &fault, CallKind::Directory).0.removed, 12);
        world
            .faults
            .inject(FaultRule::new(fault).on(CallKind::Directory).once());
        let request = RunRequest::container(container("team"));
        let report = world.try_run("sync", request).expect("a run");
        let plan = report.plan.as_ref().expect("a plan");
        let is_partial = |warning: &Warning| matches!(warning, Warning::PartialSource { .. });
        assert!(plan.header().warnings.iter().any(is_partial));
        assert_eq!(world.members("team"), STAFF);
    }
    assert_eq!(world.calls.count(CallKind::Directory), 2);
    assert_eq!(world.calls.count(CallKind::Member), 0, "nobody was asked about");
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}
