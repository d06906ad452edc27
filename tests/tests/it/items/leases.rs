//! Workers that stall beyond the lease on a link: calls to its systems cannot be fenced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::executor::block_on;
use usersync::engine::{Chosen, EngineError, ItemRequest, SkippedWhy};
use usersync::memory::{CallKind, Fault, FaultRule, Moment};
use usersync_tests::LEASE;

use crate::items::{FEEDING, Home, Where, card, context, principal};

/// Three items are to be made, in one batch of single calls.
fn three_new() -> Home {
    let home = Home::new(1, FEEDING);
    home.settle();
    for uid in ["1", "2", "3"] {
        home.put(Where::Mail, uid, &card(uid, &[("FN", "Ada")]));
    }
    home
}

#[test]
fn promise_17_nothing_is_called_for_once_the_lease_on_a_link_is_over() {
    let home = three_new();
    let clock = home.clock.clone();
    let stalls = FaultRule::meanwhile(move || clock.advance(LEASE * 2));
    home.faults.inject(stalls.on(CallKind::Create).once());
    home.calls.clear();
    home.run();
    assert_eq!(home.calls.effects(), 1);
    home.run();
    home.is_still();
    assert_eq!(home.cards(Where::Crm).len(), 3);
}

#[test]
fn promise_17_a_worker_that_stalls_leaves_the_rest_to_who_took_the_link_over() {
    let home = three_new();
    let (clock, other) = (home.clock.clone(), home.engine());
    let (job, items) = (home.job(), home.items.clone());
    let stalls = FaultRule::meanwhile(move || {
        clock.advance(LEASE * 2);
        let request = ItemRequest::new();
        let run = other.run_items(&job, &items, &request).now_or_never();
        run.expect("nothing in memory waits").expect("the run ends");
    });
    home.faults.inject(stalls.on(CallKind::Create).once());
    home.calls.clear();
    let report = home.run();
    assert_eq!(
        report.skipped.iter().map(|link| link.why).collect::<Vec<_>>(),
        [SkippedWhy::LeaseLost]
    );
    // Those of the other worker, and the one that was under way.
    assert_eq!(home.calls.effects(), 4);
    home.is_still();
    assert_eq!(home.cards(Where::Crm).len(), 3);
}

/// A store that fails is no other worker.
#[test]
fn a_lease_that_cannot_be_asked_for_is_no_busy_link() {
    let home = three_new();
    let fails = FaultRule::new(Fault::Timeout(Moment::Before)).on(CallKind::Acquire);
    home.faults.inject(fails.once());
    let ended = block_on(
        home.engine()
            .run_items(&home.job(), &home.items, &ItemRequest::new()),
    );
    assert!(matches!(ended, Err(EngineError::Store(_))), "{ended:?}");
    let report = home.run();
    assert!(report.is_ok());
    assert_eq!(report.operations().count(), 3);
    let called: Vec<&str> = report.operations().map(|done| &*done.label).collect();
    assert_eq!(called, ["Ada", "Ada", "Ada"]);
}

/// A run of many batches whose calls take their time keeps the lease, and one that is quick does not ask for it again.
#[test]
fn the_lease_on_a_link_is_renewed_when_half_of_it_is_over() {
    for slow in [false, true] {
        let home = Home::new(1, FEEDING);
        home.settle();
        for number in 0..30 {
            let uid = number.to_string();
            home.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada")]));
        }
        if slow {
            let clock = home.clock.clone();
            let takes_time = FaultRule::meanwhile(move || clock.advance(LEASE / 5));
            home.faults.inject(takes_time.on(CallKind::Create));
        }
        home.calls.clear();
        home.run();
        assert_eq!(home.calls.effects(), 30);
        let renewed = home.calls.count(CallKind::Renew);
        assert_eq!(renewed > 0, slow, "{renewed} times");
        home.faults.heal();
        home.is_still();
        assert_eq!(home.cards(Where::Crm).len(), 30);
    }
}

/// Of a removed link is dropped what is remembered, which takes a worker longer than its lease; another one is at it by then.
#[test]
fn a_worker_that_stalls_while_it_forgets_a_link_goes_on_with_the_others() {
    let home = Home::new(2, FEEDING);
    for number in 0..20 {
        let uid = number.to_string();
        home.put(Where::Mail, &uid, &card(&uid, &[("FN", "Ada")]));
    }
    home.settle();
    block_on(home.links().remove(&context(), &Chosen::of([principal(0)]))).unwrap();
    let kept = home.store.snapshot(&usersync_tests::tenant()).values.len();
    assert!(kept > 0);
    let (clock, other) = (home.clock.clone(), home.engine());
    let (job, items) = (home.job(), home.items.clone());
    let forgotten = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&forgotten);
    let stalls = FaultRule::meanwhile(move || {
        clock.advance(LEASE * 2);
        let request = ItemRequest::new();
        let run = other.run_items(&job, &items, &request).now_or_never();
        let report = run.expect("nothing in memory waits").expect("the run ends");
        told.store(report.forgotten, Ordering::Relaxed);
    });
    home.faults.inject(stalls.on(CallKind::Commit).after(2).once());
    let report = home.run();
    assert_eq!((report.forgotten, forgotten.load(Ordering::Relaxed)), (0, 1));
    assert_eq!(report.skipped, []);
    home.is_still();
}
