//! The course of events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use usersync_connector::{Directory, ItemStore};
use usersync_engine::{Chosen, Engine, RunControl, RunEnd, RunReport, RunRequest, Scope, Trigger, Triggered};
use usersync_memory::{ManualClock, MemoryDirectory, MemoryItems};
use usersync_model::{Digest, JobId, PrincipalRef, TenantId};

use usersync_reconcile::Plan;
use usersync_store::StateStore;

use crate::choice::{Choices, Place, Stream, Tape};
use crate::config::Config;
use crate::core::Core;
use crate::executor::Process;
use crate::fault::FaultKind;
use crate::occurrence::Occurrence;
use crate::office;
use crate::people::choose;
use crate::plug::{Parts, TargetSpec, TargetUnderTest};
use crate::report::Report;
use crate::stage::Stage;
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
    Tape(Box<Tape>),
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
            origin: Origin::Tape(Box::new(tape)),
            config,
            parts: Parts::default(),
        }
    }

    /// The same simulation with directories as `wrap` makes them of the world's own, which people edit: one for each system of each
    /// tenant. All of a system have to offer the same, and to have the same filter. What they offer beside changes is not used: of what
    /// simulated faults leave out of a read, no directory could tell later that it is there again.
    #[must_use]
    pub fn with_directory(
        mut self,
        wrap: impl Fn(MemoryDirectory) -> Arc<dyn Directory> + Send + Sync + 'static,
    ) -> Self {
        self.parts.directory = Some(Arc::new(wrap));
        self
    }

    /// The same simulation with systems of items as `wrap` makes them of the world's own, which people edit. All have to offer the same.
    #[must_use]
    pub fn with_items(
        mut self,
        wrap: impl Fn(MemoryItems) -> Arc<dyn ItemStore> + Send + Sync + 'static,
    ) -> Self {
        self.parts.items = Arc::new(wrap);
        self
    }

    /// The same simulation with targets that `make` makes, one for each tenant. All have to offer the same. Each operation of a batch is
    /// a call of its own, since each may go wrong in a way of its own; that batches work is for the test kit's suite to tell.
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
            origin: Origin::Tape(Box::new(tape.clone())),
            ..self.clone()
        }
    }

    /// Lets it happen. Takes some milliseconds for worlds of the default size.
    #[must_use]
    pub fn run(&self) -> Report {
        let core = self.core(Place::World);
        let mut course = Course::new(World::new(&core, &self.config, &self.parts));
        course.begin();
        course.go_on(self.config.steps);
        course.come_to_rest();
        drop(course);
        let office = self.core(Place::Office);
        office::run(&office, &self.config, &self.parts);
        let (world, office) = (core.lock().told(), office.lock().told());
        Report {
            seed: match self.origin {
                Origin::Seed(seed) => Some(seed),
                Origin::Tape(_) => None,
            },
            violation: world.violation.or(office.violation),
            counts: world.counts.plus(office.counts),
            fired: sum(world.fired, office.fired),
            occurred: sum(world.occurred, office.occurred),
            trace_hash: world.trace_hash ^ office.trace_hash.rotate_left(1),
            trace: [world.trace, office.trace].concat(),
            tape: Tape::of(world.choices, office.choices),
        }
    }

    fn core(&self, place: Place) -> Core {
        let choices = match &self.origin {
            Origin::Seed(seed) => Choices::of_seed(*seed, place, self.config.edition),
            Origin::Tape(tape) => Choices::of_tape(tape, place),
        };
        Core::new(choices, self.config.keep_trace)
    }
}

fn sum<K: Ord>(mut one: BTreeMap<K, u64>, other: BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    for (what, times) in other {
        *one.entry(what).or_default() += times;
    }
    one
}

/// What may happen next. The first is the plainest.
pub(crate) const EVENTS: [u32; 6] = [2000, 20, 60, 2, 2, 25];

/// A world under way.
pub(crate) struct Course {
    pub(crate) world: World,
    pub(crate) core: Core,
    pub(crate) stage: Stage,
    /// The life that each worker is in.
    lives: Vec<u32>,
    engines: BTreeMap<Process, Engine>,
}

impl Course {
    fn new(world: World) -> Self {
        Self {
            core: world.core.clone(),
            stage: Stage::new(&world.core),
            lives: vec![0; world.workers],
            engines: BTreeMap::new(),
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
        while self.stage.is_busy(Process::World) && self.stage.step() {}
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
        self.stage.spawn(process, future);
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

    pub(crate) fn process(&self, worker: usize) -> Process {
        Process::Worker(u8::try_from(worker).unwrap_or(u8::MAX), self.lives[worker])
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
                    self.stage.pass_time();
                }
                2 => self.world.edit(),
                3 if may_fail => {
                    let process = self.process(self.some_worker());
                    self.stage.pause(process);
                }
                4 if may_fail => self.die(),
                5 => self.ask(),
                _ => {}
            }
            self.stage.step();
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        self.core.lock().history.violation.is_none()
    }

    fn some_worker(&self) -> usize {
        self.core.lock().choices.below(Stream::Schedule, self.lives.len())
    }

    fn die(&mut self) {
        let worker = self.some_worker();
        let process = self.process(worker);
        self.core.fired(FaultKind::Died, &format!("{process:?}"));
        self.kill(process);
        self.lives[worker] += 1;
        self.start(worker);
    }

    pub(crate) fn kill(&mut self, process: Process) {
        self.stage.kill(process);
        self.engines.remove(&process);
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
        let agrees = self.world.rarities.agrees;
        let what = self.world.choose(14);
        if what >= 9 {
            return self.ask_for_links(process, id, what - 9);
        }
        if self.world.rarities.cancels && self.world.rarely(4) == 3 {
            let patience = self.world.rarely(150);
            self.spawn(process, run_for_a_while(core, engine, id, job, patience));
            return;
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
            4 => self.spawn(process, async move {
                core.lock().history.adopts(&id, &job);
                // What is there counts as ours once somebody has approved that, as a whole.
                let adopting = || RunRequest::everything().adopting();
                if let Ok(report) = engine.run(&id, &job, adopting()).await {
                    match report.plan.as_ref().filter(|_| agrees) {
                        Some(plan) => approve_plan(&core, &engine, &id, &job, plan).await,
                        None => approve_some(&core, &engine, &id, &job, &report).await,
                    }
                    drop(engine.run(&id, &job, adopting()).await);
                }
            }),
            5 => {
                let system = tenant.directories[0].system().clone();
                self.spawn(process, async move {
                    drop(engine.changed(&id, &system).await);
                });
            }
            6 => {
                let resumes = self.world.choose(2) == 1;
                self.spawn(process, async move {
                    let (by, why) = (
                        crate::world::principal(&crate::world::system("hr"), "boss"),
                        "simulated",
                    );
                    match resumes {
                        true => drop(engine.resume_job(&id, &job, by, why).await),
                        false => drop(engine.pause_job(&id, &job, by, why).await),
                    }
                });
            }
            7 => self.spawn(process, async move {
                if let Ok(report) = engine.run(&id, &job, RunRequest::container(container)).await {
                    approve_some(&core, &engine, &id, &job, &report).await;
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
                        drop(links.stage(&context, &Chosen::All).await);
                        drop(links.save_added(&context, &Chosen::of([person])).await);
                    });
                }
            }
            _ => self.spawn(process, async move {
                drop(links.follow_departures(&context, None).await);
            }),
        }
    }
}

/// Somebody has a job run, and cancels that when it takes too long.
async fn run_for_a_while(core: Core, engine: Engine, tenant: TenantId, job: JobId, patience: usize) {
    core.say(format_args!(
        "{job} of {tenant} is to run, and not for more than {patience}"
    ));
    let control = RunControl::new();
    let running = engine.trigger(&tenant, &job, Trigger::Manual, Scope::Everything, &control);
    let cancelling = async {
        for _ in 0..patience {
            core.point().await;
        }
        control.cancel();
    };
    let (ran, ()) = futures::join!(running, cancelling);
    if let Ok(Triggered::Ran { report, .. }) = ran
        && report.end == RunEnd::Cancelled
    {
        core.lock().history.occur(Occurrence::RunCancelled);
    }
}

/// Administrators look at what is held, and approve some of it.
async fn approve_some(core: &Core, engine: &Engine, tenant: &TenantId, job: &JobId, report: &RunReport) {
    let plan = report.plan.as_ref().filter(|plan| plan.held_digest().is_some());
    if let Some(plan) = plan
        && choose(core, 4) == 3
    {
        approve_plan(core, engine, tenant, job, plan).await;
    }
}

/// Somebody looks at what waits in a plan, and approves it.
pub(crate) async fn approve_plan(core: &Core, engine: &Engine, tenant: &TenantId, job: &JobId, plan: &Plan) {
    core.lock().history.shown(tenant, plan);
    if let Some(held) = plan.held_digest() {
        approve(engine, tenant, job, held).await;
    }
}

pub(crate) async fn approve(engine: &Engine, tenant: &TenantId, job: &JobId, held: Digest) {
    let by = PrincipalRef::parse("hr", "boss").expect("names of the simulator hold no control characters");
    let hour = Duration::from_secs(3600);
    drop(engine.approve(tenant, job, held, by, hour).await);
}
