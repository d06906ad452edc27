//! What went wrong with other synchronizers, replayed: each scenario sets up the situation of a public record, shows what a
//! synchronizer that was written without thinking of it does, and then what this one does. `docs/failures.md` lists them all.

mod addresses;
mod apply;
mod byhand;
mod complaints_directories;
mod complaints_members;
mod complaints_people;
mod complaints_runs;
mod complaints_spelling;
mod cursors;
mod groups;
mod identities;
mod linking;
mod long_runs;
mod mailboxes;
mod naive;
mod office;
mod ownership;
mod policies;
mod reads;
mod scene;
mod schedules;
mod seats;
mod telling;
mod workers;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::executor::block_on;
use usersync::connector::Directory;
use usersync::engine::{Engine, RunReport, RunRequest};
use usersync::model::SystemId;
use usersync_tests::{World, job};

/// The codes of what keeps operations waiting.
fn held(report: &RunReport) -> BTreeSet<&'static str> {
    let sections = report.plan.iter().flat_map(|plan| plan.sections());
    let holds = sections.flat_map(|section| &section.holds);
    holds.map(|hold| hold.cause.code()).collect()
}

/// The codes of what somebody is told to see to.
fn warnings(report: &RunReport) -> BTreeSet<&'static str> {
    let warnings = report.plan.iter().flat_map(|plan| &plan.header().warnings);
    warnings.map(|warning| warning.code()).collect()
}

/// The codes of what is reported and left as it is.
fn findings(report: &RunReport) -> BTreeSet<&'static str> {
    let sections = report.plan.iter().flat_map(|plan| plan.sections());
    let findings = sections.flat_map(|section| &section.findings);
    findings.map(|finding| finding.what.code()).collect()
}

/// A worker of `world` that reads other directories than the world's own.
fn engine_reading(world: &World, directories: impl IntoIterator<Item = Arc<dyn Directory>>) -> Engine {
    let builder = Engine::builder(
        Arc::new(world.store.clone()),
        Arc::new(world.clock.clone()),
        Arc::new(world.catalog.clone()),
        Arc::new(world.actors.clone()),
        Arc::new(world.notifier.clone()),
    )
    .target(Arc::new(world.target.clone()));
    directories
        .into_iter()
        .fold(builder, |builder, directory| builder.directory(directory))
        .build()
}

/// A run of its job `sync`.
fn run_on(engine: &Engine, world: &World) -> RunReport {
    block_on(engine.run(&world.tenant, &job("sync"), RunRequest::everything()))
        .expect("the run comes to a report")
}

/// A run of the job `sync` with a directory that takes the place of the world's own.
fn run_reading(world: &World, directory: impl Directory) -> RunReport {
    run_on(&engine_reading(world, [Arc::new(directory) as _]), world)
}

/// The id of a system.
fn system(name: &str) -> SystemId {
    SystemId::new(name).expect("an id")
}
