//! Promises about runs of record jobs that are killed, time out, or meet each other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use usersync::connector::{News, TargetCapabilities};
use usersync::engine::{Outcome, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{Origin, Record, RecordKind, Subject};
use usersync_tests::edit::cases;
use usersync_tests::records::edit::{edits, staff};
use usersync_tests::records::{RecordEnd, RecordWorld, contact, contact_id, eventful};
use usersync_tests::{LEASE, container, crash, every_capability, job, least_capability};

type Told = BTreeMap<String, usize>;

/// What was told and put on record, without the ids of operations: each with how often.
fn told(world: &RecordWorld) -> Told {
    let mut told = Told::new();
    for notification in world.notifier.delivered() {
        if !matches!(
            notification.news,
            News::OperationsHeld { .. } | News::JobPaused { .. }
        ) {
            *told
                .entry(format!("{:?} {:?}", notification.recipient, notification.news))
                .or_default() += 1;
        }
    }
    let audit = futures::executor::block_on(world.new_engine("auditor").audit(&world.tenant));
    for record in audit.expect("a log") {
        if record.outcome == "applied" {
            let line = format!("{} {} {}", record.action, record.container, record.subject);
            *told.entry(line).or_default() += 1;
        }
    }
    told
}

fn every_kind_of_target() -> [(TargetCapabilities, bool); 5] {
    let every = every_capability();
    let without = TargetCapabilities {
        idempotency_key: false,
        conditional_write: false,
        ..every
    };
    [
        (every, true),
        (every, false),
        (without, true),
        (least_capability(), true),
        (TargetCapabilities::default(), false),
    ]
}

/// How it ends, what is told, and the calls of the first run.
fn undisturbed(world: &RecordWorld) -> (RecordEnd, Told, Vec<CallKind>) {
    let world = world.fork();
    let _ = world.run("share");
    let calls = world.calls.all().into_iter().map(|call| call.kind).collect();
    let _ = world.settle("share");
    (world.end(), told(&world), calls)
}

/// Which facets a record lacks is not known from a read in part: they are written by the next run, and that is a change of its own.
fn in_two_steps(told: &Told) -> Told {
    let is_change = |line: &str| line.starts_with("change ") || line.contains(" RecordChanged ");
    let once = |(line, times): (&String, &usize)| (line.clone(), if is_change(line) { 1 } else { *times });
    told.iter().map(once).collect()
}

fn take_over(world: &mut RecordWorld) {
    world.faults.heal();
    world.clock.advance(LEASE * 2);
    world.restart();
    let _ = world.settle("share");
}

fn disturbed(world: &RecordWorld, rule: FaultRule) -> RecordWorld {
    let mut world = world.fork();
    world.faults.inject(rule);
    let _ = crash(
        world
            .engine()
            .run(&world.tenant, &job("share"), RunRequest::everything()),
    );
    take_over(&mut world);
    world
}

#[test]
fn the_eventful_run_has_something_of_everything() {
    let world = eventful(every_capability(), true);
    let summary = world.plan("share").summary();
    assert!(
        summary.additions >= 3 && summary.removals >= 4 && summary.updates >= 3 && summary.ledger >= 1,
        "{summary:?}"
    );
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn promise_14_whatever_went_before(before in edits(10), after in edits(8), second in any::<bool>()) {
        let world = RecordWorld::builder().staff(&staff()).job(RecordWorld::distribution("share", "staff")).build();
        world.edit(&before);
        let _ = world.settle("share");
        world.edit(&after);
        let (end, news, calls) = undisturbed(&world);
        for call in 1..=calls.len() as u64 {
            let first = usize::try_from(call - 1).expect("a place");
            let is_read = calls[first..].iter().take(1 + usize::from(second)).any(|kind| *kind == CallKind::Records);
            for fault in [Fault::Hang(Moment::After), Fault::Timeout(Moment::Before), Fault::Timeout(Moment::After)] {
                let mut rule = FaultRule::new(fault.clone()).at_call(call);
                if second {
                    rule = FaultRule::new(fault.clone()).from_call(call).times(2);
                }
                let world = disturbed(&world, rule);
                prop_assert_eq!(&world.end(), &end, "{:?} at call {}", fault, call);
                let told = told(&world);
                if is_read {
                    prop_assert_eq!(in_two_steps(&told), in_two_steps(&news), "{:?} at call {}", fault, call);
                } else {
                    prop_assert_eq!(&told, &news, "{:?} at call {}", fault, call);
                }
            }
        }
    }
}

/// What we made stays ours although the answer was lost; what a person made does not become ours.
#[test]
fn promise_16_what_we_made_is_ours_and_what_a_person_made_is_not() {
    for (capabilities, changes) in every_kind_of_target() {
        let build = || {
            let mut builder = RecordWorld::builder()
                .capabilities(capabilities)
                .staff("ada")
                .job(RecordWorld::distribution("share", "staff"));
            if !changes {
                builder = builder.without_changes();
            }
            let world = builder.build();
            world.put_contact("c1", "general:name=One");
            world
        };
        let mut lost = build();
        lost.faults.inject(
            FaultRule::new(Fault::Timeout(Moment::After))
                .on(CallKind::Create)
                .times(2),
        );
        let _ = lost.run("share");
        take_over(&mut lost);
        let row = lost.row("ada", &contact_id("c1")).expect("a row");
        assert_eq!(row.origin, Origin::Ours, "{capabilities:?}");

        let between = build();
        let target = between.target.clone();
        let put = move || {
            target.put_by_hand(Some(&container("ada").object), contact("c1", "general:name=One"));
        };
        between
            .faults
            .inject(FaultRule::meanwhile(put).on(CallKind::Create).once());
        let _ = between.settle("share");
        let row = between.row("ada", &contact_id("c1")).expect("a row");
        assert_eq!(row.origin, Origin::Foreign, "{capabilities:?}");
        between.leave("staff", "ada");
        let _ = between.settle("share");
        assert_eq!(between.names("ada"), "c1=One", "a person's stays");
    }
}

/// A target that remembers ids answers a create that was carried on as it did the first time, although a person took the record out
/// meanwhile: what it tells of changes shows that nothing was made.
#[test]
fn a_record_taken_out_before_its_lost_answer_is_made_up_for_is_made_again() {
    for (capabilities, changes) in every_kind_of_target() {
        let mut builder = RecordWorld::builder()
            .capabilities(capabilities)
            .staff("ada")
            .job(RecordWorld::distribution("share", "staff"));
        if !changes {
            builder = builder.without_changes();
        }
        let mut world = builder.build();
        world.put_contact("c1", "general:name=One");
        world
            .faults
            .inject(FaultRule::new(Fault::Hang(Moment::After)).on(CallKind::Create));
        let _ = crash(
            world
                .engine()
                .run(&world.tenant, &job("share"), RunRequest::everything()),
        );
        assert_eq!(world.names("ada"), "c1=One", "{capabilities:?}");
        world.drop_by_hand("ada", &contact_id("c1"));
        world.faults.heal();
        world.clock.advance(LEASE * 2);
        world.restart();
        for _ in 0..3 {
            let _ = world.run("share");
        }
        assert_eq!(
            world.names("ada"),
            "c1=One",
            "{capabilities:?}, changes: {changes}"
        );
        assert_eq!(
            world.plan("share").summary().operations(),
            0,
            "{capabilities:?}, changes: {changes}"
        );
    }
}

/// Somebody makes another record of the same id, or of another kind, when ours is about to be made: that is theirs, and no copy.
#[test]
fn promise_16_a_record_that_somebody_made_first_is_no_copy() {
    let another_kind = Record {
        kind: RecordKind::new("list").expect("a kind"),
        ..contact("c1", "general:name=One")
    };
    for made in [contact("c1", "general:name=Mine"), another_kind] {
        let world = RecordWorld::builder()
            .staff("ada")
            .job(RecordWorld::distribution("share", "staff"))
            .build();
        world.put_contact("c1", "general:name=One");
        let (target, theirs) = (world.target.clone(), made.clone());
        let put = move || {
            target.put_by_hand(Some(&container("ada").object), theirs.clone());
        };
        world
            .faults
            .inject(FaultRule::meanwhile(put).on(CallKind::Create).once());
        let report = world.run("share");
        assert_eq!(
            report.count(|outcome| *outcome == Outcome::Conflict),
            1,
            "{report}"
        );
        assert_eq!(world.row("ada", &contact_id("c1")), None, "{made:?}");
        let there = world.target.records_of(Some(&container("ada").object));
        assert_eq!(there, Some(vec![made]));
    }
}

/// A change whose answer was lost arrives when the next run has it on its way again: that is what the copy is compared with from then
/// on, and not what the run had read.
#[test]
fn what_a_change_that_arrives_late_leaves_is_compared_with() {
    let world = RecordWorld::builder()
        .capabilities(least_capability())
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    let says = |text: &str| format!("general:name={text}");
    world.put_contact("c1", &says("One"));
    let _ = world.settle("share");
    world.put_contact("c1", &says("Two"));
    let lost = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Update);
    world.faults.inject(lost.once());
    let _ = world.run("share");
    let (target, late) = (world.target.clone(), contact("c1", &says("Two")));
    let arrive = move || {
        target.put_by_hand(Some(&container("ada").object), late.clone());
    };
    let late = FaultRule::meanwhile(arrive).on(CallKind::Update);
    world.faults.inject(late.once());
    let report = world.run("share");
    let applied = report.count(|outcome| *outcome == Outcome::Applied);
    assert_eq!(applied, 1, "{report}");
    // Somebody undoes it, so that the copy is what the run had read.
    world.put_by_hand("ada", contact("c1", &says("One")));
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=Two");
}

/// Somebody else writes what we are about to write, so that our change is refused: what was read before is no spelling of it.
#[test]
fn what_somebody_else_wrote_first_is_no_spelling_of_what_was_there() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    let says = |text: &str| contact("c1", &format!("general:name={text}"));
    world.put_contact("c1", "general:name=One");
    let _ = world.settle("share");
    world.put_contact("c1", "general:name=Two");
    let (target, theirs) = (world.target.clone(), says("Two"));
    let put = move || {
        target.put_by_hand(Some(&container("ada").object), theirs.clone());
    };
    world
        .faults
        .inject(FaultRule::meanwhile(put).on(CallKind::Update).once());
    let report = world.run("share");
    let already = report.count(|outcome| *outcome == Outcome::AlreadySo);
    assert_eq!(already, 1, "{report}");
    // They undo it.
    world.put_by_hand("ada", says("One"));
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "c1=Two");
}

/// Somebody changes a copy between plan and effect: where the target checks versions, that is a conflict, reported, and not lost
/// without a word.
#[test]
fn promise_13_a_change_between_plan_and_effect_is_reported() {
    let world = eventful(every_capability(), true);
    let target = world.target.clone();
    let mine = move || {
        target.put_by_hand(Some(&container("ada").object), contact("c1", "general:name=Mine"));
    };
    let subject = Subject::Record(contact_id("c1"));
    world.faults.inject(
        FaultRule::meanwhile(mine)
            .on(CallKind::Update)
            .container(container("ada").object)
            .subject(subject.clone())
            .once(),
    );
    let report = world.run("share");
    let outcome = report
        .operations
        .iter()
        .find(|operation| operation.subject == subject && operation.container == container("ada"))
        .map(|operation| operation.outcome.clone());
    assert_eq!(outcome, Some(Outcome::Conflict));
    assert!(world.names("ada").contains("c1=Mine"), "it survives this run");
    let plan = world.plan("share");
    assert!(
        RecordWorld::told(&plan)
            .iter()
            .any(|line| line.ends_with("book:c1@ada")),
        "and is undone by the next, which says so"
    );
}

/// One record that fails stops no other, and each operation has one outcome.
#[test]
fn promise_18_one_record_failing_stops_no_other() {
    let world = eventful(every_capability(), true);
    let plan = world.plan("share");
    let subject = Subject::Record(contact_id("c1"));
    world.faults.inject(
        FaultRule::new(Fault::Failed {
            kind: usersync::connector::ErrorKind::InvalidData,
            retry: usersync::connector::Retry::Never,
        })
        .on(CallKind::Update)
        .subject(subject.clone()),
    );
    let report = world.run("share");
    assert_eq!(report.operations.len() as u64, plan.summary().operations());
    for operation in &report.operations {
        let fails = operation.subject == subject && operation.action == "change";
        assert_eq!(operation.outcome.is_ok(), !fails, "{operation:?}");
    }
}

/// A worker that lost its lease meanwhile writes nothing more, and the end is the same.
#[test]
fn promise_15_two_workers_make_each_record_once() {
    let world = eventful(every_capability(), true);
    let (end, _, calls) = undisturbed(&world);
    for call in 1..=calls.len() as u64 {
        let world = world.fork();
        let other = world.new_engine("two");
        let (clock, tenant) = (world.clock.clone(), world.tenant.clone());
        let stall = move || {
            clock.advance(LEASE * 2);
            let _ = crash(other.run(&tenant, &job("share"), RunRequest::everything()));
        };
        world
            .faults
            .inject(FaultRule::meanwhile(stall).at_call(call).once());
        let _ = world.try_run("share", RunRequest::everything());
        let _ = world.settle("share");
        assert_eq!(world.end(), end, "stalled at call {call}");
    }
}
