use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use usersync_connector::Clock;
use usersync_testkit::conformance::clock::{ClockHarness, checks};

use super::*;

#[test]
fn each_check_catches_its_double() {
    prove(
        ["Clock", "Clock"],
        &checks(),
        &[()],
        |(), flaw| {
            Box::new(Double {
                flaw,
                state: Arc::default(),
            }) as Box<dyn ClockHarness>
        },
        &[
            ("goes back now and then", (), "point_01_now_never_goes_back"),
            (
                "sleeps too long",
                (),
                "point_02_a_sleep_is_ready_once_its_time_has_come",
            ),
            ("never sleeps", (), "point_02_a_sleep_is_not_ready_before"),
            ("sleeps half as long", (), "point_02_a_sleep_is_not_ready_before"),
            (
                "waits for nothing",
                (),
                "point_02_a_sleep_of_no_time_is_ready_at_once",
            ),
            ("wakes nobody", (), "point_02_a_sleeper_is_woken"),
            (
                "does not sleep for ever",
                (),
                "point_02_the_longest_sleep_is_accepted",
            ),
            (
                "drops all sleeps at once",
                (),
                "point_03_a_dropped_sleep_has_no_effect_on_others",
            ),
            (
                "wakes the first only",
                (),
                "point_03_a_dropped_sleep_has_no_effect_on_others",
            ),
        ],
    );
}

// The macros themselves, with and without a runner.
usersync_testkit::clock_conformance!(sound, Double::sound());
usersync_testkit::clock_conformance!(sound_elsewhere, Double::sound(), |check| {
    futures::executor::LocalPool::new().run_until(check)
});

#[derive(Debug)]
struct Double {
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

impl Double {
    fn sound() -> Self {
        Self {
            flaw: SOUND,
            state: Arc::default(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    asked: u32,
    wakers: Vec<Waker>,
}

#[async_trait]
impl ClockHarness for Double {
    async fn fresh(&self) -> Arc<dyn Clock> {
        *self.state.lock().unwrap() = State::default();
        Arc::new(Fake {
            flaw: self.flaw,
            state: Arc::clone(&self.state),
        })
    }

    async fn advance(&self, duration: Duration) {
        let mut state = self.state.lock().unwrap();
        state.now += duration;
        let mut wakers = std::mem::take(&mut state.wakers);
        drop(state);
        match self.flaw {
            "wakes nobody" => wakers.clear(),
            "wakes the first only" => wakers.truncate(1),
            _ => {}
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct Fake {
    flaw: Flaw,
    state: Arc<Mutex<State>>,
}

impl Clock for Fake {
    fn now(&self) -> DateTime<Utc> {
        let mut state = self.state.lock().unwrap();
        state.asked += 1;
        let now = DateTime::UNIX_EPOCH + state.now;
        match self.flaw == "goes back now and then" && state.asked.is_multiple_of(5) {
            true => now - TimeDelta::seconds(1),
            false => now,
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let duration = match self.flaw {
            "sleeps too long" => duration * 2,
            "never sleeps" => Duration::ZERO,
            "sleeps half as long" => duration / 4,
            "waits for nothing" => duration.max(Duration::from_millis(1)),
            "does not sleep for ever" if duration == Duration::MAX => Duration::ZERO,
            _ => duration,
        };
        let until = self.state.lock().unwrap().now.saturating_add(duration);
        Sleep {
            flaw: self.flaw,
            until,
            state: Arc::clone(&self.state),
        }
        .boxed()
    }
}

struct Sleep {
    flaw: Flaw,
    until: Duration,
    state: Arc<Mutex<State>>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        state.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.flaw == "drops all sleeps at once" {
            self.state.lock().unwrap().wakers.clear();
        }
    }
}
