//! Running what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use usersync_connector::Clock;
use usersync_engine::{Agenda, Engine, EngineError, RunControl, RunEvent, RunReport};
use usersync_model::{JobId, SystemId, TenantId};

use crate::choice::{Due, chosen};
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Runs the jobs of tenants whenever they are due, several at once, and delivers their notifications. Several runners, also in
/// other processes, share the work over one store.
///
/// What a run reads and another one fills waits for that one, also where another process does that because it is due. What another
/// process notes meanwhile is seen at the next look, after [`look_every`](Self::look_every) at the latest; within the process,
/// [`RunnerHandle::nudge`] makes it look at once.
pub struct Runner {
    engine: Engine,
    tenants: BTreeSet<TenantId>,
    parallel: NonZeroUsize,
    look_every: Duration,
    on_end: Arc<dyn Fn(Ended<'_>) + Send + Sync>,
}

/// A run that ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// Of which job.
    pub name: &'a JobName,
    /// How it went.
    pub result: &'a Result<RunReport, EngineError>,
}

/// Names a job among those of all tenants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobName {
    /// The tenant.
    pub tenant: TenantId,
    /// Its job.
    pub job: JobId,
}

/// A run under way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// Of which job.
    pub name: JobName,
    /// Since when, by the engine's clock.
    pub since: DateTime<Utc>,
    /// What happened in it last.
    pub latest: Option<RunEvent>,
}

/// A runner at work. Dropped, it lets the runner go on until the runtime ends.
#[derive(Debug)]
pub struct RunnerHandle {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Wakes the runner; kept until it looks.
    wake: Notify,
    nudged: AtomicBool,
    stopping: AtomicBool,
    running: Mutex<BTreeMap<JobName, Progress>>,
}

#[derive(Debug)]
struct Progress {
    since: DateTime<Utc>,
    latest: Option<RunEvent>,
    control: RunControl,
    target: SystemId,
}

impl Runner {
    /// A runner of no tenants, of up to four runs at once, that looks every 30 seconds.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            tenants: BTreeSet::new(),
            parallel: NonZeroUsize::new(4).expect("4 is not zero"),
            look_every: Duration::from_secs(30),
            on_end: Arc::new(|_| {}),
        }
    }

    /// The same runner with another tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenants.insert(tenant);
        self
    }

    /// The same runner with so many runs at once at most.
    #[must_use]
    pub fn parallel(mut self, runs: NonZeroUsize) -> Self {
        self.parallel = runs;
        self
    }

    /// The same runner that looks at least so often for what other processes noted, at most once a second.
    #[must_use]
    pub fn look_every(mut self, pause: Duration) -> Self {
        self.look_every = pause.max(Duration::from_secs(1));
        self
    }

    /// The same runner that tells of every run that ended. The call should be short: a run slot waits for it.
    #[must_use]
    pub fn on_end(mut self, tell: impl Fn(Ended<'_>) + Send + Sync + 'static) -> Self {
        self.on_end = Arc::new(tell);
        self
    }

    /// Begins to run what is due. To be called within a tokio runtime.
    #[must_use = "the handle is the way to a shutdown"]
    pub fn spawn(self) -> RunnerHandle {
        let shared = Arc::new(Shared::default());
        let clock = self.engine.clock();
        let work = Work {
            clock: Arc::clone(&clock),
            shared: Arc::clone(&shared),
            tasks: JoinSet::new(),
            doing: BTreeSet::new(),
            resting: BTreeMap::new(),
            runner: self,
        };
        RunnerHandle {
            task: tokio::spawn(work.run()),
            shared,
            clock,
        }
    }
}

impl RunnerHandle {
    /// Makes the runner look at once for what is due.
    pub fn nudge(&self) {
        self.shared.nudged.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }

    /// What is being run, in the order of tenants and jobs.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        let running = self.shared.running();
        let shown = running.iter().map(|(name, progress)| Running {
            name: name.clone(),
            since: progress.since,
            latest: progress.latest.clone(),
        });
        shown.collect()
    }

    /// Stops: begins nothing more, ends every run before its next effect, and waits for that for at most `limit` by the engine's
    /// clock. What was ended stays due, for another process or the next start.
    ///
    /// Answers the jobs that were still being run when the limit was over, or when the runner came to an end before because the clock
    /// panicked. They were dropped where they stood, which harms nothing, but nobody else runs them until their leases expire.
    pub async fn shutdown(mut self, limit: Duration) -> Vec<JobName> {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        let limit = self.clock.sleep(limit);
        match select(&mut self.task, limit).await {
            Either::Left((Ok(()), _)) => Vec::new(),
            Either::Left((Err(_), _)) => self.shared.running().keys().cloned().collect(),
            Either::Right(_) => {
                let left = self.shared.running().keys().cloned().collect();
                self.task.abort();
                let _ = (&mut self.task).await;
                left
            }
        }
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<JobName, Progress>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A runner at work.
struct Work {
    runner: Runner,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    tasks: JoinSet<Done>,
    doing: BTreeSet<Doing>,
    /// What is left alone for a while.
    resting: BTreeMap<Doing, Rest>,
}

/// Until when something is left alone, and why.
struct Rest {
    until: DateTime<Utc>,
    /// Because another process has it, and not because it failed.
    is_elsewhere: bool,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Deliver(TenantId),
    Run(JobName),
}

/// What a task did, and how that went.
type Done = (Doing, Went);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Badly,
    /// Nothing was done: another process does it, or did.
    Elsewhere,
    Well,
}

impl Work {
    async fn run(mut self) {
        while !self.shared.is_stopping() {
            let until = self.look().await;
            self.wait(until).await;
        }
        for progress in self.shared.running().values() {
            progress.control.cancel();
        }
        while let Some(end) = self.tasks.join_next().await {
            self.ended(end.ok());
        }
    }

    /// Begins what is due; answers when to look again.
    async fn look(&mut self) -> DateTime<Utc> {
        let now = self.clock.now();
        if self.shared.nudged.swap(false, Ordering::AcqRel) {
            self.resting.clear();
        }
        self.resting.retain(|_, rest| now < rest.until);
        let mut again = after(now, self.runner.look_every);
        let mut candidates = Vec::new();
        for tenant in self.runner.tenants.clone() {
            match caught(self.runner.engine.agenda(&tenant)).await {
                Ok(agenda) => candidates.extend(self.choose(&tenant, agenda, now, &mut again)),
                Err(error) => {
                    tracing::warn!(name: "usersync.runner.agenda", %tenant, error, "what is due cannot be read");
                }
            }
            let delivery = caught(self.runner.engine.next_delivery(&tenant)).await;
            if self.shared.is_stopping() {
                return again;
            }
            match delivery {
                Ok(Some(due)) if due <= now => self.deliver(tenant, &mut again),
                Ok(due) => again = due.map_or(again, |due| again.min(due)),
                Err(error) => {
                    tracing::warn!(name: "usersync.runner.outbox", %tenant, error, "the outbox cannot be read");
                }
            }
        }
        candidates.sort_by(|one, other| (one.since, &one.name).cmp(&(other.since, &other.name)));
        let free = self
            .runner
            .parallel
            .get()
            .saturating_sub(self.shared.running().len());
        for candidate in candidates.into_iter().take(free) {
            self.begin(candidate, now);
        }
        again
    }

    /// The jobs of a tenant that are due and can be begun.
    fn choose(
        &self,
        tenant: &TenantId,
        agenda: Vec<Agenda>,
        now: DateTime<Utc>,
        again: &mut DateTime<Utc>,
    ) -> Vec<Due> {
        let running = self.shared.running();
        let of_tenant = running.iter().filter(|(name, _)| name.tenant == *tenant);
        let filled: BTreeSet<SystemId> = of_tenant.map(|(_, progress)| progress.target.clone()).collect();
        let mut waiting = Vec::new();
        for entry in agenda {
            let name = JobName {
                tenant: tenant.clone(),
                job: entry.job,
            };
            let Some(since) = entry.due else { continue };
            if running.contains_key(&name) {
                continue;
            }
            let rest = self.resting.get(&Doing::Run(name.clone()));
            let from = rest.map_or(since, |rest| rest.until.max(since));
            if now < from {
                *again = from.min(*again);
            }
            // A job that failed is nobody's to wait for.
            if now < since || rest.is_some_and(|rest| !rest.is_elsewhere) {
                continue;
            }
            waiting.push(Due {
                name,
                since,
                done: entry.done,
                sources: entry.sources,
                target: entry.target,
                is_elsewhere: rest.is_some(),
            });
        }
        chosen(&waiting, &filled)
    }

    fn begin(&mut self, due: Due, since: DateTime<Utc>) {
        let Due { name, target, .. } = due;
        let (control, events) = RunControl::with_events();
        let progress = Progress {
            since,
            latest: None,
            control: control.clone(),
            target,
        };
        self.shared.running().insert(name.clone(), progress);
        let (engine, shared, run) = (self.runner.engine.clone(), Arc::clone(&self.shared), name.clone());
        let on_end = Arc::clone(&self.runner.on_end);
        self.spawn(Doing::Run(name), async move {
            let follow = events.for_each(|event| {
                if let Some(progress) = shared.running().get_mut(&run) {
                    progress.latest = Some(event);
                }
                std::future::ready(())
            });
            let reports = pin!(engine.run_if_due(&run.tenant, &run.job, &control));
            let reports = match select(reports, follow).await {
                Either::Left((reports, _)) => reports,
                Either::Right(((), reports)) => reports.await,
            };
            for result in &reports {
                on_end(Ended { name: &run, result });
            }
            if reports.is_empty() {
                Went::Elsewhere
            } else if reports.iter().all(Result::is_ok) {
                Went::Well
            } else {
                Went::Badly
            }
        });
    }

    fn deliver(&mut self, tenant: TenantId, again: &mut DateTime<Utc>) {
        let doing = Doing::Deliver(tenant.clone());
        if let Some(rest) = self.resting.get(&doing) {
            *again = rest.until.min(*again);
        } else if !self.doing.contains(&doing) {
            let engine = self.runner.engine.clone();
            self.spawn(doing, async move {
                match engine.deliver(&tenant).await {
                    Ok(0) | Err(_) => Went::Badly,
                    Ok(_) => Went::Well,
                }
            });
        }
    }

    /// Begins a task. That one of them panics is its own matter.
    fn spawn(&mut self, doing: Doing, work: impl Future<Output = Went> + Send + 'static) {
        self.doing.insert(doing.clone());
        self.tasks.spawn(async move {
            let went = AssertUnwindSafe(work).catch_unwind().await;
            if went.is_err() {
                tracing::error!(name: "usersync.runner.panicked", ?doing, "a connector or the host panicked");
            }
            (doing, went.unwrap_or(Went::Badly))
        });
    }

    /// Waits until then, or until something ends, or somebody wants the runner to look.
    async fn wait(&mut self, until: DateTime<Utc>) {
        let left = until
            .signed_duration_since(self.clock.now())
            .to_std()
            .unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        let woken = pin!(shared.wake.notified());
        let time = select(woken, self.clock.sleep(left));
        if self.tasks.is_empty() {
            time.await;
            return;
        }
        let mut end = match select(pin!(self.tasks.join_next()), time).await {
            Either::Left((end, _)) => end,
            Either::Right(_) => None,
        };
        while let Some(done) = end {
            self.ended(done.ok());
            end = self.tasks.join_next().now_or_never().flatten();
        }
    }

    /// Notes the end of a task; `None` of one that was aborted, which happens to all of them together.
    fn ended(&mut self, done: Option<Done>) {
        let Some((doing, went)) = done else {
            return;
        };
        self.doing.remove(&doing);
        if let Doing::Run(name) = &doing {
            self.shared.running().remove(name);
        }
        if went != Went::Well {
            let rest = Rest {
                until: after(self.clock.now(), self.runner.look_every),
                is_elsewhere: went == Went::Elsewhere,
            };
            self.resting.insert(doing, rest);
        }
    }
}

/// What a look at the store comes to, or why to nothing: a host's store that panics fails like any other.
async fn caught<T>(look: impl Future<Output = Result<T, EngineError>>) -> Result<T, String> {
    match AssertUnwindSafe(look).catch_unwind().await {
        Ok(seen) => seen.map_err(|error| error.to_string()),
        Err(_) => Err("the store panicked".to_owned()),
    }
}

fn after(now: DateTime<Utc>, pause: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(pause)
        .ok()
        .and_then(|pause| now.checked_add_signed(pause))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("tenants", &self.tenants)
            .field("parallel", &self.parallel)
            .field("look_every", &self.look_every)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.job)
    }
}
