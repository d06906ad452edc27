//! Where a job of records must not take what looks settled for settled: leavers with contacts of their own, reads that break off,
//! guards during an outage, a source that goes back to what it was.

use std::collections::BTreeMap;
use std::time::Duration;

use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{ReadOf, RunControl, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{GroupKind, Origin, PartialKind, Principal, PrincipalKind, SystemId};
use usersync::reconcile::{FacetRule, FirstSight, Guards, Mode, Policy, RecordRules, Share};
use usersync_tests::records::{RecordWorld, contact, contact_id, own};
use usersync_tests::{container, free_policy, group, least_capability, user};

fn share() -> SystemId {
    SystemId::new("share").expect("an id")
}

/// A read of the target that fails after so many records.
fn broken_off(shown: usize, kind: ErrorKind) -> FaultRule {
    let retry = Retry::Later;
    FaultRule::new(Fault::FailedAfter { shown, kind, retry })
        .on(CallKind::Records)
        .system(share())
}

/// Whoever is no destination any more loses the copies, and nothing else, even where the job makes collections equal.
#[test]
fn a_mirror_that_leaves_takes_its_copies_alone() {
    let world = RecordWorld::builder()
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff").with_policy(free_policy(Mode::Mirror)))
        .build();
    world.put_contact("c1", "general:name=One");
    let _ = world.settle("share");
    world.put_by_hand("ada", own("mine", "general:name=Mine"));
    world.leave("staff", "ada");
    let _ = world.settle("share");
    assert_eq!(
        (world.names("ada").as_str(), world.names("bob").as_str()),
        ("mine=Mine", "c1=One")
    );
}

/// A collection that was seen to have records is there, even where reading on says it is not: nothing is forgotten.
#[test]
fn promise_09_a_page_that_is_not_found_forgets_nothing() {
    let world = RecordWorld::builder()
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    for name in ["c1", "c2"] {
        world.put_contact(name, "general:name=One");
    }
    let _ = world.settle("share");
    world.leave("staff", "ada");
    world.faults.inject(broken_off(1, ErrorKind::NotFound));
    let _ = world.run("share");
    assert!(world.row("ada", &contact_id("c2")).is_some(), "it was not shown");
    world.faults.heal();
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "");
}

/// A target that is out of order is not asked about every contact of everybody, nor by a run that was told to end.
#[test]
fn a_target_that_is_out_of_order_is_not_asked_about_every_record() {
    let asked = |prepare: &dyn Fn(&RecordWorld, &RunControl)| {
        let world = RecordWorld::builder()
            .staff("ada bob cleo dan")
            .job(RecordWorld::distribution("share", "staff"))
            .build();
        for name in ["c1", "c2", "c3"] {
            world.put_contact(name, "general:name=One");
        }
        let slow = Fault::Partial {
            shown: 0,
            kind: PartialKind::Limit,
        };
        let slow = FaultRule::new(slow).on(CallKind::Records);
        world.faults.inject(slow.system(share()));
        let control = RunControl::new();
        prepare(&world, &control);
        let request = RunRequest::everything().controlled_by(control);
        let report = world.try_run("share", request).expect("a report");
        (world.calls.count(CallKind::Record), report)
    };
    let hour = Retry::After(Duration::from_secs(3600));
    let (count, report) = asked(&|world, _| {
        let kind = ErrorKind::Unavailable;
        let dead = FaultRule::new(Fault::Failed { kind, retry: hour });
        world.faults.inject(dead.on(CallKind::Record));
    });
    assert_eq!(count, 1);
    let told = report.failed_reads.iter();
    let told: Vec<_> = told.map(|read| (&read.what, read.kind, read.retry)).collect();
    assert_eq!(told, [(&ReadOf::Target(share()), "unavailable", hour)]);
    let (count, report) = asked(&|world, control| {
        let cancel = control.clone();
        let cancelled = FaultRule::meanwhile(move || cancel.cancel()).on(CallKind::Records);
        world.faults.inject(cancelled.system(share()));
    });
    assert_eq!((count, report.end), (0, RunEnd::Cancelled));
    let (count, _) = asked(&|_, _| {});
    assert_eq!(count, 12);
}

/// A source that was seen to have records is not gone.
#[test]
fn a_page_of_the_source_that_is_not_found_pauses_nothing() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    for name in ["c1", "c2"] {
        world.put_contact(name, "general:name=One");
    }
    let (kind, retry) = (ErrorKind::NotFound, Retry::Later);
    let fault = Fault::FailedAfter {
        shown: 1,
        kind,
        retry,
    };
    let book = SystemId::new("book").expect("an id");
    world
        .faults
        .inject(FaultRule::new(fault).on(CallKind::Records).system(book));
    let report = world.run("share");
    assert_eq!((report.end, report.paused), (RunEnd::Changed, None));
    assert_eq!(world.names("ada"), "c1=One");
}

/// What a mode kept at the target goes once another mode decides, though neither side changed since.
#[test]
fn promise_02_another_mode_decides_anew_about_what_did_not_change() {
    let world = RecordWorld::builder()
        .staff("")
        .job(RecordWorld::import("import", "north>n"))
        .build();
    world.target.create_collection(container("n").object);
    let north = container("north").object;
    world.source.put_by_hand(
        Some(&north),
        contact("l1", "general:name=All;members:who={ada bob}"),
    );
    world.put_by_hand("n", contact("l1", "general:name=All;members:who={cleo}"));
    let _ = world.settle("import");
    let records = |world: &RecordWorld| world.target.records_of(Some(&container("n").object));
    let union = vec![contact("l1", "general:name=All;members:who={ada bob cleo}")];
    assert_eq!(records(&world), Some(union));
    world.save(&RecordWorld::import("import", "north>n").with_policy(free_policy(Mode::Mirror)));
    let _ = world.settle("import");
    let source = vec![contact("l1", "general:name=All;members:who={ada bob}")];
    assert_eq!(records(&world), Some(source));
}

/// A source that goes back to what it was when all was as it should be: the ledger is another one meanwhile.
#[test]
fn promise_02_a_source_that_goes_back_is_looked_at() {
    let rules = RecordRules::all(FacetRule {
        first_sight: Some(FirstSight::Import),
        ..FacetRule::default()
    });
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff").with_rules(rules))
        .build();
    world.put_contact("c1", "general:name=A");
    let _ = world.settle("share");
    world.put_by_hand("ada", contact("c1", "general:name=B"));
    let _ = world.settle("share");
    assert_eq!(world.run("share").end, RunEnd::InSync);
    assert_eq!(world.names("ada"), "c1=B", "a person's change stays");
    world.put_contact("c1", "general:name=B");
    let _ = world.run("share");
    world.put_contact("c1", "general:name=A");
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=A", "the source changed after both agreed");
}

/// A claim on what was there goes with the contact, however soon it goes.
#[test]
fn a_claim_goes_with_its_contact() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    world.put_by_hand("ada", contact("c2", "general:name=Two"));
    let _ = world.settle("share");
    world.put_contact("c2", "general:name=Two");
    let _ = world.run("share");
    assert!(world.row("ada", &contact_id("c2")).is_some());
    world.drop_contact("c2");
    let _ = world.settle("share");
    assert_eq!(world.row("ada", &contact_id("c2")), None);
    assert_eq!(world.names("ada"), "c1=One c2=Two");
}

/// What a guard holds is still held after a run that saw nothing of it.
#[test]
fn promise_10_an_outage_opens_no_guard() {
    let (percent, floor) = (50, 10);
    let of_container = Guards {
        container: Some(Share { percent, floor }),
        ..free_policy(Mode::Managed).guards
    };
    let (percent, floor) = (20, 2);
    let of_run = Guards {
        run: Some(Share { percent, floor }),
        ..free_policy(Mode::Managed).guards
    };
    let outages: BTreeMap<&str, Fault> = BTreeMap::from([
        (
            "failed",
            Fault::Failed {
                kind: ErrorKind::Unavailable,
                retry: Retry::Later,
            },
        ),
        (
            "missing",
            Fault::Failed {
                kind: ErrorKind::NotFound,
                retry: Retry::Never,
            },
        ),
        (
            "partial",
            Fault::Partial {
                shown: 0,
                kind: PartialKind::Unreadable,
            },
        ),
    ]);
    for guards in [of_container, of_run] {
        for (outage, fault) in &outages {
            let policy = Policy {
                guards: guards.clone(),
                ..Policy::default()
            };
            let world = RecordWorld::builder()
                .staff("ada")
                .job(RecordWorld::distribution("share", "staff").with_policy(policy))
                .build();
            for n in 0..12 {
                world.put_contact(&format!("c{n:02}"), "general:name=One");
            }
            let _ = world.settle("share");
            for n in 0..10 {
                world.drop_contact(&format!("c{n:02}"));
                world.put_contact(&format!("d{n:02}"), "general:name=One");
                for more in ["e", "f", "g", "h", "i"] {
                    world.put_contact(&format!("{more}{n:02}"), "general:name=One");
                }
            }
            assert_eq!(world.run("share").end, RunEnd::Held, "{outage}");
            world.faults.inject(
                FaultRule::new(fault.clone())
                    .on(CallKind::Records)
                    .system(share()),
            );
            let _ = world.run("share");
            world.faults.heal();
            assert_eq!(world.run("share").end, RunEnd::Held, "{outage}");
            assert!(world.names("ada").contains("c00"), "{outage}");
        }
    }
}

/// What another policy removes is shown by a run that looks everywhere.
#[test]
fn promise_10_another_policy_is_not_shown_where_nobody_looked() {
    let missing = Fault::Failed {
        kind: ErrorKind::NotFound,
        retry: Retry::Never,
    };
    for in_grace in [false, true] {
        let job = |mode| {
            RecordWorld::distribution("share", "staff").with_policy(Policy {
                grace_hours: Some(10),
                ..free_policy(mode)
            })
        };
        let world = RecordWorld::builder()
            .staff("ada bob")
            .job(job(Mode::Managed))
            .build();
        world.put_contact("c1", "general:name=One");
        let _ = world.settle("share");
        for n in 0..8 {
            world.put_by_hand("bob", own(&format!("mine{n}"), "general:name=Mine"));
        }
        world.save(&job(Mode::Mirror));
        if in_grace {
            world.directory.remove(&user("bob").object);
        } else {
            let rule = FaultRule::new(missing.clone()).on(CallKind::Records);
            world.faults.inject(rule.container(container("bob").object));
        }
        let _ = world.run("share");
        world.faults.heal();
        world.join("staff", "bob");
        let before = world.names("bob");
        let held = world.run("share");
        assert_eq!(held.end, RunEnd::Held, "in grace: {in_grace}: {held}");
        assert_eq!(world.names("bob"), before, "in grace: {in_grace}");
        let _ = world.settle("share");
        assert_eq!(world.names("bob"), "c1=One", "in grace: {in_grace}");
    }
}

/// A copy is on its way when nobody can tell whether its collection is a destination. It comes, and was wanted all the time.
#[test]
fn promise_16_a_copy_that_is_in_doubt_while_it_is_on_its_way_is_ours() {
    let kind = PartialKind::Limit;
    let group_in_part = |name| Fault::PartialOf {
        object: group(name).object,
        shown: 0,
        kind,
    };
    let doubts: [(&str, Option<Fault>); 4] = [
        ("exclusion", Some(group_in_part("banned"))),
        ("group", Some(group_in_part("staff"))),
        ("directory", Some(Fault::Partial { shown: 0, kind })),
        ("grace", None),
    ];
    for (doubt, fault) in doubts {
        let policy = Policy {
            grace_hours: Some(10),
            ..free_policy(Mode::Managed)
        };
        let world = RecordWorld::builder()
            .capabilities(least_capability())
            .staff("ada")
            .job(RecordWorld::distribution("share", "staff -banned").with_policy(policy))
            .build();
        let banned = PrincipalKind::Group(GroupKind::UserGroup);
        world
            .directory
            .put(Principal::new(group("banned").object, banned, "banned"));
        world.join("banned", "eve");
        world.put_contact("c1", "general:name=One");
        let lost = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Create);
        world.faults.inject(lost);
        let _ = world.run("share");
        world.faults.heal();
        match fault {
            Some(fault) => world.faults.inject(FaultRule::new(fault).on(CallKind::Directory)),
            None => drop(world.directory.remove(&user("ada").object)),
        }
        let held = world.run("share");
        assert_eq!(held.operations.len(), 0, "{doubt}: {held}");
        world.faults.heal();
        world.join("staff", "ada");
        world.put_by_hand("ada", contact("c1", "general:name=One"));
        let _ = world.settle("share");
        let origin = world.row("ada", &contact_id("c1")).map(|row| row.origin);
        assert_eq!(origin, Some(Origin::Ours), "{doubt}");
        assert_eq!(world.end().intents.len(), 0, "{doubt}");
    }
}

/// A copy whose answer was lost comes to a collection that is no destination any more by then: it goes like the others.
#[test]
fn a_copy_that_comes_after_its_destination_left_goes() {
    let world = RecordWorld::builder()
        .capabilities(least_capability())
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    let lost = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Create);
    world.faults.inject(lost.container(container("bob").object));
    let _ = world.run("share");
    world.faults.heal();
    world.leave("staff", "bob");
    let in_part = Fault::Partial {
        shown: 1,
        kind: PartialKind::Unreadable,
    };
    let book = SystemId::new("book").expect("an id");
    let read = FaultRule::new(in_part).on(CallKind::Records);
    world.faults.inject(read.system(book));
    let _ = world.run("share");
    world.faults.heal();
    world.put_by_hand("bob", contact("c1", "general:name=One"));
    let _ = world.settle("share");
    assert_eq!(world.names("bob"), "");
    assert_eq!(world.end().intents.len(), 0);
}

/// A change that empties a facet is on its way, and a read in part leaves the facet out: that is no sign of its effect.
#[test]
fn what_a_read_in_part_leaves_out_confirms_nothing() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff").with_rules(RecordRules::all(FacetRule::default())))
        .build();
    let full = "general:name=One;members:who={bob}";
    world.put_contact("c1", full);
    let _ = world.settle("share");
    world.put_contact("c1", "general:name=One;members:who={}");
    let lost = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Update);
    world.faults.inject(lost.once());
    let _ = world.run("share");
    let in_part = Fault::Partial {
        shown: 1,
        kind: PartialKind::Unreadable,
    };
    let read = FaultRule::new(in_part).on(CallKind::Records);
    world.faults.inject(read.system(share()));
    world.put_by_hand("ada", contact("c1", "general:name=One"));
    let _ = world.run("share");
    world.faults.heal();
    world.put_by_hand("ada", contact("c1", full));
    let _ = world.settle("share");
    let emptied = vec![contact("c1", "general:name=One;members:")];
    assert_eq!(
        world.target.records_of(Some(&container("ada").object)),
        Some(emptied)
    );
}

/// A system that fails for every collection is one failure, however many there are.
#[test]
fn a_target_that_fails_is_told_once() {
    let world = RecordWorld::builder()
        .staff("ada bob cleo")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    world.faults.inject(broken_off(0, ErrorKind::Unavailable));
    assert_eq!(world.run("share").failed_reads.len(), 1);
}
