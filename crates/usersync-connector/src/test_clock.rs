//! A clock for tests that jumps to the next sleeper whenever nothing else can go on.

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::clock::Clock;

#[derive(Debug, Default)]
pub(crate) struct TestClock(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Duration,
    sleepers: BTreeMap<(Duration, u64), Option<Waker>>,
    ids: u64,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    /// Polls `future` to its end; advances the time only while it is pending.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return output;
            }
            self.advance();
        }
    }

    fn advance(&self) {
        let mut state = self.0.lock().unwrap();
        let (&(at, _), _) = state
            .sleepers
            .first_key_value()
            .expect("a pending future waits for the time");
        state.now = at;
        let woken: Vec<Waker> = state
            .sleepers
            .range_mut(..=(at, u64::MAX))
            .filter_map(|(_, waker)| waker.take())
            .collect();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.0.lock().unwrap();
        state.ids += 1;
        let key = (state.now + duration, state.ids);
        state.sleepers.insert(key, None);
        Sleep {
            state: Arc::clone(&self.0),
            key,
        }
        .boxed()
    }
}

struct Sleep {
    state: Arc<Mutex<State>>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.now < self.key.0 {
            state.sleepers.insert(self.key, Some(context.waker().clone()));
            return Poll::Pending;
        }
        state.sleepers.remove(&self.key);
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.state.lock().unwrap().sleepers.remove(&self.key);
    }
}
