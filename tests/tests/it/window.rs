//! What is under way at once: operations that are called for, that were answered, and that are durable already.

use futures::StreamExt;
use futures::executor::block_on;
use usersync::engine::{Outcome, RunControl, RunEnd, RunEvent, RunRequest};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync::model::{ContainerKind, Subject};
use usersync::reconcile::{Mode, Share, Window};
use usersync::store::{LedgerKey, StateStore, Transaction, Write};
use usersync_tests::{LEASE, World, container, crash, free_policy, job, user};

const PEOPLE: usize = 12;

fn people() -> String {
    let people: Vec<String> = (1..=PEOPLE).map(|n| format!("u{n:02}")).collect();
    people.join(" ")
}

/// Twelve people to add.
fn world(batch: usize) -> World {
    World::builder()
        .batch(batch)
        .group("staff", &people())
        .container("team", "staff")
        .job("sync", free_policy(Mode::Managed))
        .build()
}

/// A call that is never answered holds up none of the others, of its batch and of those behind it, and what became of them is
/// recorded.
#[test]
fn promise_18_a_call_without_an_answer_holds_up_no_other() {
    let mut together = 0;
    for after in 0..PEOPLE as u64 {
        for moment in [Moment::Before, Moment::After] {
            let mut world = world(3);
            let rule = FaultRule::new(Fault::Hang(moment)).on(CallKind::Add);
            world.faults.inject(rule.after(after).once());
            let _ = crash(
                world
                    .engine()
                    .run(&world.tenant, &job("sync"), RunRequest::everything()),
            );
            let there = world.members("team").split_whitespace().count();
            // Two go in one call.
            assert!(there >= PEOPLE - 2, "call {after}, {moment:?}: {there}");
            together += usize::from(there == PEOPLE - 2);
            let end = world.end();
            assert_eq!(
                end.ledger.len() + end.intents.len(),
                PEOPLE,
                "call {after}, {moment:?}"
            );
            // Those of that call, and others that were answered since the last transaction.
            assert!(
                end.intents.len() <= 4,
                "call {after}, {moment:?}: {:?}",
                end.intents
            );
            world.faults.heal();
            world.clock.advance(LEASE * 2);
            world.restart();
            let _ = world.settle("sync");
            assert_eq!(world.members("team"), people(), "call {after}, {moment:?}");
            assert_eq!(world.end().ledger.len(), PEOPLE, "call {after}, {moment:?}");
            assert_eq!(world.end().intents.len(), 0, "call {after}, {moment:?}");
        }
    }
    assert!(together > 0, "each went in a call of its own");
}

/// Another job claims somebody while the first batch is under way. In the second one that removal is not begun, and each other is.
#[test]
fn promise_08_whom_another_job_claims_meanwhile_stays_and_the_others_go() {
    let mut policy = free_policy(Mode::Managed);
    policy.guards.window = Some(Window {
        hours: 24,
        share: Share {
            percent: 100,
            floor: 1000,
        },
    });
    let world = World::builder()
        .batch(3)
        .group("staff", &people())
        .container("team", "staff")
        .job("sync", policy)
        .build();
    let _ = world.settle("sync");
    for who in people().split(' ') {
        world.leave("staff", who);
    }
    let row = world.row("team", "u05").expect("a row").claimed(&job("other"));
    let key = LedgerKey {
        container: container("team"),
        subject: Subject::Principal(user("u05")),
    };
    let (store, tenant) = (world.store.clone(), world.tenant.clone());
    let claim = move || {
        let mut claimed = Transaction::new(tenant.clone());
        claimed.write(Write::Ledger {
            key: key.clone(),
            row: Some(row.clone()),
        });
        let _ = crash(store.commit(claimed));
    };
    world
        .faults
        .inject(FaultRule::meanwhile(claim).on(CallKind::Remove).once());
    let report = world.run("sync");
    for ended in &report.operations {
        let is_claimed = ended.subject == Subject::Principal(user("u05"));
        let expected = if is_claimed {
            Outcome::Superseded
        } else {
            Outcome::Applied
        };
        assert_eq!(ended.outcome, expected, "{ended:?}");
    }
    assert_eq!(report.operations.len(), PEOPLE);
    assert_eq!(world.members("team"), "u05");
    // The other job's claim is left.
    let _ = world.settle("sync");
    assert_eq!(world.members("team"), "u05");
    let row = world.row("team", "u05").expect("a row");
    assert!(row.is_claimed_by(&job("other")) && !row.is_claimed_by(&job("sync")));
}

/// What became of a batch is recorded together with the intents of the next one.
#[test]
fn a_batch_takes_one_transaction() {
    let commits = |batch: usize| {
        let world = world(batch);
        world.calls.clear();
        assert_eq!(world.run("sync").end, RunEnd::Changed);
        world.calls.count(CallKind::Commit)
    };
    // One before the first effect, and one behind the last one.
    assert_eq!(commits(3) - commits(PEOPLE), 3);
    assert_eq!(commits(1) - commits(PEOPLE), PEOPLE as u64 - 1);
}

/// So it is with what changes in the ledger only: what is claimed beside another job, and what is left to it.
#[test]
fn rows_of_the_ledger_take_one_transaction_for_each_batch() {
    let commits = |batch: usize, leaves: bool| {
        let policy = free_policy(Mode::Managed);
        let world = World::builder()
            .batch(batch)
            .group("staff", &people())
            .container("team", "staff")
            .job("sync", policy.clone())
            .job("other", policy.clone())
            .build();
        let _ = world.settle("other");
        if leaves {
            let _ = world.settle("sync");
            world.save(&World::new_job("sync", policy).covering([ContainerKind::Group]));
        }
        world.calls.clear();
        assert!(world.run("sync").operations.is_empty());
        let claimed = world.row("team", "u12").expect("a row").claims().len();
        assert_eq!(claimed, if leaves { 1 } else { 2 });
        world.calls.count(CallKind::Commit)
    };
    for leaves in [false, true] {
        assert_eq!(commits(3, leaves) - commits(PEOPLE, leaves), 3);
    }
}

/// However many batches it takes: each outcome is in the place of its operation, and how far the run is rises to all there is to do.
#[test]
fn outcomes_come_in_the_order_of_the_plan_and_are_counted_as_they_come() {
    for batch in [1, 3, 5, PEOPLE] {
        let world = world(batch);
        let plan = world.plan("sync");
        let (control, events) = RunControl::with_events();
        let request = RunRequest::everything().controlled_by(control);
        let report = world.try_run("sync", request).expect("a report");
        let planned = plan.sections().iter().flat_map(|section| &section.operations);
        let planned: Vec<_> = planned.map(|operation| &operation.subject).collect();
        let reported: Vec<_> = report.operations.iter().map(|ended| &ended.subject).collect();
        assert_eq!(reported, planned, "batches of {batch}");

        let events: Vec<RunEvent> = block_on(events.collect());
        let applied = |event: &RunEvent| match event {
            RunEvent::Applied { done, of } => Some((*done, *of)),
            _ => None,
        };
        let applied: Vec<_> = events.iter().filter_map(applied).collect();
        assert_eq!(
            applied.len(),
            PEOPLE.div_ceil(batch),
            "batches of {batch}: {applied:?}"
        );
        assert!(applied.is_sorted_by(|one, next| one.0 < next.0), "{applied:?}");
        assert_eq!(applied.last(), Some(&(PEOPLE as u64, PEOPLE as u64)));
    }
}
