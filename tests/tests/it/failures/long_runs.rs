//! F31 and F33: runs that take longer than what they live on, and runs whose end nobody hears of.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use usersync::connector::adapt::TargetFn;
use usersync::connector::{Error, ErrorKind, News, Retry};
use usersync::engine::{
    Engine, Interval, NextRun, ReadOf, RunControl, RunEnd, RunRequest, RunState, Schedule, Waiting,
};
use usersync::memory::{CallKind, Fault, FaultRule};
use usersync::model::{Member, PartialKind};
use usersync::reconcile::Mode;
use usersync::store::StoreErrorKind;
use usersync_tests::{DurableStore, LEASE, World, container, free_policy, job, tenant};

use crate::failures::scene::everybody;
use crate::failures::telling::outcomes;

const HOUR: u64 = 3600;

fn hourly(count: usize) -> World {
    let world = World::builder()
        .batch(20)
        .group("staff", &everybody(count))
        .container("team", "staff")
        .build();
    let every = Schedule::every(Interval::new(Duration::from_secs(HOUR)).expect("an interval"));
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(every));
    world
}

fn waiting(world: &World) -> Option<Waiting> {
    let mut agenda = block_on(world.engine().agenda(&tenant())).expect("the jobs are listed");
    agenda.remove(0).waiting
}

/// Adobe user-sync.py: a run of a day, a token of an hour, and everything from the beginning. Here, a token is good for a hundred
/// changes of two hundred and fifty.
#[test]
fn f31_what_was_done_before_the_token_expired_is_not_done_again() {
    let (all, good_for) = (250, 100);
    // By hand: from the top, every time.
    let arrived = (0..5).map(|_| (0..all).take(good_for).count()).max();
    assert_eq!(arrived, Some(100), "of {all}, however often");

    let world = hourly(all);
    let mut told = Vec::new();
    for _ in 0..3 {
        let expired = Fault::Failed {
            kind: ErrorKind::Unauthenticated,
            retry: Retry::Later,
        };
        let rule = FaultRule::new(expired).on(CallKind::Add);
        world
            .faults
            .inject(rule.after(u64::try_from(good_for).expect("few")));
        told.push(outcomes(&world.run("sync")));
        world.faults.heal();
    }
    assert_eq!(
        told,
        [
            "100 add applied, 150 add failed",
            "100 add applied, 50 add failed",
            "50 add applied"
        ]
    );
    assert_eq!(world.members("team"), everybody(all));
    assert_eq!(world.run("sync").end, RunEnd::InSync);
}

/// The token is not renewed at all: that is told once, and the job tries again after longer and longer pauses.
#[test]
fn f31_a_token_that_stays_expired_is_told_once() {
    let world = hourly(3);
    for kind in [CallKind::Members, CallKind::Member, CallKind::Add] {
        let expired = Fault::Failed {
            kind: ErrorKind::Unauthenticated,
            retry: Retry::Never,
        };
        world.faults.inject(FaultRule::new(expired).on(kind));
    }
    for _ in 0..6 {
        let pause = world.next_due().expect("it is tried again");
        world.advance(pause.unsigned_abs());
        assert!(!world.run_due().is_empty());
    }
    let reason = "target_unauthenticated";
    assert!(
        matches!(waiting(&world), Some(Waiting::Quarantined { reason: told, failures: 6, .. }) if told == reason)
    );
    let _ = world.deliver();
    let told = world.notifier.delivered().into_iter();
    let told =
        told.filter(|told| matches!(&told.news, News::JobQuarantined { reason: told, .. } if told == reason));
    assert_eq!(told.count(), 1);
    world.faults.heal();
    world.advance(24 * HOUR);
    assert_eq!(world.run_due(), "sync schedule changed");
    assert_eq!((waiting(&world), world.members("team")), (None, everybody(3)));
}

/// Adobe user-sync.py: storms of 429, answered at once by the same request.
#[test]
fn f31_a_server_that_asks_to_be_left_alone_is_left_alone() {
    let storm = || Fault::RateLimited {
        after: Duration::from_secs(2 * HOUR),
    };
    // By hand: until it works, which it does not before two hours are over.
    let asked = (0..2 * HOUR).filter(|second| *second < 2 * HOUR).count();
    assert_eq!(asked, 7200, "at one request each second");

    let world = hourly(60);
    world
        .faults
        .inject(FaultRule::new(storm()).on(CallKind::Add).after(20));
    assert_eq!(world.run_due(), "sync schedule failed");
    let asked = world.calls.count(CallKind::Add);
    assert!(matches!(waiting(&world), Some(Waiting::RetryAfter { .. })));
    for _ in 0..(2 * HOUR / 60) - 1 {
        world.advance(60);
        assert_eq!(world.run_due(), "");
    }
    assert_eq!(world.calls.count(CallKind::Add), asked);
    world.faults.heal();
    world.advance(60);
    assert_eq!(world.run_due(), "sync schedule changed");
    assert_eq!(world.members("team"), everybody(60));
    assert_eq!(world.calls.count(CallKind::Add) - asked, 40, "twenty were there");
}

/// Fifty teams, each with somebody to add.
fn fifty_teams(portion: Option<usize>) -> World {
    let mut builder = World::builder().group("staff", "ada bob");
    for n in 0..50 {
        builder = builder.container(&format!("team{n:02}"), "staff");
    }
    let mut world = builder.job("sync", free_policy(Mode::Managed)).build();
    if let Some(portion) = portion.and_then(NonZeroUsize::new) {
        world.set_portion(portion);
    }
    world
}

/// Whoever asks for each of a thousand people how the one before them fared keeps a dead target dead.
#[test]
fn f31_a_target_that_is_out_of_order_is_not_asked_about_everybody() {
    for kind in [
        ErrorKind::RateLimited,
        ErrorKind::TimedOut,
        ErrorKind::Unauthenticated,
        ErrorKind::Unavailable,
    ] {
        for portion in [None, Some(1)] {
            let world = fifty_teams(portion);
            let hour = Retry::After(Duration::from_secs(HOUR));
            let slow = Fault::Partial {
                shown: 0,
                kind: PartialKind::Limit,
            };
            world.faults.inject(FaultRule::new(slow).on(CallKind::Members));
            let dead = Fault::Failed { kind, retry: hour };
            world.faults.inject(FaultRule::new(dead).on(CallKind::Member));
            let report = world.run("sync");
            assert_eq!(world.calls.count(CallKind::Member), 1, "{kind:?} {portion:?}");
            let told: Vec<_> = report
                .failed_reads
                .iter()
                .map(|read| (&read.what, read.kind, read.retry))
                .collect();
            let target = ReadOf::Target(world.target_system());
            assert_eq!(told, [(&target, kind.code(), hour)], "{portion:?}");
        }
    }
    // Nobody is asked who asked not to be.
    let world = fifty_teams(None);
    let after = Duration::from_secs(HOUR);
    let limited = Fault::RateLimited { after };
    world.faults.inject(FaultRule::new(limited).on(CallKind::Members));
    let _ = world.run("sync");
    assert_eq!(world.calls.count(CallKind::Member), 0);
    // What is wrong with one container is no reason to leave out the others.
    let world = fifty_teams(None);
    let slow = Fault::Partial {
        shown: 0,
        kind: PartialKind::Limit,
    };
    world.faults.inject(FaultRule::new(slow).on(CallKind::Members));
    let denied = Fault::Failed {
        kind: ErrorKind::PermissionDenied,
        retry: Retry::Never,
    };
    let denied = FaultRule::new(denied).on(CallKind::Member);
    world.faults.inject(denied.container(container("team07").object));
    let _ = world.run("sync");
    assert_eq!(world.members("team06"), "ada bob");
    assert_eq!(world.members("team07"), "");
    assert_eq!(world.members("team08"), "ada bob");
}

/// The target lists one team and then asks to be left alone: what was listed stands, nothing more is listed, and nobody comes back
/// before the time is over.
#[test]
fn f31_a_target_that_asks_to_be_left_alone_while_it_is_read_is_left_alone() {
    let world = fifty_teams(None);
    let listed = Arc::new(AtomicUsize::new(0));
    let (list, share) = (Arc::clone(&listed), world.target.clone());
    let target = TargetFn::new(
        world.target_system(),
        move |_, _| {
            let answer = match list.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(Some(Vec::new())),
                _ => {
                    let after = Retry::After(Duration::from_secs(2 * HOUR));
                    Err(Error::new(ErrorKind::RateLimited, "slow down").with_retry(after))
                }
            };
            std::future::ready(answer)
        },
        move |team, who, _| {
            let is_new = share.set_by_hand(&team, Member::new(who));
            std::future::ready(Ok(is_new))
        },
        |_, _, _| std::future::ready(Ok(false)),
    );
    let engine = Engine::builder(
        Arc::new(world.tapped_store()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .directory(Arc::new(world.directory.clone()))
    .target(Arc::new(target))
    .build();
    let ran = block_on(engine.run_due(&tenant())).expect("the jobs are listed");
    let [(_, Ok(report))] = &ran[..] else {
        unreachable!("one report: {ran:?}")
    };
    assert_eq!(listed.load(Ordering::SeqCst), 2);
    let [read] = &report.failed_reads[..] else {
        unreachable!("one read: {report}")
    };
    assert_eq!(
        (&read.what, read.kind),
        (&ReadOf::Target(world.target_system()), "rate_limited")
    );
    assert_eq!(report.operations.len(), 2, "the team that was listed");
    let agenda = block_on(engine.agenda(&tenant())).expect("the jobs are listed");
    assert!(matches!(agenda[0].waiting, Some(Waiting::RetryAfter { .. })));
}

/// A run that is told to end asks nothing any more.
#[test]
fn f31_a_run_that_is_told_to_end_while_it_reads_asks_about_nobody() {
    let world = fifty_teams(None);
    let control = RunControl::new();
    let cancel = control.clone();
    let cancelled = FaultRule::meanwhile(move || cancel.cancel()).on(CallKind::Members);
    world.faults.inject(cancelled);
    let request = RunRequest::everything().controlled_by(control);
    let report = world.try_run("sync", request).expect("a report");
    assert_eq!(report.end, RunEnd::Cancelled);
    assert_eq!(world.calls.count(CallKind::Member), 0);
}

/// GitLab: the save of the final state failed, and the group was "started" for ever.
#[test]
fn f33_a_run_whose_end_could_not_be_stored_blocks_no_later_one() {
    // By hand: a flag.
    let mut state = "ready";
    let mut begin = || std::mem::replace(&mut state, "started") == "ready";
    assert!(begin());
    // The process ends before it could write "finished".
    assert!((0..100).all(|_| !begin()), "for ever");

    let world = World::builder()
        .group("staff", "ada bob")
        .container("team", "staff")
        .build_over(DurableStore::in_file);
    let every = Schedule::every(Interval::new(Duration::from_secs(HOUR)).expect("an interval"));
    world.save(&World::new_job("sync", free_policy(Mode::Managed)).with_schedule(every));
    let commits = {
        let fork = world.fork();
        assert_eq!(fork.run_due(), "sync schedule changed");
        fork.calls.count(CallKind::Commit)
    };
    let mut killed = 0;
    for stored in 0..commits {
        let mut world = world.fork();
        // From here on nothing can be stored, and the lease is not given back.
        let gone = || Fault::StoreFailed(StoreErrorKind::Unavailable);
        world
            .faults
            .inject(FaultRule::new(gone()).on(CallKind::Commit).after(stored));
        world.faults.inject(FaultRule::new(gone()).on(CallKind::Release));
        let _ = world.run_due();
        world.faults.heal();
        world.restart();
        world.clock.advance(LEASE * 2);
        // Whoever comes after the lease finds the job free, does what is left, and says what became of the run before.
        let next = world.try_run("sync", RunRequest::everything());
        let next = next.unwrap_or_else(|error| unreachable!("after {stored} commits: {error}"));
        assert!(next.is_ok(), "after {stored} commits: {next}");
        assert_eq!(world.members("team"), "ada bob", "after {stored} commits");
        let history = block_on(world.engine().history(&tenant(), &job("sync"), None, 10));
        let history = history.expect("it can be read");
        assert!(
            history.iter().all(|record| record.state != RunState::Begun),
            "after {stored} commits"
        );
        killed += history.iter().filter(|record| record.code() == "killed").count();
        let entry = block_on(world.engine().job_list(&tenant()))
            .expect("it can be read")
            .remove(0);
        assert!(
            entry.under_way.is_none() && !matches!(entry.next, NextRun::Waits(_)),
            "{entry:?}"
        );
    }
    assert!(killed > 1, "{killed} of {commits} ends were lost");
}
