//! The application: its calendar, its users, and the engine that it builds for them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use futures::executor::block_on;
use usersync::connector::{ActorState, Directory, MembershipRead};
use usersync::engine::{Engine, Job, Options, RunControl, RunReport, RunRequest};
use usersync::memory::{ManualClock, MemoryActors, MemoryNotifier, MemoryStore};
use usersync::model::{
    Container, ContainerKind, ContainerRef, JobId, ObjectId, PrincipalRef, Selection, SystemId, TenantId,
};

use crate::Outcome;
use crate::calendar::Calendar;
use crate::exports::AddressBook;
use crate::show::Screen;

pub(crate) struct Host {
    pub(crate) tenant: TenantId,
    pub(crate) job: JobId,
    pub(crate) directory: SystemId,
    pub(crate) calendar: Calendar,
    pub(crate) entries: Entries,
    pub(crate) administrator: PrincipalRef,
    /// Which of the application's users may act.
    pub(crate) actors: MemoryActors,
    pub(crate) notifier: MemoryNotifier,
    pub(crate) clock: ManualClock,
    store: MemoryStore,
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

impl Host {
    pub(crate) fn new(directory: SystemId, book: &AddressBook) -> Outcome<Self> {
        let tenant = TenantId::new("quillhaven")?;
        let clock = ManualClock::default();
        let calendar = Calendar::new(SystemId::new("calendar")?);
        let actors = MemoryActors::new();
        let administrator = book.person("Éstragon Saddlemere")?;
        actors.set(&tenant, administrator.clone(), ActorState::Active);
        for organiser in ["Burdock Candlemere", "Mallow Needlestead"] {
            actors.set(&tenant, book.person(organiser)?, ActorState::Active);
        }
        Ok(Self {
            tenant,
            job: JobId::new("attendees")?,
            directory,
            entries: fill(&calendar, book)?,
            calendar,
            administrator,
            actors,
            notifier: MemoryNotifier::new(),
            store: MemoryStore::new(Arc::new(clock.clone())),
            clock,
        })
    }

    /// An engine that reads from `directory`. All that runs remember is in the store, so this may be done anew at any time, as
    /// after a restart.
    pub(crate) fn engine(&self, directory: impl Directory) -> Engine {
        let mut options = Options::default();
        // Small, so that the progress bar has something to show.
        options.batch = NonZeroUsize::new(32).expect("32 is not zero");
        Engine::builder(
            Arc::new(self.store.clone()),
            Arc::new(self.clock.clone()),
            Arc::new(self.calendar.clone()),
            Arc::new(self.actors.clone()),
            Arc::new(self.notifier.clone()),
        )
        .directory(Arc::new(directory))
        .target(Arc::new(self.calendar.clone()))
        .administrator(self.administrator.clone())
        .options(options)
        .build()
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
}

/// What the organisers entered.
fn fill(calendar: &Calendar, book: &AddressBook) -> Outcome<Entries> {
    let burdock = book.person("Burdock Candlemere")?;
    let mallow = book.person("Mallow Needlestead")?;
    let create = |id: &str, kind, name: &str, owner: &PrincipalRef, selection| -> Outcome<ContainerRef> {
        let id = ContainerRef::new(calendar.system().clone(), ObjectId::new(id)?);
        let container = Container::new(id.clone(), kind, name, selection);
        calendar.create(container.with_owner(owner.clone()));
        Ok(id)
    };
    let crew = create(
        "open-day-crew",
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
        "canteen",
        ContainerKind::Poll,
        "What should the canteen cook?",
        &burdock,
        Selection::of([book.list("canteen-menu")?, book.unit("Café")?]),
    )?;
    create(
        "safety-plans",
        ContainerKind::Filebox,
        "Safety plans",
        &burdock,
        Selection::of([book.role("Safety Officers")?, book.role("First Aiders")?]),
    )?;
    create(
        "future",
        ContainerKind::Event,
        "Kick-off of the Future Programme",
        &mallow,
        Selection::of([book.group("Future Programme")?]),
    )?;
    Ok(Entries {
        open_day: create(
            "open-day",
            ContainerKind::Event,
            "Open day",
            &burdock,
            Selection::of([crew.as_principal(), book.role("Project Leads")?]),
        )?,
        town_hall: create(
            "town-hall",
            ContainerKind::Event,
            "Town hall meeting",
            &mallow,
            Selection::of([book.list("all-hands")?]).except([book.role("Night Shift Leads")?]),
        )?,
        fire_drill: create(
            "fire-drill",
            ContainerKind::Event,
            "Fire drill",
            &burdock,
            Selection::of([book.group("Site Access")?]).except([book.role("Safety Officers")?]),
        )?,
        ideas: create(
            "ideas",
            ContainerKind::Event,
            "Ideas breakfast",
            &mallow,
            Selection::of([book.group("Ideas Circle")?]),
        )?,
        kiln: create(
            "new-kiln",
            ContainerKind::Project,
            "New kiln",
            &mallow,
            Selection::of([
                book.unit("Foundry")?,
                book.unit("Materials")?,
                book.group("kiln-control")?,
            ]),
        )?,
        partners: create(
            "partners",
            ContainerKind::HelpMe,
            "Questions of our partners",
            &mallow,
            Selection::of([book.unit("Partners")?, book.unit("Help Desk")?]),
        )?,
        garden: create(
            "garden",
            ContainerKind::PhotoAlbum,
            "The garden in spring",
            &burdock,
            Selection::of([book.group("Garden Committee")?]),
        )?,
    })
}
