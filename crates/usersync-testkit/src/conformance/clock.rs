//! The contract of [`Clock`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use usersync_connector::Clock;

use super::{Point, Violation, suite};

/// Gives clocks to check.
#[async_trait]
pub trait ClockHarness: Send + Sync {
    /// A clock on which nobody sleeps. What else the harness does is done to the clock given last.
    async fn fresh(&self) -> Arc<dyn Clock>;

    /// Moves the clock on by this much, or waits until it has moved.
    async fn advance(&self, duration: Duration);

    /// A span that is short enough to be waited for, and long enough for nothing to take as long unintended.
    fn span(&self) -> Duration {
        Duration::from_secs(60)
    }
}

type Checked = Result<(), Violation>;

suite!($
    /// Emits a module with one `#[test]` for each check of the contract of `Clock`.
    ///
    /// Takes the name of the module, an expression for a [`ClockHarness`](crate::conformance::clock::ClockHarness), which is evaluated for each
    /// test, and, if the clock needs a runtime, an expression that is called with a check's future and runs it to its end.
    clock_conformance, clock, ClockHarness, [
    point_01_now_never_goes_back,
    point_02_a_sleep_is_ready_once_its_time_has_come,
    point_02_a_sleep_is_not_ready_before,
    point_02_a_sleep_of_no_time_is_ready_at_once,
    point_02_a_sleeper_is_woken,
    point_02_the_longest_sleep_is_accepted,
    point_03_a_dropped_sleep_has_no_effect_on_others,
]);

const fn point(number: u8) -> Point {
    Point("Clock", number)
}

/// Point 1.
///
/// # Errors
/// The violation found.
pub async fn point_01_now_never_goes_back(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let mut last = clock.now();
    for step in 0..20 {
        if step % 4 == 3 {
            harness.advance(harness.span() / 8).await;
        }
        let now = clock.now();
        point(1).holds(
            now >= last,
            "asked for the time again",
            format!("{last} or later"),
            now,
        )?;
        last = now;
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_sleep_is_ready_once_its_time_has_come(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let spans = [3, 1, 2].map(|n| harness.span() * n / 4);
    let mut sleeps = spans.map(|span| Sleeper::new(clock.sleep(span)));
    sleeps.iter_mut().for_each(|sleep| {
        sleep.poll();
    });
    harness.advance(harness.span()).await;
    for (sleep, span) in sleeps.iter_mut().zip(spans) {
        let done = format!(
            "slept for {span:?} while the clock advanced by {:?}",
            harness.span()
        );
        let is_ready = sleep.is_ready_soon().await;
        point(2).holds(is_ready, done, "the sleep is ready", "it is pending")?;
    }
    Ok(())
}

/// Point 2. A clock that moves by itself when everybody sleeps may be ready, but must have moved.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_sleep_is_not_ready_before(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let start = clock.now();
    let mut sleep = Sleeper::new(clock.sleep(harness.span()));
    for part in 0..2 {
        let is_ready = sleep.poll();
        let passed = (clock.now() - start).to_std().unwrap_or_default();
        let done = format!("slept for {:?}", harness.span());
        point(2).holds(
            !is_ready || passed >= harness.span(),
            done,
            "to wait that long",
            passed,
        )?;
        if is_ready {
            return Ok(());
        }
        if part == 0 {
            harness.advance(harness.span() / 4).await;
        }
    }
    Ok(())
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_sleep_of_no_time_is_ready_at_once(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let is_ready = Sleeper::new(clock.sleep(Duration::ZERO)).poll();
    point(2).holds(
        is_ready,
        "slept for no time",
        "the sleep is ready at once",
        "it is pending",
    )
}

/// Point 2: being ready without saying so would leave whoever waits asleep.
///
/// # Errors
/// The violation found.
pub async fn point_02_a_sleeper_is_woken(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let mut sleep = Sleeper::new(clock.sleep(harness.span() / 2));
    if sleep.poll() {
        return Ok(());
    }
    harness.advance(harness.span()).await;
    let is_woken = sleep.is_woken_soon().await;
    let done = "polled a sleep, and let its time come";
    point(2).holds(is_woken, done, "the task that polled it is woken", "it is not")
}

/// Point 2.
///
/// # Errors
/// The violation found.
pub async fn point_02_the_longest_sleep_is_accepted(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let start = clock.now();
    let is_ready = Sleeper::new(clock.sleep(Duration::MAX)).poll();
    let has_not_moved = clock.now() < start + Duration::from_secs(u64::from(u32::MAX));
    point(2).holds(
        !(is_ready && has_not_moved),
        "slept for ever",
        "to wait",
        "the sleep is ready",
    )
}

/// Point 3.
///
/// # Errors
/// The violation found.
pub async fn point_03_a_dropped_sleep_has_no_effect_on_others(harness: &dyn ClockHarness) -> Checked {
    let clock = harness.fresh().await;
    let half = harness.span() / 2;
    let mut before = Sleeper::new(clock.sleep(half));
    let mut dropped = Sleeper::new(clock.sleep(half));
    let mut behind = Sleeper::new(clock.sleep(half));
    let never_polled = clock.sleep(half);
    for sleep in [&mut before, &mut dropped, &mut behind] {
        sleep.poll();
    }
    drop(dropped);
    drop(never_polled);
    harness.advance(harness.span()).await;
    for (which, sleep) in [("before", &mut before), ("behind", &mut behind)] {
        let done = format!("dropped a sleep beside one that was made {which} it, and let their time come");
        let is_woken = sleep.is_woken_soon().await && sleep.is_ready_soon().await;
        point(3).holds(is_woken, done, "the other sleep is woken and ready", "it is not")?;
    }
    Ok(())
}

/// How often other tasks, and the clock's own, get a chance to run before something counts as not going to happen.
const CHANCES: usize = 10_000;

/// A sleep that is polled by hand.
struct Sleeper {
    future: BoxFuture<'static, ()>,
    woken: Arc<Woken>,
    is_ready: bool,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Sleeper {
    fn new(future: BoxFuture<'static, ()>) -> Self {
        Self {
            future,
            woken: Arc::default(),
            is_ready: false,
        }
    }

    fn poll(&mut self) -> bool {
        if !self.is_ready {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.is_ready = self
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready();
        }
        self.is_ready
    }

    async fn is_ready_soon(&mut self) -> bool {
        for _ in 0..CHANCES {
            if self.poll() {
                return true;
            }
            Yield(false).await;
        }
        false
    }

    async fn is_woken_soon(&mut self) -> bool {
        for _ in 0..CHANCES {
            if self.is_ready || self.woken.0.load(Ordering::Relaxed) > 0 {
                return true;
            }
            Yield(false).await;
        }
        false
    }
}

/// Pending once, so that others run.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
