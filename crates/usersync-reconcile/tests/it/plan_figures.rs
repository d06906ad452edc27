//! What a plan counts, what a run's guard lets pass, and what an approval of some subjects lets go.

use std::sync::Arc;

use usersync_model::{
    ContainerKind, FacetName, MemberFacets, PartialKind, PartialReason, Record, RecordKind, Subject,
};
use usersync_reconcile::{
    Action, Drafts, Finding, Hold, HoldCause, LedgerChange, LedgerStep, Operation, Policy, Protection,
    Reason, Section, Summary, Tally, What,
};

use crate::support::{assemble, container, name, principal};

fn subject(who: u8) -> Subject {
    Subject::Principal(principal(who))
}

fn operation(who: u8, action: Action) -> Operation {
    Operation {
        subject: subject(who),
        action,
        reason: Reason::Selected,
        label: String::new(),
        seen: None,
        approved: false,
        agreed: None,
    }
}

fn section(number: u8) -> Section {
    Section {
        container: container(number),
        kind: ContainerKind::Team,
        name: String::new(),
        owner: None,
        operations: Vec::new(),
        holds: Vec::new(),
        ledger: Vec::new(),
        findings: Vec::new(),
        tally: Tally::default(),
    }
}

fn hold(who: u8, cause: HoldCause) -> Hold {
    Hold {
        operation: operation(who, Action::Remove),
        cause,
    }
}

fn unknown() -> HoldCause {
    HoldCause::IncompleteTarget(PartialReason::new(PartialKind::Limit, ""))
}

fn every_action() -> [Action; 7] {
    let record = Record {
        id: usersync_model::RecordRef::parse("dir", "r1").unwrap(),
        kind: RecordKind::new("contact").unwrap(),
        facets: [(FacetName::new("f").unwrap(), usersync_model::Facet::default())].into(),
    };
    [
        Action::Add(MemberFacets::default()),
        Action::Create(Arc::new(record.clone())),
        Action::Adopt,
        Action::Change(record.facets),
        Action::Update {
            from: MemberFacets::default(),
            to: MemberFacets::default(),
        },
        Action::Delete,
        Action::Remove,
    ]
}

/// A container with every action, and others with some of what else there is.
fn sections() -> [Section; 3] {
    let mut first = section(1);
    first.operations = (0..)
        .zip(every_action())
        .map(|(who, action)| operation(who, action))
        .collect();
    first.holds = vec![
        hold(20, unknown()),
        hold(21, HoldCause::Protected(Protection::Named)),
    ];
    first.tally = Tally {
        desired: 1,
        present: 2,
        removable: 30,
        foreign: 4,
    };
    let mut second = section(2);
    second.operations = vec![operation(1, Action::Adopt), operation(2, Action::Adopt)];
    second.holds = vec![hold(3, HoldCause::PolicyChanged)];
    let found = |who, what| Finding {
        subject: subject(who),
        label: String::new(),
        what,
    };
    let whats = [
        What::AddOnly,
        What::Ambiguous,
        What::FacetConflict,
        What::KindDiffers,
    ];
    second.findings = (4..).zip(whats).map(|(who, what)| found(who, what)).collect();
    second.tally = Tally {
        desired: 50,
        present: 60,
        removable: 70,
        foreign: 80,
    };
    let mut third = section(3);
    third.ledger = (1..=2)
        .map(|who| LedgerChange {
            subject: subject(who),
            step: LedgerStep::Forget,
            agreed: None,
        })
        .collect();
    third.tally.desired = 5;
    [first, second, third]
}

#[test]
fn a_plan_counts_each_kind_of_change_over_all_containers() {
    let plan = assemble(sections(), &Policy::default(), None);
    let summary = plan.summary();
    assert_eq!(
        summary,
        Summary {
            additions: 2,
            removals: 2,
            updates: 2,
            adoptions: 3,
            held: 3,
            approvable: 2,
            conflicts: 3,
            ledger: 2,
        }
    );
    assert_eq!(summary.operations(), 9);
}

#[test]
fn a_plan_counts_what_was_seen_in_all_containers() {
    let silent = || {
        let mut silent = section(9);
        silent.tally.present = 1000;
        silent
    };
    let mut drafts = Drafts::default();
    sections()
        .into_iter()
        .chain([silent()])
        .for_each(|section| drafts.push(section));
    let expected = Tally {
        desired: 56,
        present: 1062,
        removable: 100,
        foreign: 84,
    };
    assert_eq!(drafts.tally(), expected);
    let plan = assemble(sections().into_iter().chain([silent()]), &Policy::default(), None);
    assert_eq!((plan.header().tally, plan.header().containers), (expected, 4));
    assert_eq!(
        plan.sections().len(),
        3,
        "a container of which nothing is to be said takes no place"
    );
}

#[test]
fn a_plan_is_in_sync_if_nothing_is_to_be_done_and_nothing_waits() {
    let [acting, _, mut telling] = sections();
    let mut waiting = section(2);
    waiting.holds = vec![hold(1, unknown())];
    let mut doing = section(4);
    doing.operations = acting.operations;
    telling.findings = vec![Finding {
        subject: subject(1),
        label: String::new(),
        what: What::FacetConflict,
    }];
    let is_in_sync = |sections: Vec<Section>| assemble(sections, &Policy::default(), None).is_in_sync();
    assert!(is_in_sync(vec![]));
    assert!(is_in_sync(vec![telling.clone()]));
    assert!(!is_in_sync(vec![telling.clone(), waiting]));
    assert!(!is_in_sync(vec![doing, telling]));
}

/// The guard of a run holds removals that nobody approved, and nothing else.
#[test]
fn a_run_guard_lets_additions_and_approved_removals_pass() {
    let mut full = section(1);
    full.operations = (0..11).map(|who| operation(who, Action::Remove)).collect();
    full.operations
        .push(operation(11, Action::Add(MemberFacets::default())));
    full.operations.push(Operation {
        approved: true,
        ..operation(12, Action::Remove)
    });
    full.tally.removable = 40;
    let plan = assemble([full], &Policy::default(), None);
    let section = &plan.sections()[0];
    let passed: Vec<u8> = section
        .operations
        .iter()
        .map(|operation| name(&operation.subject))
        .collect();
    assert_eq!(passed, [11, 12]);
    let waiting: Vec<u8> = section
        .holds
        .iter()
        .map(|hold| name(&hold.operation.subject))
        .collect();
    assert_eq!(waiting, Vec::from_iter(0..11));
}

#[test]
fn an_approval_of_some_operations_lets_go_of_those_that_wait() {
    let mut section = section(1);
    section.operations = [2, 6].map(|who| operation(who, Action::Remove)).into();
    let named = || HoldCause::Protected(Protection::Named);
    section.holds = vec![
        hold(1, named()),
        hold(3, unknown()),
        hold(4, named()),
        hold(5, named()),
    ];
    section.approve(|operation| [2, 3, 4, 5, 9].map(subject).contains(&operation.subject));
    let operations: Vec<_> = section
        .operations
        .iter()
        .map(|operation| (name(&operation.subject), operation.approved))
        .collect();
    assert_eq!(operations, [(2, true), (4, true), (5, true), (6, false)]);
    let waiting: Vec<u8> = section
        .holds
        .iter()
        .map(|hold| name(&hold.operation.subject))
        .collect();
    assert_eq!(
        waiting,
        [1, 3],
        "what no approval lifts, and what was not approved"
    );
}
