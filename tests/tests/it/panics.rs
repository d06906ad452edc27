//! Connectors and hosts that panic: a failure like any other.

use std::panic::resume_unwind;
use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::{Clock, ErrorKind, News, Recipient};
use usersync::engine::{EngineError, Interval, RunEnd, RunReport, RunRequest, Schedule, Waiting};
use usersync::memory::{CallKind, FaultRule};
use usersync::reconcile::Mode;
use usersync::store::Log;
use usersync_tests::{LEASE, World, free_policy, job, user};

const HOUR: u64 = 3600;

fn world() -> World {
    let world = World::builder()
        .group("staff", "ada bob cleo")
        .container("team", "staff")
        .container("album", "staff")
        .build();
    let hourly = Schedule::every(Interval::new(Duration::from_secs(HOUR)).expect("an interval"));
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(hourly));
    world
}

fn panicking() -> FaultRule {
    FaultRule::meanwhile(|| resume_unwind(Box::new("a host's bug")))
}

/// The runs that were due, as `job end`.
fn due(world: &World) -> String {
    let ran = block_on(world.engine().run_due(&world.tenant)).expect("the jobs are listed");
    let show = |(id, report): &(_, Result<RunReport, EngineError>)| match report {
        Ok(report) => format!("{id} {}", report.end.code()),
        Err(error) => format!("{id} {}", error.code()),
    };
    ran.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn waiting(world: &World) -> Option<Waiting> {
    let agenda = block_on(world.engine().agenda(&world.tenant)).expect("the jobs are listed");
    agenda
        .into_iter()
        .find(|entry| entry.job == job("sync"))
        .expect("it is there")
        .waiting
}

fn told(world: &World, who: &str) -> usize {
    let delivered = world.notifier.delivered().into_iter();
    delivered
        .filter(|told| told.recipient == Recipient::Principal(user(who)))
        .count()
}

/// A notifier that panics over one person tells everybody else, once, and is asked about that one again after pauses that grow.
#[test]
fn a_notifier_that_panics_holds_up_nobody_else() {
    let world = world();
    world
        .faults
        .inject(panicking().on(CallKind::Notify).principal(user("ada")));
    assert_eq!(world.run("sync").end, RunEnd::Changed);
    let everybody = |world: &World| ["ada", "bob", "cleo"].map(|who| told(world, who));
    assert_eq!(everybody(&world), [0, 2, 2]);
    let deliver = || block_on(world.engine().deliver(&world.tenant)).expect("the outbox can be read");
    for _ in 0..100 {
        if world.log_len(Log::Outbox) == 0 {
            break;
        }
        world.clock.advance(Duration::from_secs(5 * HOUR));
        assert_eq!(deliver(), 0);
    }
    let letters = block_on(world.engine().dead_letters(&world.tenant)).expect("the store works");
    let given_up: Vec<_> = letters
        .iter()
        .map(|letter| (letter.failures, &*letter.error))
        .collect();
    assert_eq!(given_up, [(12, ErrorKind::Unexpected.code()); 2]);
    assert_eq!(everybody(&world), [0, 2, 2]);
    world.faults.heal();
    for letter in &letters {
        let requeued = world.engine().requeue(&world.tenant, &letter.notification.key);
        assert!(block_on(requeued).expect("the store works"));
    }
    assert_eq!(deliver(), 2);
    assert_eq!(everybody(&world), [2, 2, 2]);
}

/// The job whose connector panics comes back after pauses that grow, its administrators are told, and nobody takes it over before
/// calls that may be on their way have arrived.
#[test]
fn a_job_whose_connector_panics_waits_longer_and_longer() {
    for at in [CallKind::Directory, CallKind::Members, CallKind::Add] {
        let mut world = world();
        world.faults.inject(panicking().on(at).once());
        assert_eq!(due(&world), "sync panicked", "{at:?}");
        let busy = world.try_run("sync", RunRequest::everything());
        assert!(matches!(busy, Err(EngineError::Busy(_))), "{at:?}: {busy:?}");
        assert!(
            matches!(waiting(&world), Some(Waiting::Quarantined { failures: 1, reason, .. }) if reason == "panicked"),
            "{at:?}"
        );
        let history = block_on(world.engine().history(&world.tenant, &job("sync"), None, 9));
        assert_eq!(history.expect("the store works")[0].code(), "panicked");
        world.clock.advance(LEASE);
        world.faults.inject(panicking().on(at));
        let mut pauses = Vec::new();
        for n in 2..=4 {
            let Some(Waiting::Quarantined { until, .. }) = waiting(&world) else {
                unreachable!("it waits")
            };
            pauses.push(until - world.clock.now());
            world.clock.set(until);
            world.restart();
            assert_eq!(due(&world), "sync panicked", "{at:?}");
            assert!(
                matches!(waiting(&world), Some(Waiting::Quarantined { failures, .. }) if failures == n),
                "{at:?}"
            );
        }
        assert!(pauses.is_sorted(), "{at:?}: {pauses:?}");
        let news = world.notifier.delivered().into_iter().map(|told| told.news);
        let quarantines =
            news.filter(|news| matches!(news, News::JobQuarantined { reason, .. } if reason == "panicked"));
        assert_eq!(quarantines.count(), 1, "{at:?}");
        world.faults.heal();
        world.clock.advance(Duration::from_secs(24 * HOUR));
        assert_eq!(due(&world), "sync changed", "{at:?}");
        assert_eq!(waiting(&world), None);
        assert_eq!(world.members("team"), "ada bob cleo");
    }
}

#[test]
fn a_panic_is_the_matter_of_one_job() {
    let world = world();
    world.save(&World::new_job("another", free_policy(Mode::Managed)));
    world.faults.inject(panicking().on(CallKind::Directory).once());
    assert_eq!(due(&world), "another panicked, sync changed");
    assert_eq!(told(&world, "ada"), 2);
}
