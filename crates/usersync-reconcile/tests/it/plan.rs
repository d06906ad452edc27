//! Guards that look at a whole plan, digests, approvals, and the stored form.

use proptest::prelude::*;
use usersync_model::{ContainerKind, Digest, JobId, MemberFacets, PartialKind, PartialReason, Subject};
use usersync_reconcile::{
    Action, Approval, Drafts, Finding, Guards, Hold, HoldCause, OnExceeded, Operation, Plan, PlanError,
    Policy, Protection, Reason, Section, Share, Tally, What, Window,
};

use crate::support::{self, World, assemble, at, container, envelope, header, name};

fn operation(who: u8, action: Action) -> Operation {
    Operation {
        subject: Subject::Principal(support::principal(who)),
        action,
        reason: Reason::NotSelected,
        label: String::new(),
        seen: None,
        approved: false,
        agreed: None,
    }
}

fn add(who: u8) -> Operation {
    operation(who, Action::Add(MemberFacets::default()))
}

fn remove(who: u8) -> Operation {
    operation(who, Action::Remove)
}

fn section(number: u8, removable: u64, operations: Vec<Operation>) -> Section {
    Section {
        container: container(number),
        kind: ContainerKind::Team,
        name: format!("Team {number}"),
        owner: None,
        operations,
        holds: Vec::new(),
        ledger: Vec::new(),
        findings: Vec::new(),
        tally: Tally {
            removable,
            present: removable,
            ..Tally::default()
        },
    }
}

fn held(mut section: Section, operation: Operation, cause: HoldCause) -> Section {
    section.holds.push(Hold { operation, cause });
    section
}

fn removals(count: u8) -> Vec<Operation> {
    (0..count).map(remove).collect()
}

fn plan_with(sections: Vec<Section>, policy: &Policy, used: u64) -> Plan {
    let mut drafts = Drafts::default();
    sections.into_iter().for_each(|section| drafts.push(section));
    Plan::assemble(header(policy), envelope(1, 0), drafts, policy, used, None)
}

fn codes(plan: &Plan) -> Vec<&'static str> {
    let holds = plan.sections().iter().flat_map(|section| &section.holds);
    holds.map(|hold| hold.cause.code()).collect()
}

fn free_removals(plan: &Plan) -> usize {
    let operations = plan.sections().iter().flat_map(|section| &section.operations);
    operations
        .filter(|operation| operation.action.is_removal())
        .count()
}

#[test]
fn promise_10_the_limits_hold_to_the_removal() {
    // Present, removals, removed before in the window; how many are free.
    let table = [
        (40, 10, 0, 10),
        (40, 11, 0, 0),
        (100, 20, 0, 20),
        (100, 21, 0, 0),
        (40, 5, 5, 5),
        (40, 5, 6, 0),
        (40, 0, u64::MAX, 0),
        (u64::MAX, 200, 0, 200),
        (40, 1, u64::MAX, 0),
    ];
    for (present, count, used, free) in table {
        let plan = plan_with(
            vec![section(1, present, removals(count))],
            &Policy::default(),
            used,
        );
        assert_eq!(free_removals(&plan), free, "{present} {count} {used}");
        assert_eq!(
            plan.sections().iter().flat_map(|s| &s.holds).count(),
            usize::from(count) - free
        );
    }
}

#[test]
fn figures_of_any_size_have_a_share() {
    let half = Share {
        percent: 50,
        floor: 10,
    };
    assert!(!half.exceeded_in_container(u64::MAX / 2, u64::MAX));
    assert!(half.exceeded_in_container(u64::MAX / 2 + 1, u64::MAX));
    assert_eq!(half.allowance(u64::MAX), u64::MAX / 2);
    assert_eq!(half.allowance(0), 10);
    let much = Share {
        percent: 255,
        floor: 0,
    };
    assert_eq!(much.allowance(u64::MAX), u64::MAX);
}

#[test]
fn a_run_guard_leaves_what_other_guards_hold() {
    let protected = HoldCause::Protected(Protection::Named);
    let plan = plan_with(
        vec![held(section(1, 40, removals(11)), remove(50), protected)],
        &Policy::default(),
        0,
    );
    assert_eq!(
        codes(&plan).iter().filter(|code| **code == "run_limit").count(),
        11
    );
    assert_eq!(*codes(&plan).last().unwrap(), "protected_by_name");
}

#[test]
fn where_everything_stops_it_stops_for_guards_only() {
    let incomplete = || HoldCause::IncompleteTarget(PartialReason::new(PartialKind::Limit, ""));
    let cases = [
        (HoldCause::Adoption, vec!["adoption"]),
        (
            HoldCause::Protected(Protection::Owner),
            vec!["protected_owner", "stopped"],
        ),
        (HoldCause::PolicyChanged, vec!["policy_changed", "stopped"]),
        (incomplete(), vec!["incomplete_target", "stopped_incomplete"]),
    ];
    let mut policy = Policy::default();
    policy.guards.on_exceeded = OnExceeded::StopEverything;
    for (cause, expected) in cases {
        let sections = vec![
            held(section(1, 40, vec![]), remove(1), cause),
            section(2, 40, vec![add(2)]),
        ];
        let plan = plan_with(sections, &policy, 0);
        assert_eq!(codes(&plan), expected);
    }
}

#[test]
fn what_stops_for_want_of_knowledge_is_not_approved() {
    let mut policy = Policy::default();
    policy.guards.on_exceeded = OnExceeded::StopEverything;
    let unknown = HoldCause::IncompleteTarget(PartialReason::new(PartialKind::Limit, ""));
    let protected = HoldCause::Protected(Protection::Named);
    let first = held(section(1, 40, vec![]), remove(1), unknown);
    let second = held(section(2, 40, vec![add(2)]), remove(3), protected);
    let plan = plan_with(vec![first, second], &policy, 0);
    assert_eq!(
        codes(&plan),
        ["incomplete_target", "stopped_incomplete", "stopped_incomplete"]
    );
    assert_eq!(plan.held_digest(), None);
    assert_eq!(plan.summary().approvable, 0);
}

#[test]
fn the_held_digest_knows_what_is_held_and_not_how_much_else() {
    let base = || {
        vec![held(
            section(1, 40, vec![add(9)]),
            remove(1),
            HoldCause::RunLimit {
                removals: 11,
                limit: 10,
            },
        )]
    };
    let digest = |sections| plan_with(sections, &Policy::default(), 0).held_digest().unwrap();
    let expected = digest(base());
    let same: [fn(&mut Section); 6] = [
        |s| {
            s.holds[0].cause = HoldCause::RunLimit {
                removals: 12,
                limit: 11,
            }
        },
        |s| s.holds[0].operation.label = "Ann".into(),
        |s| s.holds[0].operation.seen = Some("v2".into()),
        |s| s.operations.clear(),
        |s| s.tally.present += 1,
        |s| s.name = "renamed".into(),
    ];
    for (at, change) in same.into_iter().enumerate() {
        let mut sections = base();
        change(&mut sections[0]);
        assert_eq!(digest(sections), expected, "change {at}");
    }
    let other: [fn(&mut Section); 5] = [
        |s| s.holds[0].operation.subject = Subject::Principal(support::principal(2)),
        |s| s.holds[0].operation.action = Action::Delete,
        |s| s.holds[0].operation.reason = Reason::Departed,
        |s| s.holds[0].cause = HoldCause::PolicyChanged,
        |s| s.container = container(7),
    ];
    for (at, change) in other.into_iter().enumerate() {
        let mut sections = base();
        change(&mut sections[0]);
        assert_ne!(digest(sections), expected, "change {at}");
    }
    let more = vec![held(base().remove(0), remove(2), HoldCause::PolicyChanged)];
    assert_ne!(digest(more), expected);
}

#[test]
fn the_digests_know_nothing_of_time_labels_and_versions() {
    let policy = Policy::default();
    let make = |serial, second, label: &str| {
        let mut operation = add(1);
        operation.label = label.into();
        operation.seen = Some(label.into());
        let mut drafts = Drafts::default();
        drafts.push(section(1, 4, vec![operation]));
        Plan::assemble(
            header(&policy),
            envelope(serial, second),
            drafts,
            &policy,
            0,
            None,
        )
    };
    let (one, other) = (make(1, 0, "Ann"), make(2, 60, "Ben"));
    assert_eq!(one.digest(), other.digest());
    assert_ne!(one, other);
    let approved = plan_with(
        vec![section(
            1,
            4,
            vec![Operation {
                approved: true,
                ..add(1)
            }],
        )],
        &policy,
        0,
    );
    assert_ne!(one.digest(), approved.digest());
}

#[test]
fn promise_12_an_approval_reaches_one_held_set_of_one_job_under_one_policy_for_a_while() {
    let policy = Policy::default();
    let plan = plan_with(vec![section(1, 40, removals(11))], &policy, 0);
    let approval = Approval {
        job: JobId::new("share-groups").unwrap(),
        held: plan.held_digest().unwrap(),
        policy: policy.digest(),
        by: support::principal(1),
        granted: at(10),
        expires: at(20),
    };
    let job = &approval.job;
    for (now, expected) in [(9, false), (10, true), (19, true), (20, false)] {
        assert_eq!(
            approval.is_valid(job, &policy.digest(), at(now)),
            expected,
            "{now}"
        );
    }
    let other_policy = Policy {
        guards: Guards {
            emptied: false,
            ..Guards::default()
        },
        ..Policy::default()
    };
    assert!(!approval.is_valid(job, &other_policy.digest(), at(15)));
    assert!(!approval.is_valid(&JobId::new("other").unwrap(), &policy.digest(), at(15)));

    let approve = |held: Option<Digest>, operations| assemble([section(1, 40, operations)], &policy, held);
    let lifted = approve(Some(approval.held), removals(11));
    assert_eq!((free_removals(&lifted), lifted.held_digest()), (11, None));
    assert!(
        lifted.sections()[0]
            .operations
            .iter()
            .all(|operation| operation.approved)
    );
    for (held, count) in [(Some(approval.held), 12), (Some(plan.digest()), 11), (None, 11)] {
        assert_eq!(free_removals(&approve(held, removals(count))), 0);
    }
    // Approved removals do not count in the window.
    assert_eq!(lifted.sections()[0].free_removals(), 0);
}

#[test]
fn promise_12_operations_of_other_plans_have_other_ids() {
    let base = envelope(1, 0);
    let id = base.operation_ids(&container(1)).of(&add(1));
    let labelled = Operation {
        label: "Ann".into(),
        approved: true,
        ..add(1)
    };
    assert_eq!(
        envelope(1, 60).operation_ids(&container(1)).of(&labelled),
        id,
        "another attempt"
    );
    let mut foreign = base.clone();
    foreign.lineage = Digest::of("lineage", b"two");
    let others = [
        envelope(2, 0).operation_ids(&container(1)).of(&add(1)),
        foreign.operation_ids(&container(1)).of(&add(1)),
        base.operation_ids(&container(2)).of(&add(1)),
        base.operation_ids(&container(1)).of(&add(2)),
        base.operation_ids(&container(1)).of(&remove(1)),
    ];
    assert!(others.iter().all(|other| *other != id));
}

/// A store that sorts by them keeps those of one container together.
#[test]
fn ids_of_the_operations_of_one_container_begin_alike() {
    let envelope = envelope(1, 0);
    let begins = |n, operation: &Operation| {
        envelope.operation_ids(&container(n)).of(operation).to_string()[..8].to_owned()
    };
    assert_eq!(begins(1, &add(1)), begins(1, &remove(2)));
    assert_ne!(begins(1, &add(1)), begins(2, &add(1)));
}

#[test]
fn policies_of_other_content_have_other_digests() {
    let plain = Policy::default().digest();
    let changes: [fn(&mut Policy); 5] = [
        |p| p.grace_hours = Some(1),
        |p| p.guards.container = None,
        |p| p.guards.on_exceeded = OnExceeded::StopEverything,
        |p| p.guards.protected.extend([support::principal(1)]),
        |p| {
            p.guards.window = Some(Window {
                hours: 25,
                share: Share {
                    percent: 20,
                    floor: 10,
                },
            })
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut policy = Policy::default();
        change(&mut policy);
        assert_ne!(policy.digest(), plain, "change {at}");
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(
            serde_json::from_str::<Policy>(&json).unwrap().digest(),
            policy.digest()
        );
    }
}

fn sample() -> Plan {
    let mut first = section(1, 40, removals(3));
    first.operations[0].label = "Ann \u{202e}<script>".into();
    first.operations[1].seen = Some("v7".into());
    first.findings.push(Finding {
        subject: Subject::Principal(support::principal(9)),
        label: "Eli".into(),
        what: What::AddOnly,
    });
    let first = held(first, remove(8), HoldCause::Protected(Protection::Administrator));
    let unknown = HoldCause::IncompleteTarget(PartialReason::new(PartialKind::Failed, "500 at page 3"));
    plan_with(
        vec![held(section(2, 3, vec![add(4)]), add(5), unknown), first],
        &Policy::default(),
        0,
    )
}

#[test]
fn a_plan_survives_being_stored() {
    let plan = sample();
    assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    assert_eq!(serde_json::from_str::<Plan>(&plan.to_json()).unwrap(), plan);
    assert!(plan.sections().is_sorted_by(|a, b| a.container < b.container));
}

#[test]
fn promise_12_a_plan_that_was_edited_is_refused() {
    let json = sample().to_json();
    let edits = [
        ("\"approved\":true", "", false),
        ("\"reason\":\"not_selected\"", "\"reason\":\"excluded\"", true),
        ("Ann ", "Eve ", true),
        ("\"v7\"", "\"v8\"", true),
        ("Eli", "Eve", true),
        ("\"serial\":1", "\"serial\":2", true),
        ("\"kind\":\"team\"", "\"kind\":\"poll\"", true),
        ("Team 1", "Team 3", true),
        ("\"protected\":\"administrator\"", "\"protected\":\"named\"", true),
        ("500 at page 3", "500 at page 4", true),
        ("\"present\":40", "\"present\":41", true),
    ];
    for (from, to, is_there) in edits {
        let edited = json.replacen(from, to, 1);
        assert_eq!(edited != json, is_there, "{from}");
        if is_there {
            let refused = Plan::from_json(&edited).unwrap_err();
            assert!(matches!(refused, PlanError::Changed { .. }), "{from}: {refused}");
            assert!(serde_json::from_str::<Plan>(&edited).is_err(), "{from}");
        }
    }
}

#[test]
fn promise_12_no_byte_of_a_plan_changes_unnoticed() {
    let plan = sample();
    let json = plan.to_json();
    for at in 0..json.len() {
        for flip in [1_u8, 2, 16, 32, 128] {
            let mut bytes = json.clone().into_bytes();
            bytes[at] ^= flip;
            if let Ok(text) = String::from_utf8(bytes)
                && let Ok(read) = Plan::from_json(&text)
            {
                assert_eq!(read, plan, "byte {at}: {:?}", &text[at.saturating_sub(20)..]);
            }
        }
    }
}

#[test]
fn what_is_no_plan_of_this_version_is_refused_with_a_reason() {
    let json = sample().to_json();
    let table = [
        (json.replacen("\"version\":1", "\"version\":2", 1), "version 2"),
        (json.replacen("\"version\":1", "\"version\":0", 1), "no version 0"),
        (
            json.replacen("usersync.plan", "other.\\u001bplan", 1),
            "the format is",
        ),
        (
            json.replacen("\"tenant\"", "\"surprise\":1,\"tenant\"", 1),
            "unknown field",
        ),
        (json.replacen("\"mode\"", "\"mo\\u001bde\"", 1), "unknown field"),
        (json[..json.len() / 2].to_owned(), "line 1"),
        ("[]".repeat(3), "line 1"),
        ("[".repeat(100_000), "line 1"),
        ("{\"format\":".repeat(100_000), "line 1"),
        (String::new(), "line 1"),
    ];
    for (json, expected) in table {
        let refused = Plan::from_json(&json).unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert!(!refused.contains(char::is_control), "{refused:?}");
    }
}

proptest! {
    #[test]
    fn any_plan_survives_being_stored(worlds in prop::collection::vec(support::world(), 0..3)) {
        let policy = Policy::default();
        let sections = worlds.iter().enumerate().map(|(at, world)| Section {
            container: container(at as u8),
            ..world.plan()
        });
        let plan = assemble(sections, &policy, None);
        prop_assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
    }

    #[test]
    fn promise_01_the_order_of_containers_does_not_matter(worlds in prop::collection::vec(support::world(), 0..4)) {
        let policy = Policy::default();
        let sections: Vec<_> = worlds.iter().enumerate().map(|(at, world)| Section {
            container: container(at as u8),
            ..world.plan()
        }).collect();
        let forwards = assemble(sections.iter().cloned(), &policy, None);
        let backwards = assemble(sections.into_iter().rev(), &policy, None);
        prop_assert_eq!(forwards.to_json(), backwards.to_json());
    }

    #[test]
    fn promise_10_beyond_a_guard_nothing_is_removed(
        counts in prop::collection::vec((0_u8..30, 0_u64..200), 1..5),
        used in 0_u64..40,
    ) {
        let policy = Policy::default();
        let present: u64 = counts.iter().map(|(_, present)| present).sum();
        let removed: u64 = counts.iter().map(|(count, _)| u64::from(*count)).sum();
        let sections = || counts.iter().enumerate()
            .map(|(at, (count, present))| section(at as u8, *present, removals(*count))).collect();
        let plan = plan_with(sections(), &policy, used);
        let is_too_much = |removed: u64| removed > 10 && removed * 5 > present;
        let expected = if is_too_much(removed) || is_too_much(removed + used) { 0 } else { removed };
        prop_assert_eq!(free_removals(&plan) as u64, expected);
    }

    #[test]
    fn promise_10_only_the_digest_of_the_held_set_lifts_it(world in support::world(), other in support::world()) {
        let policy = Policy::default();
        let held = |world: &World| assemble([world.plan()], &policy, None).held_digest();
        let plan = assemble([world.plan()], &policy, held(&other));
        let before = assemble([world.plan()], &policy, None);
        if held(&world) != held(&other) {
            prop_assert_eq!(plan, before);
        } else {
            prop_assert_eq!(plan.summary().approvable, 0);
        }
    }

    #[test]
    fn what_an_approval_lifts_is_what_waited_for_it(world in support::world()) {
        let policy = Policy::default();
        let waiting = assemble([world.plan()], &policy, None);
        let lifted = assemble([world.plan()], &policy, waiting.held_digest());
        let names = |plan: &Plan, is: fn(&Hold) -> bool| -> Vec<u8> {
            let holds = plan.sections().iter().flat_map(|section| &section.holds);
            holds.filter(|hold| is(hold)).map(|hold| name(&hold.operation.subject)).collect()
        };
        let approved: Vec<u8> = lifted.sections().iter().flat_map(|section| &section.operations)
            .filter(|operation| operation.approved).map(|operation| name(&operation.subject)).collect();
        prop_assert_eq!(approved, names(&waiting, |hold| hold.cause.is_approvable()));
        prop_assert_eq!(names(&lifted, |_| true), names(&waiting, |hold| !hold.cause.is_approvable()));
    }

    #[test]
    fn hostile_text_is_refused_without_a_panic(text in "\\PC*", at in any::<prop::sample::Index>()) {
        let _ = Plan::from_json(&text);
        let mut json = sample().to_json();
        let at = at.index(json.len());
        if json.is_char_boundary(at) {
            json.insert_str(at, &text);
            if let Ok(plan) = Plan::from_json(&json) {
                prop_assert_eq!(plan, sample());
            }
        }
    }
}

#[test]
fn plans_of_other_tenants_have_other_held_sets() {
    let policy = Policy::default();
    let digest = |change: fn(&mut usersync_reconcile::Header)| {
        let mut header = header(&policy);
        change(&mut header);
        let mut drafts = Drafts::default();
        drafts.push(section(1, 40, removals(11)));
        Plan::assemble(header, envelope(1, 0), drafts, &policy, 0, None).held_digest()
    };
    let plain = digest(|_| {});
    assert_ne!(
        plain,
        digest(|header| header.tenant = usersync_model::TenantId::new("other").unwrap())
    );
    assert_ne!(plain, digest(|header| header.job = JobId::new("other").unwrap()));
    assert_ne!(
        plain,
        digest(|header| header.policy = Digest::of("policy", b"other"))
    );
    assert_eq!(plain, digest(|header| header.more_warnings = 3));
}
