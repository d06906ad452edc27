//! What holds record jobs back: guards, incomplete reads, other policies, grace; and what lets them go.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use usersync::connector::{ErrorKind, Retry};
use usersync::engine::{Job, RunControl, RunEnd, RunEvent, RunRequest, Scope};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Origin, PartialKind};
use usersync::reconcile::{FacetRule, Mode, Policy, RecordRules};
use usersync_tests::edit::cases;
use usersync_tests::records::edit::{edits, staff};
use usersync_tests::records::{RecordWorld, contact, contact_id, contents, distributed, own_id};
use usersync_tests::{all, container, free_policy, job, user};

/// So many contacts at three destinations, under the default guards.
fn guarded(contacts: usize) -> RecordWorld {
    let world = RecordWorld::builder()
        .staff("ada bob cleo")
        .job(RecordWorld::guarded(RecordWorld::distribution("share", "staff")))
        .build();
    for n in 0..contacts {
        world.put_contact(&format!("c{n:02}"), "general:name=One");
    }
    let _ = world.settle("share");
    world
}

fn causes(world: &RecordWorld) -> Vec<&'static str> {
    let plan = world.plan("share");
    let mut causes: Vec<_> = plan
        .sections()
        .iter()
        .flat_map(|section| &section.holds)
        .map(|hold| hold.cause.code())
        .collect();
    causes.dedup();
    causes
}

/// Too much of a group that goes waits: in one collection, and in all of them together; an approval lets exactly that go, once.
#[test]
fn promise_10_too_much_that_goes_waits_for_an_approval() {
    for (of, gone, cause) in [
        (20, 20, "container_emptied"),
        (20, 11, "container_shrinks"),
        (20, 5, "run_limit"),
    ] {
        let world = guarded(of);
        let before = contents(&world);
        for n in 0..gone {
            world.drop_contact(&format!("c{n:02}"));
        }
        assert_eq!(world.run("share").end, RunEnd::Held);
        assert_eq!(contents(&world), before, "{cause}");
        assert_eq!(causes(&world), [cause]);
        let held = world.plan("share").held_digest().expect("something waits");
        world.drop_contact("c19");
        world.approve("share", held);
        if gone < 20 {
            assert_eq!(
                world.run("share").end,
                RunEnd::Held,
                "another set than the one approved"
            );
            assert_eq!(contents(&world), before);
            world.put_contact("c19", "general:name=One");
        }
        assert_eq!(world.run("share").end, RunEnd::Changed, "{cause}");
        assert_eq!(contents(&world)[&user("ada").object].len(), of - gone);
        assert_eq!(world.settle("share").end, RunEnd::InSync);
    }
}

/// One destination of many is none any more: its copies go, whether a run comes to it alone or to all of them.
#[test]
fn a_destination_that_goes_is_not_an_emptied_collection() {
    for alone in [false, true] {
        let world = guarded(1);
        world.leave("staff", "bob");
        if alone {
            let of_bob = RunRequest::container(container("bob"));
            assert_eq!(
                world.try_run("share", of_bob).expect("a run").end,
                RunEnd::Changed
            );
        }
        let _ = world.settle("share");
        assert_eq!(causes(&world), [""; 0], "alone: {alone}");
        assert_eq!(world.names("bob"), "", "alone: {alone}");
    }
}

/// What goes bit by bit is stopped by the window, whose hours pass.
#[test]
fn promise_10_the_window_counts_across_runs() {
    let world = guarded(10);
    for n in 0..3 {
        world.drop_contact(&format!("c{n:02}"));
        assert_eq!(world.run("share").end, RunEnd::Changed);
    }
    world.drop_contact("c03");
    assert_eq!(world.run("share").end, RunEnd::Held);
    assert_eq!(causes(&world), ["window_limit"]);
    world.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(world.run("share").end, RunEnd::Changed);
}

/// Other rules change what a plan writes: removals of the first plan under them wait, and the next run decides.
#[test]
fn other_rules_hold_removals_once() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    world.put_contact("c2", "general:name=Two");
    let _ = world.settle("share");
    world.drop_contact("c1");
    let other = RecordRules::all(FacetRule::default());
    world.save(&RecordWorld::distribution("share", "staff").with_rules(other));
    assert_eq!(causes(&world), ["policy_changed"]);
    assert_eq!(world.run("share").end, RunEnd::Held);
    assert_eq!(world.names("ada"), "c1=One c2=Two");
    assert_eq!(world.run("share").end, RunEnd::Changed);
    assert_eq!(world.names("ada"), "c2=Two");
}

/// Who left the directory keeps the copies for the time of grace; who is back in time keeps them for good.
#[test]
fn grace_delays_what_a_departure_takes() {
    let policy = Policy {
        grace_hours: Some(10),
        ..free_policy(Mode::Managed)
    };
    let world = RecordWorld::builder()
        .staff("ada bob")
        .job(RecordWorld::distribution("share", "staff").with_policy(policy))
        .build();
    world.put_contact("c1", "general:name=One");
    let _ = world.settle("share");
    for who in ["ada", "bob"] {
        world.directory.remove(&user(who).object);
    }
    for _ in 0..2 {
        let report = world.run("share");
        assert_eq!(report.end, RunEnd::InSync);
        let plan = report.plan.expect("a plan");
        let found = plan.sections().iter().flat_map(|section| &section.findings);
        assert_eq!(
            found.map(|finding| finding.what.code()).collect::<Vec<_>>(),
            ["in_grace"; 2]
        );
    }
    world.clock.advance(Duration::from_secs(9 * 3600));
    world.join("staff", "bob");
    assert_eq!(world.run("share").end, RunEnd::InSync);
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.run("share").end, RunEnd::Changed);
    assert_eq!(
        (world.names("ada").as_str(), world.names("bob").as_str()),
        ("", "c1=One")
    );
}

/// A host that takes over from another tool: what is there and wanted becomes ours, once a person says so.
#[test]
fn what_another_tool_made_can_be_adopted() {
    let world = RecordWorld::builder()
        .staff("ada")
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    world.put_contact("c1", "general:name=One");
    world.put_by_hand("ada", contact("c1", "general:name=One"));
    let _ = world.settle("share");
    assert_eq!(
        world.row("ada", &contact_id("c1")).map(|row| row.origin),
        Some(Origin::Foreign)
    );
    let adopting = || {
        world
            .try_run("share", RunRequest::everything().adopting())
            .expect("a report")
    };
    let held = adopting()
        .plan
        .and_then(|plan| plan.held_digest())
        .expect("it waits");
    world.approve("share", held);
    assert_eq!(adopting().end, RunEnd::Changed);
    assert_eq!(
        world.row("ada", &contact_id("c1")).map(|row| row.origin),
        Some(Origin::Ours)
    );
    world.drop_contact("c1");
    let _ = world.settle("share");
    assert_eq!(world.names("ada"), "");
}

/// Told to end, a run ends before its next effect, and the next one does the rest.
#[test]
fn a_run_told_to_end_leaves_the_rest_to_the_next() {
    let world = RecordWorld::builder()
        .staff("ada bob cleo")
        .batch(1)
        .job(RecordWorld::distribution("share", "staff"))
        .build();
    for name in ["c1", "c2"] {
        world.put_contact(name, "general:name=One");
    }
    let (control, events) = RunControl::with_events();
    let stop = control.clone();
    world.faults.inject(
        FaultRule::meanwhile(move || stop.cancel())
            .on(CallKind::Create)
            .once(),
    );
    let report = world
        .try_run("share", RunRequest::everything().controlled_by(control))
        .expect("a report");
    assert_eq!(report.end, RunEnd::Cancelled);
    assert_eq!(report.count(|outcome| outcome.is_ok()), 1);
    assert_eq!(report.operations.len(), 6);
    drop(events);
    let _ = world.settle("share");
    assert_eq!(world.names("cleo"), "c1=One c2=One");
}

#[test]
fn a_run_tells_how_far_it_is() {
    let world = guarded(1);
    let (control, events) = RunControl::with_events();
    world.put_contact("c00", "general:name=New");
    let run = world.try_run("share", RunRequest::everything().controlled_by(control));
    assert!(run.is_ok());
    let events: Vec<RunEvent> = futures::executor::block_on(futures::StreamExt::collect(events));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, RunEvent::Applied { done: 3, of: 3 }))
    );
}

/// A distribution runs as soon as it is saved and then daily; told to wait, it waits for its day.
#[test]
fn the_first_run_comes_at_once_unless_it_is_to_wait() {
    let due = |job_to_save: &Job| {
        let world = RecordWorld::builder().staff("ada").build();
        world.save(job_to_save);
        let due = futures::executor::block_on(world.engine().next_due(&world.tenant));
        let now = usersync::connector::Clock::now(&world.clock);
        (due.expect("an agenda").expect("a time") - now).num_hours()
    };
    let at_once = RecordWorld::distribution("share", "staff");
    assert_eq!(due(&at_once), 0);
    let schedule = at_once.schedule.clone().waiting_first();
    assert_eq!(due(&at_once.with_schedule(schedule)), 24);
    let world = guarded(1);
    let ran = futures::executor::block_on(world.engine().run_due(&world.tenant)).expect("an agenda");
    assert_eq!((ran.len(), &ran[0].0), (1, &job("share")));
    let again = futures::executor::block_on(world.engine().run_due(&world.tenant)).expect("an agenda");
    assert!(again.is_empty());
}

/// A preview of one destination covers it alone.
#[test]
fn a_preview_covers_what_it_is_asked_for() {
    let world = guarded(1);
    world.put_contact("c00", "general:name=New");
    let planned = world.planned("share", &Scope::container(container("bob")));
    assert_eq!(RecordWorld::told(planned.plan()), ["change changed book:c00@bob"]);
}

fn fault() -> impl Strategy<Value = Fault> {
    let retry = Retry::Later;
    prop_oneof![
        (0..4_usize).prop_map(|shown| Fault::Partial {
            shown,
            kind: PartialKind::Unreadable
        }),
        (0..4_usize).prop_map(|shown| Fault::Truncated { shown }),
        (0..4_usize).prop_map(move |shown| Fault::FailedAfter {
            shown,
            kind: ErrorKind::Unavailable,
            retry
        }),
        Just(Fault::Failed {
            kind: ErrorKind::Unavailable,
            retry
        }),
        Just(Fault::Duplicated),
        any::<u64>().prop_map(|seed| Fault::Reordered { seed }),
    ]
}

proptest! {
    #![proptest_config(cases(128))]

    /// Whatever is read in part, nothing is taken that would not go anyway, nobody's own is touched, and once everything is read
    /// again, all is as the model said before.
    #[test]
    fn promise_09_whatever_is_cut_takes_nothing(
        before in edits(10),
        after in edits(8),
        fault in fault(),
        on in prop_oneof![Just(CallKind::Directory), Just(CallKind::Records), Just(CallKind::Record)],
        one_in in 1..4_u64,
        seed in any::<u64>(),
    ) {
        let world = RecordWorld::builder().staff(&staff()).job(RecordWorld::distribution("share", "staff")).build();
        world.edit(&before);
        let _ = world.settle("share");
        world.edit(&after);
        let expected = distributed(&world, "share", &all("staff"));
        let seen = contents(&world);
        world.faults.inject(FaultRule::new(fault).on(on).one_in(NonZeroU64::new(one_in).expect("not zero"), seed));
        for _ in 0..2 {
            let _ = world.run("share");
        }
        for (collection, records) in &seen {
            let now = &contents(&world)[collection];
            for (id, record) in records {
                let goes = !expected[collection].contains_key(id);
                prop_assert!(goes || now.contains_key(id), "{} was taken from {}", id, collection);
                if id.system == own_id("any").system {
                    prop_assert_eq!(Some(record), now.get(id));
                }
            }
        }
        world.faults.heal();
        let _ = world.settle("share");
        prop_assert_eq!(contents(&world), expected);
    }
}
