//! Time that moves when told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use futures::executor::block_on;
use futures::future::{join_all, pending, select};
use proptest::prelude::*;
use usersync_connector::Clock;
use usersync_memory::ManualClock;

use crate::support::poll;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_sleep_ends_at_its_deadline_and_not_before() {
    let clock = ManualClock::default();
    let mut sleep = clock.sleep(SECOND);
    assert!(poll(&mut sleep).is_pending());
    clock.advance(Duration::from_millis(999));
    assert!(poll(&mut sleep).is_pending());
    clock.advance(Duration::from_millis(1));
    assert!(poll(&mut sleep).is_ready());
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn a_sleep_counts_from_when_it_was_asked_for() {
    let clock = ManualClock::default();
    let mut sleep = clock.sleep(SECOND);
    clock.advance(SECOND);
    assert!(poll(&mut sleep).is_ready());
    assert!(poll(&mut clock.sleep(Duration::ZERO)).is_ready());
}

#[test]
fn a_dropped_sleep_leaves_nothing_behind() {
    let clock = ManualClock::default();
    let mut kept = clock.sleep(SECOND);
    let mut dropped = clock.sleep(SECOND);
    assert!(poll(&mut kept).is_pending() && poll(&mut dropped).is_pending());
    assert_eq!(clock.sleeping(), 2);
    drop(dropped);
    assert_eq!(clock.sleeping(), 1);
    assert_eq!(clock.next_deadline(), Some(clock.now() + TimeDelta::seconds(1)));
    clock.advance(SECOND);
    assert!(poll(&mut kept).is_ready());
}

#[test]
fn time_never_goes_back_and_has_an_end() {
    let clock = ManualClock::default();
    let start = clock.now();
    clock.set(start - TimeDelta::hours(1));
    assert_eq!(clock.now(), start);
    clock.advance(Duration::MAX);
    let end = clock.now();
    clock.advance(Duration::MAX);
    assert!(end > start);
    assert_eq!(clock.now(), end);
}

#[test]
fn advancing_wakes_who_sleeps() {
    let clock = ManualClock::default();
    let sleeper = clock.clone();
    block_on(async {
        futures::join!(sleeper.sleep(SECOND), async { clock.advance(SECOND) });
    });
    assert_eq!(clock.sleeping(), 0);
}

#[test]
fn nobody_waits_for_an_automatic_clock() {
    let clock = ManualClock::auto(ManualClock::default().now());
    let start = clock.now();
    block_on(clock.sleep(Duration::from_secs(86_400)));
    assert_eq!(clock.now() - start, TimeDelta::days(1));
    // A call that hangs loses against its time-out.
    let (hangs, timeout) = (Box::pin(pending::<()>()), clock.sleep(SECOND));
    block_on(select(hangs, timeout));
    assert_eq!(clock.now() - start, TimeDelta::days(1) + TimeDelta::seconds(1));
}

#[test]
fn a_time_out_not_needed_moves_nothing() {
    let clock = ManualClock::auto(ManualClock::default().now());
    let start = clock.now();
    block_on(select(Box::pin(async {}), clock.sleep(SECOND)));
    assert_eq!(clock.now(), start);
}

/// The earlier deadline is registered, but its owner waits for the later one before it looks again.
#[test]
fn a_sleep_nobody_polls_stops_nobody() {
    let clock = ManualClock::auto(ManualClock::default().now());
    let mut earlier = clock.sleep(SECOND);
    assert!(poll(&mut earlier).is_pending());
    block_on(clock.sleep(10 * SECOND));
    assert!(poll(&mut earlier).is_ready());
}

#[test]
fn switching_to_automatic_wakes_who_sleeps() {
    let clock = ManualClock::default();
    let sleeper = clock.clone();
    block_on(async {
        futures::join!(sleeper.sleep(SECOND), async { clock.set_auto(true) });
    });
}

#[test]
fn a_fork_goes_its_own_way() {
    let clock = ManualClock::default();
    let fork = clock.fork();
    fork.advance(SECOND);
    assert_eq!(fork.now() - clock.now(), TimeDelta::seconds(1));
}

proptest! {
    /// However sleeps are polled, they end in the order of their deadlines, each at its own.
    #[test]
    fn automatic_sleeps_end_in_order(seconds in prop::collection::vec(0_u64..50, 1..12)) {
        let clock = ManualClock::auto(ManualClock::default().now());
        let start = clock.now();
        let ended = Arc::new(Mutex::new(Vec::new()));
        block_on(join_all(seconds.iter().map(|seconds| {
            let (clock, ended) = (clock.clone(), Arc::clone(&ended));
            let seconds = *seconds;
            async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                ended.lock().unwrap().push((seconds, (clock.now() - start).num_seconds()));
            }
        })));
        let ended = ended.lock().unwrap();
        prop_assert!(ended.is_sorted());
        let mut want = seconds.clone();
        want.sort_unstable();
        prop_assert_eq!(ended.iter().map(|(seconds, _)| *seconds).collect::<Vec<_>>(), want);
        prop_assert!(ended.iter().all(|(seconds, at)| i64::try_from(*seconds) == Ok(*at)));
    }
}
