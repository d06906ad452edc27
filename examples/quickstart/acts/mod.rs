//! The acts, in their order.

mod answers;
mod killed;
mod ordinary;
mod trouble;

use std::path::Path;
use std::time::Duration;

use futures::executor::block_on;
use usersync::engine::{Engine, RunReport, RunRequest, Scope};
use usersync::memory::ManualClock;
use usersync::model::{ContainerRef, PrincipalRef, Subject};
use usersync::reconcile::{HoldCause, Plan};

use crate::Outcome;
use crate::exports::{AddressBook, FEBRUARY, JANUARY, directory};
use crate::folder::Folder;
use crate::host::Host;
use crate::show::Screen;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The file of the database.
const DATABASE: &str = "intranet.db";

/// Plays all acts; fails at the first thing that is not as it says.
pub(crate) fn play(out: &Path, screen: &Screen) -> Outcome {
    let folder = Folder::new()?;
    let host = Host::open(&folder.join(DATABASE), ManualClock::default())?;
    let january = directory(&host.directory, JANUARY)?;
    let book = AddressBook::of(&host.directory, &january.contents()?);
    host.fill(&book)?;
    let engine = host.engine(january.clone())?;
    block_on(engine.save_job(&host.job(book.person("Burdock Candlemere")?)))?;

    let stage = Stage { host, screen, folder };
    stage.first_run(&engine, &book)?;
    drop(engine);
    let stage = stage.restarted()?;
    let engine = stage.host.engine(january)?;
    stage.second_run(&engine)?;
    stage.by_hand(&engine, &book)?;
    stage.broken_export()?;
    stage.next_export(&book)?;
    let (held, latest) = stage.mass_departure()?;
    let engine = stage.host.engine(latest)?;
    stage.explanations(&engine)?;
    stage.owner_gone(&engine)?;
    stage.page(&held, out)?;
    stage.killed()
}

struct Stage<'a> {
    host: Host,
    screen: &'a Screen,
    folder: Folder,
}

impl Stage<'_> {
    /// Closes the database, as the end of the application does, and opens it again.
    fn restarted(self) -> Outcome<Self> {
        let Self { host, screen, folder } = self;
        let clock = host.clock.clone();
        drop(host);
        let log = folder.join(format!("{DATABASE}-wal"));
        check(!log.exists(), "whoever closes the database last removes its log")?;
        let host = Host::open(&folder.join(DATABASE), clock)?;
        Ok(Self { host, screen, folder })
    }

    fn february(&self) -> Outcome<AddressBook> {
        let system = &self.host.directory;
        Ok(AddressBook::of(system, &directory(system, FEBRUARY)?.contents()?))
    }

    fn attends(&self, event: &ContainerRef, who: &PrincipalRef) -> Outcome<bool> {
        Ok(self.host.calendar.attendance(event, who)?.is_some())
    }

    fn attendances(&self) -> Outcome<usize> {
        Ok(self.host.calendar.attendances()?.len())
    }

    fn preview(&self, engine: &Engine) -> Outcome<Plan> {
        let (tenant, job) = (&self.host.tenant, &self.host.job);
        Ok(block_on(engine.preview(tenant, job, &Scope::Everything))?
            .plan()
            .clone())
    }

    fn run(&self, engine: &Engine, request: RunRequest) -> Outcome<RunReport> {
        let report = self.host.run(engine, request, self.screen)?;
        self.screen.report(&report);
        Ok(report)
    }
}

fn planned(report: &RunReport) -> Outcome<&Plan> {
    report.plan.as_ref().ok_or_else(|| "every run has a plan".into())
}

/// Whether the plan has an operation on `who`.
fn concerns(plan: &Plan, who: &PrincipalRef) -> bool {
    let who = Subject::Principal(who.clone());
    let mut operations = plan.sections().iter().flat_map(|section| &section.operations);
    operations.any(|operation| operation.subject == who)
}

fn holds(plan: &Plan, which: impl Fn(&HoldCause) -> bool) -> bool {
    let mut holds = plan.sections().iter().flat_map(|section| &section.holds);
    holds.any(|hold| which(&hold.cause))
}

fn check(holds: bool, statement: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("not as it says: {statement}").into())
    }
}
