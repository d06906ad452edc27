//! Time that moves when a test says so.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use usersync_connector::Clock;

use crate::shared::lock;
use crate::sync::Mutex;

/// A clock that stands still until it is moved. Clones share the time.
///
/// Moved by hand, sleeps end when [`advance`](Self::advance) or [`set`](Self::set) reaches their deadlines. In `auto` mode time
/// moves by itself: after every move everything else runs once, and then a sleep moves the clock to the earliest deadline
/// that is waited for. So sleeps end in the order of their deadlines, and nobody ever waits.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<State>>);

struct State {
    now: DateTime<Utc>,
    auto: bool,
    sleeps: BTreeMap<SleepKey, Waker>,
    next_sleep: u64,
    /// How often the clock was moved.
    moves: u64,
}

/// By deadline; the number keeps equal deadlines apart.
type SleepKey = (DateTime<Utc>, u64);

impl ManualClock {
    /// A clock that shows `start` until it is moved.
    #[must_use]
    pub fn new(start: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: start,
            auto: false,
            sleeps: BTreeMap::new(),
            next_sleep: 0,
            moves: 0,
        })))
    }

    /// A clock in `auto` mode.
    #[must_use]
    pub fn auto(start: DateTime<Utc>) -> Self {
        let clock = Self::new(start);
        clock.set_auto(true);
        clock
    }

    /// Moves the clock on; at most to the last moment there is.
    pub fn advance(&self, duration: Duration) {
        let mut state = lock(&self.0);
        let now = after(state.now, duration);
        let woken = state.move_to(now);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Moves the clock to `now`. A moment in its past is ignored: time never goes back.
    pub fn set(&self, now: DateTime<Utc>) {
        // Woken outside the lock, since a waker may run anything.
        let woken = lock(&self.0).move_to(now);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Switches `auto` mode. Sleeps that are waiting notice at once.
    pub fn set_auto(&self, auto: bool) {
        let mut state = lock(&self.0);
        state.auto = auto;
        let waiting: Vec<Waker> = state.sleeps.values().cloned().collect();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The earliest deadline that a sleep waits for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<DateTime<Utc>> {
        lock(&self.0).next_deadline()
    }

    /// How many sleeps wait.
    #[must_use]
    pub fn sleeping(&self) -> usize {
        lock(&self.0).sleeps.len()
    }

    /// A clock of its own that shows the same time and has the same mode. Nobody sleeps on it.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = lock(&self.0);
        Self(Arc::new(Mutex::new(State {
            now: state.now,
            auto: state.auto,
            sleeps: BTreeMap::new(),
            next_sleep: 0,
            moves: 0,
        })))
    }
}

impl Default for ManualClock {
    /// Starts on 1 January 2026, 00:00 UTC.
    fn default() -> Self {
        Self::new(DateTime::UNIX_EPOCH + TimeDelta::seconds(1_767_225_600))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        lock(&self.0).now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = lock(&self.0);
        let number = state.next_sleep;
        state.next_sleep += 1;
        let key = (after(state.now, duration), number);
        drop(state);
        Sleep {
            clock: Arc::clone(&self.0),
            key,
            yielded: None,
        }
        .boxed()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("ManualClock")
            .field("now", &state.now)
            .field("auto", &state.auto)
            .field("sleeping", &state.sleeps.len())
            .finish()
    }
}

impl State {
    fn next_deadline(&self) -> Option<DateTime<Utc>> {
        self.sleeps.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    #[must_use = "the wakers are to be woken"]
    fn move_to(&mut self, now: DateTime<Utc>) -> Vec<Waker> {
        self.now = self.now.max(now);
        self.moves += 1;
        let mut woken = Vec::new();
        while let Some(first) = self.sleeps.first_entry() {
            if first.key().0 > self.now {
                break;
            }
            woken.push(first.remove());
        }
        woken
    }
}

struct Sleep {
    clock: Arc<Mutex<State>>,
    key: SleepKey,
    /// At which move of the clock everything else was last let run.
    yielded: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = Arc::clone(&self.clock);
        let mut state = lock(&clock);
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        state.sleeps.insert(self.key, context.waker().clone());
        if !state.auto {
            return Poll::Pending;
        }
        let mut woken = Vec::new();
        if self.yielded == Some(state.moves) {
            let next = state.next_deadline().unwrap_or(self.key.0);
            woken = state.move_to(next);
        }
        self.yielded = Some(state.moves);
        let ready = state.now >= self.key.0;
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        if ready {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.clock).sleeps.remove(&self.key);
    }
}

/// `duration` after `moment`; the last moment there is, if that is later.
pub(crate) fn after(moment: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(duration)
        .ok()
        .and_then(|delta| moment.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
