//! The acts, in their order.

mod answers;
mod ordinary;
mod trouble;

use std::path::Path;
use std::time::Duration;

use futures::executor::block_on;
use usersync::engine::{Engine, RunReport, RunRequest, Scope};
use usersync::model::{PrincipalRef, Subject, SystemId};
use usersync::reconcile::{HoldCause, Plan};

use crate::Outcome;
use crate::exports::{AddressBook, FEBRUARY, JANUARY, directory};
use crate::host::Host;
use crate::show::Screen;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Plays all acts; fails at the first thing that is not as it says.
pub(crate) fn play(folder: &Path, screen: &Screen) -> Outcome {
    let system = SystemId::new("ldap")?;
    let january = directory(&system, JANUARY)?;
    let book = AddressBook::of(&system, &january.contents()?);
    let host = Host::new(system, &book)?;
    let engine = host.engine(january);
    block_on(engine.save_job(&host.job(book.person("Burdock Candlemere")?)))?;

    let stage = Stage { host, screen };
    stage.first_run(&engine, &book)?;
    stage.second_run(&engine)?;
    stage.by_hand(&engine, &book)?;
    stage.broken_export()?;
    stage.next_export(&book)?;
    let (held, latest) = stage.mass_departure()?;
    let engine = stage.host.engine(latest);
    stage.explanations(&engine)?;
    stage.owner_gone(&engine)?;
    stage.page(&held, folder)
}

struct Stage<'a> {
    host: Host,
    screen: &'a Screen,
}

impl Stage<'_> {
    fn february(&self) -> Outcome<AddressBook> {
        let system = &self.host.directory;
        Ok(AddressBook::of(system, &directory(system, FEBRUARY)?.contents()?))
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
