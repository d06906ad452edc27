//! The tool: an engine between the export and the roster.

use std::collections::BTreeMap;
use std::fs;
use std::future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use usersync::connector::adapt::{EveryoneActive, NoNotifier};
use usersync::connector::{ContainerCatalog, MembershipRead};
use usersync::engine::{
    Backoff, Engine, EngineError, Interval, Job, Options, Preview, Previewed, Readers, RunControl, RunReport,
    RunRequest, Schedule, Scope, Trigger, Triggered,
};
use usersync::memory::MemoryStore;
use usersync::model::{ContainerRef, Digest, JobId, Origin, PrincipalRef, SystemId, TenantId};
use usersync::reconcile::{Policy, RenderOptions, render_html};
use usersync::store::{LedgerKey, StateRead, StateStore};
use usersync::tokio::{Runner, SystemClock};

use crate::arguments::{Arguments, Task};
use crate::export::{Export, Found, Index};
use crate::outcome::{Outcome, Status, Stop, chain};
use crate::roster::RosterFile;
use crate::selection::{Catalog, Systems};
use crate::show;
use crate::state::{self, WithJob};
use crate::target::{Known, MAX_BATCH, RosterTarget};

/// How long an approval waits for the run that uses it, which follows at once.
const APPROVAL: Duration = Duration::from_secs(600);
/// How long a run that was killed keeps the next one waiting.
const LEASE: Duration = Duration::from_secs(30);
/// How long a run may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many of the export's warnings are shown.
const WARNINGS: usize = 10;

pub(crate) struct App {
    job: Job,
    operator: PrincipalRef,
    index: Arc<Index>,
    export: Arc<Export>,
    catalog: Arc<Catalog>,
    target: Arc<RosterTarget>,
}

/// Does what the command line says.
pub(crate) async fn run(arguments: Arguments) -> Outcome {
    let tenant = TenantId::new("local")?;
    let systems = Systems {
        directory: SystemId::new("ldif")?,
        target: SystemId::new("roster")?,
    };
    let export = Export::new(systems.directory.clone(), arguments.ldif, arguments.trailer);
    let export = Arc::new(export);
    let index = export.read()?;
    tell_of(&index);

    let before = state::look_at(&arguments.state)?;
    let claims = match &before {
        Some(state) => state::claims(state, &tenant, &systems.target).await?,
        None => BTreeMap::new(),
    };
    let catalog = Catalog {
        systems: systems.clone(),
        wanted: arguments.wanted,
        export: Arc::clone(&export),
    };
    let containers = catalog.resolve(&index, |container| claims.contains_key(container))?;
    let fresh = containers
        .iter()
        .filter(|container| !claims.contains_key(&container.id.object));
    let known = Known {
        fresh: fresh
            .map(|container| (container.id.object.clone(), container.name.clone()))
            .collect(),
        begun: claims.keys().cloned().collect(),
    };
    let file = RosterFile::new(arguments.roster);
    let target = RosterTarget::new(systems.clone(), file, Arc::clone(&export), known);
    let roster = target.file.read()?.roster;
    let mut listed = containers.iter().map(|container| &container.id.object);
    if let Some(lost) = listed.find(|id| claims.contains_key(id) && roster.get(id).is_none()) {
        return Err(target.lost(lost).into());
    }

    let operator = PrincipalRef::new(systems.target.clone(), "operator".parse()?);
    let every = match &arguments.task {
        Task::Run { every, .. } => *every,
        Task::Explain(_) | Task::Preview => None,
    };
    let job = Job::new(
        tenant,
        JobId::new("roster")?,
        "Roster",
        [systems.directory],
        systems.target,
        operator.clone(),
    )
    .with_policy(Policy::new(arguments.mode))
    .with_schedule(every.map_or_else(Schedule::manual, Schedule::every));
    let app = App {
        job,
        operator,
        index,
        export,
        catalog: Arc::new(catalog),
        target: Arc::new(target),
    };

    let (status, plan) = match arguments.task {
        Task::Explain(who) => {
            let (state, previewed) = app.preview(before).await?;
            app.explain(&who, state.as_ref(), &previewed).await?;
            (Status::InSync, previewed.plan().clone())
        }
        Task::Preview => {
            let (_, previewed) = app.preview(before).await?;
            let plan = previewed.plan().clone();
            show::plan(&plan, &roster);
            (Status::of_plan(&plan), plan)
        }
        Task::Run { approve, every } => {
            drop(before);
            let engine = app.engine(Arc::new(state::open(&arguments.state)?), every);
            engine.save_job(&app.job).await?;
            if let Some(digest) = approve {
                app.approve(&engine, digest).await?;
            }
            if let Some(every) = every {
                return app.run_every(engine, every).await;
            }
            let report = app.run_once(&engine).await?;
            let Some(plan) = report.plan.clone() else {
                return Ok(Status::of_run(&report));
            };
            if !plan.is_in_sync() || !plan.header().warnings.is_empty() {
                show::plan(&plan, &roster);
            }
            show::report(&report);
            (Status::of_run(&report), plan)
        }
    };
    if let Some(file) = arguments.html {
        fs::write(&file, render_html(&plan, &RenderOptions::default()))
            .map_err(|error| Stop::failed(format!("{}: {error}", file.display())))?;
    }
    Ok(status)
}

/// What the export shows, for people who try it for the first time.
fn tell_of(index: &Index) {
    for warning in index.warnings.iter().take(WARNINGS) {
        show::complain(format_args!("warning: {warning}"));
    }
    if let Some(more) = index
        .warnings
        .len()
        .checked_sub(WARNINGS)
        .filter(|more| *more > 0)
    {
        show::complain(format_args!("… and {more} more warnings"));
    }
    if let Some(flaw) = index.flaw() {
        show::complain(format_args!(
            "the export was read in part, so nobody is removed: {flaw}"
        ));
    }
    if index.count(|_| true) == 0 {
        show::complain("the export shows nobody");
    }
}

impl App {
    fn engine(&self, store: Arc<dyn StateStore>, every: Option<Interval>) -> Engine {
        let mut options = Options::default();
        options.batch = MAX_BATCH;
        options.lease = LEASE;
        if let Some(every) = every {
            // A file that is not there is looked for again in the next interval, and not after ever longer pauses.
            options.retry = Backoff {
                first: every.duration(),
                most: every.duration(),
                ..options.retry
            };
        }
        Engine::builder(
            store,
            Arc::new(SystemClock::new()),
            Arc::clone(&self.catalog) as Arc<dyn ContainerCatalog>,
            Arc::new(EveryoneActive),
            Arc::new(NoNotifier),
        )
        .directory(Arc::new(self.export.directory()))
        .target(Arc::clone(&self.target) as _)
        .options(options)
        .build()
    }

    /// Plans from the state as it is, through types that cannot write.
    async fn preview(&self, state: Option<impl StateRead>) -> Outcome<(Arc<dyn StateRead>, Previewed)> {
        let clock = Arc::new(SystemClock::new());
        let saved = MemoryStore::new(Arc::clone(&clock) as _);
        self.engine(Arc::new(saved.clone()), None)
            .save_job(&self.job)
            .await?;
        let saved: Arc<dyn StateRead> = Arc::new(saved);
        let state = match state {
            Some(state) => Arc::new(WithJob {
                state: Arc::new(state),
                job: saved,
            }),
            None => saved,
        };
        let catalog = Arc::clone(&self.catalog) as Arc<dyn ContainerCatalog>;
        let readers = Readers::new(Arc::clone(&state), clock, catalog, Arc::new(EveryoneActive))
            .with_directory(Arc::new(self.export.directory()))
            .with_target(Arc::clone(&self.target) as Arc<dyn MembershipRead>);
        let preview = Preview::new(readers);
        let previewed = preview
            .plan(&self.job.tenant, &self.job.id, &Scope::Everything)
            .await?;
        Ok((state, previewed))
    }

    /// Approves what waits, if it is what was reviewed.
    async fn approve(&self, engine: &Engine, digest: Digest) -> Outcome<()> {
        let (tenant, job) = (&self.job.tenant, &self.job.id);
        let previewed = engine.preview(tenant, job, &Scope::Everything).await?;
        match previewed.plan().held_digest() {
            Some(held) if held == digest => {
                engine
                    .approve(tenant, job, digest, self.operator.clone(), APPROVAL)
                    .await?;
                Ok(())
            }
            Some(held) => Err(Stop::failed(format!(
                "{digest} is not what waits now; that is {held}. Nothing was approved or changed: review it with --preview"
            ))),
            None => Err(Stop::failed("nothing waits for an approval; nothing was changed")),
        }
    }

    async fn run_once(&self, engine: &Engine) -> Outcome<RunReport> {
        let control = RunControl::new();
        let request = RunRequest::everything().controlled_by(control.clone());
        let run = engine.run(&self.job.tenant, &self.job.id, request);
        until_told(&control, run).await.map_err(|error| match error {
            EngineError::Busy(_) => Stop::failed(format!(
                "another sync_ldif runs with this state, or one was killed less than {} s ago; try again later",
                LEASE.as_secs()
            )),
            error => error.into(),
        })
    }

    /// Runs at once and then by the job's schedule, until ctrl-c.
    async fn run_every(&self, engine: Engine, every: Interval) -> Outcome {
        let (tenant, job) = (&self.job.tenant, &self.job.id);
        let control = RunControl::new();
        let first = engine.trigger(tenant, job, Trigger::Manual, Scope::Everything, &control);
        match until_told(&control, first).await? {
            Triggered::Ran { report, followed } => {
                for report in [Ok(*report)].iter().chain(&followed) {
                    tell(report);
                }
            }
            Triggered::Coalesced | Triggered::Waits(_) => {
                show::say("another sync_ldif runs; waiting for the next time")
            }
        }
        if control.is_cancelled() {
            return Ok(Status::InSync);
        }
        let pause = every.duration().as_secs();
        show::say(format_args!("running again every {pause} s; ctrl-c ends it"));
        let runner = Runner::new(engine)
            .tenant(tenant.clone())
            .on_end(|ended| tell(ended.result))
            .spawn();
        told().await;
        if runner.shutdown(PATIENCE).await.is_empty() {
            Ok(Status::InSync)
        } else {
            Err(Stop::failed(
                "the run did not end in time; the next one goes on with it",
            ))
        }
    }

    /// Says for every container why somebody is in it, or not.
    async fn explain(&self, who: &str, state: &dyn StateRead, previewed: &Previewed) -> Outcome<()> {
        let roster = self.target.file.read()?.roster;
        let mut people = roster.containers.iter().flat_map(|listed| &listed.members);
        let (id, name) = match self.index.find(who) {
            Found::One(entry) => (entry.id.clone(), entry.name.clone()),
            found @ Found::Many(_) => return Err(Stop::usage(format!("{who} {found}"))),
            // Those who left the directory are still known from the roster.
            Found::Nothing => people
                .find(|person| [person.id.as_str(), &person.name, &person.address].contains(&who))
                .map(|person| (person.id.clone(), person.name.clone()))
                .ok_or_else(|| Stop::usage(format!("{who} is neither in the export nor in the roster")))?,
        };
        let principal = PrincipalRef::new(self.catalog.systems.directory.clone(), id);
        show::say(format_args!("{name} ({})", principal.object));
        for wanted in &self.catalog.wanted {
            let container = ContainerRef::new(self.catalog.systems.target.clone(), wanted.id.clone());
            let Some(answer) = previewed.explain(&container, &principal) else {
                continue;
            };
            let key = LedgerKey::member(container, principal.clone());
            let row = state.ledger_row(&self.job.tenant, &key).await?;
            show::say(format_args!(
                "{}: {}",
                wanted.name(),
                match (answer.present, row.map(|entry| entry.row.origin)) {
                    (Some(true), Some(Origin::Ours)) => "a member, put there by sync_ldif",
                    (Some(true), _) => "a member, put there by somebody else",
                    (Some(false), Some(Origin::Ours)) =>
                        "no member: sync_ldif put them there, and somebody removed them",
                    (Some(false), _) => "no member",
                    (None, _) => "perhaps a member: the roster was not read",
                }
            ));
            if let Some(selected) = answer.selected {
                show::say(format_args!("  selected: {selected}"));
            }
            for absence in answer.absent {
                show::say(format_args!("  not selected: {absence}"));
            }
            if let Some(cause) = answer.held {
                show::say(format_args!("  waits: {cause}; {}", cause.next_action()));
            }
            if let Some(finding) = answer.finding {
                show::say(format_args!("  note: {finding}"));
            }
        }
        Ok(())
    }
}

fn tell(result: &usersync::engine::Result<RunReport>) {
    match result {
        Ok(report) => {
            show::report(report);
            show::warnings(report);
        }
        Err(error) => show::complain(chain(error)),
    }
}

/// Drives a run to its end; ctrl-c ends it before its next effect.
async fn until_told<T>(control: &RunControl, run: impl Future<Output = T>) -> T {
    match select(pin!(run), pin!(told())).await {
        Either::Left((end, _)) => end,
        Either::Right(((), run)) => {
            control.cancel();
            run.await
        }
    }
}

/// Waits for ctrl-c.
async fn told() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Nobody can tell, so nobody does.
        future::pending().await
    }
}
