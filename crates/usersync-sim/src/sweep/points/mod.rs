//! Where calls can be broken.

mod effect;
mod host;
mod read;
mod store;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use usersync_connector::{CallContext, Error};
use usersync_memory::{Call, CallKind, Calls, Fault, FaultRule, Faults, ManualClock, Moment};
use usersync_store::{StateStore, StoreError};

use super::witness::Witness;

/// The fault points of one world: whatever its processes call goes through them.
///
/// Each method puts points around one connector, store or service, whoever made it, and counts all of their calls in one sequence.
/// A read counts once when it begins and once for each page after that, an operation of a batch counts by itself, and so does a
/// wait. What is broken is done with the faults of `usersync-memory`; what happens behind a point is nobody's business but
/// that of whoever made it.
///
/// A call that comes through is brought to its end before anything else goes on, whatever threads it takes. So the same calls come
/// in the same order each time, as long as what is behind the points does the same each time.
#[derive(Clone)]
pub struct Points(Arc<Inner>);

struct Inner {
    faults: Faults,
    calls: Calls,
    clock: ManualClock,
    state: Mutex<State>,
}

/// Is told at which step the process dies.
pub(super) type Dying = Arc<dyn Fn(usize) + Send + Sync>;

#[derive(Default)]
struct State {
    is_dead: bool,
    step: usize,
    dying: Option<Dying>,
    store: Option<Arc<dyn StateStore>>,
    witness: Witness,
}

impl Points {
    pub(super) fn new() -> Self {
        let clock = ManualClock::default();
        clock.set_auto(true);
        Self(Arc::new(Inner {
            faults: Faults::default(),
            calls: Calls::default(),
            clock,
            state: Mutex::default(),
        }))
    }

    /// The time of the world. It passes when somebody waits for it, and by [`advance`](ManualClock::advance).
    #[must_use]
    pub fn time(&self) -> ManualClock {
        self.0.clock.clone()
    }

    /// From here on the calls belong to what is swept.
    pub(super) fn begin(&self) -> u64 {
        self.0.calls.clear();
        let mut state = self.lock();
        state.witness = Witness::default();
        drop(state);
        self.count()
    }

    /// How many calls there were so far.
    pub(super) fn count(&self) -> u64 {
        self.0.faults.calls()
    }

    pub(super) fn inject(&self, rule: FaultRule) {
        self.0.faults.inject(rule);
    }

    pub(super) fn when_dying(&self, dying: Dying) {
        self.lock().dying = Some(dying);
    }

    pub(super) fn at_step(&self, step: usize) {
        self.lock().step = step;
    }

    /// Nothing goes wrong any more, and what the dead process had is gone.
    pub(super) fn heal(&self) {
        self.0.faults.heal();
        let mut state = self.lock();
        state.is_dead = false;
        state.store = None;
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.0.calls.all()
    }

    pub(super) fn fired(&self) -> u64 {
        self.0.faults.fired_in_all()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// The store behind the points.
    pub(super) fn inner_store(&self) -> Option<Arc<dyn StateStore>> {
        self.lock().store.clone()
    }

    pub(super) fn witness<T>(&self, look: impl FnOnce(&mut Witness) -> T) -> T {
        look(&mut self.lock().witness)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and tells what is to go wrong with it. Of a process that is dead, nothing is counted any more.
    async fn meet(&self, call: &Call) -> Option<Fault> {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        self.0.faults.meet(&self.0.calls, call)
    }

    /// The process dies here.
    async fn die<T>(&self) -> T {
        let dying = {
            let mut state = self.lock();
            state.is_dead = true;
            (state.dying.clone(), state.step)
        };
        if let (Some(dying), step) = dying {
            dying(step);
        }
        std::future::pending().await
    }

    /// A call that is answered once.
    async fn call<T, E: Broken>(
        &self,
        call: Call,
        act: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E> {
        match self.meet(&call).await {
            None => wait(act),
            Some(Fault::Hang(moment)) => {
                if moment == Moment::After {
                    drop(wait(act));
                }
                self.die().await
            }
            Some(fault) => {
                if fault == Fault::Timeout(Moment::After) {
                    drop(wait(act));
                }
                Err(E::broken(&fault, &call))
            }
        }
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Points")
            .field("faults", &self.0.faults)
            .field("clock", &self.0.clock)
            .finish_non_exhaustive()
    }
}

/// An error that a fault becomes.
trait Broken {
    fn broken(fault: &Fault, call: &Call) -> Self;
}

impl Broken for Error {
    fn broken(fault: &Fault, call: &Call) -> Self {
        fault.error(call)
    }
}

impl Broken for StoreError {
    fn broken(fault: &Fault, call: &Call) -> Self {
        fault.store_error(call)
    }
}

/// A call in the name of somebody.
fn call_by(kind: CallKind, context: &CallContext) -> Call {
    let mut call = Call::new(kind);
    call.tenant = Some(context.tenant.clone());
    call.job = Some(context.job.clone());
    call.actor = Some(context.actor.clone());
    call
}

/// Brings a future to its end, also within another executor, unlike the one of `futures`.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Brings a future of a process to its end, unless the process dies: then it is dropped where it is.
pub(super) fn live<T>(points: &Points, future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        match polled {
            _ if points.is_dead() => return None,
            Poll::Ready(output) => return Some(output),
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
