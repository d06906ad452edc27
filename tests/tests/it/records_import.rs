//! Jobs that bring the records of a backend into a panel, organisation by organisation.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{JobKind, ReadOf, RunEnd, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{FacetName, Origin, PartialKind, SystemId};
use usersync::reconcile::{Direction, FacetRule, RecordRules, SetRule, What};
use usersync_tests::edit::cases;
use usersync_tests::records::edit::facets;
use usersync_tests::records::{RecordWorld, contact, contact_id, contents, facet, imported, own};
use usersync_tests::{container, least_capability, user};

/// Two organisations, a mailbox and a list in the first, a mailbox in the second.
fn world() -> RecordWorld {
    let world = RecordWorld::builder()
        .staff("")
        .job(RecordWorld::import("import", "north>n south>s"))
        .build();
    for organisation in ["n", "s"] {
        world.target.create_collection(container(organisation).object);
    }
    backend(
        &world,
        "north",
        "m1",
        "general:name=Ada;addresses:mail={ada@example.com}",
    );
    backend(&world, "north", "l1", "general:name=All;members:who={ada bob}");
    backend(&world, "south", "m2", "general:name=Bob;flow:limit=9");
    world
}

fn backend(world: &RecordWorld, organisation: &str, name: &str, facets: &str) {
    world
        .source
        .put_by_hand(Some(&container(organisation).object), contact(name, facets));
}

fn facet_of(world: &RecordWorld, organisation: &str, name: &str, which: &str) -> usersync::model::Facet {
    let records = world.target.records_of(Some(&container(organisation).object));
    let records = records.expect("a collection");
    let record = records.iter().find(|record| record.id == contact_id(name));
    let facets = &record.expect("a record").facets;
    facets[&FacetName::new(which).expect("a name")].clone()
}

#[test]
fn what_is_new_appears_and_what_differs_follows() {
    let world = world();
    assert_eq!(world.run("import").operations.len(), 3);
    assert_eq!(
        (world.names("n"), world.names("s")),
        ("l1=All m1=Ada".into(), "m2=Bob".into())
    );
    assert_eq!(world.run("import").end, RunEnd::InSync);
    backend(
        &world,
        "north",
        "m1",
        "general:name=Ada Example;addresses:mail={ada@example.com a@example.com}",
    );
    let report = world.run("import");
    assert_eq!(report.operations.len(), 1, "{report}");
    assert_eq!(world.names("n"), "l1=All m1=Ada Example");
}

/// What is gone from the backend stays, and is told every time; what the backend never had is not looked at.
#[test]
fn promise_11_what_is_gone_is_told_and_stays() {
    let world = world();
    world.put_by_hand("n", own("p1", "general:name=Panel"));
    let _ = world.settle("import");
    world
        .source
        .remove_by_hand(Some(&container("north").object), &contact_id("m1"));
    for _ in 0..2 {
        let report = world.run("import");
        assert_eq!(report.end, RunEnd::InSync);
        let plan = report.plan.expect("a plan");
        let findings: Vec<_> = plan
            .sections()
            .iter()
            .flat_map(|section| &section.findings)
            .collect();
        assert_eq!(findings.len(), 1);
        assert_eq!(
            (findings[0].what, findings[0].subject.to_string()),
            (What::AddOnly, "book:m1".into())
        );
    }
    assert_eq!(world.names("n"), "l1=All m1=Ada p1=Panel");
}

/// A facet that is empty or was not read clears nothing.
#[test]
fn promise_11_nothing_is_cleared() {
    let world = world();
    let _ = world.settle("import");
    let before = contents(&world);
    backend(&world, "north", "m1", "general:name=;addresses:mail={}");
    backend(&world, "north", "l1", "general:name=All");
    assert_eq!(world.run("import").end, RunEnd::InSync);
    assert_eq!(contents(&world), before);
}

/// A read in part of what the panel has may leave facets out: they are not written over.
#[test]
fn promise_11_what_a_read_in_part_leaves_out_is_not_written_over() {
    let world = RecordWorld::builder()
        .capabilities(least_capability())
        .staff("")
        .job(RecordWorld::import("import", "north>n"))
        .build();
    let whole = "general:name=All;members:who={cleo dan}";
    world.put_by_hand("n", contact("l1", whole));
    backend(
        &world,
        "north",
        "l1",
        "general:name=Everybody;members:who={ada bob}",
    );
    let show = |facets: &'static str| {
        let target = world.target.clone();
        move || {
            target.put_by_hand(Some(&container("n").object), contact("l1", facets));
        }
    };
    let read = |rule: FaultRule| {
        let share = SystemId::new("share").expect("an id");
        rule.on(CallKind::Records).system(share)
    };
    let in_part = Fault::Partial {
        shown: 1,
        kind: PartialKind::Unreadable,
    };
    world
        .faults
        .inject(read(FaultRule::meanwhile(show("general:name=All"))).once());
    world.faults.inject(read(FaultRule::new(in_part)));
    world
        .faults
        .inject(FaultRule::meanwhile(show(whole)).on(CallKind::Update).once());
    let report = world.run("import");
    assert_eq!(report.operations.len(), 1, "{report}");
    world.faults.heal();
    assert_eq!(world.names("n"), "l1=Everybody", "what was seen is written");
    let _ = world.settle("import");
    assert_eq!(
        facet_of(&world, "n", "l1", "members"),
        facet("who={ada bob cleo dan}")
    );
}

#[test]
fn sets_are_united_unless_the_job_says_replace() {
    let follow = FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    };
    let replace = FacetRule {
        sets: SetRule::Replace,
        ..follow
    };
    for (rule, expected) in [(follow, "who={ada bob cleo dan}"), (replace, "who={cleo}")] {
        let world = world();
        world.save(&RecordWorld::import("import", "north>n south>s").with_rules(RecordRules::all(rule)));
        let _ = world.settle("import");
        world.put_by_hand("n", contact("l1", "general:name=All;members:who={ada bob dan}"));
        backend(&world, "north", "l1", "general:name=All;members:who={cleo}");
        let _ = world.settle("import");
        assert_eq!(facet_of(&world, "n", "l1", "members"), facet(expected));
        backend(&world, "north", "l1", "general:name=All;members:who={}");
        let _ = world.settle("import");
        assert_eq!(
            facet_of(&world, "n", "l1", "members"),
            facet(expected),
            "an empty set replaces nothing"
        );
    }
}

/// A facet that is switched off is neither made nor changed.
#[test]
fn each_facet_can_be_switched_off() {
    let job = RecordWorld::import("import", "north>n south>s");
    let JobKind::Records(records) = &job.kind else {
        unreachable!("an import is about records")
    };
    let rules = records
        .rules
        .clone()
        .without(FacetName::new("flow").expect("a name"));
    let world = world();
    world.save(&job.with_rules(rules));
    let _ = world.settle("import");
    let records = world
        .target
        .records_of(Some(&container("s").object))
        .expect("a collection");
    assert_eq!(records[0].facets.len(), 1);
    backend(&world, "south", "m2", "general:name=Bob;flow:limit=10");
    assert_eq!(world.run("import").end, RunEnd::InSync);
}

/// What is there already is matched by its id, updated, and stays somebody else's.
#[test]
fn what_the_panel_has_is_matched_and_stays_foreign() {
    let world = world();
    world.put_by_hand("n", contact("m1", "general:name=Old"));
    let _ = world.settle("import");
    assert_eq!(world.names("n"), "l1=All m1=Ada");
    let row = world.row("n", &contact_id("m1")).expect("a row");
    assert_eq!(row.origin, Origin::Foreign);
}

/// One organisation that cannot be read leaves the others alone, at either side.
#[test]
fn promise_18_one_organisation_failing_leaves_the_others_alone() {
    for broken in ["north", "n"] {
        let world = world();
        let failed = Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry: Retry::Later,
        };
        world.faults.inject(
            FaultRule::new(failed)
                .on(CallKind::Records)
                .container(container(broken).object),
        );
        world.faults.inject(
            FaultRule::new(Fault::Failed {
                kind: ErrorKind::Unavailable,
                retry: Retry::Later,
            })
            .on(CallKind::Record),
        );
        let report = world.run("import");
        assert_eq!(
            (world.names("n").as_str(), world.names("s").as_str()),
            ("", "m2=Bob"),
            "{broken}"
        );
        assert!(matches!(report.failed_reads[0].what, ReadOf::Collection { .. }));
        let plan = report.plan.expect("a plan");
        assert!(
            plan.header()
                .warnings
                .iter()
                .any(|warning| warning.code() == "partial_collection")
        );
        world.faults.heal();
        let _ = world.settle("import");
        assert_eq!(world.names("n"), "l1=All m1=Ada");
    }
}

/// An organisation that is taken off the list keeps what it has, and is told of.
#[test]
fn an_organisation_off_the_list_keeps_what_it_has() {
    let world = world();
    let _ = world.settle("import");
    world.save(&RecordWorld::import("import", "north>n"));
    let report = world.settle("import");
    assert_eq!(report.end, RunEnd::InSync);
    let plan = report.plan.expect("a plan");
    assert!(
        plan.header()
            .warnings
            .iter()
            .any(|warning| warning.code() == "unlisted_container")
    );
    assert_eq!(world.names("s"), "m2=Bob");
    let only = world
        .try_run("import", RunRequest::container(container("n")))
        .expect("a report");
    assert_eq!(only.plan.expect("a plan").header().containers, 1);
}

#[test]
fn promise_25_each_effect_is_on_record_and_told_once() {
    let world = world();
    let report = world.run("import");
    let audit = futures::executor::block_on(world.engine().audit(&world.tenant)).expect("a log");
    assert_eq!(audit.len(), report.operations.len());
    assert!(audit.iter().all(|record| record.actor.principal == user("boss")));
    let told = world.notifier.delivered();
    let to: BTreeSet<_> = told.iter().map(|told| format!("{:?}", told.recipient)).collect();
    assert_eq!(
        (told.len(), to.len()),
        (3, 2),
        "one for each record, to either organisation"
    );
}

/// What people and the backend do: a record of an organisation, at either side, put or ended.
fn history() -> impl Strategy<Value = Vec<(bool, bool, u8, Option<String>)>> {
    let edit = (
        any::<bool>(),
        any::<bool>(),
        0..3_u8,
        prop::option::weighted(0.8, facets()),
    );
    proptest::collection::vec(edit, 0..10)
}

proptest! {
    #![proptest_config(cases(96))]

    /// Whatever happened, an import ends as the model says, and removes and clears nothing on the way.
    #[test]
    fn promise_11_an_import_is_as_the_model_says(rounds in proptest::collection::vec(history(), 1..4), off in any::<bool>()) {
        let world = world();
        let mut job = RecordWorld::import("import", "north>n south>s");
        let mut switched_off = BTreeSet::new();
        if off && let JobKind::Records(records) = &mut job.kind {
            let addresses = FacetName::new("addresses").expect("a name");
            records.rules = records.rules.clone().without(addresses.clone());
            switched_off.insert(addresses);
        }
        world.save(&job);
        for round in rounds {
            for (at_backend, north, n, facets) in round {
                let (side, place) = match (at_backend, north) {
                    (true, true) => (&world.source, "north"),
                    (true, false) => (&world.source, "south"),
                    (false, true) => (&world.target, "n"),
                    (false, false) => (&world.target, "s"),
                };
                let place = container(place).object;
                match facets {
                    Some(text) => { side.put_by_hand(Some(&place), contact(&format!("c{n}"), &text)); }
                    None => { side.remove_by_hand(Some(&place), &contact_id(&format!("c{n}"))); }
                }
            }
            let expected = imported(&world, &[("north", "n"), ("south", "s")], &switched_off);
            let report = world.run("import");
            prop_assert!(report.is_ok(), "{}", report);
            let nothing = BTreeMap::new();
            for (collection, records) in contents(&world) {
                prop_assert_eq!(&records, expected.get(&collection).unwrap_or(&nothing), "{}", collection);
            }
            prop_assert_eq!(world.run("import").end, RunEnd::InSync);
        }
    }
}
