//! Records facet by facet.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usersync_model::{
    AttributeName, FacetName, Origin, PartialKind, PartialReason, Record, RecordKind, Value,
};
use usersync_reconcile::{
    Action, Agreed, ConflictPolicy, Direction, Drift, FacetRule, Fingerprint, Fingerprinter, FirstSight,
    LedgerStep, Mode, Policy, Reason, RecordRow, RecordRules, Records, RunEvidence, SetRule, SourceRecord,
    Standing, TargetRecord, plan_records,
};

use crate::record_world::{Sides, collection, facets, free, id, one, record, row, rules, told, value};
use crate::support;

#[test]
fn a_facet_is_merged_three_ways() {
    // Source, target, base; what the plan says.
    let table: [(&str, &str, &str, &[&str]); 13] = [
        ("n=A", "-", "-", &["create f0:n=A"]),
        ("n=A", "-", "n=A", &["create f0:n=A"]),
        ("-", "n=A", "n=A", &["delete"]),
        ("-", "n=A", "-", &[]),
        ("-", "-", "n=A", &["forget"]),
        ("n=A", "n=A", "n=A", &[]),
        ("n=B", "n=A", "n=A", &["change f0:n=B"]),
        ("n=A", "n=B", "n=A", &[]),
        ("n=B", "n=C", "n=A", &["change f0:n=B"]),
        ("n=B", "n=B", "n=A", &["agree"]),
        ("n=A", "n=A", "-", &["claim f0:n=A"]),
        ("n=A,x=", "n=A", "n=A", &["agree"]),
        ("n=A;n=X", "n=A;n=Y", "n=A;n=X", &[]),
    ];
    for (source, target, base, expected) in table {
        let found = told(&one(source, target, base).plan(&rules(FacetRule::default()), &free()));
        assert_eq!(found, expected, "{source} | {target} | {base}");
    }
}

#[test]
fn the_conflict_policy_decides_when_both_changed() {
    let at = |second| Some(support::at(second));
    let times = [(at(2), at(1)), (at(1), at(2)), (at(1), at(1)), (None, at(2))];
    let takes: &[&str] = &["change f0:n=B"];
    let keeps: &[&str] = &["agree"];
    let reports: &[&str] = &["facet_conflict"];
    let table = [
        (ConflictPolicy::SourceWins, [takes; 4]),
        (ConflictPolicy::TargetWins, [keeps; 4]),
        (ConflictPolicy::Report, [reports; 4]),
        (ConflictPolicy::Newest, [takes, keeps, reports, reports]),
    ];
    for (conflict, expected) in table {
        for ((source, target), expected) in times.into_iter().zip(expected) {
            let mut sides = one("n=B", "n=C", "n=A");
            (sides.source[0].changed, sides.target[0].changed) = (source, target);
            let policy = Policy { conflict, ..free() };
            let section = sides.plan(&rules(FacetRule::default()), &policy);
            assert_eq!(told(&section), expected, "{conflict:?} {source:?} {target:?}");
        }
    }
}

#[test]
fn sets_are_merged_value_by_value() {
    let merge = FacetRule::default();
    let replace = FacetRule {
        sets: SetRule::Replace,
        ..merge
    };
    let to_target = FacetRule {
        direction: Direction::ToTarget,
        ..merge
    };
    // Mode, rule, source, target, base; what the target's set becomes.
    let table = [
        (Mode::Managed, merge, "{a b}", "{a c}", "{a}", "{a b c}"),
        (Mode::Managed, merge, "{}", "{a c}", "{a}", "{c}"),
        (Mode::Managed, merge, "{a}", "{}", "{a}", "{}"),
        (Mode::Managed, merge, "{a}", "{b}", "{a b}", "{}"),
        (Mode::Managed, replace, "{a b}", "{a c}", "{a}", "{a b}"),
        (Mode::Managed, replace, "{a}", "{a c}", "{a}", "{a c}"),
        (Mode::Managed, to_target, "{a}", "{a c}", "{a}", "{a}"),
        (Mode::AddOnly, merge, "{}", "{a c}", "{a}", "{a c}"),
        (Mode::AddOnly, merge, "{a b}", "{c}", "{a}", "{b c}"),
        (Mode::AddOnly, replace, "{b}", "{a c}", "{a}", "{b}"),
        (Mode::AddOnly, replace, "{}", "{a c}", "{a}", "{a c}"),
        (Mode::AddOnly, to_target, "{b}", "{a}", "{b}", "{a b}"),
    ];
    for (mode, rule, source, target, base, expected) in table {
        let text = |set: &str| format!("m={set}");
        let sides = one(&text(source), &text(target), &text(base));
        let rules = rules(rule);
        let policy = Policy { mode, ..free() };
        let after = sides.after(&sides.plan(&rules, &policy), &rules);
        let found = after.target[0].record.facets[&FacetName::new("f0").unwrap()]
            .attributes
            .values()
            .next()
            .cloned();
        assert_eq!(
            found.unwrap_or(value("{}")),
            value(expected),
            "{mode:?} {rule:?} {source} {target} {base}"
        );
    }
}

#[test]
fn a_set_and_a_text_of_one_name_are_compared_as_they_are() {
    // Source, target, base; what the plan says. A text that is empty says nothing, so that the other side's set is one.
    let table: [(&str, &str, &str, &[&str]); 4] = [
        ("m={a}", "m=a", "m=a", &["change f0:m={a}"]),
        ("m={a}", "m=b", "m={a}", &[]),
        ("m={a b}", "m={a c}", "m=", &["change f0:m={a b c}"]),
        ("m=", "m={a c}", "m={a}", &["change f0:m={c}"]),
    ];
    for (source, target, base, expected) in table {
        let found = told(&one(source, target, base).plan(&rules(FacetRule::default()), &free()));
        assert_eq!(found, expected, "{source} | {target} | {base}");
    }
}

/// Where nothing may vanish, a set of the target's stays a set, and a text of the source's is one more value.
#[test]
fn a_text_joins_a_set_where_nothing_may_vanish() {
    let policy = Policy {
        mode: Mode::AddOnly,
        ..free()
    };
    let to_target = FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    };
    let replace = FacetRule {
        sets: SetRule::Replace,
        ..FacetRule::default()
    };
    let table: [(FacetRule, &str, &str, &str, &[&str]); 6] = [
        (
            FacetRule::default(),
            "m=a",
            "m={b c}",
            "m=b",
            &["change f0:m={a b c}"],
        ),
        (FacetRule::default(), "m=a", "m={a c}", "m=a", &[]),
        (FacetRule::default(), "m=a", "m={b c}", "m=a", &[]),
        (to_target, "m=a", "m={b c}", "", &["change f0:m={a b c}"]),
        (to_target, "m={a}", "m=b", "", &["change f0:m={a}"]),
        (replace, "m=a", "m={b c}", "m={b c}", &["change f0:m=a"]),
    ];
    for (rule, source, target, base, expected) in table {
        let found = told(&one(source, target, base).plan(&rules(rule), &policy));
        assert_eq!(found, expected, "{rule:?} {source} | {target} | {base}");
    }
}

#[test]
fn a_set_that_was_never_agreed_on_is_united_replaced_or_left() {
    let merge = FacetRule::default();
    let replace = FacetRule {
        sets: SetRule::Replace,
        ..merge
    };
    let table: [(FirstSight, Mode, FacetRule, &[&str]); 5] = [
        (FirstSight::Leave, Mode::Managed, merge, &["claim f0:m={a b}"]),
        (FirstSight::Leave, Mode::AddOnly, merge, &["claim f0:m={a b}"]),
        (FirstSight::Leave, Mode::Managed, replace, &["claim f0:m={a b}"]),
        (
            FirstSight::Import,
            Mode::Managed,
            merge,
            &["change f0:m={a b}", "claim f0:m={b c}"],
        ),
        (
            FirstSight::Import,
            Mode::AddOnly,
            merge,
            &["change f0:m={a b c}", "claim f0:m={b c}"],
        ),
    ];
    for (first_sight, mode, rule, expected) in table {
        let policy = Policy {
            first_sight,
            mode,
            ..free()
        };
        let found = told(&one("m={a b}", "m={b c}", "-").plan(&rules(rule), &policy));
        assert_eq!(found, expected, "{first_sight:?} {mode:?} {rule:?}");
    }
}

#[test]
fn rules_say_what_is_synchronized_in_which_direction() {
    let rule = |direction| FacetRule {
        direction,
        ..FacetRule::default()
    };
    type Row = (
        Option<FacetRule>,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );
    let table: [Row; 5] = [
        (None, "n=C", &[], &["create "]),
        (Some(rule(Direction::Both)), "n=C", &[], &["create f0:n=B"]),
        (
            Some(rule(Direction::ToTarget)),
            "n=C",
            &["change f0:n=B"],
            &["create f0:n=B"],
        ),
        (Some(rule(Direction::ToSource)), "n=C", &[], &["create "]),
        (Some(rule(Direction::OnCreate)), "n=C", &[], &["create f0:n=B"]),
    ];
    for (rule, target, expected, created) in table {
        let rules = RecordRules {
            facets: BTreeMap::new(),
            others: rule,
        };
        assert_eq!(
            told(&one("n=B", target, "n=B").plan(&rules, &free())),
            expected,
            "{rule:?}"
        );
        assert_eq!(
            told(&one("n=B", "-", "-").plan(&rules, &free())),
            created,
            "{rule:?}"
        );
    }
    let selected = RecordRules {
        facets: BTreeMap::from([(FacetName::new("f1").unwrap(), FacetRule::default())]),
        others: None,
    };
    let sides = one("n=B;n=B", "n=A;n=A", "n=A;n=A");
    assert_eq!(told(&sides.plan(&selected, &free())), ["change f1:n=B"]);
}

#[test]
fn what_was_never_agreed_on_is_imported_or_left() {
    for (first_sight, expected) in [
        (FirstSight::Leave, vec!["claim f0:n=A"]),
        (FirstSight::Import, vec!["change f0:n=A", "claim f0:n=B"]),
    ] {
        let policy = Policy {
            first_sight,
            ..free()
        };
        let sides = one("n=A", "n=B", "-");
        let section = sides.plan(&rules(FacetRule::default()), &policy);
        assert_eq!(told(&section), expected, "{first_sight:?}");
        let mut failed = section.clone();
        let planned = std::mem::take(&mut failed.operations);
        let again = sides
            .after(&failed, &rules(FacetRule::default()))
            .plan(&rules(FacetRule::default()), &policy);
        assert_eq!(
            again.operations, planned,
            "what failed is planned again, and what was left is not"
        );
    }
}

#[test]
fn promise_19_another_name_and_address_are_a_change() {
    let sides = one(
        "n=Ann Other,mail=other@example.org",
        "n=Ann,mail=ann@example.org",
        "n=Ann,mail=ann@example.org",
    );
    assert_eq!(
        told(&sides.plan(&rules(FacetRule::default()), &free())),
        ["change f0:mail=other@example.org,n=Ann Other"]
    );
}

#[test]
fn what_cannot_be_one_record_is_reported() {
    // Whether their ids are one text, or two that are equal.
    for own_id in [false, true] {
        let mut sides = one("n=A", "n=B", "n=B");
        let mut other = sides.target[0].clone();
        if own_id {
            other.record.id = id(1);
        }
        assert_eq!(other.record.id, sides.target[0].record.id);
        sides.target.push(other);
        assert_eq!(
            told(&sides.plan(&rules(FacetRule::default()), &free())),
            ["ambiguous"]
        );
    }
    let mut sides = one("n=A", "n=B", "n=B");
    sides.target[0].record.kind = RecordKind::new("mailbox").unwrap();
    assert_eq!(
        told(&sides.plan(&rules(FacetRule::default()), &free())),
        ["kind_differs"]
    );
}

#[test]
fn what_is_not_known_is_held() {
    let reason = Some(PartialReason::new(PartialKind::Limit, ""));
    let rules = rules(FacetRule::default());
    let mut sides = one("-", "n=A", "n=A");
    sides.source_rest = reason.clone();
    assert_eq!(
        told(&sides.plan(&rules, &free())),
        ["hold delete incomplete_source"]
    );
    let mut sides = one("n=A", "-", "-");
    sides.target_rest = reason.clone();
    assert_eq!(
        told(&sides.plan(&rules, &free())),
        ["hold create f0:n=A incomplete_target"]
    );
    let mut sides = one("-", "-", "n=A");
    sides.target_rest = reason;
    assert_eq!(told(&sides.plan(&rules, &free())), Vec::<String>::new());
}

#[test]
fn records_of_the_protected_are_not_deleted() {
    let mut sides = one("-", "n=A", "n=A");
    sides.target[0].privileged = true;
    let rules = rules(FacetRule::default());
    assert_eq!(
        told(&sides.plan(&rules, &free())),
        ["hold delete protected_administrator"]
    );
    sides.target[0].privileged = false;
    let mut policy = free();
    policy
        .guards
        .protected
        .insert(usersync_model::PrincipalRef::parse("dir", "r01").unwrap());
    assert_eq!(
        told(&sides.plan(&rules, &policy)),
        ["hold delete protected_by_name"]
    );
    policy = Policy::default();
    assert_eq!(
        told(&sides.plan(&rules, &policy)),
        ["hold delete container_emptied"]
    );
}

#[test]
fn what_both_fingerprints_vouch_for_is_not_compared() {
    let rules = rules(FacetRule::default());
    let fingerprint = |record: &Record| Some(Fingerprinter::new(&rules).fingerprint(record));
    let mut sides = one("n=A", "n=A", "n=A");
    sides.source[0].fingerprint = fingerprint(&record(1, "n=A"));
    sides.target[0].fingerprint = fingerprint(&record(1, "n=A"));
    let section = sides.plan(&rules, &free());
    assert_eq!(told(&section), ["agree"], "they are stored");
    let mut settled = sides.after(&section, &rules);
    assert!(settled.plan(&rules, &free()).is_silent());
    // Facets that are not looked at may be missing.
    settled.source[0].record.facets = facets("n=Z");
    assert!(settled.plan(&rules, &free()).is_silent());
    settled.source[0].fingerprint = fingerprint(&record(1, "n=Z"));
    let section = settled.plan(&rules, &free());
    assert_eq!(told(&section), ["change f0:n=Z"]);
    assert!(settled.after(&section, &rules).plan(&rules, &free()).is_silent());
}

#[test]
fn a_fingerprint_vouches_for_its_own_side_only() {
    let rules = rules(FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    });
    let fingerprint = |text| Some(Fingerprinter::new(&rules).fingerprint(&record(1, text)));
    let mut sides = one("n=A", "n=A", "n=A");
    sides.rows[0].base.source = fingerprint("n=A");
    sides.rows[0].base.target = fingerprint("n=A");
    sides.source[0].fingerprint = fingerprint("n=A");
    sides.target[0] = TargetRecord {
        fingerprint: fingerprint("n=B"),
        ..TargetRecord::new(record(1, "n=B"))
    };
    let section = sides.plan(&rules, &free());
    assert_eq!(told(&section), ["change f0:n=A"]);
    assert_eq!(
        section.operations[0].reason,
        Reason::Overwritten,
        "only the target changed"
    );
    sides.source[0] = SourceRecord {
        fingerprint: fingerprint("n=C"),
        ..SourceRecord::new(record(1, "n=C"))
    };
    let section = sides.plan(&rules, &free());
    assert_eq!(
        section.operations[0].reason,
        Reason::Changed,
        "the source changed, too"
    );
    sides.source[0] = SourceRecord {
        fingerprint: fingerprint("n=A"),
        ..SourceRecord::new(record(1, "n=A"))
    };
    sides.rows.clear();
    let section = sides.plan(&rules, &free());
    assert_eq!(told(&section), ["change f0:n=A", "claim "]);
    let claimed = section.ledger[0].agreed.as_ref().unwrap();
    assert_eq!(
        (claimed.source, claimed.target),
        (None, None),
        "the write is not confirmed yet"
    );
}

#[test]
fn fingerprints_are_the_same_everywhere() {
    let rules = rules(FacetRule::default());
    let mut sample = record(1, "n=A,m={a b};x=1");
    let attributes = &mut sample
        .facets
        .get_mut(&FacetName::new("f1").unwrap())
        .unwrap()
        .attributes;
    attributes.insert(AttributeName::new("i").unwrap(), Value::Integer(-2));
    attributes.insert(AttributeName::new("b").unwrap(), Value::Bytes(vec![0, 255]));
    attributes.insert(AttributeName::new("y").unwrap(), Value::Flag(true));
    let found = Fingerprinter::new(&rules).fingerprint(&sample);
    assert_eq!(found.to_string(), "6edc4855bc346393f335bc33cdc282d4");
    assert_eq!(found.to_string().parse::<Fingerprint>().unwrap(), found);
    for malformed in [
        "",
        "0",
        "+0000000000000000000000000000000",
        "ABCDEF00000000000000000000000000",
    ] {
        assert!(malformed.parse::<Fingerprint>().is_err(), "{malformed}");
    }
}

#[test]
fn fingerprints_tell_contents_apart() {
    let both = rules(FacetRule::default());
    let texts = [
        "", "n=A", "n=B", "m=A", "n=A;n=A", "n={A}", "n={A B}", "n={AB}", "n=A,m=B", "n=AmB", ";n=A",
    ];
    let found: BTreeSet<_> = texts
        .iter()
        .map(|text| Fingerprinter::new(&both).fingerprint(&record(1, text)))
        .collect();
    assert_eq!(found.len(), texts.len());
    let same = Fingerprinter::new(&both).fingerprint(&record(1, "n=A,m=,s={}"));
    assert!(found.contains(&same), "what is empty says nothing");
    let other = rules(FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    });
    assert!(!found.contains(&Fingerprinter::new(&other).fingerprint(&record(1, "n=A"))));
}

fn text() -> impl Strategy<Value = Option<String>> {
    let scalar = prop_oneof![Just(""), Just("A"), Just("B"), Just("C")];
    let set = prop::collection::btree_set(prop_oneof![Just("a"), Just("b"), Just("c")], 0..3);
    let set = set.prop_map(|set| format!("{{{}}}", set.into_iter().collect::<Vec<_>>().join(" ")));
    let values = prop_oneof![4 => set, 1 => prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned)];
    let facet = (scalar, values).prop_map(|(scalar, values)| format!("n={scalar},m={values}"));
    prop::option::weighted(
        0.8,
        prop::collection::vec(facet, 1..3).prop_map(|facets| facets.join(";")),
    )
}

fn world() -> impl Strategy<Value = (Sides, RecordRules, Policy)> {
    let rule = (
        prop_oneof![3 => Just(Direction::Both), 1 => Just(Direction::ToTarget), 1 => Just(Direction::OnCreate)],
        prop_oneof![Just(SetRule::Merge), Just(SetRule::Replace)],
    )
        .prop_map(|(direction, sets)| FacetRule { direction, sets, ..FacetRule::default() });
    let records = prop::collection::vec((text(), text(), text(), any::<bool>()), 0..5);
    (records, rule, support::policy(), any::<bool>()).prop_map(|(records, rule, mut policy, fingerprints)| {
        let rules = rules(rule);
        let fingerprinter = Fingerprinter::new(&rules);
        let fingerprint = |record: &Record| fingerprints.then(|| fingerprinter.fingerprint(record));
        let mut sides = Sides::default();
        for (number, (source, target, base, ours)) in (0..).zip(records) {
            sides.source.extend(source.map(|text| SourceRecord {
                fingerprint: fingerprint(&record(number, &text)),
                ..SourceRecord::new(record(number, &text))
            }));
            sides.target.extend(target.map(|text| TargetRecord {
                fingerprint: fingerprint(&record(number, &text)),
                ..TargetRecord::new(record(number, &text))
            }));
            sides.rows.extend(base.map(|text| RecordRow {
                standing: Standing {
                    origin: Some(if ours { Origin::Ours } else { Origin::Foreign }),
                    ..Standing::OURS
                },
                ..row(number, &text)
            }));
        }
        policy.guards.emptied = false;
        policy.guards.container = None;
        (sides, rules, policy)
    })
}

fn contents(record: &Record) -> BTreeMap<(FacetName, AttributeName), Value> {
    let facets = record.facets.iter();
    let says = facets.flat_map(|(name, facet)| {
        facet
            .attributes
            .iter()
            .map(move |(a, v)| ((name.clone(), a.clone()), v.clone()))
    });
    says.filter(|(_, value)| !value.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn promise_02_one_apply_carries_what_only_the_source_changed((sides, rules, policy) in world()) {
        let after = sides.after(&sides.plan(&rules, &policy), &rules);
        for source in &sides.source {
            let id = &source.record.id;
            let find = |sides: &Sides| sides.target.iter().find(|target| target.record.id == *id).map(|t| contents(&t.record));
            let row = sides.rows.iter().find(|row| row.id == *id && row.standing.in_base());
            let respected = policy.mode == Mode::Managed && policy.drift == Drift::Respect && row.is_some();
            let Some(target) = find(&after) else {
                prop_assert!(respected && find(&sides).is_none());
                continue;
            };
            let (Some(row), Some(before)) = (row, find(&sides)) else { continue };
            let base = contents(&Record { facets: row.base.facets.clone(), ..source.record.clone() });
            let facet = |name: &FacetName, of: &BTreeMap<(FacetName, AttributeName), Value>| -> BTreeMap<_, _> {
                of.iter().filter(|((facet, _), _)| facet == name).map(|(k, v)| (k.clone(), v.clone())).collect()
            };
            for name in source.record.facets.keys().filter(|name| row.base.facets.contains_key(*name)) {
                let compared = rules.rule(name).is_some_and(|rule| rule.direction == Direction::Both);
                let only_source = facet(name, &before) == facet(name, &base);
                let only_target = facet(name, &contents(&source.record)) == facet(name, &base);
                if compared && only_source && policy.mode != Mode::AddOnly {
                    prop_assert_eq!(facet(name, &target), facet(name, &contents(&source.record)));
                } else if compared && only_target && policy.mode != Mode::AddOnly {
                    prop_assert_eq!(facet(name, &target), facet(name, &before));
                }
            }
        }
    }

    #[test]
    fn promise_03_planning_again_finds_nothing_to_do((sides, rules, policy) in world()) {
        let mut after = sides.after(&sides.plan(&rules, &policy), &rules);
        let again = after.plan(&rules, &policy);
        prop_assert_eq!(&again.operations, &[]);
        after = after.after(&again, &rules);
        prop_assert_eq!(&after.plan(&rules, &policy).ledger, &[], "the ledger settles, too");
    }

    /// However the plan came to know it.
    #[test]
    fn a_change_is_stored_with_the_fingerprint_of_what_it_leaves((sides, rules, policy) in world()) {
        let section = sides.plan(&rules, &policy);
        let after = sides.after(&section, &rules);
        for operation in &section.operations {
            let Some(Agreed::Record(base)) = operation.agreed.as_deref() else { continue };
            let left = after.target.iter().find(|target| Some(&target.record.id) == operation.subject.record());
            let left = left.expect("what was written is there");
            if let (Action::Change(_), Some(stored)) = (&operation.action, base.target) {
                prop_assert_eq!(Some(stored), left.fingerprint);
            }
        }
    }

    #[test]
    fn promise_04_no_key_has_two_operations((sides, rules, policy) in world()) {
        let section = sides.plan(&rules, &policy);
        let held = section.holds.iter().map(|hold| &hold.operation);
        let mut seen = BTreeSet::new();
        prop_assert!(section.operations.iter().chain(held).all(|operation| seen.insert(&operation.subject)));
    }

    #[test]
    fn promise_11_add_only_clears_nothing((sides, rules, mut policy) in world()) {
        policy.mode = Mode::AddOnly;
        let after = sides.after(&sides.plan(&rules, &policy), &rules);
        for before in &sides.target {
            let now = after.target.iter().find(|target| target.record.id == before.record.id).expect("it stays");
            let now = contents(&now.record);
            for (name, value) in contents(&before.record) {
                let still = now.get(&name).expect("it still says something");
                let replaces = rules.rule(&name.0).is_some_and(|rule| rule.sets == SetRule::Replace);
                if let (Value::Set(before), false) = (value, replaces) {
                    let is_kept = matches!(still, Value::Set(now) if before.is_subset(now));
                    prop_assert!(is_kept, "{:?} became {:?}", before, still);
                }
            }
        }
    }

    #[test]
    fn promise_09_a_partial_source_ends_no_record((mut sides, rules, policy) in world(), cut in any::<prop::sample::Index>()) {
        sides.source.truncate(cut.index(sides.source.len() + 1));
        sides.source_rest = Some(support::reason());
        let section = sides.plan(&rules, &policy);
        prop_assert!(section.operations.iter().all(|operation| operation.action != Action::Delete));
        prop_assert!(section.ledger.iter().all(|change| !matches!(change.step, LedgerStep::Forget | LedgerStep::Release(_))));
    }

    #[test]
    fn records_come_by_value_or_by_reference((sides, rules, policy) in world()) {
        let evidence = RunEvidence::default();
        let streamed = plan_records(
            &collection(),
            Records::complete(sides.source.clone()),
            Records::complete(sides.target.clone()),
            sides.rows.clone(),
            &rules,
            &policy,
            &evidence,
        );
        prop_assert_eq!(streamed, sides.plan(&rules, &policy));
    }
}
