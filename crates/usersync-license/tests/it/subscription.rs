//! What is used of a subscription, and what has to be booked.

use std::collections::BTreeMap;

use proptest::prelude::*;
use usersync_license::{Measure, Quantities, UsageRule, adjustments, usage};
use usersync_model::{
    AttributeName, Facet, FacetName, ObjectId, Record, RecordKind, RecordRef, SubscriptionResource, SystemId,
    Value,
};

fn resource(name: &str) -> SubscriptionResource {
    SubscriptionResource::new(name).expect("a name")
}

fn record(number: usize, kind: &str, archive: Option<Value>) -> Record {
    let attributes = archive.map(|value| (AttributeName::new("size").expect("a name"), value));
    let facet = Facet {
        attributes: attributes.into_iter().collect(),
    };
    Record {
        id: RecordRef::new(
            SystemId::new("exchange").expect("an id"),
            ObjectId::new(number.to_string()).expect("an id"),
        ),
        kind: RecordKind::new(kind).expect("a kind"),
        facets: BTreeMap::from([(FacetName::new("archive").expect("a name"), facet)]),
    }
}

fn rules() -> Vec<UsageRule> {
    let rule = |name, kind: &str, measure| UsageRule {
        resource: resource(name),
        kind: RecordKind::new(kind).expect("a kind"),
        measure,
    };
    let archive = Measure::Attribute {
        facet: FacetName::new("archive").expect("a name"),
        attribute: AttributeName::new("size").expect("a name"),
    };
    vec![
        rule("archive", "mailbox", archive),
        rule("lists", "list", Measure::Record),
        rule("mailboxes", "mailbox", Measure::Record),
    ]
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        any::<bool>().prop_map(|flag| Some(Value::Flag(flag))),
        (-2i64..50).prop_map(|number| Some(Value::Integer(number))),
        "[a-z]{0,2}".prop_map(|text| Some(Value::Text(text))),
    ]
}

proptest! {
    /// The oracle counts by hand, one resource at a time.
    #[test]
    fn everything_is_counted_once(
        records in prop::collection::vec((any::<bool>(), value()), 0..30),
        booked in prop::collection::vec(0u64..40, 3),
    ) {
        let records: Vec<Record> = records
            .into_iter()
            .enumerate()
            .map(|(number, (is_list, value))| record(number, if is_list { "list" } else { "mailbox" }, value))
            .collect();
        let usage = usage(&records, &rules());
        let of_kind = |kind: &str| records.iter().filter(|record| record.kind.as_str() == kind).count() as u64;
        let size = |record: &&Record| record.facets.values().next().and_then(|facet| facet.attributes.values().next()).cloned();
        let mailboxes: Vec<_> = records.iter().filter(|record| record.kind.as_str() == "mailbox").collect();
        let archive: i64 = mailboxes.iter().filter_map(size).map(|value| match value {
            Value::Integer(number) if number >= 0 => number,
            Value::Flag(true) => 1,
            _ => 0,
        }).sum();
        let expected = [("archive", archive as u64), ("lists", of_kind("list")), ("mailboxes", of_kind("mailbox"))];
        let shown: Vec<_> = usage.used.iter().map(|(resource, quantity)| (resource.as_str().to_owned(), quantity)).collect();
        prop_assert_eq!(&shown, &expected.map(|(name, quantity)| (name.to_owned(), quantity)));
        let unmeasured = mailboxes.iter().filter_map(size).filter(|value| match value {
            Value::Integer(number) => *number < 0,
            Value::Text(text) => !text.is_empty(),
            _ => false,
        }).count();
        prop_assert_eq!(usage.unmeasured.len(), unmeasured);

        let names = ["archive", "lists", "mailboxes"];
        let booked: Quantities = names.iter().zip(booked).map(|(name, quantity)| (resource(name), quantity)).collect();
        let adjustments = adjustments(&booked, &usage.used);
        for (name, used) in expected {
            let found = adjustments.iter().find(|adjustment| adjustment.resource == resource(name));
            prop_assert_eq!(found.map_or(0, |found| found.missing()), used.saturating_sub(booked.of(&resource(name))));
            prop_assert_eq!(found.is_some(), used > booked.of(&resource(name)));
        }
    }
}

#[test]
fn an_adjustment_says_what_to_do() {
    let used = Quantities::from_iter([(resource("mailboxes"), 12), (resource("unheard"), u64::MAX)]);
    let booked = Quantities::from_iter([(resource("mailboxes"), 10), (resource("unheard"), u64::MAX)]);
    let lines: Vec<String> = adjustments(&booked, &used)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(lines, ["mailboxes: 12 used, 10 booked; book 2 more"]);
}

#[test]
fn the_quantity_of_a_resource_is_the_last_that_was_set() {
    let mut quantities = Quantities::from_iter([(resource("archive"), 3), (resource("archive"), 4)]);
    quantities.set(resource("lists"), 1);
    quantities.set(resource("lists"), 2);
    let shown: Vec<_> = quantities
        .iter()
        .map(|(resource, quantity)| (resource.as_str(), quantity))
        .collect();
    assert_eq!(shown, [("archive", 4), ("lists", 2)]);
    assert_eq!(quantities.of(&resource("mailboxes")), 0);
}
