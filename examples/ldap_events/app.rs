//! The engine between a live server and a calendar in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use usersync::connector::TargetCapabilities;
use usersync::connector::adapt::{EveryoneActive, NoNotifier, StaticContainers};
use usersync::engine::{Engine, Job, Outcome as Ended, RunReport, RunRequest};
use usersync::ldap::{ChangeStrategy, LdapClient, LdapDirectory, Traffic};
use usersync::memory::{MemoryStore, MemoryTarget};
use usersync::model::{
    Completeness, Container, ContainerKind, ContainerRef, DirectoryChange, JobId, PrincipalRef, Selection,
    SystemId, TenantId,
};
use usersync::reconcile::{Mode, Policy, RenderOptions, render_table};
use usersync::tokio::SystemClock;
use usersync_examples::live::Place;
use usersync_examples::screen::{Outcome, Screen, check};

use crate::arguments::Follow;
use crate::choice;

/// How many warnings of the connector are shown.
const WARNINGS: usize = 20;

/// The engine with what it stands between.
pub(crate) struct App {
    pub(crate) calendar: MemoryTarget,
    pub(crate) events: Vec<Container>,
    directory: LdapDirectory,
    engine: Engine,
    tenant: TenantId,
    job: JobId,
    runs: Vec<Run>,
}

/// One run, and what it asked of the server.
pub(crate) struct Run {
    pub(crate) report: RunReport,
    pub(crate) traffic: Traffic,
}

/// Does what the command line says with a server of one's own.
pub(crate) async fn follow(follow: Box<Follow>, screen: &Screen) -> Outcome {
    let place = follow.server.open()?;
    if follow.look {
        look(&directory(&place, follow.changes)?, screen).await?;
    }
    if follow.groups.is_empty() {
        return Ok(());
    }
    let mut app = App::new(&place, &follow.groups, follow.mode, follow.changes).await?;
    if let Some(every) = follow.every {
        loop {
            app.run(screen).await?;
            tokio::time::sleep(every).await;
        }
    }
    app.run(screen).await?;
    app.run(screen).await?;
    screen.say("\nChange something at the server and press Enter; ctrl-D ends.");
    while next_line().await? {
        app.run(screen).await?;
    }
    Ok(())
}

/// Shows what the connector sees, and what is wrong with it.
async fn look(directory: &LdapDirectory, screen: &Screen) -> Outcome {
    let contents = directory.contents().await?;
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut memberships = 0_usize;
    for change in &contents.changes {
        match change {
            DirectoryChange::Upsert(principal) => *kinds.entry(principal.kind.code()).or_default() += 1,
            DirectoryChange::Members { members, .. } => memberships += members.len(),
            _ => {}
        }
    }
    screen.say(format_args!("{} entries read.\n", contents.entries));
    let head = vec!["kind".to_owned(), "number".to_owned()];
    let rows = kinds
        .into_iter()
        .map(|(kind, count)| vec![kind.to_owned(), count.to_string()]);
    let memberships = vec!["memberships".to_owned(), memberships.to_string()];
    screen.table(
        &[head]
            .into_iter()
            .chain(rows)
            .chain([memberships])
            .collect::<Vec<_>>(),
    );
    screen.say(match &contents.verdict {
        Completeness::Complete => "\nComplete.".to_owned(),
        Completeness::Partial(reason) => format!("\nRead in part, so that nobody would be removed: {reason}"),
    });
    for (group, reason) in contents.partial.iter().take(WARNINGS) {
        screen.say(format_args!("  group {group}: {reason}"));
    }
    for warning in contents.warnings.iter().take(WARNINGS) {
        screen.say(format_args!("  {}: {warning}", warning.code()));
    }
    let shown = contents.partial.len().min(WARNINGS) + contents.warnings.len().min(WARNINGS);
    let more = contents.partial.len() + contents.warnings.len() - shown;
    if more > 0 {
        screen.say(format_args!("  … and {more} more"));
    }
    Ok(())
}

fn directory(place: &Place, changes: ChangeStrategy) -> Outcome<LdapDirectory> {
    let mut profile = place.profile();
    profile.changes = changes;
    let client = LdapClient::new(place.server.clone());
    Ok(LdapDirectory::new(SystemId::new("ldap")?, client, profile))
}

/// Waits for a line on standard input; there is none at its end. On a thread, since connections are looked after meanwhile.
async fn next_line() -> Outcome<bool> {
    let read = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new()));
    Ok(read.await?? > 0)
}

impl App {
    /// An event for each of `groups`.
    pub(crate) async fn new(
        place: &Place,
        groups: &[String],
        mode: Mode,
        changes: ChangeStrategy,
    ) -> Outcome<Self> {
        let directory = directory(place, changes)?;
        let (ldap, calendar) = (SystemId::new("ldap")?, SystemId::new("calendar")?);
        let target = MemoryTarget::new(calendar.clone(), TargetCapabilities::default());
        let mut events = Vec::new();
        for text in groups {
            let group = choice::group(&directory, &place.base, text).await?;
            let id = ContainerRef::new(calendar.clone(), group.id.clone());
            let name = format!("Meeting of {}", group.name);
            let selection = Selection::of([PrincipalRef::new(ldap.clone(), group.id)]);
            target.create_container(id.object.clone());
            events.push(Container::new(id, ContainerKind::Event, name, selection));
        }

        let clock = Arc::new(SystemClock::new());
        let engine = Engine::builder(
            Arc::new(MemoryStore::new(Arc::clone(&clock) as _)),
            clock,
            Arc::new(StaticContainers::new(events.clone())),
            Arc::new(EveryoneActive),
            Arc::new(NoNotifier),
        )
        .directory(Arc::new(directory.clone()))
        .target(Arc::new(target.clone()))
        .build();
        let (tenant, job) = (TenantId::new("local")?, JobId::new("attendees")?);
        let owner = PrincipalRef::new(calendar.clone(), "operator".parse()?);
        let attendees = Job::new(tenant.clone(), job.clone(), "Attendees", [ldap], calendar, owner);
        engine.save_job(&attendees.with_policy(Policy::new(mode))).await?;
        Ok(Self {
            calendar: target,
            events,
            directory,
            engine,
            tenant,
            job,
            runs: Vec::new(),
        })
    }

    /// Runs once, and shows what that was.
    pub(crate) async fn run(&mut self, screen: &Screen) -> Outcome<&Run> {
        let before = self.directory.client().traffic();
        let report = self
            .engine
            .run(&self.tenant, &self.job, RunRequest::everything())
            .await?;
        let traffic = self.directory.client().traffic().since(before);
        if let Some(plan) = &report.plan {
            let options = RenderOptions {
                containers: 4,
                entries: 4,
                ..RenderOptions::default()
            };
            screen.say(render_table(plan, &options).trim_end());
        }
        for operation in &report.operations {
            if let Ended::Failed { .. } = &operation.outcome {
                screen.say(format_args!(
                    "  {} {}: {}",
                    operation.action, operation.subject, operation.outcome
                ));
            }
        }
        self.runs.push(Run { report, traffic });
        screen.say("");
        screen.table(&self.costs());
        let run = self.runs.last().ok_or("there was a run")?;
        if run.report.failed_reads.is_empty() {
            Ok(run)
        } else {
            Err("the server could not be read; why is said above".into())
        }
    }

    /// All runs so far, one a row.
    fn costs(&self) -> Vec<Vec<String>> {
        let head = [
            "run",
            "planned",
            "done",
            "held",
            "requests",
            "searches",
            "entries",
            "bytes read",
        ];
        let rows = self.runs.iter().enumerate().map(|(number, run)| {
            let summary = run.report.plan.as_ref().map(|plan| plan.summary());
            let (planned, held) = summary.map_or((0, 0), |summary| (summary.operations(), summary.held));
            let done = run.report.count(|outcome| *outcome == Ended::Applied) as u64;
            let numbers = [
                number as u64 + 1,
                planned,
                done,
                held,
                run.traffic.requests,
                run.traffic.searches,
                run.traffic.entries,
                run.traffic.bytes_received,
            ];
            numbers.map(|number| number.to_string()).to_vec()
        });
        [head.map(str::to_owned).to_vec()]
            .into_iter()
            .chain(rows)
            .collect()
    }

    /// How many attend each event, in the order in which they were named.
    pub(crate) fn attendances(&self) -> Vec<usize> {
        let attend = |event: &Container| self.calendar.members_of(&event.id.object);
        self.events
            .iter()
            .map(|event| attend(event).map_or(0, |members| members.len()))
            .collect()
    }

    /// Fails unless so many attend the events.
    pub(crate) fn expect(&self, attendances: &[usize]) -> Outcome {
        let found = self.attendances();
        check(
            found == attendances,
            &format!("{attendances:?} attend, and not {found:?}"),
        )
    }
}
