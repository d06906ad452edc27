//! The smallest complete connectors, written by hand: a directory in a table of people (`csv.rs`) and a target in a folder of
//! lists (`folder.rs`). `tests.rs` holds both to the conformance suites of `usersync-testkit`:
//!
//! ```sh
//! cargo run --example custom_connector
//! cargo test --example custom_connector
//! ```
//!
//! Less to write, for targets without roles and versions: `usersync::connector::adapt` makes connectors of closures and of
//! blocking code.

mod csv;
mod folder;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::CsvDirectory;
use folder::FolderTarget;
use futures::executor::block_on;
use usersync::connector::adapt::{EveryoneActive, NoNotifier, StaticContainers};
use usersync::connector::{Error, ErrorKind};
use usersync::engine::{Engine, Job, RunRequest};
use usersync::memory::{ManualClock, MemoryStore};
use usersync::model::{
    Container, ContainerKind, ContainerRef, JobId, PrincipalRef, Selection, SystemId, TenantId,
};

/// Synchronizes once. The folder is made anew each time: the store is kept in memory, so that nothing remembers who put a member
/// there.
fn main() -> Result<(), Box<dyn StdError>> {
    let folder = PathBuf::from("target/custom_connector");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("newsletter.members"), "")?;
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("custom_connector/people.csv");

    let (tenant, people, lists) = (
        TenantId::new("sample")?,
        SystemId::new("people")?,
        SystemId::new("lists")?,
    );
    let newsletter = Container::new(
        ContainerRef::parse("lists", "newsletter")?,
        ContainerKind::MailingList,
        "Newsletter",
        Selection::of([
            PrincipalRef::parse("people", "crew")?,
            PrincipalRef::parse("people", "p-04")?,
        ])
        .except([PrincipalRef::parse("people", "board")?]),
    );
    let clock = ManualClock::default();
    let engine = Engine::builder(
        Arc::new(MemoryStore::new(Arc::new(clock.clone()))),
        Arc::new(clock),
        Arc::new(StaticContainers::new([newsletter])),
        Arc::new(EveryoneActive),
        Arc::new(NoNotifier),
    )
    .directory(Arc::new(CsvDirectory::new(people.clone(), table)))
    .target(Arc::new(FolderTarget::new(lists.clone(), folder.clone())))
    .build();

    let owner = PrincipalRef::parse("people", "p-01")?;
    let job = Job::new(
        tenant.clone(),
        JobId::new("lists")?,
        "Lists",
        [people],
        lists,
        owner,
    );
    let report = block_on(async {
        engine.save_job(&job).await?;
        engine.run(&tenant, &job.id, RunRequest::everything()).await
    })?;

    let members = fs::read_to_string(folder.join("newsletter.members"))?;
    let mut out = io::stdout();
    writeln!(
        out,
        "The run ended: {}, {} operations.",
        report.end.code(),
        report.operations.len()
    )?;
    writeln!(out, "{}:\n{members}", folder.join("newsletter.members").display())?;
    if members == "people\tp-02\npeople\tp-04\n" {
        Ok(())
    } else {
        Err("the crew and Di, without the board, was to be there".into())
    }
}

/// What went wrong with a file, as the engine understands it: the kind decides whether trying again may help.
fn io_error(what: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    // Files are replaced as a whole: what fails leaves the old one.
    Error::new(kind, format!("could not {what}"))
        .with_unknown_outcome(false)
        .with_source(error)
}
