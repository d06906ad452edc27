//! The course of events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::executor::block_on;
use usersync_connector::{Directory, EntitlementSource};
use usersync_engine::{Chosen, Engine, Links, RunControl, RunReport, RunRequest, Scope, Trigger};
use usersync_memory::{ManualClock, MemoryDirectory};
use usersync_model::{Digest, JobId, Link, PrincipalRef, TenantId};

use usersync_store::{StateStore, Table};

use crate::choice::{Choices, Stream, Tape};
use crate::config::Config;
use crate::core::Core;
use crate::executor::{Executor, Process};
use crate::fault::FaultKind;
use crate::people::choose;
use crate::plug::{Parts, TargetSpec, TargetUnderTest};
use crate::report::Report;
use crate::world::World;

/// One world and one course of events.
#[derive(Clone, Debug)]
pub struct Simulation {
    origin: Origin,
    config: Config,
    parts: Parts,
}

#[derive(Clone, Debug)]
enum Origin {
    Seed(u64),
    Tape(Tape),
}

impl Simulation {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64, config: Config) -> Self {
        Self {
            origin: Origin::Seed(seed),
            config,
            parts: Parts::default(),
        }
    }

    /// The world of a tape, with the configuration that it was made with.
    #[must_use]
    pub fn replay(tape: Tape, config: Config) -> Self {
        Self {
            origin: Origin::Tape(tape),
            config,
            parts: Parts::default(),
        }
    }

    /// The same simulation with directories as `wrap` makes them of the world's own, which people edit.
    #[must_use]
    pub fn with_directory(
        mut self,
        wrap: impl Fn(MemoryDirectory) -> Arc<dyn Directory> + Send + Sync + 'static,
    ) -> Self {
        self.parts.directory = Arc::new(wrap);
        self
    }

    /// The same simulation with targets that `make` makes, one for each tenant. All have to offer the same.
    #[must_use]
    pub fn with_target(
        mut self,
        make: impl Fn(&TargetSpec) -> Arc<dyn TargetUnderTest> + Send + Sync + 'static,
    ) -> Self {
        self.parts.target = Arc::new(make);
        self
    }

    /// The same simulation with a store that `make` makes; it goes by the clock that it is given. Its calls are waited for where they are
    /// made, so it may have a thread of its own.
    #[must_use]
    pub fn with_store(
        mut self,
        make: impl Fn(&ManualClock) -> Arc<dyn StateStore> + Send + Sync + 'static,
    ) -> Self {
        self.parts.store = Arc::new(make);
        self
    }

    /// The same simulation with other choices.
    pub(crate) fn replayed(&self, tape: &Tape) -> Self {
        Self {
            origin: Origin::Tape(tape.clone()),
            ..self.clone()
        }
    }

    /// Lets it happen. Takes some milliseconds for worlds of the default size.
    #[must_use]
    pub fn run(&self) -> Report {
        let choices = match &self.origin {
            Origin::Seed(seed) => Choices::of_seed(*seed),
            Origin::Tape(tape) => Choices::of_tape(tape.clone()),
        };
        let core = Core::new(choices, self.config.keep_trace);
        let mut course = Course::new(World::new(&core, &self.config, &self.parts));
        course.begin();
        course.go_on(self.config.steps);
        course.come_to_rest();
        drop(course);
        let mut state = core.lock();
        let mut counts = state.history.counts;
        counts.steps = state.history.step;
        counts.calls = state.calls;
        Report {
            seed: match self.origin {
                Origin::Seed(seed) => Some(seed),
                Origin::Tape(_) => None,
            },
            violation: state.history.violation.clone(),
            counts,
            fired: state.faults.fired.clone(),
            trace_hash: state.trace.hash(),
            trace: state.trace.take_lines(),
            tape: state.choices.tape(),
        }
    }
}

/// What may happen next. The first is the plainest.
const EVENTS: [u32; 6] = [2000, 20, 60, 2, 2, 25];

/// Most polls that a world may need to come to rest.
const REST: u64 = 400_000;

/// A world under way.
struct Course {
    world: World,
    core: Core,
    executor: Executor,
    /// The life that each worker is in.
    lives: Vec<u32>,
    /// Until when workers stand still.
    paused: BTreeMap<Process, DateTime<Utc>>,
    engines: BTreeMap<Process, Engine>,
    turn: usize,
}

impl Course {
    fn new(world: World) -> Self {
        Self {
            core: world.core.clone(),
            executor: Executor::new(),
            lives: vec![0; world.workers],
            paused: BTreeMap::new(),
            engines: BTreeMap::new(),
            turn: 0,
            world,
        }
    }

    /// Saves the jobs, and starts the workers.
    fn begin(&mut self) {
        let engine = self.world.engine(Process::World);
        for job in self.world.first_jobs() {
            let engine = engine.clone();
            let core = self.core.clone();
            self.spawn(Process::World, async move {
                if let Err(error) = engine.save_job(&job).await {
                    let message = format!("{}: {error}", job.id);
                    core.lock().history.violate("job_not_saved", message);
                }
            });
        }
        while self.executor.count(Process::World) > 0 && self.step() {}
        let edits = self.core.lock().choices.below(Stream::World, 30);
        for _ in 0..edits {
            self.world.edit();
        }
        self.core.lock().faults.on = true;
        for worker in 0..self.world.workers {
            self.start(worker);
        }
    }

    fn spawn(&mut self, process: Process, future: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(process, future.boxed());
    }

    /// Starts a life of a worker.
    fn start(&mut self, worker: usize) {
        let process = self.process(worker);
        let engine = self.world.engine(process);
        self.engines.insert(process, engine.clone());
        let tenants: Vec<TenantId> = self
            .world
            .tenants
            .iter()
            .map(|tenant| tenant.id.clone())
            .collect();
        let core = self.core.clone();
        self.spawn(process, async move {
            loop {
                for tenant in &tenants {
                    if let Ok(runs) = engine.run_due(tenant).await {
                        for (job, report) in runs {
                            if let Ok(report) = report {
                                approve_some(&core, &engine, tenant, &job, &report).await;
                            }
                        }
                    }
                }
                core.sleep(Duration::from_secs(40)).await;
            }
        });
    }

    fn process(&self, worker: usize) -> Process {
        Process::Worker(u8::try_from(worker).unwrap_or(u8::MAX), self.lives[worker])
    }

    /// Polls somebody, or lets time pass where nobody can go on. `false`: nothing can happen any more.
    fn step(&mut self) -> bool {
        let now = self.core.now();
        self.paused.retain(|_, until| *until > now);
        let paused = &self.paused;
        let ready = self.executor.ready(|process| paused.contains_key(&process));
        self.core.lock().history.step += 1;
        if ready.is_empty() {
            return self.pass_time();
        }
        let choice = self.core.lock().choices.below(Stream::Schedule, ready.len());
        self.turn = self.turn.wrapping_add(1);
        let task = ready[(choice + self.turn) % ready.len()];
        let process = self.executor.process(task);
        self.core.say(format_args!("poll {} of {process:?}", task.0));
        self.executor.poll(task);
        let spawned = std::mem::take(&mut self.core.lock().spawned);
        for (process, future) in spawned {
            self.executor.spawn(process, future);
        }
        true
    }

    /// Moves the clock to the next moment that somebody waits for.
    fn pass_time(&self) -> bool {
        let wakes = self.paused.values().min().copied();
        let next = [self.core.clock.next_deadline(), wakes]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next else { return false };
        self.core.say(format_args!("it is {next}"));
        self.core.clock.set(next);
        true
    }

    /// What the seed makes happen, for so many steps.
    fn go_on(&mut self, steps: u64) {
        let last = self.core.lock().history.step + steps;
        while self.is_well() && self.core.lock().history.step < last {
            let event = self.core.lock().choices.weighted(Stream::Schedule, &EVENTS);
            let may_fail = self.core.lock().faults.per_mille > 0;
            match event {
                1 if may_fail => {
                    self.core.fired(FaultKind::TimePassed, "");
                    self.pass_time();
                }
                2 => self.world.edit(),
                3 if may_fail => self.pause(),
                4 if may_fail => self.die(),
                5 => self.ask(),
                _ => {}
            }
            self.step();
        }
    }

    fn is_well(&self) -> bool {
        self.core.lock().history.violation.is_none()
    }

    fn some_worker(&self) -> usize {
        self.core.lock().choices.below(Stream::Schedule, self.lives.len())
    }

    fn pause(&mut self) {
        let process = self.process(self.some_worker());
        const SECONDS: [i64; 4] = [10, 60, 130, 400];
        let choice = self.core.lock().choices.below(Stream::Schedule, SECONDS.len());
        let until = self.core.now() + TimeDelta::seconds(SECONDS[choice]);
        self.core
            .fired(FaultKind::Paused, &format!("{process:?} until {until}"));
        self.paused.insert(process, until);
    }

    fn die(&mut self) {
        let worker = self.some_worker();
        let process = self.process(worker);
        self.core.fired(FaultKind::Died, &format!("{process:?}"));
        self.kill(process);
        self.lives[worker] += 1;
        self.start(worker);
    }

    fn kill(&mut self, process: Process) {
        self.executor.kill(process);
        self.engines.remove(&process);
        self.paused.remove(&process);
    }

    /// Somebody asks a worker for something.
    fn ask(&mut self) {
        let process = self.process(self.some_worker());
        let Some(engine) = self.engines.get(&process).cloned() else {
            return;
        };
        let tenant = &self.world.tenants[self.world.choose(self.world.tenants.len())];
        let id = tenant.id.clone();
        let number = self.world.choose(tenant.jobs.len());
        let job = tenant.jobs[number].clone();
        let container = tenant.containers[self.world.choose(tenant.containers.len())].clone();
        let core = self.core.clone();
        let what = self.world.choose(10);
        if what >= 5 {
            return self.ask_for_links(process, id, what - 5);
        }
        self.core
            .say(format_args!("{process:?} is asked for {what} of {job} of {id}"));
        match what {
            0 => self.spawn(process, async move {
                let request = RunRequest::everything();
                if let Ok(report) = engine.run(&id, &job, request).await {
                    approve_some(&core, &engine, &id, &job, &report).await;
                }
            }),
            1 => self.spawn(process, async move {
                let control = RunControl::new();
                let trigger = engine.trigger(&id, &job, Trigger::Manual, Scope::Everything, &control);
                drop(trigger.await);
            }),
            2 => self.spawn(process, async move {
                let saved = engine.save_container(&id, &job, container, Duration::from_secs(20));
                if let Ok(usersync_engine::Saved::Continues(rest)) = saved.await {
                    drop(rest.await);
                }
            }),
            3 => self.spawn(process, async move {
                // What was reviewed is done exactly, or nothing is.
                if let Ok(previewed) = engine.preview(&id, &job, &Scope::Everything).await {
                    let request = RunRequest::everything().exactly(previewed.plan().clone());
                    drop(engine.run(&id, &job, request).await);
                }
            }),
            _ => {
                let edited = self.world.job(tenant, &job, number);
                self.spawn(process, async move {
                    drop(engine.save_job(&edited).await);
                });
            }
        }
    }

    /// Somebody works on links.
    fn ask_for_links(&mut self, process: Process, tenant: TenantId, what: usize) {
        let links = self.world.links(process);
        let context = crate::world::link_context(&tenant);
        let who = format!("a{}", self.world.choose(self.world.tenants[0].users));
        let who = Chosen::of([crate::world::principal(&crate::world::system("crm"), &who)]);
        self.core.say(format_args!(
            "{process:?} is asked for links {what} {who:?} of {tenant}"
        ));
        // How a call went is in the store.
        match what {
            0 => self.spawn(process, async move {
                drop(links.stage(&context, &Chosen::All).await);
            }),
            1 => self.spawn(process, async move {
                drop(links.stage(&context, &Chosen::All).await);
                drop(links.save_added(&context, &Chosen::All).await);
            }),
            2 => self.spawn(process, async move {
                drop(links.remove(&context, &who).await);
            }),
            3 => {
                // Everywhere at once, everybody for somebody else.
                drop(links);
                for worker in 0..self.lives.len() {
                    let process = self.process(worker);
                    let (links, context) = (self.world.links(process), context.clone());
                    let person = crate::world::principal(&crate::world::system("crm"), &format!("a{worker}"));
                    self.spawn(process, async move {
                        drop(links.save_added(&context, &Chosen::of([person])).await);
                    });
                }
            }
            _ => self.spawn(process, async move {
                drop(links.follow_departures(&context, None).await);
            }),
        }
    }

    /// Nothing goes wrong any more, nobody changes anything, and all that waits is approved: where that leads.
    fn come_to_rest(&mut self) {
        if !self.is_well() {
            return;
        }
        self.core.say(format_args!("everything is left alone"));
        self.core.lock().faults.on = false;
        for worker in 0..self.world.workers {
            self.kill(self.process(worker));
        }
        self.paused.clear();
        let mut left = REST;
        // What is still on its way arrives.
        while self.executor.count(Process::World) > 0 && left > 0 && self.step() {
            left -= 1;
        }
        let process = Process::Worker(0, u32::MAX);
        let engine = self.world.engine(process);
        let mut quiet = 0;
        for _ in 0..40 {
            if quiet == 3 || !self.is_well() {
                break;
            }
            let before = self.fingerprint();
            self.core.clock.advance(Duration::from_secs(25 * 3600));
            for tenant in &self.world.tenants {
                let (engine, id, core) = (engine.clone(), tenant.id.clone(), self.core.clone());
                let owners: Vec<PrincipalRef> = ["boss", "u0"]
                    .iter()
                    .map(|name| crate::world::principal(tenant.directories[0].system(), name))
                    .collect();
                for owner in owners {
                    tenant
                        .actors
                        .set(&id, owner, usersync_connector::ActorState::Active);
                }
                let links = self.world.links(process);
                self.executor.spawn(
                    process,
                    async move {
                        run_and_approve(&core, &engine, &id).await;
                        save_links(&core, &links, &id).await;
                    }
                    .boxed(),
                );
            }
            while self.executor.count(process) > 0 {
                left = left.saturating_sub(1);
                if left == 0 || !self.step() {
                    self.core.lock().history.violate("no_rest", "a run never ends");
                    return;
                }
            }
            quiet = if self.fingerprint() == before {
                quiet + 1
            } else {
                0
            };
        }
        if quiet < 3 {
            let mut state = self.core.lock();
            state
                .history
                .violate("no_rest", "the jobs undo each other's work for ever");
        }
        let mut state = self.core.lock();
        for tenant in &self.world.tenants {
            let differs = tenant.differing_copy(state.history.tenant(&tenant.id));
            if let Some(differs) = differs {
                state.history.violate("copy_differs", differs);
            }
            state.history.ended(&tenant.id);
            let entitled = block_on(tenant.entitlement.entitlement(&tenant.id));
            if let Ok(entitled) = entitled {
                let is_there = |link: &Link| {
                    let person = tenant.persons.account(&link.principal().object);
                    let mailbox = tenant.mailboxes.account(&link.account().object);
                    person.is_some() && mailbox.is_some()
                };
                state.history.waiting(&tenant.id, entitled, is_there);
            }
        }
    }

    /// What has to stay the same in a world at rest.
    fn fingerprint(&self) -> (u64, u64) {
        let state = self.core.lock();
        let mut hasher = crate::core::Trace::new(false);
        for (tenant, stored) in &state.history.shadow.tenants {
            hasher.say(format_args!("{tenant} {:?}", stored.ledger));
            for ((table, key), bytes) in &stored.values {
                if matches!(table, Table::Intent | Table::Approval | Table::JobState) {
                    hasher.say(format_args!("{key:?} {bytes:?}"));
                }
            }
        }
        (hasher.hash(), state.history.counts.effects)
    }
}

/// Administrators look at what is held, and approve some of it.
async fn approve_some(core: &Core, engine: &Engine, tenant: &TenantId, job: &JobId, report: &RunReport) {
    let held = report.plan.as_ref().and_then(|plan| plan.held_digest());
    if let Some(held) = held
        && choose(core, 4) == 3
    {
        approve(engine, tenant, job, held).await;
    }
}

async fn approve(engine: &Engine, tenant: &TenantId, job: &JobId, held: Digest) {
    let by = PrincipalRef::parse("hr", "boss").expect("names of the simulator hold no control characters");
    let hour = Duration::from_secs(3600);
    drop(engine.approve(tenant, job, held, by, hour).await);
}

/// Runs every job that is due; what is held is approved, and run again.
async fn run_and_approve(core: &Core, engine: &Engine, tenant: &TenantId) {
    let runs = match engine.run_due(tenant).await {
        Ok(runs) => runs,
        Err(error) => {
            let message = format!("{tenant}: {error}");
            core.lock().history.violate("run_failed", message);
            return;
        }
    };
    core.say(format_args!("{} jobs of {tenant} were due", runs.len()));
    for (job, report) in runs {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                let message = format!("{job} of {tenant}: {error}");
                core.lock().history.violate("run_failed", message);
                return;
            }
        };
        core.say(format_args!("{tenant}: {report}"));
        if let Some(held) = report.plan.as_ref().and_then(|plan| plan.held_digest()) {
            approve(engine, tenant, &job, held).await;
            drop(engine.run(tenant, &job, RunRequest::everything()).await);
        }
    }
}

/// Whoever can be linked is, as far as there are seats.
async fn save_links(core: &Core, links: &Links, tenant: &TenantId) {
    let context = crate::world::link_context(tenant);
    let staged = links.stage(&context, &Chosen::All).await;
    let saved = links.save_added(&context, &Chosen::All).await;
    if let Err(error) = staged.and(saved) {
        let message = format!("links of {tenant}: {error}");
        core.lock().history.violate("run_failed", message);
    }
}
