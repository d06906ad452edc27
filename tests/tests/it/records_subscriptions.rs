//! What organisations use of their subscriptions, before and after an import, and booking what is missing.

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{Booked, EngineError, OrganisationUse, Outcome, RunEnd, RunRequest, Scope};
use usersync::license::{Adjustment, Measure, Quantities, UsageRule};
use usersync::memory::{CallKind, Fault, FaultRule, MemorySubscriptions, Moment};
use usersync::model::{
    AttributeName, Facet, FacetName, ObjectId, PartialKind, Record, RecordKind, Subject,
    SubscriptionResource, SystemId, Value,
};
use usersync::reconcile::Plan;
use usersync::store::StoreErrorKind;
use usersync_tests::edit::cases;
use usersync_tests::records::{Contents, RecordWorld, contact, contact_id, imported, own};
use usersync_tests::{container, job, user};

fn resource(name: &str) -> SubscriptionResource {
    SubscriptionResource::new(name).expect("a name")
}

fn quantities(contacts: u64, megabytes: u64) -> Quantities {
    Quantities::from_iter([
        (resource("contacts"), contacts),
        (resource("megabytes"), megabytes),
    ])
}

fn facet_name() -> FacetName {
    FacetName::new("archive").expect("a name")
}

fn attribute_name() -> AttributeName {
    AttributeName::new("size").expect("a name")
}

/// A contact with an archive of this size.
fn sized(mut record: Record, size: Value) -> Record {
    let attributes = BTreeMap::from([(attribute_name(), size)]);
    record.facets.insert(facet_name(), Facet { attributes });
    record
}

/// Two organisations at either side; each contact uses one of `contacts`, and as many `megabytes` as its archive has.
fn world() -> (RecordWorld, MemorySubscriptions) {
    let rule = |name, measure| UsageRule {
        resource: resource(name),
        kind: RecordKind::new("contact").expect("a kind"),
        measure,
    };
    let (facet, attribute) = (facet_name(), attribute_name());
    let import = RecordWorld::import("import", "north>n south>s").measured_by([
        rule("contacts", Measure::Record),
        rule("megabytes", Measure::Attribute { facet, attribute }),
    ]);
    let world = RecordWorld::builder().staff("").job(import).build();
    for (from, to) in [("north", "n"), ("south", "s")] {
        world.source.create_collection(container(from).object);
        world.target.create_collection(container(to).object);
    }
    let subscriptions = MemorySubscriptions::new(SystemId::new("billing").expect("an id"))
        .with_faults(&world.faults)
        .with_calls(&world.calls);
    subscriptions.set(object("n"), quantities(2, 100));
    subscriptions.set(object("s"), quantities(2, 100));
    (world, subscriptions)
}

fn object(name: &str) -> ObjectId {
    container(name).object
}

fn backend(world: &RecordWorld, organisation: &str, record: Record) {
    world.source.put_by_hand(Some(&object(organisation)), record);
}

fn measured(world: &RecordWorld, after: Option<&Plan>, from: &MemorySubscriptions) -> Vec<OrganisationUse> {
    let (preview, job) = (world.preview(), job("import"));
    let uses = preview.subscription_use(&world.tenant, &job, &Scope::Everything, after, from);
    block_on(uses).expect("figures")
}

fn used(uses: &[OrganisationUse]) -> Vec<(String, u64, u64)> {
    let figures = |one: &OrganisationUse| {
        let of = |name| one.usage.used.of(&resource(name));
        (one.collection.object.to_string(), of("contacts"), of("megabytes"))
    };
    uses.iter().map(figures).collect()
}

/// The same, counted one by one.
fn counted(contents: &Contents) -> Vec<(String, u64, u64)> {
    let mut figures = Vec::new();
    for (organisation, records) in contents {
        let mut megabytes = 0;
        for record in records.values() {
            let size = record
                .facets
                .get(&facet_name())
                .and_then(|facet| facet.attributes.get(&attribute_name()));
            if let Some(Value::Integer(size @ 0..)) = size {
                megabytes += size.unsigned_abs();
            }
        }
        figures.push((organisation.to_string(), records.len() as u64, megabytes));
    }
    figures
}

fn contents(world: &RecordWorld) -> Contents {
    let collections = world.target.snapshot().into_iter();
    collections
        .filter_map(|(collection, records)| Some((collection?, records)))
        .collect()
}

fn adjust(world: &RecordWorld, adjustment: &Adjustment, admin: &MemorySubscriptions) -> Outcome {
    let (job, organisation) = (job("import"), object("n"));
    let adjusted = world.engine().adjust(
        &world.tenant,
        &job,
        &organisation,
        adjustment,
        user("clerk"),
        admin,
    );
    block_on(adjusted).expect("an outcome")
}

/// The first organisation uses more than it has booked.
fn short() -> (RecordWorld, MemorySubscriptions, Adjustment) {
    let (world, subscriptions) = world();
    for n in ["m1", "m2", "m3"] {
        backend(&world, "north", contact(n, "general:name=One"));
    }
    assert_eq!(world.run("import").end, RunEnd::Changed);
    let uses = measured(&world, None, &subscriptions);
    let adjustment = uses[0].adjustments().pop().expect("something is missing");
    (world, subscriptions, adjustment)
}

#[test]
fn a_preview_says_what_has_to_be_booked() {
    let (world, subscriptions) = world();
    world.put_by_hand("n", sized(own("p1", "general:name=Panel"), Value::Integer(60)));
    backend(
        &world,
        "north",
        sized(contact("m1", "general:name=One"), Value::Integer(70)),
    );
    backend(
        &world,
        "north",
        sized(contact("m2", "general:name=Two"), Value::Flag(true)),
    );
    backend(&world, "south", contact("m3", "general:name=Three"));
    let plan = world.plan("import");
    let uses = measured(&world, Some(&plan), &subscriptions);
    assert_eq!(
        uses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "n\n  contacts: 3 used, 2 booked; book 1 more\n  megabytes: 131 used, 100 booked; book 31 more",
            "s\n  contacts: 1 used, 2 booked\n  megabytes: 0 used, 100 booked",
        ]
    );
    let missing: Vec<_> = uses[0].adjustments().iter().map(Adjustment::missing).collect();
    assert_eq!((missing, uses[1].adjustments().len()), (vec![1, 31], 0));
    assert!(uses.iter().all(OrganisationUse::is_exact));
    assert_eq!(world.calls.effects(), 0, "nothing was written for that");
}

/// What another job would do says nothing about what this one's organisations use.
#[test]
fn the_plan_of_another_job_is_refused() {
    let (world, subscriptions) = world();
    world.save(&RecordWorld::import("other", "north>n"));
    let (plan, preview, job) = (world.plan("other"), world.preview(), job("import"));
    let scope = Scope::Everything;
    let uses = preview.subscription_use(&world.tenant, &job, &scope, Some(&plan), &subscriptions);
    assert!(matches!(block_on(uses), Err(EngineError::Foreign)));
}

/// What was refused is not there, and does not count.
#[test]
fn a_creation_that_failed_does_not_count() {
    let (world, subscriptions) = world();
    for n in ["m1", "m2", "m3"] {
        backend(&world, "north", contact(n, "general:name=One"));
    }
    let refused = Fault::Failed {
        kind: ErrorKind::PermissionDenied,
        retry: Retry::Never,
    };
    let subject = Subject::Record(contact_id("m2"));
    world
        .faults
        .inject(FaultRule::new(refused).on(CallKind::Create).subject(subject));
    let plan = world.plan("import");
    assert_eq!(used(&measured(&world, Some(&plan), &subscriptions))[0].1, 3);
    let request = RunRequest::everything().exactly(plan);
    assert_eq!(
        world.try_run("import", request).expect("a report").end,
        RunEnd::Failed
    );
    let uses = measured(&world, None, &subscriptions);
    assert_eq!(used(&uses)[0].1, 2);
    assert!(uses[0].adjustments().is_empty());
}

/// Figures of a collection that was read in part say so, and are at most what is used.
#[test]
fn a_part_of_the_panel_is_a_lower_bound() {
    let (world, subscriptions, _) = short();
    for shown in 0..3 {
        let partial = Fault::Partial {
            shown,
            kind: PartialKind::Unreadable,
        };
        world.faults.inject(
            FaultRule::new(partial)
                .on(CallKind::Records)
                .container(object("n")),
        );
        let uses = measured(&world, None, &subscriptions);
        assert_eq!(used(&uses)[0].1, shown as u64);
        assert!(uses[0].rest.is_some() && !uses[0].is_exact() && uses[1].is_exact());
        assert!(uses[0].to_string().contains("more may be used"));
        world.faults.heal();
    }
}

/// A subscription that cannot be asked is not taken for one without bookings, and leaves the others alone.
#[test]
fn what_is_booked_may_be_unknown() {
    let (world, subscriptions, _) = short();
    let failed = Fault::Failed {
        kind: ErrorKind::Unavailable,
        retry: Retry::Later,
    };
    world
        .faults
        .inject(FaultRule::new(failed).on(CallKind::Booked).container(object("n")));
    let uses = measured(&world, None, &subscriptions);
    assert!(
        matches!(&uses[0].booked, Booked::Unknown { kind, .. } if *kind == "unavailable")
            && uses[1].is_exact()
    );
    assert_eq!((used(&uses)[0].1, uses[0].adjustments().len()), (3, 0));
}

/// What is no quantity is counted as nothing, and told.
#[test]
fn what_is_no_quantity_is_told() {
    let (world, subscriptions) = world();
    world.put_by_hand("n", sized(own("p1", "general:name=A"), Value::Integer(-4)));
    world.put_by_hand(
        "n",
        sized(own("p2", "general:name=B"), Value::Text("much".into())),
    );
    let uses = measured(&world, None, &subscriptions);
    assert_eq!(
        (
            used(&uses)[0].2,
            uses[0].usage.unmeasured.len(),
            uses[0].is_exact()
        ),
        (0, 2, false)
    );
}

/// Runs book nothing: that is a call of its own, on record before and after.
#[test]
fn adjusting_is_a_decision_of_its_own() {
    let (world, subscriptions, adjustment) = short();
    assert_eq!(world.calls.count(CallKind::Adjust), 0);
    assert_eq!(adjustment.to_string(), "contacts: 3 used, 2 booked; book 1 more");
    let operations = block_on(world.engine().audit(&world.tenant)).expect("a log");
    assert_eq!(adjust(&world, &adjustment, &subscriptions), Outcome::Applied);
    assert_eq!(
        subscriptions.booked_by(&object("n")).expect("it is there"),
        quantities(3, 100)
    );
    assert!(measured(&world, None, &subscriptions)[0].adjustments().is_empty());
    let records = block_on(world.engine().booking_audit(&world.tenant)).expect("a log");
    let told: Vec<_> = records.iter().map(|record| record.outcome.as_str()).collect();
    assert_eq!(told, ["begun", "applied"]);
    assert_eq!(
        (&records[0].by, &records[0].actor.principal, records[0].wanted),
        (&user("clerk"), &user("boss"), 3)
    );
    assert_eq!(records[0].operation, records[1].operation);
    let after = block_on(world.engine().audit(&world.tenant)).expect("the other records can still be read");
    assert_eq!(after, operations);
    assert!(
        block_on(world.engine().job_audit(&world.tenant))
            .expect("and these")
            .is_empty()
    );
}

/// However the call to the subscription goes, it is answered and recorded as what it is.
#[test]
fn an_adjustment_ends_in_one_outcome() {
    let refused = Fault::Failed {
        kind: ErrorKind::PermissionDenied,
        retry: Retry::Never,
    };
    for (fault, outcome, booked) in [
        (Fault::Timeout(Moment::After), "applied", 3),
        (Fault::Timeout(Moment::Before), "indeterminate", 2),
        (Fault::Conflict, "conflict", 2),
        (refused, "failed", 2),
    ] {
        let (world, subscriptions, adjustment) = short();
        world
            .faults
            .inject(FaultRule::new(fault).on(CallKind::Adjust).once());
        assert_eq!(adjust(&world, &adjustment, &subscriptions).code(), outcome);
        let now = subscriptions.booked_by(&object("n")).expect("it is there");
        assert_eq!(now.of(&resource("contacts")), booked, "{outcome}");
        let records = block_on(world.engine().booking_audit(&world.tenant)).expect("a log");
        assert_eq!(records.last().expect("a record").outcome, outcome);
    }
}

/// A store that fails after the change leaves it on record as begun.
#[test]
fn a_store_that_fails_leaves_a_change_on_record() {
    let (world, subscriptions, adjustment) = short();
    world.faults.inject(
        FaultRule::new(Fault::StoreFailed(StoreErrorKind::Unavailable))
            .on(CallKind::Commit)
            .after(1),
    );
    let (job, organisation) = (job("import"), object("n"));
    let adjusted = world.engine().adjust(
        &world.tenant,
        &job,
        &organisation,
        &adjustment,
        user("clerk"),
        &subscriptions,
    );
    assert!(block_on(adjusted).is_err());
    world.faults.heal();
    let records = block_on(world.engine().booking_audit(&world.tenant)).expect("a log");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].outcome, "begun");
    assert_eq!(adjust(&world, &adjustment, &subscriptions), Outcome::AlreadySo);
}

/// Whoever books meanwhile is not overruled.
#[test]
fn what_was_booked_meanwhile_stays() {
    let (world, subscriptions, adjustment) = short();
    subscriptions.book_by_hand(object("n"), resource("contacts"), 9);
    assert_eq!(adjust(&world, &adjustment, &subscriptions), Outcome::Conflict);
    let now = subscriptions.booked_by(&object("n")).expect("it is there");
    assert_eq!(now.of(&resource("contacts")), 9);
    subscriptions.book_by_hand(object("n"), resource("contacts"), 3);
    assert_eq!(adjust(&world, &adjustment, &subscriptions), Outcome::AlreadySo);
}

#[derive(Clone, Debug)]
struct Edit {
    at_backend: bool,
    north: bool,
    is_own: bool,
    number: u8,
    size: Option<i64>,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0..4_u8,
        prop::option::weighted(0.8, -1..40_i64),
    );
    let edit = edit.prop_map(|(at_backend, north, is_own, number, size)| Edit {
        at_backend,
        north,
        is_own,
        number,
        size,
    });
    proptest::collection::vec(edit, 0..12)
}

fn make(world: &RecordWorld, edit: &Edit) {
    let (side, place) = match (edit.at_backend, edit.north) {
        (true, true) => (&world.source, "north"),
        (true, false) => (&world.source, "south"),
        (false, true) => (&world.target, "n"),
        (false, false) => (&world.target, "s"),
    };
    let (name, place) = (format!("c{}", edit.number), object(place));
    let record = match edit.is_own && !edit.at_backend {
        true => own(&name, "general:name=Own"),
        false => contact(&name, "general:name=Name"),
    };
    match edit.size {
        Some(size) => side.put_by_hand(Some(&place), sized(record, Value::Integer(size))),
        None => side.remove_by_hand(Some(&place), &record.id),
    };
}

proptest! {
    #![proptest_config(cases(96))]

    /// What a preview says will be used is what the model of an import leaves, counted one by one, and what is measured after a run of
    /// exactly that plan.
    #[test]
    fn figures_are_what_counting_one_by_one_gives(rounds in proptest::collection::vec(edits(), 1..4)) {
        let (world, subscriptions) = world();
        for round in rounds {
            round.iter().for_each(|edit| make(&world, edit));
            let expected = imported(&world, &[("north", "n"), ("south", "s")], &std::collections::BTreeSet::new());
            let plan = world.plan("import");
            let before = measured(&world, Some(&plan), &subscriptions);
            prop_assert_eq!(used(&before), counted(&expected));
            let report = world.try_run("import", RunRequest::everything().exactly(plan)).expect("it is current");
            prop_assert!(report.is_ok(), "{}", report);
            let after = measured(&world, None, &subscriptions);
            prop_assert_eq!(&before, &after);
            prop_assert_eq!(used(&after), counted(&contents(&world)));
        }
    }
}
