//! The intranet: modules with containers of their kinds on one target, and a job for each module.

use std::path::Path;
use std::sync::Arc;

use rusqlite::OptionalExtension;
use usersync::connector::{Clock, Directory};
use usersync::engine::{Engine, Job};
use usersync::ldap::LdifDirectory;
use usersync::model::{
    Container, ContainerKind, ContainerRef, JobId, ObjectId, PrincipalRef, Selection, SystemId, TenantId,
};
use usersync::sqlite::{SqliteOptions, SqliteStore, TablePrefix};

use crate::Outcome;
use crate::calendar::Calendar;
use crate::database::{Database, PREFIX, connect};
use crate::exports::{AddressBook, directory};
use crate::people::{Accounts, Messages};

/// Each module with the id and the name of its job, in the order of the intranet's menu.
const MODULES: [(&str, &str, ContainerKind); 7] = [
    ("groups", "Sync – Groups", ContainerKind::Group),
    ("events", "Sync – Events", ContainerKind::Event),
    ("photos", "Sync – Photos", ContainerKind::PhotoAlbum),
    ("projects", "Share – Projects", ContainerKind::Project),
    ("polls", "Sync – Polls", ContainerKind::Poll),
    ("help-me", "Sync – Help me", ContainerKind::HelpMe),
    ("fileboxes", "Sync – Filebox", ContainerKind::Filebox),
];

/// Who sees to the intranet; acts for owners that are gone.
const ADMINISTRATOR: &str = "Éstragon Saddlemere";

pub(crate) struct Intranet {
    pub(crate) tenant: TenantId,
    pub(crate) calendar: Calendar,
    pub(crate) book: AddressBook,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) administrator: PrincipalRef,
    people: SystemId,
    directory: LdifDirectory,
    database: Database,
    accounts: Accounts,
    store: SqliteStore,
}

/// A container as a list shows it.
pub(crate) struct Listed {
    pub(crate) id: ObjectId,
    pub(crate) module: &'static str,
    pub(crate) name: String,
    pub(crate) members: u64,
}

impl Intranet {
    /// The intranet as its database has it. A new one is filled with samples.
    pub(crate) fn open(path: &Path, clock: Arc<dyn Clock>, export: &[u8]) -> Outcome<Self> {
        let (people, system) = (SystemId::new("ldap")?, SystemId::new("intranet")?);
        let directory = directory(&people, export)?;
        let book = AddressBook::of(&people, &directory.contents()?);
        let database = Database::open(path)?;
        let time = Arc::clone(&clock);
        let store = SqliteStore::with_connection(
            connect(path)?,
            &TablePrefix::new(PREFIX)?,
            SqliteOptions::default().with_clock(move || time.now()),
        )?;
        let intranet = Self {
            tenant: TenantId::new("quillhaven")?,
            calendar: Calendar::new(system, database.clone()),
            administrator: Accounts::new(database.clone())
                .administrator()
                .optional()?
                .map_or_else(|| book.person(ADMINISTRATOR), Ok)?,
            accounts: Accounts::new(database.clone()),
            database,
            book,
            clock,
            people,
            directory,
            store,
        };
        if intranet.containers()?.is_empty() {
            intranet.fill()?;
        }
        Ok(intranet)
    }

    /// The same intranet with another directory, as after a restart.
    pub(crate) fn engine_over(&self, directory: Arc<dyn Directory>) -> Engine {
        Engine::builder(
            Arc::new(self.store.clone()),
            Arc::clone(&self.clock),
            Arc::new(self.calendar.clone()),
            Arc::new(self.accounts.clone()),
            Arc::new(Messages::new(self.database.clone())),
        )
        .directory(directory)
        .target(Arc::new(self.calendar.clone()))
        .administrator(self.administrator.clone())
        .worker(format!("console-{}", std::process::id()))
        .build()
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine_over(Arc::new(self.directory.clone()))
    }

    pub(crate) fn people(&self) -> &SystemId {
        &self.people
    }

    /// The jobs: one for each module, every four hours.
    pub(crate) fn jobs(&self) -> Outcome<Vec<Job>> {
        let job = |(id, name, kind): (&str, &str, ContainerKind)| {
            let job = Job::new(
                self.tenant.clone(),
                JobId::new(id)?,
                name,
                [self.people.clone()],
                self.system().clone(),
                self.administrator.clone(),
            );
            Ok(job.covering([kind]))
        };
        MODULES.into_iter().map(job).collect()
    }

    pub(crate) fn containers(&self) -> Outcome<Vec<Listed>> {
        let connection = self.database.lock();
        let mut query = connection.prepare_cached(
            "SELECT id, kind, name, (SELECT count(*) FROM attendee WHERE event = event.id) FROM event ORDER BY kind, id",
        )?;
        let rows = query.query_map((), |row| {
            let (id, kind, name): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((id, kind, name, row.get::<_, i64>(3)?))
        })?;
        let mut listed = Vec::new();
        for row in rows {
            let (id, code, name, members) = row?;
            let module = MODULES.iter().find(|(.., kind)| kind.code() == code);
            listed.push(Listed {
                id: ObjectId::new(id)?,
                module: module.map_or("", |(id, ..)| *id),
                name,
                members: members.unsigned_abs(),
            });
        }
        Ok(listed)
    }

    pub(crate) fn container(&self, id: &str) -> Outcome<ContainerRef> {
        Ok(ContainerRef::new(self.system().clone(), ObjectId::new(id)?))
    }

    /// Somebody, or some group, by name or id.
    pub(crate) fn principal(&self, who: &str) -> Outcome<PrincipalRef> {
        let book = &self.book;
        let finders = [
            AddressBook::person,
            AddressBook::group,
            AddressBook::unit,
            AddressBook::role,
            AddressBook::list,
        ];
        if let Some(found) = finders.iter().find_map(|find| find(book, who).ok()) {
            return Ok(found);
        }
        let id = PrincipalRef::new(self.people.clone(), who.parse()?);
        // The book answers the id itself for whom it does not know.
        if book.name(&id) == who {
            return Err(format!("the directory has nobody and nothing called {who}").into());
        }
        Ok(id)
    }

    fn system(&self) -> &SystemId {
        use usersync::connector::MembershipRead as _;
        self.calendar.system()
    }

    /// What people entered.
    fn fill(&self) -> Outcome {
        let book = &self.book;
        self.accounts.set_administrator(&self.administrator)?;
        let owner = book.person("Burdock Candlemere")?;
        self.accounts.set(&owner, true)?;
        let create = |id: &str, kind, name: &str, selection| -> Outcome {
            let container = Container::new(self.container(id)?, kind, name, selection);
            Ok(self.calendar.create(&container.with_owner(owner.clone()))?)
        };
        let share = |id: &str| -> Outcome<_> { Ok(self.container(id)?.as_principal()) };
        create(
            "crew",
            ContainerKind::Group,
            "Open day crew",
            Selection::of([book.group("Facilities Crew")?, book.role("First Aiders")?]),
        )?;
        create(
            "founders",
            ContainerKind::Group,
            "Foundry people",
            Selection::of([book.unit("Foundry")?]),
        )?;
        create(
            "open-day",
            ContainerKind::Event,
            "Open day",
            Selection::of([share("crew")?, book.role("Project Leads")?]),
        )?;
        create(
            "town-hall",
            ContainerKind::Event,
            "Town hall meeting",
            Selection::of([book.list("all-hands")?]).except([book.role("Night Shift Leads")?]),
        )?;
        create(
            "garden",
            ContainerKind::PhotoAlbum,
            "The garden in spring",
            Selection::of([book.group("Garden Committee")?]),
        )?;
        create(
            "new-kiln",
            ContainerKind::Project,
            "New kiln",
            Selection::of([share("founders")?, book.unit("Materials")?]),
        )?;
        create(
            "canteen",
            ContainerKind::Poll,
            "What should the canteen cook?",
            Selection::of([book.list("canteen-menu")?, book.unit("Café")?]),
        )?;
        create(
            "partners",
            ContainerKind::HelpMe,
            "Questions of our partners",
            Selection::of([book.unit("Partners")?, book.unit("Help Desk")?]),
        )?;
        create(
            "safety-plans",
            ContainerKind::Filebox,
            "Safety plans",
            Selection::of([book.role("Safety Officers")?, share("crew")?]),
        )
    }
}
