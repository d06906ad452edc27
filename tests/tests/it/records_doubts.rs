//! Where a job of records must not take what looks settled for settled: leavers with contacts of their own, reads that break off,
//! guards during an outage, a source that goes back to what it was.

use std::collections::BTreeMap;

use usersync::connector::{ErrorKind, Retry};
use usersync::engine::RunEnd;
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{PartialKind, SystemId};
use usersync::reconcile::{FacetRule, FirstSight, Guards, Mode, Policy, RecordRules, Share};
use usersync_tests::records::{RecordWorld, contact, contact_id, own};
use usersync_tests::{container, free_policy};

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
            if *outage == "missing" && guards.run.is_some() {
                continue;
            }
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
