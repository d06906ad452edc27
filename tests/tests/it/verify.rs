//! The ledger compared with the target.

use std::collections::BTreeMap;

use futures::executor::block_on;
use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{Discrepancy, RunEnd, RunRequest, Scope, Verification};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{
    LedgerRow, Member, MemberFacets, MembershipState, ObjectId, Origin, PartialKind, PartialReason,
    PrincipalRef, Role, Subject,
};
use usersync::reconcile::{HoldCause, Mode};
use usersync::store::{LedgerKey, StateStore, Transaction, Write};
use usersync_tests::edit::cases;
use usersync_tests::{
    Crash, World, container, crash, every_capability, facets, free_policy, job, least_capability, user,
};

fn world() -> World {
    World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .container("album", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

fn verify(world: &World) -> Verification {
    block_on(world.preview().verify(&world.tenant, &job("sync"))).expect("the store works")
}

/// What a verification says, in short: the counts that are not zero, and the findings.
fn shown(verification: &Verification) -> String {
    let rows = &verification.rows;
    let counts = [
        ("agreed", rows.agreed),
        ("differing", rows.differing),
        ("missing", rows.missing),
        ("unknown", rows.unknown),
        ("unlisted", rows.unlisted),
        ("unsettled", rows.unsettled),
    ];
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let mut parts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    parts.extend(verification.findings.iter().map(brief));
    parts.join("; ")
}

fn brief(finding: &Discrepancy) -> String {
    let code = finding.code();
    match finding {
        Discrepancy::FacetsDiffer {
            container, principal, ..
        } => format!("{code} {}/{}", container.object, principal.object),
        Discrepancy::Missing {
            container, subject, ..
        } => format!("{code} {}/{}", container.object, object(subject)),
        Discrepancy::MissingContainer { container, rows }
        | Discrepancy::UnlistedContainer { container, rows }
        | Discrepancy::UnreadContainer { container, rows, .. } => {
            format!("{code} {} {rows}", container.object)
        }
        Discrepancy::OpenIntent {
            container,
            subject,
            effect,
            ..
        } => format!("{code} {effect} {}/{}", container.object, object(subject)),
        Discrepancy::UnknownJob { job, rows } => format!("{code} {job} {rows}"),
        other => format!("{code} {other}"),
    }
}

fn object(subject: &Subject) -> &ObjectId {
    match subject {
        Subject::Principal(principal) => &principal.object,
        Subject::Record(record) => &record.object,
    }
}

fn put_row(world: &World, name: &str, who: PrincipalRef, row: Option<LedgerRow>) {
    let mut transaction = Transaction::new(world.tenant.clone());
    transaction.write(Write::Ledger {
        key: LedgerKey::member(container(name), who),
        row,
    });
    block_on(world.store.commit(transaction)).expect("the store works");
}

fn set_role(world: &World, name: &str, who: &str) {
    let member = Member {
        principal: user(who),
        facets: facets(Role::Manager, MembershipState::Active),
    };
    assert!(world.target.set_by_hand(&container(name).object, member));
}

#[test]
fn what_a_run_left_is_consistent_and_looking_writes_nothing() {
    let world = world();
    let _ = world.settle("sync");
    world.add_by_hand("team", "somebody");
    let before = world.snapshot();
    let verification = verify(&world);
    assert_eq!(shown(&verification), "6 agreed");
    assert!(verification.is_consistent());
    let by_engine = block_on(world.engine().verify(&world.tenant, &job("sync"))).expect("the store works");
    assert_eq!(by_engine, verification);
    assert_eq!(world.snapshot(), before);
}

/// What a person gave a member stays, and so the finding stays: nobody is told that a run settles it.
#[test]
fn a_role_that_a_run_leaves_is_not_said_to_be_settled() {
    let world = world();
    world.add_by_hand("team", "ada");
    set_role(&world, "team", "ada");
    let _ = world.settle("sync");
    for _ in 0..2 {
        assert_eq!(world.run("sync").end, RunEnd::InSync);
        let verification = verify(&world);
        assert_eq!(
            shown(&verification),
            "5 agreed; 1 differing; facets_differ team/ada"
        );
        assert_eq!(
            verification.findings[0].to_string(),
            "hr:ada in share:team is manager, active, and was agreed to be member, active; the next run carries what \
             the source changed, and keeps what was changed at the target"
        );
    }
}

type Disturb = fn(&World);

#[test]
fn each_discrepancy_is_found() {
    let table: [(&str, Disturb, &str); 11] = [
        (
            "somebody removed a member",
            |w| w.remove_by_hand("team", "ada"),
            "5 agreed; 1 missing; missing_member team/ada",
        ),
        (
            "somebody made a member manager",
            |w| set_role(w, "team", "bob"),
            "5 agreed; 1 differing; facets_differ team/bob",
        ),
        (
            "a container is gone",
            |w| assert!(w.target.remove_container(&container("album").object)),
            "3 agreed; 3 missing; missing_container album 3",
        ),
        (
            "a container is not listed",
            |w| assert!(w.catalog.remove(&container("album")).is_some()),
            "3 agreed; 3 unlisted; unlisted_container album 3",
        ),
        (
            "a container is read in part",
            |w| {
                w.faults.inject(FaultRule::new(Fault::PartialOf {
                    object: container("team").object,
                    shown: 1,
                    kind: PartialKind::Limit,
                }));
            },
            "4 agreed; 2 unknown; unread_container team 2",
        ),
        (
            "the target cannot be read",
            |w| {
                let (kind, retry) = (ErrorKind::Unavailable, Retry::Later);
                w.faults
                    .inject(FaultRule::new(Fault::Failed { kind, retry }).on(CallKind::Members));
            },
            "6 unknown; unread_container album 3; unread_container team 3",
        ),
        (
            "the list of containers is cut short",
            |w| {
                let (shown, kind) = (0, PartialKind::Limit);
                w.faults
                    .inject(FaultRule::new(Fault::Partial { shown, kind }).on(CallKind::Containers));
            },
            "6 unknown; unread_container album 3; unread_container team 3",
        ),
        (
            "a job that does not exist claims rows",
            |w| {
                for who in ["ada", "dora"] {
                    let row = w.row("team", who);
                    let row = row.unwrap_or_else(|| LedgerRow::new(Origin::Ours, []));
                    put_row(w, "team", user(who), Some(row.claimed(&job("ghost"))));
                }
            },
            "6 agreed; unknown_job ghost 2",
        ),
        (
            "another job claims a row of its own",
            |w| {
                w.save(&World::new_job("other", free_policy(Mode::Managed)));
                let row = LedgerRow::new(Origin::Ours, [job("other")]);
                put_row(w, "team", user("dora"), Some(row));
            },
            "6 agreed",
        ),
        (
            "somebody removes a member while the target is read",
            |w| {
                let (target, team) = (w.target.clone(), container("team").object);
                let remove = move || assert!(target.remove_by_hand(&team, &user("ada")));
                w.faults
                    .inject(FaultRule::meanwhile(remove).on(CallKind::Members).once());
            },
            "5 agreed; 1 missing; missing_member team/ada",
        ),
        (
            "another worker removes a member while the target is read",
            |w| {
                let (engine, sync) = (w.new_engine("two"), job("sync"));
                let (tenant, directory) = (w.tenant.clone(), w.directory.clone());
                let run = move || {
                    directory.remove_member(&user("staff").object, &user("ada"));
                    let run = engine.run(&tenant, &sync, RunRequest::everything());
                    assert!(matches!(crash(run), Crash::Ended(Ok(_))));
                };
                w.faults
                    .inject(FaultRule::meanwhile(run).on(CallKind::Members).once());
            },
            "4 agreed; 2 unsettled",
        ),
    ];
    for (what, disturb, expected) in table {
        let world = world();
        let _ = world.settle("sync");
        disturb(&world);
        let verification = verify(&world);
        assert_eq!(shown(&verification), expected, "when {what}");
        assert_eq!(
            verification.is_consistent(),
            expected == "6 agreed",
            "when {what}"
        );
        for finding in &verification.findings {
            assert!(
                verification.to_string().contains(&finding.to_string()),
                "{finding}"
            );
        }
    }
}

/// What a system says about its failure is not trusted: it adds no line to what is said about the ledger.
#[test]
fn a_reason_is_shown_in_one_line() {
    let reason = PartialReason::new(PartialKind::Failed, "gone\n6 rows are as the ledger says\u{202e}");
    let finding = Discrepancy::UnreadContainer {
        container: container("team"),
        rows: 3,
        reason: reason.clone(),
    };
    let world = world();
    let answer = world
        .planned("sync", &Scope::Everything)
        .explain(&container("team"), &user("ada"));
    let mut answer = answer.expect("the container is planned");
    (answer.selected, answer.absent, answer.present) = (None, Vec::new(), Some(true));
    answer.held = Some(HoldCause::IncompleteTarget(reason));
    for (text, lines) in [(finding.to_string(), 1), (answer.to_string(), 2)] {
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(
            text.contains("gone\\u{a}6 rows") && text.contains("says\\u{202e}"),
            "{text}"
        );
    }
}

/// A removal that was begun explains why its member is not there; it is told once, with the time of its first attempt.
#[test]
fn operations_under_way_are_listed_and_explain_what_is_missing() {
    for (moment, attempts) in [(Moment::Before, 2), (Moment::After, 1)] {
        let mut world = world();
        let _ = world.settle("sync");
        let begun = usersync::connector::Clock::now(&world.clock);
        let sync = job("sync");
        world.leave("staff", "ada");
        world
            .faults
            .inject(FaultRule::new(Fault::Hang(moment)).on(CallKind::Remove));
        for _ in 0..attempts {
            let run = world.engine().run(&world.tenant, &sync, RunRequest::everything());
            assert!(matches!(crash(run), Crash::Stopped));
            world.clock.advance(usersync_tests::LEASE * 2);
            world.restart();
        }
        world.faults.heal();
        let verification = verify(&world);
        let under_way = match moment {
            Moment::Before => "6 agreed",
            Moment::After => "4 agreed; 2 unsettled",
        };
        let intents = "open_intent remove album/ada; open_intent remove team/ada";
        assert!(shown(&verification).starts_with(under_way), "{verification}");
        let mut open: Vec<_> = verification.findings.iter().map(brief).collect();
        open.sort();
        assert_eq!(open.join("; "), intents);
        assert_eq!(verification.open_intents, 2);
        assert!(!verification.is_consistent());
        for finding in &verification.findings {
            assert!(
                matches!(finding, Discrepancy::OpenIntent { since, .. } if *since == begun),
                "{finding}"
            );
        }
        let _ = world.settle("sync");
        assert_eq!(shown(&verify(&world)), "4 agreed");
    }
}

/// More than one read of the target, and more findings than are listed: the counts are exact all the same.
#[test]
fn many_are_counted_and_some_are_listed() {
    let people: Vec<String> = (0..5000).map(|n| format!("p{n:04}")).collect();
    let mut builder = World::builder()
        .batch(1000)
        .group("staff", &people.join(" "))
        .group("few", "p0000 p0001")
        .container("zoo", "staff")
        .job("sync", free_policy(Mode::Managed));
    for n in 0..600 {
        builder = builder.container(&format!("c{n:03}"), "few");
    }
    let world = builder.build();
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    world.calls.clear();
    assert_eq!(shown(&verify(&world)), "6200 agreed");
    assert_eq!(world.calls.count(CallKind::Members), 3);
    world.remove_by_hand("c000", "p0001");
    for who in &people[..1200] {
        world.remove_by_hand("zoo", who);
    }
    let verification = verify(&world);
    assert_eq!(
        (verification.rows.agreed, verification.rows.missing),
        (4999, 1201)
    );
    assert_eq!(verification.findings.len(), 1000);
    assert_eq!(brief(&verification.findings[0]), "missing_member c000/p0001");
    assert!(!verification.is_consistent());
}

/// Where the target keeps no roles, those in the ledger are not compared.
#[test]
fn a_target_without_roles_has_none_to_compare() {
    for (capabilities, expected) in [
        (every_capability(), "1 differing; facets_differ team/ada"),
        (
            usersync::connector::TargetCapabilities {
                updates: false,
                ..least_capability()
            },
            "1 agreed",
        ),
    ] {
        let world = World::builder()
            .capabilities(capabilities)
            .group("staff", "ada")
            .container("team", "staff")
            .job("sync", free_policy(Mode::Managed))
            .build();
        let _ = world.settle("sync");
        let row = LedgerRow::new(Origin::Ours, [job("sync")]);
        let row = row.with_facets(facets(Role::Owner, MembershipState::Active));
        put_row(&world, "team", user("ada"), Some(row));
        assert_eq!(shown(&verify(&world)), expected);
    }
}

const PEOPLE: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Look {
    Cut,
    Missing,
    Unlisted,
    Whole,
}

/// A row: its origin, its claims by `sync`, `other` and `ghost`, and whether it is one of a manager.
type RowOf = Option<(bool, [bool; 3], bool)>;

fn row_of() -> impl Strategy<Value = RowOf> {
    let some = (any::<bool>(), any::<[bool; 3]>(), any::<bool>());
    proptest::option::weighted(0.7, some)
}

fn facets_of(manager: bool) -> MemberFacets {
    let role = if manager { Role::Manager } else { Role::Member };
    facets(role, MembershipState::Active)
}

proptest! {
    #![proptest_config(cases(192))]

    /// Any ledger against any target, told naively row by row.
    #[test]
    fn as_told_naively(
        looks in proptest::collection::vec(prop_oneof![1 => Just(Look::Cut), 1 => Just(Look::Missing), 1 => Just(Look::Unlisted), 4 => Just(Look::Whole)], 1..5),
        rows in proptest::collection::vec(row_of(), 20),
        present in proptest::collection::vec(proptest::option::of(any::<bool>()), 20),
        seed in any::<u64>(),
    ) {
        let mut builder = World::builder().job("sync", free_policy(Mode::Managed)).job("other", free_policy(Mode::Managed));
        for n in 0..looks.len() {
            builder = builder.container(&format!("c{n}"), "");
        }
        let world = builder.build();
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        let mut found: Vec<String> = Vec::new();
        let mut ghosts = 0;
        let mut cut = false;
        for (n, look) in looks.iter().enumerate() {
            // One read meets one fault.
            let look = if *look == Look::Cut && std::mem::replace(&mut cut, true) { &Look::Whole } else { look };
            let name = format!("c{n}");
            let id = container(&name);
            let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
            for who in 0..PEOPLE {
                let at = n * usize::from(PEOPLE) + usize::from(who);
                let (who, there) = (user(&format!("u{who}")), present[at]);
                if let Some(manager) = there {
                    let member = Member { principal: who.clone(), facets: facets_of(manager) };
                    prop_assert!(world.target.add_by_hand(&id.object, who.clone()));
                    world.target.set_by_hand(&id.object, member);
                }
                let Some((ours, claims, manager)) = rows[at] else { continue };
                let names = ["sync", "other", "ghost"].into_iter().zip(claims).filter(|(_, claims)| *claims);
                let origin = if ours { Origin::Ours } else { Origin::Foreign };
                let row = LedgerRow::new(origin, names.map(|(name, _)| job(name))).with_facets(facets_of(manager));
                put_row(&world, &name, who.clone(), Some(row));
                ghosts += u64::from(claims[2]);
                if !claims[0] {
                    continue;
                }
                let count = match (look, there) {
                    (Look::Unlisted, _) => "unlisted",
                    (Look::Cut, _) => "unknown",
                    (Look::Missing, _) | (Look::Whole, None) => "missing",
                    (Look::Whole, Some(there)) if there != manager => "differing",
                    (Look::Whole, Some(_)) => "agreed",
                };
                *counts.entry(count).or_default() += 1;
                match (count, look) {
                    ("missing", Look::Whole) => found.push(format!("missing_member {name}/{}", who.object)),
                    ("differing", _) => found.push(format!("facets_differ {name}/{}", who.object)),
                    _ => {}
                }
            }
            match look {
                Look::Cut => {
                    world.faults.inject(FaultRule::new(Fault::PartialOf { object: id.object.clone(), shown: 0, kind: PartialKind::Limit }));
                    found.extend(counts.get("unknown").map(|rows| format!("unread_container {name} {rows}")));
                }
                Look::Missing => {
                    world.target.remove_container(&id.object);
                    found.extend(counts.get("missing").map(|rows| format!("missing_container {name} {rows}")));
                }
                Look::Unlisted => {
                    world.catalog.remove(&id);
                    found.extend(counts.get("unlisted").map(|rows| format!("unlisted_container {name} {rows}")));
                }
                Look::Whole => {}
            }
            for (count, rows) in counts {
                *expected.entry(count).or_default() += rows;
            }
        }
        if !cut {
            world.faults.inject(FaultRule::new(Fault::Reordered { seed }).on(CallKind::Members));
        }
        if ghosts > 0 {
            found.insert(0, format!("unknown_job ghost {ghosts}"));
        }
        let mut parts: Vec<String> = ["agreed", "differing", "missing", "unknown", "unlisted"]
            .into_iter()
            .filter_map(|count| expected.get(count).map(|rows| format!("{rows} {count}")))
            .collect();
        parts.extend(found);
        prop_assert_eq!(shown(&verify(&world)), parts.join("; "));
    }
}
