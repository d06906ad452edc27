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

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Runs the jobs of tenants whenever they are due, several at once, and delivers their notifications. Several runners, also in
/// other processes, share the work over one store.
///
/// What a run reads and another one fills waits for that one. What another process notes meanwhile is seen at the next look,
/// after [`look_every`](Self::look_every) at the latest; within the process, [`RunnerHandle::nudge`] makes it look at once.
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
    /// Answers the jobs that were still being run when the limit was over. They were dropped where they stood, which harms
    /// nothing, but nobody else runs them until their leases expire.
    pub async fn shutdown(mut self, limit: Duration) -> Vec<JobName> {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        let limit = self.clock.sleep(limit);
        if let Either::Right(_) = select(&mut self.task, limit).await {
            let left = self.shared.running().keys().cloned().collect();
            self.task.abort();
            let _ = (&mut self.task).await;
            return left;
        }
        Vec::new()
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
    /// What is left alone for a while, because another process has it or because it failed.
    resting: BTreeMap<Doing, DateTime<Utc>>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Deliver(TenantId),
    Run(JobName),
}

/// What a task did, and whether it went well.
type Done = (Doing, bool);

/// A job that could be begun.
struct Candidate {
    due: DateTime<Utc>,
    name: JobName,
    target: SystemId,
}

/// A job that is due, and may have to wait for others.
struct Waiting {
    due: DateTime<Utc>,
    name: JobName,
    entry: Agenda,
}

impl Waiting {
    /// Whether it reads one of these systems.
    fn reads(&self, systems: &BTreeSet<SystemId>) -> bool {
        !self.entry.sources.is_disjoint(systems)
    }

    /// Whether it reads what `filler` fills, and that ran since this became due: it is not waited for once more.
    fn has_waited_for(&self, filler: &Self) -> bool {
        self.entry.sources.contains(&filler.entry.target)
            && filler.entry.done.is_some_and(|done| done >= self.due)
    }

    /// Whether nothing that comes before it is to run first.
    fn is_next(&self, before: &[Self]) -> bool {
        before
            .iter()
            .all(|filler| !self.entry.sources.contains(&filler.entry.target) || self.has_waited_for(filler))
    }
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
        self.resting.retain(|_, until| now < *until);
        let mut again = after(now, self.runner.look_every);
        let mut candidates = Vec::new();
        for tenant in self.runner.tenants.clone() {
            match self.runner.engine.agenda(&tenant).await {
                Ok(agenda) => self.choose(&tenant, agenda, now, &mut again, &mut candidates),
                Err(error) => {
                    tracing::warn!(name: "usersync.runner.agenda", %tenant, %error, "what is due cannot be read");
                }
            }
            match self.runner.engine.next_delivery(&tenant).await {
                Ok(Some(due)) if due <= now => self.deliver(tenant, &mut again),
                Ok(due) => again = due.map_or(again, |due| again.min(due)),
                Err(error) => {
                    tracing::warn!(name: "usersync.runner.outbox", %tenant, %error, "the outbox cannot be read");
                }
            }
        }
        candidates.sort_by(|one, other| (one.due, &one.name).cmp(&(other.due, &other.name)));
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

    /// The jobs of a tenant that are due, and read nothing that is being filled or about to be. What fills a system again and again, as
    /// a feed asks for, goes first once: then it waits for what reads the system and waits for those that are filling it.
    fn choose(
        &self,
        tenant: &TenantId,
        agenda: Vec<Agenda>,
        now: DateTime<Utc>,
        again: &mut DateTime<Utc>,
        candidates: &mut Vec<Candidate>,
    ) {
        let running = self.shared.running();
        let of_tenant = running.iter().filter(|(name, _)| name.tenant == *tenant);
        let filled: BTreeSet<SystemId> = of_tenant.map(|(_, progress)| progress.target.clone()).collect();
        let mut waiting = Vec::new();
        for entry in agenda {
            let name = JobName {
                tenant: tenant.clone(),
                job: entry.job.clone(),
            };
            let Some(due) = entry.due else { continue };
            if running.contains_key(&name) {
                continue;
            }
            let rests = self.resting.get(&Doing::Run(name.clone())).copied();
            if let Some(until) = rests.or((now < due).then_some(due)) {
                *again = until.min(*again);
                continue;
            }
            waiting.push(Waiting { due, name, entry });
        }
        for (place, one) in waiting.iter().enumerate() {
            let (before, behind) = (&waiting[..place], &waiting[place + 1..]);
            let is_overdue = |(n, reader): (usize, &Waiting)| {
                let before = &waiting[..=place + n];
                reader.has_waited_for(one) && reader.is_next(before) && reader.reads(&filled)
            };
            let gives_way = behind.iter().enumerate().any(is_overdue);
            if one.is_next(before) && !one.reads(&filled) && !gives_way {
                candidates.push(Candidate {
                    due: one.due,
                    name: one.name.clone(),
                    target: one.entry.target.clone(),
                });
            }
        }
    }

    fn begin(&mut self, candidate: Candidate, since: DateTime<Utc>) {
        let Candidate { name, target, .. } = candidate;
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
            !reports.is_empty() && reports.iter().all(Result::is_ok)
        });
    }

    fn deliver(&mut self, tenant: TenantId, again: &mut DateTime<Utc>) {
        let doing = Doing::Deliver(tenant.clone());
        if let Some(until) = self.resting.get(&doing) {
            *again = (*again).min(*until);
        } else if !self.doing.contains(&doing) {
            let engine = self.runner.engine.clone();
            self.spawn(doing, async move {
                engine.deliver(&tenant).await.is_ok_and(|count| count > 0)
            });
        }
    }

    /// Begins a task. That one of them panics is its own matter.
    fn spawn(&mut self, doing: Doing, work: impl Future<Output = bool> + Send + 'static) {
        self.doing.insert(doing.clone());
        self.tasks.spawn(async move {
            let went_well = AssertUnwindSafe(work).catch_unwind().await;
            if went_well.is_err() {
                tracing::error!(name: "usersync.runner.panicked", ?doing, "a connector or the host panicked");
            }
            (doing, went_well.unwrap_or(false))
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
        let Some((doing, went_well)) = done else {
            return;
        };
        self.doing.remove(&doing);
        if let Doing::Run(name) = &doing {
            self.shared.running().remove(name);
        }
        if !went_well {
            let until = after(self.clock.now(), self.runner.look_every);
            self.resting.insert(doing, until);
        }
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
