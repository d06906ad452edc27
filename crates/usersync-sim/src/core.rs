//! What everything in a world shares: choices, time, the trace, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use usersync_connector::{Clock, Error, ErrorKind, Retry};
use usersync_memory::ManualClock;
use usersync_store::{StoreError, StoreErrorKind};

use crate::choice::{Choices, Made, Stream};
use crate::config::Config;
use crate::executor::Process;
use crate::fault::FaultKind;
use crate::history::History;
use crate::occurrence::Occurrence;
use crate::report::{Counts, Violation};

/// A handle to what everything in a world shares. Clones share it.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) clock: ManualClock,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) choices: Choices,
    pub(crate) trace: Trace,
    pub(crate) faults: Faults,
    pub(crate) history: History,
    pub(crate) spawned: Vec<(Process, BoxFuture<'static, ()>)>,
    pub(crate) calls: u64,
}

/// Which faults there are in this world, and which happened.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) on: bool,
    /// In so many of a thousand calls.
    pub(crate) per_mille: u32,
    pub(crate) kinds: BTreeSet<FaultKind>,
    pub(crate) fired: BTreeMap<FaultKind, u64>,
}

impl Core {
    pub(crate) fn new(choices: Choices, keep_trace: bool) -> Self {
        Self {
            clock: ManualClock::default(),
            state: Arc::new(Mutex::new(State {
                choices,
                trace: Trace::new(keep_trace),
                faults: Faults::default(),
                history: History::default(),
                spawned: Vec::new(),
                calls: 0,
            })),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Not every world has every fault: some hide others.
    pub(crate) fn choose_faults(&self, config: &Config) {
        let mut state = self.lock();
        let State { choices, faults, .. } = &mut *state;
        let shares = [
            config.faults / 3,
            config.faults,
            config.faults / 12,
            config.faults * 2,
            0,
        ];
        faults.per_mille = shares[choices.below(Stream::World, shares.len())];
        for kind in FaultKind::ALL {
            if choices.below(Stream::World, 4) != 3 {
                faults.kinds.insert(kind);
            }
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn spawn(&self, process: Process, future: BoxFuture<'static, ()>) {
        self.lock().spawned.push((process, future));
    }

    pub(crate) fn say(&self, line: fmt::Arguments<'_>) {
        self.lock().trace.say(line);
    }

    /// Lets others go on, once or a few times.
    pub(crate) async fn point(&self) {
        let times = self.lock().choices.weighted(Stream::Schedule, &[16, 2, 1, 1]);
        Yield(times + 1).await;
    }

    /// What goes wrong with a call, if anything does.
    pub(crate) fn fault(&self, menu: &[FaultKind]) -> Option<FaultKind> {
        let mut state = self.lock();
        let State { choices, faults, .. } = &mut *state;
        // Most calls are made to the store; what happens to the others is to be seen, too.
        let factor = if menu == FaultKind::OF_EFFECTS {
            8
        } else if menu == FaultKind::OF_READS {
            4
        } else {
            1
        };
        if !faults.on || !choices.chance(Stream::Faults, (faults.per_mille * factor).min(500)) {
            return None;
        }
        let kind = menu[choices.below(Stream::Faults, menu.len())];
        faults.kinds.contains(&kind).then_some(kind)
    }

    /// Counts a fault that happens now.
    pub(crate) fn fired(&self, kind: FaultKind, site: &str) {
        let mut state = self.lock();
        *state.faults.fired.entry(kind).or_default() += 1;
        state.trace.say(format_args!("  fault {kind} {site}"));
    }

    /// How long something takes that takes long.
    pub(crate) fn delay(&self) -> Duration {
        const SECONDS: [u64; 6] = [1, 15, 45, 100, 150, 500];
        Duration::from_secs(SECONDS[self.lock().choices.below(Stream::Faults, SECONDS.len())])
    }

    /// A number below `bound` that a fault needs.
    pub(crate) fn detail(&self, bound: usize) -> usize {
        self.lock().choices.below(Stream::Faults, bound)
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    /// Makes a call that is answered once.
    pub(crate) async fn call<T, E: Broken>(
        &self,
        menu: &[FaultKind],
        site: &str,
        act: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.lock().calls += 1;
        self.point().await;
        let fault = self.fault(menu);
        self.answer(fault, site, act).await
    }

    /// Makes a call that goes wrong as `fault` says.
    pub(crate) async fn answer<T, E: Broken>(
        &self,
        fault: Option<FaultKind>,
        site: &str,
        act: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(fault) = fault else {
            let answer = act.await;
            self.point().await;
            return answer;
        };
        self.fired(fault, site);
        match fault {
            FaultKind::LateAnswer => {
                let answer = act.await;
                self.sleep(self.delay()).await;
                answer
            }
            FaultKind::FailedAfter => {
                drop(act.await);
                self.point().await;
                Err(E::broken(fault))
            }
            FaultKind::Hung => {
                if self.detail(2) == 1 {
                    drop(act.await);
                }
                std::future::pending().await
            }
            _ => Err(E::broken(fault)),
        }
    }
}

/// What is told of what happened.
pub(crate) struct Told {
    pub(crate) violation: Option<Violation>,
    pub(crate) counts: Counts,
    pub(crate) fired: BTreeMap<FaultKind, u64>,
    pub(crate) occurred: BTreeMap<Occurrence, u64>,
    pub(crate) trace_hash: u64,
    pub(crate) trace: Vec<String>,
    pub(crate) choices: Made,
}

impl State {
    /// What is told of all that happened.
    pub(crate) fn told(&mut self) -> Told {
        let mut counts = self.history.counts;
        counts.steps = self.history.step;
        counts.calls = self.calls;
        Told {
            violation: self.history.violation.clone(),
            counts,
            fired: self.faults.fired.clone(),
            occurred: self.history.occurred.clone(),
            trace_hash: self.trace.hash(),
            trace: self.trace.take_lines(),
            choices: self.choices.made(),
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Is ready after so many polls.
struct Yield(usize);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// An error that a fault can become.
pub(crate) trait Broken {
    fn broken(fault: FaultKind) -> Self;
}

impl Broken for Error {
    fn broken(fault: FaultKind) -> Self {
        match fault {
            FaultKind::FailedBefore => {
                Self::new(ErrorKind::Unavailable, "simulated: nothing happened").with_unknown_outcome(false)
            }
            FaultKind::RateLimited => Self::new(ErrorKind::RateLimited, "simulated: too many calls")
                .with_retry(Retry::After(Duration::from_secs(90))),
            _ => Self::new(ErrorKind::TimedOut, "simulated: no answer"),
        }
    }
}

impl Broken for StoreError {
    fn broken(_: FaultKind) -> Self {
        Self::new(StoreErrorKind::Unavailable, "simulated: no answer")
    }
}

/// What happened, as a hash, and in words if somebody wants to read them.
pub(crate) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: keep.then(Vec::new),
        }
    }

    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        // Writing into a hash does not fail.
        let _ = self.write_fmt(line);
        let _ = self.write_str("\n");
        if let Some(lines) = &mut self.lines {
            lines.push(line.to_string());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

impl fmt::Write for Trace {
    /// Fowler, Noll and Vo's hash, variant 1a.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
