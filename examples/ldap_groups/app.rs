//! The engine between HR, the directory and its groups.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use usersync::connector::adapt::{EveryoneActive, NoNotifier, StaticContainers};
use usersync::connector::{ContainerCatalog, Directory, MembershipRead};
use usersync::engine::{
    Engine, EngineError, Job, Outcome as Ended, Preview, Readers, RunEnd, RunReport, RunRequest, Scope,
};
use usersync::ldap::{Dn, LastMember, LdapAccounts, LdapClient, LdapDirectory, LdapGroups};
use usersync::memory::MemoryStore;
use usersync::model::{
    Container, ContainerKind, ContainerRef, Digest, JobId, PrincipalRef, SystemId, TenantId,
};
use usersync::reconcile::{Plan, RenderOptions, Warning, render_table};
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync::store::{StateRead, StateStore};
use usersync::tokio::SystemClock;
use usersync_examples::live::Place;
use usersync_examples::screen::{Outcome, Screen};

use crate::hr::{Hr, Key};
use crate::rules::{self, Rule};

/// How long an approval waits for the run that uses it, which follows at once.
const APPROVAL: Duration = Duration::from_secs(600);
/// How many rows are told that belong to nobody.
const ROWS: usize = 10;

/// What is to be kept in step.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) hr: PathBuf,
    pub(crate) rules: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) key: Key,
    pub(crate) skip_unmatched: bool,
    pub(crate) placeholder: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Apply { approve: Option<Digest> },
    Preview,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Changed,
    Failed,
    Held,
    InSync,
}

struct App {
    job: Job,
    operator: PrincipalRef,
    directories: Vec<Arc<dyn Directory>>,
    catalog: Arc<StaticContainers>,
    export: Hr,
    groups: LdapGroups,
}

/// Does one step, shows what it is, and says how it ended.
pub(crate) async fn work(place: &Place, work: &Work, step: &Step, screen: &Screen) -> Outcome<Status> {
    let rules = rules::load(&work.rules)?;
    let app = App::new(place, work, &rules).await?;
    match step {
        Step::Preview => {
            let plan = app.preview(work).await?;
            show(&plan, screen);
            app.tell_unplaced(screen);
            let summary = plan.summary();
            Ok(match () {
                () if summary.held > 0 || app.is_partial(&plan) => Status::Held,
                () if summary.operations() > 0 => Status::Changed,
                () => Status::InSync,
            })
        }
        Step::Apply { approve } => app.apply(work, *approve, screen).await,
    }
}

/// What would be done.
pub(crate) async fn plan(place: &Place, work: &Work) -> Outcome<Plan> {
    App::new(place, work, &rules::load(&work.rules)?)
        .await?
        .preview(work)
        .await
}

impl App {
    async fn new(place: &Place, work: &Work, rules: &[Rule]) -> Outcome<Self> {
        let (ldap, hr, target) = (
            SystemId::new("ldap")?,
            SystemId::new("hr")?,
            SystemId::new("groups")?,
        );
        let client = LdapClient::new(place.server.clone());
        let directory = LdapDirectory::new(ldap.clone(), client.clone(), place.profile());

        let mut containers = Vec::new();
        for rule in rules {
            let dn = &rule.group.0;
            let found = directory.principal_at(dn).await?;
            let group = found
                .filter(|principal| principal.kind.is_group())
                .ok_or_else(|| format!("{dn} is no group that can be seen; see --rules"))?;
            let id = ContainerRef::new(target.clone(), group.id);
            let selection = rule.selection(&hr)?;
            containers.push(Container::new(id, ContainerKind::Group, group.name, selection));
        }

        let mut settings = place.group_settings().with_directory(ldap.clone());
        if work.placeholder {
            settings = settings.with_last_member(LastMember::Placeholder(Dn::parse("")?));
        }
        let accounts = LdapAccounts::new(ldap.clone(), client.clone(), place.profile());
        let terms: BTreeSet<_> = rules.iter().flat_map(Rule::terms).cloned().collect();
        let export = Hr::new(
            hr.clone(),
            work.hr.clone(),
            work.key.clone(),
            terms,
            accounts,
            work.skip_unmatched,
        );
        let operator = PrincipalRef::new(target.clone(), "operator".parse()?);
        let job = Job::new(
            TenantId::new("local")?,
            JobId::new("hr")?,
            "Groups by HR",
            [ldap, hr],
            target.clone(),
            operator.clone(),
        );
        Ok(Self {
            job,
            operator,
            directories: vec![Arc::new(directory), Arc::new(export.clone())],
            catalog: Arc::new(StaticContainers::new(containers)),
            export,
            groups: LdapGroups::new(target, client, settings),
        })
    }

    fn engine(&self, store: Arc<dyn StateStore>) -> Engine {
        let engine = Engine::builder(
            store,
            Arc::new(SystemClock::new()),
            Arc::clone(&self.catalog) as Arc<dyn ContainerCatalog>,
            Arc::new(EveryoneActive),
            Arc::new(NoNotifier),
        );
        let directories = self.directories.iter().cloned();
        directories
            .fold(engine, |engine, directory| engine.directory(directory))
            .target(Arc::new(self.groups.clone()))
            .build()
    }

    /// What would be done, by types that cannot write. Without a state, as if it had just been made.
    async fn preview(&self, work: &Work) -> Outcome<Plan> {
        let clock = Arc::new(SystemClock::new());
        let state: Arc<dyn StateRead> = if work.state.exists() {
            let options = SqliteOptions::default().read_only();
            Arc::new(SqliteStore::open(&work.state, options).map_err(|error| self.cannot(work, &error))?)
        } else {
            let store = MemoryStore::new(Arc::clone(&clock) as _);
            self.engine(Arc::new(store.clone())).save_job(&self.job).await?;
            Arc::new(store)
        };
        let catalog = Arc::clone(&self.catalog) as Arc<dyn ContainerCatalog>;
        let readers = Readers::new(state, clock, catalog, Arc::new(EveryoneActive));
        let directories = self.directories.iter().cloned();
        let readers = directories
            .fold(readers, |readers, directory| readers.with_directory(directory))
            .with_target(Arc::new(self.groups.clone()) as Arc<dyn MembershipRead>);
        let previewed = Preview::new(readers)
            .plan(&self.job.tenant, &self.job.id, &Scope::Everything)
            .await?;
        Ok(previewed.plan().clone())
    }

    async fn apply(&self, work: &Work, approve: Option<Digest>, screen: &Screen) -> Outcome<Status> {
        if let Some(digest) = approve {
            // Nothing else is let go than what was reviewed.
            match self.preview(work).await?.held_digest() {
                Some(held) if held == digest => {}
                Some(held) => {
                    return Err(
                        format!("{digest} is not what waits now; that is {held}. Nothing was done").into(),
                    );
                }
                None => return Err("nothing waits for an approval; nothing was done".into()),
            }
        }
        let store = SqliteStore::open(&work.state, SqliteOptions::default());
        let engine = self.engine(Arc::new(store.map_err(|error| self.cannot(work, &error))?));
        let (tenant, job) = (&self.job.tenant, &self.job.id);
        engine.save_job(&self.job).await?;
        if let Some(digest) = approve {
            engine
                .approve(tenant, job, digest, self.operator.clone(), APPROVAL)
                .await?;
        }
        let run = engine.run(tenant, job, RunRequest::everything()).await;
        let report = run.map_err(|error| match error {
            EngineError::Busy(_) => "another ldap_groups runs with this state; try again later".into(),
            error => Box::<dyn std::error::Error + Send + Sync>::from(error),
        })?;
        Ok(self.tell(&report, screen))
    }

    fn tell(&self, report: &RunReport, screen: &Screen) -> Status {
        if let Some(plan) = &report.plan {
            show(plan, screen);
        }
        self.tell_unplaced(screen);
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for operation in report.recovered.iter().chain(&report.operations) {
            *counts
                .entry((operation.action, operation.outcome.code()))
                .or_default() += 1;
            if let failed @ (Ended::Failed { .. } | Ended::Conflict | Ended::Indeterminate { .. }) =
                &operation.outcome
            {
                screen.say(format_args!(
                    "  {} {} in {}: {failed}",
                    operation.action, operation.subject, operation.container.object
                ));
            }
        }
        let counts = counts
            .into_iter()
            .map(|((action, outcome), count)| format!("{count} × {action}: {outcome}"));
        let counts: Vec<String> = counts.collect();
        screen.say(format_args!(
            "\nThe run ended: {}. {}",
            report.end.code(),
            counts.join(", ")
        ));
        match report.end {
            RunEnd::Cancelled | RunEnd::Failed | RunEnd::Paused => Status::Failed,
            RunEnd::Held => Status::Held,
            _ if report.plan.as_ref().is_some_and(|plan| self.is_partial(plan)) => Status::Held,
            RunEnd::Changed => Status::Changed,
            RunEnd::InSync => Status::InSync,
        }
    }

    fn tell_unplaced(&self, screen: &Screen) {
        let unplaced = self.export.unplaced();
        for reason in unplaced.iter().take(ROWS) {
            screen.say(format_args!(
                "  HR: {}; nobody is removed where this row belongs",
                reason.detail
            ));
        }
        if let Some(more) = unplaced.len().checked_sub(ROWS).filter(|more| *more > 0) {
            screen.say(format_args!("  … and {more} more rows"));
        }
    }

    /// Whether something was read in part: then nobody knows whether all is in step, even if nothing waits.
    fn is_partial(&self, plan: &Plan) -> bool {
        let warnings = &plan.header().warnings;
        let is_partial = |warning: &Warning| {
            matches!(
                warning,
                Warning::PartialSource { .. } | Warning::PartialTarget { .. }
            )
        };
        warnings.iter().any(is_partial) || !self.export.unplaced().is_empty()
    }

    fn cannot(&self, work: &Work, error: &dyn std::error::Error) -> String {
        let problem = usersync_examples::screen::chain(error);
        format!("the state {}: {problem}", work.state.display())
    }
}

impl Status {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::InSync => 0,
            Self::Failed => 1,
            Self::Changed => 10,
            Self::Held => 20,
        }
    }
}

fn show(plan: &Plan, screen: &Screen) {
    let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let options = RenderOptions {
        width: columns.unwrap_or(120),
        entries: 6,
        ..RenderOptions::default()
    };
    screen.say(render_table(plan, &options).trim_end());
    if let Some(digest) = plan.held_digest() {
        let count = plan.summary().approvable;
        screen.say(format_args!(
            "\nTo let {count} of what waits go: --approve {digest}"
        ));
    }
}
