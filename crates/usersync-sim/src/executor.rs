//! Futures, polled one at a time, in an order that somebody else picks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;

/// Who does something: dies as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Process {
    /// The world itself: calls that are still on their way, people. Never dies.
    World,
    /// A worker, and the how manieth life of it.
    Worker(u8, u32),
}

/// A future of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId(pub(crate) u64);

pub(crate) struct Executor {
    tasks: BTreeMap<TaskId, Task>,
    next: u64,
}

struct Task {
    process: Process,
    future: BoxFuture<'static, ()>,
    awake: Arc<Awake>,
}

struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Executor {
    pub(crate) fn new() -> Self {
        Self {
            tasks: BTreeMap::new(),
            next: 0,
        }
    }

    pub(crate) fn spawn(&mut self, process: Process, future: BoxFuture<'static, ()>) {
        let id = TaskId(self.next);
        self.next += 1;
        let awake = Arc::new(Awake(AtomicBool::new(true)));
        self.tasks.insert(
            id,
            Task {
                process,
                future,
                awake,
            },
        );
    }

    /// Who can go on, in the order of their beginning.
    pub(crate) fn ready(&self, is_stopped: impl Fn(Process) -> bool) -> Vec<TaskId> {
        self.tasks
            .iter()
            .filter(|(_, task)| task.awake.0.load(Ordering::Relaxed) && !is_stopped(task.process))
            .map(|(id, _)| *id)
            .collect()
    }

    /// How many futures of a process there are.
    pub(crate) fn count(&self, process: Process) -> usize {
        self.tasks.values().filter(|task| task.process == process).count()
    }

    /// Whose future it is.
    pub(crate) fn process(&self, id: TaskId) -> Option<Process> {
        self.tasks.get(&id).map(|task| task.process)
    }

    /// Polls a future once.
    pub(crate) fn poll(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        task.awake.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.awake));
        if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.tasks.remove(&id);
        }
    }

    /// Drops all futures of a process, wherever they are.
    pub(crate) fn kill(&mut self, process: Process) {
        self.tasks.retain(|_, task| task.process != process);
    }
}
