//! Targets by their capabilities, and edits by hand.

use std::collections::BTreeMap;

use futures::executor::block_on;
use usersync_connector::{
    Applied, Error, MemberChange, MemberOperation, MembershipRead, MembershipTarget, Precondition,
    RecordChange, RecordOperation, RecordRead, RecordTarget, TargetCapabilities, Version,
};
use usersync_memory::{MemoryRecords, MemoryTarget};
use usersync_model::{AttributeName, Facet, FacetName, Member, Record, RecordKind, RecordRef, Value};

use crate::support::{
    add, apply_one, context, everything, manager, names, object, operation, operation_id, principal, remove,
    system, target,
};

fn outcome(result: &Result<Applied, Error>) -> &'static str {
    match result {
        Ok(applied) if applied.changed => "changed",
        Ok(_) => "unchanged",
        Err(error) => error.kind().code(),
    }
}

fn version_of(target: &MemoryTarget, who: &str) -> Option<Version> {
    let team = object("team");
    let member = principal(who);
    let present = block_on(target.member(&team, &member, &context()));
    present.unwrap().unwrap().version
}

fn under(operation: MemberOperation, precondition: Precondition) -> MemberOperation {
    MemberOperation {
        precondition,
        ..operation
    }
}

/// a and b are members; the version is that of a, and b has another.
#[test]
fn an_operation_does_what_the_contract_says() {
    let update = |who: &str| operation("update", who, MemberChange::Update(manager()));
    let same = |who: &str| operation("same", who, MemberChange::Update(Default::default()));
    let add_manager = |who: &str| operation("manager", who, MemberChange::Add(manager()));
    let a = || Precondition::Version(version_of(&target(everything(), &["a", "b"]), "a").unwrap());
    let absent = || Precondition::Absent;
    for (operation, all, least) in [
        (add("c"), "changed", "changed"),
        (add("a"), "unchanged", "unchanged"),
        (add_manager("c"), "changed", "unsupported"),
        (add_manager("a"), "unchanged", "unsupported"),
        (remove("a"), "changed", "changed"),
        (remove("c"), "unchanged", "unchanged"),
        (update("a"), "changed", "unsupported"),
        (same("a"), "unchanged", "unsupported"),
        (update("c"), "not_found", "unsupported"),
        (under(add("c"), absent()), "changed", "changed"),
        (under(add("a"), absent()), "conflict", "unchanged"),
        (under(remove("a"), a()), "changed", "changed"),
        (under(remove("b"), a()), "conflict", "changed"),
        (under(remove("c"), a()), "conflict", "unchanged"),
        (under(update("a"), a()), "changed", "unsupported"),
        (under(update("b"), a()), "conflict", "unsupported"),
    ] {
        for (capabilities, want) in [(everything(), all), (TargetCapabilities::default(), least)] {
            let target = target(capabilities, &["a", "b"]);
            let before = target.snapshot();
            let result = apply_one(&target, operation.clone());
            assert_eq!(outcome(&result), want, "{operation:?} under {capabilities:?}");
            assert_eq!(before == target.snapshot(), want != "changed", "{operation:?}");
            if let Ok(applied) = result {
                let shows = capabilities.conditional_write
                    && target.members_of(&object("team")).is_some_and(|members| {
                        members
                            .iter()
                            .any(|member| member.principal == operation.principal)
                    });
                assert_eq!(applied.version.is_some(), shows, "{operation:?}");
            }
        }
    }
}

#[test]
fn a_container_that_is_gone_loses_members_but_gains_none() {
    for (operation, want) in [
        (add("a"), "not_found"),
        (remove("a"), "unchanged"),
        (
            operation("update", "a", MemberChange::Update(manager())),
            "not_found",
        ),
    ] {
        let target = target(everything(), &["a"]);
        assert!(target.remove_container(&object("team")) && !target.remove_container(&object("team")));
        assert_eq!(outcome(&apply_one(&target, operation)), want);
        assert_eq!(target.members_of(&object("team")), None);
    }
}

#[test]
fn a_batch_too_large_has_no_effect_at_all() {
    let target = target(TargetCapabilities::default(), &[]);
    let results = block_on(target.apply(&object("team"), &[add("a"), add("b")], &context()));
    assert_eq!(
        results.iter().map(outcome).collect::<Vec<_>>(),
        ["limit_exceeded"; 2]
    );
    assert_eq!(names(&target), "");
    assert!(block_on(target.apply(&object("team"), &[], &context())).is_empty());
}

#[test]
fn a_version_is_never_used_twice() {
    let target = target(everything(), &["a"]);
    let first = version_of(&target, "a");
    target.remove_by_hand(&object("team"), &principal("a"));
    target.add_by_hand(&object("team"), principal("a"));
    assert_ne!(version_of(&target, "a"), first);
}

#[test]
fn a_person_changes_what_a_plan_relied_on() {
    let target = target(everything(), &["a"]);
    let seen = version_of(&target, "a").unwrap();
    let member = Member {
        principal: principal("a"),
        facets: manager(),
    };
    assert!(target.set_by_hand(&object("team"), member.clone()));
    assert!(!target.set_by_hand(&object("team"), member.clone()));
    let result = apply_one(&target, under(remove("a"), Precondition::Version(seen)));
    assert_eq!(outcome(&result), "conflict");
    assert_eq!(target.members_of(&object("team")), Some(vec![member]));
}

#[test]
fn without_updates_everyone_is_an_active_member() {
    let target = target(
        TargetCapabilities {
            point_read: true,
            ..Default::default()
        },
        &[],
    );
    let member = Member {
        principal: principal("a"),
        facets: manager(),
    };
    target.set_by_hand(&object("team"), member);
    let shown = block_on(target.member(&object("team"), &principal("a"), &context()));
    let shown = shown.unwrap().unwrap();
    assert_eq!((shown.member, shown.version), (Member::new(principal("a")), None));
}

#[test]
fn point_reads_are_refused_unless_offered() {
    let least = target(TargetCapabilities::default(), &["a"]);
    let read = |target: &MemoryTarget, container| {
        block_on(target.member(&object(container), &principal("a"), &context()))
            .map(|present| present.is_some())
    };
    assert_eq!(read(&least, "team").unwrap_err().kind().code(), "unsupported");
    let most = target(everything(), &["a"]);
    assert!(read(&most, "team").unwrap());
    assert!(!read(&most, "gone").unwrap());
}

fn facets(pairs: &[(&str, &str)]) -> BTreeMap<FacetName, Facet> {
    let attribute = AttributeName::new("value").unwrap();
    let facet = |value: &str| Facet {
        attributes: BTreeMap::from([(attribute.clone(), Value::Text(value.to_owned()))]),
    };
    pairs
        .iter()
        .map(|(name, value)| (FacetName::new(name).unwrap(), facet(value)))
        .collect()
}

fn record(id: &str, pairs: &[(&str, &str)]) -> Record {
    Record {
        id: RecordRef::parse("hr", id).unwrap(),
        kind: RecordKind::new("contact").unwrap(),
        facets: facets(pairs),
    }
}

#[test]
fn a_record_operation_does_what_the_contract_says() {
    let present = || record("1", &[("name", "Ada"), ("mail", "a@example.com")]);
    let create = RecordChange::Create;
    let update = |pairs: &[(&str, &str)]| RecordChange::Update(facets(pairs));
    for (id, change, all, least) in [
        ("1", create(present()), "unchanged", "unchanged"),
        ("1", create(record("1", &[])), "already_exists", "already_exists"),
        ("2", create(record("2", &[])), "changed", "changed"),
        ("2", create(present()), "invalid_data", "invalid_data"),
        ("1", RecordChange::Delete, "changed", "changed"),
        ("2", RecordChange::Delete, "unchanged", "unchanged"),
        ("1", update(&[("name", "Ida")]), "changed", "unsupported"),
        ("1", update(&[("name", "Ada")]), "unchanged", "unsupported"),
        ("2", update(&[]), "not_found", "unsupported"),
    ] {
        for (capabilities, want) in [(everything(), all), (TargetCapabilities::default(), least)] {
            let records = MemoryRecords::new(system("mail"), capabilities);
            records.put_by_hand(None, present());
            let before = records.snapshot();
            let operation = RecordOperation {
                id: operation_id("o"),
                record: RecordRef::parse("hr", id).unwrap(),
                change: change.clone(),
                precondition: Precondition::None,
            };
            let result = block_on(records.apply(None, &[operation], &context()));
            assert_eq!(
                outcome(&result[0]),
                want,
                "{id} {change:?} under {capabilities:?}"
            );
            assert_eq!(before == records.snapshot(), want != "changed", "{id} {change:?}");
        }
    }
}

#[test]
fn an_update_leaves_other_facets_and_needs_the_collection() {
    let records = MemoryRecords::new(system("mail"), everything());
    let book = object("book");
    let id = RecordRef::parse("hr", "1").unwrap();
    let operation = |name: &str, change| RecordOperation {
        id: operation_id(name),
        record: id.clone(),
        change,
        precondition: Precondition::None,
    };
    let apply = |operation| {
        let results = block_on(records.apply(Some(&book), &[operation], &context()));
        outcome(&results[0])
    };
    let made = record("1", &[("name", "Ada"), ("mail", "a@example.com")]);
    assert_eq!(
        apply(operation("1", RecordChange::Create(made.clone()))),
        "not_found"
    );
    assert_eq!(apply(operation("2", RecordChange::Delete)), "unchanged");
    assert!(records.create_collection(book.clone()));
    assert_eq!(apply(operation("1", RecordChange::Create(made))), "changed");
    assert_eq!(
        apply(operation("3", RecordChange::Update(facets(&[("name", "Ida")])))),
        "changed"
    );
    let want = record("1", &[("name", "Ida"), ("mail", "a@example.com")]);
    let present = block_on(records.record(Some(&book), &id, &context()))
        .unwrap()
        .unwrap();
    assert_eq!((present.record, present.version.is_some()), (want, true));
}
