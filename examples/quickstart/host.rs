//! The application: its database, its calendar, its users, and the engine that it builds for them.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use futures::TryStreamExt;
use futures::executor::block_on;
use usersync::connector::{Clock, Directory, MembershipRead, MembershipTarget};
use usersync::engine::{Engine, Job, Options, RunControl, RunReport, RunRequest};
use usersync::memory::ManualClock;
use usersync::model::{
    Container, ContainerKind, ContainerRef, JobId, LedgerRow, Member, ObjectId, PrincipalRef, Selection,
    SystemId, TenantId,
};
use usersync::sqlite::{SqliteOptions, SqliteStore, TablePrefix};
use usersync::store::{Key, LedgerKey, StateRead, Table};

use crate::Outcome;
use crate::calendar::Calendar;
use crate::database::{Database, PREFIX, connect};
use crate::exports::AddressBook;
use crate::people::{Accounts, Message, Messages};
use crate::show::Screen;

pub(crate) struct Host {
    pub(crate) tenant: TenantId,
    pub(crate) job: JobId,
    pub(crate) directory: SystemId,
    pub(crate) database: Database,
    pub(crate) calendar: Calendar,
    pub(crate) entries: Entries,
    pub(crate) accounts: Accounts,
    pub(crate) messages: Messages,
    pub(crate) clock: ManualClock,
    store: SqliteStore,
}

/// The entries of the calendar that the acts speak of.
pub(crate) struct Entries {
    pub(crate) open_day: ContainerRef,
    pub(crate) town_hall: ContainerRef,
    pub(crate) fire_drill: ContainerRef,
    pub(crate) ideas: ContainerRef,
    pub(crate) kiln: ContainerRef,
    pub(crate) partners: ContainerRef,
    pub(crate) garden: ContainerRef,
}

/// What runs leave behind.
#[derive(Debug, PartialEq)]
pub(crate) struct Traces {
    pub(crate) attendances: Vec<(ObjectId, Member)>,
    /// How often an attendance was changed.
    pub(crate) changes: i64,
    /// Whatever the number of the write that left each row.
    pub(crate) ledger: Vec<(LedgerKey, LedgerRow)>,
    pub(crate) messages: Vec<Message>,
}

impl Host {
    /// The application as its database has it.
    pub(crate) fn open(path: &Path, clock: ManualClock) -> Outcome<Self> {
        let system = SystemId::new("calendar")?;
        let database = Database::open(path)?;
        let time = clock.clone();
        let store = SqliteStore::with_connection(
            connect(path)?,
            &TablePrefix::new(PREFIX)?,
            // Leases expire by this clock. A host that has no reason to move time leaves it out.
            SqliteOptions::default().with_clock(move || time.now()),
        )?;
        Ok(Self {
            tenant: TenantId::new("quillhaven")?,
            job: JobId::new("attendees")?,
            directory: SystemId::new("ldap")?,
            entries: Entries::new(&system)?,
            calendar: Calendar::new(system, database.clone()),
            accounts: Accounts::new(database.clone()),
            messages: Messages::new(database.clone()),
            database,
            clock,
            store,
        })
    }

    /// Enters what the application is used for: its users, and the events of their calendar.
    pub(crate) fn fill(&self, book: &AddressBook) -> Outcome {
        self.accounts
            .set_administrator(&book.person("Éstragon Saddlemere")?)?;
        for organiser in ["Burdock Candlemere", "Mallow Needlestead"] {
            self.accounts.set(&book.person(organiser)?, true)?;
        }
        fill(&self.calendar, &self.entries, book)
    }

    /// An engine that reads from `directory`. All that runs remember is in the database, so this may be done anew at any time, as
    /// after a restart.
    pub(crate) fn engine(&self, directory: impl Directory) -> Outcome<Engine> {
        self.engine_with(directory, Arc::new(self.calendar.clone()))
    }

    pub(crate) fn engine_with(
        &self,
        directory: impl Directory,
        target: Arc<dyn MembershipTarget>,
    ) -> Outcome<Engine> {
        let builder = Engine::builder(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(self.calendar.clone()),
            Arc::new(self.accounts.clone()),
            Arc::new(self.messages.clone()),
        );
        Ok(builder
            .directory(Arc::new(directory))
            .target(target)
            .administrator(self.accounts.administrator()?)
            .options(Self::options())
            .build())
    }

    pub(crate) fn options() -> Options {
        let mut options = Options::default();
        // Small, so that the progress bar has something to show.
        options.batch = NonZeroUsize::new(32).expect("32 is not zero");
        options
    }

    /// The one job of this application, with the default policy and guards.
    pub(crate) fn job(&self, owner: PrincipalRef) -> Job {
        Job::new(
            self.tenant.clone(),
            self.job.clone(),
            "Attendees of the calendar",
            [self.directory.clone()],
            self.calendar.system().clone(),
            owner,
        )
    }

    /// Runs the job, with a progress bar on a thread of its own.
    pub(crate) fn run(&self, engine: &Engine, request: RunRequest, screen: &Screen) -> Outcome<RunReport> {
        let (control, events) = RunControl::with_events();
        let request = request.controlled_by(control);
        thread::scope(|threads| {
            threads.spawn(|| screen.follow(events));
            Ok(block_on(engine.run(&self.tenant, &self.job, request))?)
        })
    }

    /// What is in the database now.
    pub(crate) fn traces(&self) -> Outcome<Traces> {
        let ledger = block_on(self.store.ledger(&self.tenant, None).try_concat())?;
        Ok(Traces {
            attendances: self.calendar.attendances()?,
            changes: self.calendar.changes()?,
            ledger: ledger.into_iter().map(|entry| (entry.key, entry.row)).collect(),
            messages: self.messages.all()?,
        })
    }

    /// How many operations were begun whose end is not known.
    pub(crate) fn open_intents(&self) -> Outcome<usize> {
        let ours = Key::of(&[self.job.as_str()]);
        let intents = self.store.values(&self.tenant, Table::Intent, &ours);
        Ok(block_on(intents.try_concat())?.len())
    }
}

impl Entries {
    fn new(calendar: &SystemId) -> Outcome<Self> {
        let entry = |id: &str| -> Outcome<_> { Ok(ContainerRef::new(calendar.clone(), ObjectId::new(id)?)) };
        Ok(Self {
            open_day: entry("open-day")?,
            town_hall: entry("town-hall")?,
            fire_drill: entry("fire-drill")?,
            ideas: entry("ideas")?,
            kiln: entry("new-kiln")?,
            partners: entry("partners")?,
            garden: entry("garden")?,
        })
    }
}

/// What the organisers entered.
fn fill(calendar: &Calendar, entries: &Entries, book: &AddressBook) -> Outcome {
    let burdock = book.person("Burdock Candlemere")?;
    let mallow = book.person("Mallow Needlestead")?;
    let create = |id: &ContainerRef, kind, name: &str, owner: &PrincipalRef, selection| {
        let event = Container::new(id.clone(), kind, name, selection);
        calendar.create(&event.with_owner(owner.clone()))
    };
    let other =
        |id: &str| -> Outcome<_> { Ok(ContainerRef::new(calendar.system().clone(), ObjectId::new(id)?)) };
    let crew = other("open-day-crew")?;
    create(
        &crew,
        ContainerKind::Group,
        "Open day crew",
        &burdock,
        Selection::of([
            book.group("Facilities Crew")?,
            book.role("First Aiders")?,
            book.list("visitors")?,
        ])
        .except([book.group("kiln-control")?]),
    )?;
    create(
        &other("canteen")?,
        ContainerKind::Poll,
        "What should the canteen cook?",
        &burdock,
        Selection::of([book.list("canteen-menu")?, book.unit("Café")?]),
    )?;
    create(
        &other("safety-plans")?,
        ContainerKind::Filebox,
        "Safety plans",
        &burdock,
        Selection::of([book.role("Safety Officers")?, book.role("First Aiders")?]),
    )?;
    create(
        &other("future")?,
        ContainerKind::Event,
        "Kick-off of the Future Programme",
        &mallow,
        Selection::of([book.group("Future Programme")?]),
    )?;
    create(
        &entries.open_day,
        ContainerKind::Event,
        "Open day",
        &burdock,
        Selection::of([crew.as_principal(), book.role("Project Leads")?]),
    )?;
    create(
        &entries.town_hall,
        ContainerKind::Event,
        "Town hall meeting",
        &mallow,
        Selection::of([book.list("all-hands")?]).except([book.role("Night Shift Leads")?]),
    )?;
    create(
        &entries.fire_drill,
        ContainerKind::Event,
        "Fire drill",
        &burdock,
        Selection::of([book.group("Site Access")?]).except([book.role("Safety Officers")?]),
    )?;
    create(
        &entries.ideas,
        ContainerKind::Event,
        "Ideas breakfast",
        &mallow,
        Selection::of([book.group("Ideas Circle")?]),
    )?;
    create(
        &entries.kiln,
        ContainerKind::Project,
        "New kiln",
        &mallow,
        Selection::of([
            book.unit("Foundry")?,
            book.unit("Materials")?,
            book.group("kiln-control")?,
        ]),
    )?;
    create(
        &entries.partners,
        ContainerKind::HelpMe,
        "Questions of our partners",
        &mallow,
        Selection::of([book.unit("Partners")?, book.unit("Help Desk")?]),
    )?;
    create(
        &entries.garden,
        ContainerKind::PhotoAlbum,
        "The garden in spring",
        &burdock,
        Selection::of([book.group("Garden Committee")?]),
    )?;
    Ok(())
}
