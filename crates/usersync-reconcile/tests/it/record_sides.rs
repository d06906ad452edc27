//! What a plan of records counts, keeps, adopts and calls things; where it may conclude that something is not there.

use usersync_model::{FacetName, Origin};
use usersync_reconcile::{
    Action, Direction, FacetRule, Fingerprinter, Kept, LedgerStep, Mode, Policy, RecordRules, Section,
    SourceRecord, Standing, Tally, TargetRecord,
};

use crate::record_world::{Sides, free, id, one, record, row, rules, told};
use crate::support;

const FOREIGN: Standing = Standing {
    claimed: true,
    origin: Some(Origin::Foreign),
    others: false,
};
const SHARED: Standing = Standing {
    claimed: true,
    origin: Some(Origin::Ours),
    others: true,
};
const ELSEWHERE: Standing = Standing {
    claimed: false,
    origin: Some(Origin::Ours),
    others: true,
};

fn plan(sides: &Sides, mode: Mode) -> Section {
    sides.plan(&rules(FacetRule::default()), &Policy { mode, ..free() })
}

/// Two records on both sides, one only at the source, four only at the target: ours, nobody's, another job's, shared.
fn mixed() -> Sides {
    let there = |number| TargetRecord::new(record(number, "n=A"));
    let held = |number, standing| {
        let mut row = row(number, "n=A");
        row.standing = standing;
        row
    };
    Sides {
        source: [1, 2, 3]
            .map(|number| SourceRecord::new(record(number, "n=A")))
            .into(),
        target: [1, 2, 4, 5, 6, 7].map(there).into(),
        rows: vec![
            row(1, "n=A"),
            held(2, FOREIGN),
            row(4, "n=A"),
            held(6, ELSEWHERE),
            held(7, SHARED),
        ],
        ..Sides::default()
    }
}

#[test]
fn the_tally_counts_what_was_seen() {
    for (mode, removable, foreign) in [
        // Ours: 1, 4 and 7. Not desired and not in the base: 5 and 6.
        (Mode::Managed, 3, 2),
        (Mode::Mirror, 6, 0),
        (Mode::AddOnly, 3, 2),
    ] {
        let expected = Tally {
            desired: 3,
            present: 6,
            removable,
            foreign,
        };
        assert_eq!(plan(&mixed(), mode).tally, expected, "{mode:?}");
    }
}

#[test]
fn what_stays_is_told_where_the_mode_would_have_it_go() {
    let ends = |section: &Section| {
        let found = section
            .findings
            .iter()
            .map(|finding| (finding.subject.to_string(), finding.what.code()));
        found.collect::<Vec<_>>()
    };
    let told = |number: u8, code| (format!("dir:r{number:02}"), code);
    for (mode, expected) in [
        (Mode::Managed, vec![]),
        (
            Mode::Mirror,
            vec![told(6, "claimed_elsewhere"), told(7, "claimed_elsewhere")],
        ),
        (Mode::AddOnly, vec![told(4, "add_only"), told(7, "add_only")]),
    ] {
        assert_eq!(ends(&plan(&mixed(), mode)), expected, "{mode:?}");
    }
    let released = plan(&mixed(), Mode::Managed);
    let steps: Vec<_> = released.ledger.iter().map(|change| &change.step).collect();
    assert_eq!(steps, [&LedgerStep::Release(Kept::ClaimedElsewhere)]);
}

#[test]
fn a_collection_counts_as_emptied_only_if_nothing_is_desired_for_sure() {
    let policy = Policy::default();
    let rules = rules(FacetRule::default());
    let mut sides = one("-", "n=A", "n=A");
    assert_eq!(
        told(&sides.plan(&rules, &policy)),
        ["hold delete container_emptied"]
    );
    // The source was read in part, but it is sure of this one: others may be desired.
    sides.source_rest = Some(support::reason());
    sides.source_absent = vec![id(0), id(1)];
    assert_eq!(told(&sides.plan(&rules, &policy)), ["delete"]);
    let mut sides = one("n=A", "n=A", "n=A");
    sides.target.push(TargetRecord::new(record(2, "n=A")));
    sides.rows.push(row(2, "n=A"));
    assert_eq!(told(&sides.plan(&rules, &policy)), ["delete"]);
}

/// A point read shows for sure that a record is not there; for whatever it did not ask about, nothing is concluded.
#[test]
fn only_what_is_known_to_be_absent_is_made_after_a_partial_read() {
    let rules = rules(FacetRule::default());
    let mut sides = one("n=A", "-", "-");
    sides.target_rest = Some(support::reason());
    for (absent, expected) in [
        (vec![], "hold create f0:n=A incomplete_target"),
        (vec![id(0)], "hold create f0:n=A incomplete_target"),
        (vec![id(2)], "hold create f0:n=A incomplete_target"),
        (vec![id(0), id(1), id(2)], "create f0:n=A"),
    ] {
        sides.target_absent = absent;
        assert_eq!(
            told(&sides.plan(&rules, &free())),
            [expected],
            "{:?}",
            sides.target_absent
        );
    }
}

#[test]
fn what_is_there_and_not_ours_is_adopted_once() {
    let adopting = |standing: Option<Standing>| {
        let mut sides = one("n=A", "n=A", "n=A");
        sides.evidence.adopt = true;
        match standing {
            Some(standing) => sides.rows[0].standing = standing,
            None => sides.rows.clear(),
        }
        let rules = rules(FacetRule::default());
        let fingerprint = Fingerprinter::new(&rules).fingerprint(&sides.source[0].record);
        sides.source[0].fingerprint = Some(fingerprint);
        sides.target[0].fingerprint = Some(fingerprint);
        if let Some(row) = sides.rows.first_mut() {
            (row.base.source, row.base.target) = (Some(fingerprint), Some(fingerprint));
        }
        // Nothing is written, so that it is no matter which version is there: another one leaves the approval as it is.
        sides.target[0].version = Some("7".to_owned());
        let section = sides.plan(&rules, &free());
        assert!(section.holds.iter().all(|hold| hold.operation.seen.is_none()));
        told(&section)
    };
    assert_eq!(adopting(Some(Standing::OURS)), Vec::<String>::new());
    assert_eq!(adopting(Some(FOREIGN)), ["hold adopt adoption"]);
    assert_eq!(adopting(None), ["hold adopt adoption", "claim f0:n=A"]);
}

/// What only `AddOnly` keeps is no agreement: under another mode, it is written.
#[test]
fn what_add_only_keeps_is_compared_again_under_another_mode() {
    let rules = rules(FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    });
    let add_only = Policy {
        mode: Mode::AddOnly,
        ..free()
    };
    let prints = |sides: &mut Sides| {
        let printer = Fingerprinter::new(&rules);
        sides.source[0].fingerprint = Some(printer.fingerprint(&sides.source[0].record));
        sides.target[0].fingerprint = Some(printer.fingerprint(&sides.target[0].record));
    };
    for (source, target, mode, known) in [
        ("m={a}", "m={a}", Mode::AddOnly, true),
        ("m={a}", "m={a b}", Mode::AddOnly, false),
        ("m={a}", "m={a}", Mode::Managed, true),
    ] {
        let mut sides = one(source, target, "");
        prints(&mut sides);
        let policy = Policy { mode, ..free() };
        let section = sides.plan(&rules, &policy);
        let base = section.ledger[0].agreed.as_ref().unwrap();
        assert_eq!(base.source, sides.source[0].fingerprint, "{source} {target}");
        assert_eq!(base.target.is_some(), known, "{source} {target} {mode:?}");
    }
    let mut kept = one("m={a}", "m={a b}", "");
    prints(&mut kept);
    let after = kept.after(&kept.plan(&rules, &add_only), &rules);
    assert_eq!(told(&after.plan(&rules, &free())), ["change f0:m={a}"]);
}

/// A read in part may leave out facets, too: what it does not name is not known to be empty.
#[test]
fn a_facet_that_a_read_in_part_leaves_out_is_left_alone() {
    let follows = FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    };
    // Source and base; what a plan says of a target that shows `n=A` alone, in part and completely.
    let table = [
        (follows, "n=A;m={a b}", "-;-", "", "change f1:m={a b}"),
        (
            follows,
            "n=B;m={a b}",
            "-;-",
            "change f0:n=B",
            "change f0:n=B;f1:m={a b}",
        ),
        (
            FacetRule::default(),
            "n=A;m={a b}",
            "n=A;m={a}",
            "",
            "change f1:m={b}",
        ),
        (
            FacetRule::default(),
            "n=B;m={a b}",
            "n=A;m={a}",
            "change f0:n=B",
            "change f0:n=B;f1:m={b}",
        ),
    ];
    for (rule, source, base, in_part, completely) in table {
        let rules = rules(rule);
        for mode in [Mode::Managed, Mode::Mirror, Mode::AddOnly] {
            let policy = Policy { mode, ..free() };
            let mut sides = one(source, "n=A", base);
            assert_eq!(
                told(&sides.plan(&rules, &policy)),
                [completely],
                "{source} {base} {mode:?}"
            );
            sides.target_rest = Some(support::reason());
            let printer = Fingerprinter::new(&rules);
            sides.source[0].fingerprint = Some(printer.fingerprint(&sides.source[0].record));
            sides.target[0].fingerprint = Some(printer.fingerprint(&sides.target[0].record));
            let section = sides.plan(&rules, &policy);
            let expected: Vec<&str> = [in_part].into_iter().filter(|line| !line.is_empty()).collect();
            assert_eq!(told(&section), expected, "{source} {base} {mode:?}");
            let after = sides.after(&section, &rules);
            let left_out = FacetName::new("f1").unwrap();
            let stored = &after.rows[0].base;
            assert_eq!(
                stored.facets.get(&left_out),
                sides.rows[0].base.facets.get(&left_out)
            );
            assert_eq!((stored.source, stored.target), (None, None), "compared again");
        }
    }
}

/// What was not yet a facet of a copy of ours arrives once it is one. What somebody else has there stays.
#[test]
fn a_facet_that_comes_later_arrives() {
    let rules = rules(FacetRule::default());
    for (target, standing, expected) in [
        ("n=A", Standing::OURS, "change f1:n=X"),
        ("n=A;n=", Standing::OURS, "change f1:n=X"),
        ("n=A;n=Y", Standing::OURS, "agree"),
        ("n=A", FOREIGN, "agree"),
    ] {
        let mut sides = one("n=A;n=X", target, "n=A");
        sides.rows[0].standing = standing;
        let section = sides.plan(&rules, &free());
        assert_eq!(told(&section), [expected], "{target} {standing:?}");
        let after = sides.after(&section, &rules);
        assert!(after.plan(&rules, &free()).is_silent(), "{target} {standing:?}");
    }
}

/// What `AddOnly` kept is no addition of anybody's: under another mode it goes, and what a person added stays.
#[test]
fn what_add_only_kept_goes_under_another_mode() {
    let rules = rules(FacetRule::default());
    let add_only = Policy {
        mode: Mode::AddOnly,
        ..free()
    };
    // Source, target, base; what `Managed` says after `AddOnly` had nothing to write.
    let table: [(&str, &str, &str, &[&str]); 7] = [
        ("m={a}", "m={a b}", "m={a b}", &["change f0:m={a}"]),
        ("m={a}", "m={a b c}", "m={a b}", &["change f0:m={a c}"]),
        ("m={a}", "m={a}", "m={a b}", &[]),
        ("m={}", "m={a}", "m={a}", &["change f0:"]),
        ("x=1", "n=A,x=1", "n=A,x=1", &["change f0:x=1"]),
        ("x=1", "n=B,x=1", "n=A,x=1", &[]),
        // A person's change beside what is kept is no conflict before something is to go.
        ("x=1", "n=A,x=2", "n=A,x=1", &["change f0:x=1"]),
    ];
    for (source, target, base, expected) in table {
        let mut sides = one(source, target, base);
        for _ in 0..2 {
            let section = sides.plan(&rules, &add_only);
            assert_eq!(section.operations, [], "{source} {target} {base}");
            assert_eq!(section.findings, [], "{source} {target} {base}");
            sides = sides.after(&section, &rules);
        }
        let section = sides.plan(&rules, &free());
        let found: Vec<_> = told(&section)
            .into_iter()
            .filter(|line| line != "agree")
            .collect();
        assert_eq!(found, expected, "{source} {target} {base}");
    }
}

#[test]
fn a_record_is_written_over_and_deleted_only_as_it_was_seen_and_called_by_its_name() {
    let seen = |source: &str, target: &str, source_name: &str| {
        let mut sides = one(source, target, target);
        if let Some(record) = sides.source.first_mut() {
            record.name = source_name.to_owned();
        }
        if let Some(record) = sides.target.first_mut() {
            record.name = "Target".to_owned();
            record.version = Some("v7".to_owned());
        }
        let section = plan(&sides, Mode::Managed);
        let operation = section.operations.into_iter().next().unwrap();
        (operation.action.code(), operation.seen, operation.label)
    };
    let version = || Some("v7".to_owned());
    for (found, expected) in [
        (
            seen("n=B", "n=A", "Source"),
            ("change", version(), "Source".to_owned()),
        ),
        (seen("n=B", "n=A", ""), ("change", version(), "Target".to_owned())),
        (seen("-", "n=A", ""), ("delete", version(), "Target".to_owned())),
        (seen("n=B", "-", "Source"), ("create", None, "Source".to_owned())),
        (seen("n=B", "-", ""), ("create", None, String::new())),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_facet_has_a_rule_of_its_own_or_is_switched_off() {
    let facet = |name: &str| FacetName::new(name).unwrap();
    let to_target = FacetRule {
        direction: Direction::ToTarget,
        ..FacetRule::default()
    };
    let rules = RecordRules::all(FacetRule::default())
        .with(facet("f1"), to_target)
        .without(facet("f2"));
    assert_eq!(rules.rule(&facet("f0")), Some(&FacetRule::default()));
    assert_eq!(rules.rule(&facet("f1")), Some(&to_target));
    // The target's own changes stay, are written over, are not looked at.
    let changed_there = one("n=A;n=A;n=A", "n=B;n=B;n=B", "n=A;n=A;n=A");
    assert_eq!(told(&changed_there.plan(&rules, &free())), ["change f1:n=A"]);
    let changed_here = one("n=B;n=B;n=B", "n=A;n=A;n=A", "n=A;n=A;n=A");
    assert_eq!(
        told(&changed_here.plan(&rules, &free())),
        ["change f0:n=B;f1:n=B"]
    );
    let created = one("n=B;n=B;n=B", "-", "-").plan(&rules, &free());
    assert_eq!(told(&created), ["create f0:n=B;f1:n=B"]);
    assert!(matches!(created.operations[0].action, Action::Create(_)));
}

#[test]
fn a_fingerprint_knows_its_rules_and_shows_itself() {
    let rules = rules(FacetRule::default());
    let printer = Fingerprinter::new(&rules);
    assert_eq!(printer.rules(), &rules);
    let fingerprint = printer.fingerprint(&record(1, "n=A"));
    assert_eq!(format!("{fingerprint:?}"), format!("Fingerprint({fingerprint})"));
}
