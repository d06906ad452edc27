//! Keeps two folders of contacts, diary entries and tasks in step, both ways. See `--help`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod folder;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use usersync::connector::{Account, Actor, ActorState, Authority, CallContext};
use usersync::engine::{
    ByHand, Chosen, Engine, ItemJob, ItemReport, ItemRequest, Job, Links, RunControl, RunEnd,
};
use usersync::license::Entitlement;
use usersync::memory::{
    MemoryAccounts, MemoryActors, MemoryCatalog, MemoryEntitlement, MemoryNotifier, MemoryStore,
};
use usersync::model::{Activity, JobId, ObjectId, PrincipalKind, PrincipalRef, SystemId, TenantId};
use usersync::reconcile::ItemConflict;
use usersync::sqlite::{SqliteOptions, SqliteStore};
use usersync::store::StateStore;
use usersync::tokio::SystemClock;

use folder::Folder;

const HELP: &str = "\
Keeps two folders of contacts, diary entries and tasks in step, both ways.

    sync_items                 plays a story on copies of the sample folders, and checks it
    sync_items [--state FILE] FIRST SECOND
                               unites two folders; each has folders contact, diary and task with .vcf and .ics files

FILE keeps what both folders last agreed on, for the next time. Without it an item that was deleted in one of them, before the program
starts, is not known as that: it is still in the other folder, and comes back.";

type Done<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => story(),
        [first, second] if !first.starts_with('-') => unite(None, first, second),
        ["--state", state, first, second] => unite(Some(Path::new(state)), first, second),
        _ => {
            println!("{HELP}");
            Ok(())
        }
    }
}

fn unite(state: Option<&Path>, first: &str, second: &str) -> Done {
    let pair = Pair::new(state, first.into(), second.into())?;
    pair.run("uniting both folders", ItemConflict::Report).map(drop)
}

/// Two folders, linked.
struct Pair {
    engine: Engine,
    job: Job,
    runtime: Runtime,
}

impl Pair {
    fn new(state: Option<&Path>, first: PathBuf, second: PathBuf) -> Done<Self> {
        let tenant = TenantId::new("sample")?;
        let owner = PrincipalRef::parse("crm", "ada")?;
        let [crm, phone] = [SystemId::new("crm")?, SystemId::new("phone")?];
        let clock = Arc::new(SystemClock::new());
        let store: Arc<dyn StateStore> = match state {
            None => Arc::new(MemoryStore::new(Arc::<SystemClock>::clone(&clock))),
            Some(file) => Arc::new(SqliteStore::open(file, SqliteOptions::default())?),
        };
        let actors = MemoryActors::new();
        actors.set(&tenant, owner.clone(), ActorState::Active);

        // Who belongs to whom: one person in the CRM, one phone.
        let [people, phones] = [&crm, &phone].map(|system| MemoryAccounts::new(system.clone()));
        people.put(account("ada")?);
        phones.put(account("phone-1")?);
        let entitlement = MemoryEntitlement::new();
        entitlement.set(&tenant, Some(Entitlement::new(1)));
        let links = Links::new(
            Arc::clone(&store),
            Arc::<SystemClock>::clone(&clock),
            Arc::new(people),
            Arc::new(phones),
            Arc::new(entitlement),
        );
        let context = CallContext {
            tenant: tenant.clone(),
            job: JobId::new("links")?,
            actor: Actor {
                principal: owner.clone(),
                authority: Authority::JobOwner,
            },
        };
        let by_hand = ByHand::new(ObjectId::new("ada")?, ObjectId::new("phone-1")?);
        let runtime = Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            links.stage_by_hand(&context, &by_hand).await?;
            links.save_added(&context, &Chosen::All).await
        })?;

        let engine = Engine::builder(
            store,
            clock,
            Arc::new(MemoryCatalog::new([])),
            Arc::new(actors),
            Arc::new(MemoryNotifier::new()),
        )
        .items(Arc::new(Folder::new(crm.clone(), ObjectId::new("ada")?, first)))
        .items(Arc::new(Folder::new(
            phone.clone(),
            ObjectId::new("phone-1")?,
            second,
        )))
        .build();
        let job = Job::new(tenant, JobId::new("items")?, "items", [crm], phone, owner);
        Ok(Self { engine, job, runtime })
    }

    fn run(&self, what: &str, conflict: ItemConflict) -> Done<ItemReport> {
        println!("\n== {what}");
        let items = ItemJob::new(SystemId::new("crm")?, SystemId::new("phone")?).with_conflict(conflict);
        let (control, mut events) = RunControl::with_events();
        let request = ItemRequest::new().controlled_by(control);
        let run = self.engine.run_items(&self.job, &items, &request);
        let report = self.runtime.block_on(run)?;
        drop(request);
        while let Ok(event) = events.try_recv() {
            println!("  {event:?}");
        }
        for operation in report.operations() {
            println!("  {operation}   {}", operation.label.escape_debug());
        }
        for pair in &report.pairs {
            for read in &pair.failed_reads {
                println!("  not read: {:?}, {}", read.what, read.kind);
            }
            for hold in &pair.holds {
                println!(
                    "  waits: {} {} on {}: {}",
                    hold.action, hold.uid, hold.system, hold.cause
                );
            }
            for finding in &pair.findings {
                println!("  see to: {} {}: {}", pair.kind, finding.item, finding.what);
            }
        }
        println!("  {}", report.end);
        Ok(report)
    }
}

fn account(id: &str) -> Done<Account> {
    Ok(Account {
        id: ObjectId::new(id)?,
        kind: PrincipalKind::User,
        name: id.to_owned(),
        addresses: Vec::new(),
        activity: Activity::Active,
        privileged: false,
        ineligible: None,
        attributes: Default::default(),
    })
}

/// Plays on copies of the shipped folders, and checks what comes of it.
fn story() -> Done {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/items");
    let home = std::env::temp_dir().join(format!("usersync-sync-items-{}", std::process::id()));
    let [crm, phone] = ["crm", "phone"].map(|side| home.join(side));
    for side in ["crm", "phone"] {
        for kind in ["contact", "diary", "task"] {
            copy(&samples.join(side).join(kind), &home.join(side).join(kind))?;
        }
    }
    let outcome = play(&crm, &phone);
    fs::remove_dir_all(&home)?;
    outcome
}

fn play(crm: &Path, phone: &Path) -> Done {
    let pair = Pair::new(None, crm.to_owned(), phone.to_owned())?;
    let report = pair.run("both meet for the first time", ItemConflict::Report)?;
    check(report.end == RunEnd::Changed, "both are united")?;
    let card = fs::read_to_string(crm.join("contact/grace.vcf"))?;
    check(
        card.contains("NOTE:Met at the fair"),
        "the phone's note is in the CRM",
    )?;
    check(
        card.contains("X-CRM-SCORE:7"),
        "what only the CRM knows stays there",
    )?;
    let report = pair.run("again", ItemConflict::Report)?;
    check(report.end == RunEnd::InSync, "nothing is written twice")?;

    edit(&crm.join("contact/grace.vcf"), "+1 555 0100", "+1 555 0199")?;
    edit(
        &phone.join("contact/1.vcf"),
        "Met at the fair",
        "Met at the fair, likes tea",
    )?;
    edit(&phone.join("task/cake.ics"), "Order a cake", "Order two cakes")?;
    pair.run(
        "the number changed here, the note there, a task too",
        ItemConflict::Report,
    )?;
    let card = fs::read_to_string(phone.join("contact/1.vcf"))?;
    check(
        card.contains("+1 555 0199") && card.contains("likes tea"),
        "both changes are on the phone",
    )?;
    check(
        card.contains("PRODID:-//Sample Phone//EN"),
        "the rest of its text is as it was",
    )?;

    edit(&crm.join("contact/grace.vcf"), "+1 555 0199", "+1 555 0001")?;
    edit(&phone.join("contact/1.vcf"), "+1 555 0199", "+1 555 0002")?;
    let report = pair.run("the same number changed on both sides", ItemConflict::Report)?;
    check(
        report.end == RunEnd::Held,
        "a conflict is reported, and nothing written",
    )?;
    pair.run("now the phone wins", ItemConflict::SecondWins)?;
    let card = fs::read_to_string(crm.join("contact/grace.vcf"))?;
    check(card.contains("+1 555 0002"), "the phone's number is in the CRM")?;

    let report = pair.run("and once more", ItemConflict::Report)?;
    check(report.end == RunEnd::InSync, "both say the same")
}

fn check(holds: bool, what: &str) -> Done {
    if holds {
        println!("  ✓ {what}");
        Ok(())
    } else {
        Err(format!("not so: {what}").into())
    }
}

fn edit(path: &Path, from: &str, to: &str) -> Done {
    let text = fs::read_to_string(path)?;
    if !text.contains(from) {
        return Err(format!("{} does not say {from}", path.display()).into());
    }
    Ok(fs::write(path, text.replace(from, to))?)
}

fn copy(from: &Path, to: &Path) -> Done {
    fs::create_dir_all(to)?;
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            if let Some(name) = path.file_name() {
                fs::copy(&path, to.join(name))?;
            }
        }
    }
    Ok(())
}
