//! What the panel implements, against the conformance suite, and the acts.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use usersync::connector::SubscriptionAdmin;
use usersync::license::Quantities;
use usersync::model::{ObjectId, SubscriptionResource, SystemId};
use usersync_examples::scratch::Folder;
use usersync_examples::screen::Screen;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::subscription::SubscriptionHarness;
use usersync_testkit::subscription_conformance;

use crate::acts;
use crate::app::{self, App, EXPORT};
use crate::arguments::{Choice, Task, parse};
use crate::bookings::Bookings;

subscription_conformance!(bookings, World(Mutex::new(empty())));

/// A table that the suite may change behind the connector's back.
struct World(Mutex<Bookings>);

fn empty() -> Bookings {
    let system = SystemId::new("panel").expect("an id");
    Bookings::new(Connection::open_in_memory().expect("a database"), system).expect("tables")
}

#[async_trait]
impl SubscriptionHarness for World {
    async fn fresh(&self, organisations: Vec<(ObjectId, Quantities)>) -> Arc<dyn SubscriptionAdmin> {
        let bookings = empty();
        for (organisation, booked) in organisations {
            bookings.create(&organisation).expect("an organisation");
            for (resource, quantity) in booked.iter() {
                bookings
                    .book(&organisation, resource, quantity)
                    .expect("a booking");
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bookings.clone();
        Arc::new(bookings)
    }

    async fn book(
        &self,
        organisation: &ObjectId,
        resource: &SubscriptionResource,
        quantity: u64,
    ) -> Result<(), Cannot> {
        let bookings = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        bookings
            .book(organisation, resource, quantity)
            .map_err(|_| Cannot)
    }
}

#[test]
fn every_act_ends_as_it_says() {
    acts::play(&Screen::new(true)).expect("the acts check what they show");
}

fn work(folder: &Folder, arguments: &[&str]) -> Result<(), String> {
    let path = folder.join("here");
    let here = ["--folder", path.to_str().expect("a path of text")];
    let arguments = here.iter().chain(arguments).map(Into::into);
    match parse(arguments).expect("the command line is understood").task {
        Task::Work(work) => app::work(&work, &Screen::new(true)).map_err(|error| error.to_string()),
        Task::Help | Task::Play => unreachable!("the arguments name a folder"),
    }
}

fn open(folder: &Folder) -> App {
    let here = Folder::at(folder.join("here")).expect("a folder");
    App::open(&here, EXPORT.as_ref(), &Choice::default()).expect("the panel")
}

fn mailboxes(app: &App) -> usize {
    let mossgate = ObjectId::new("mossgate").expect("an id");
    let records = app.records.records_of(&mossgate).expect("records");
    records
        .iter()
        .filter(|(record, _)| record.kind.as_str() == "mailbox")
        .count()
}

/// What was shown is what is applied, and nothing else is; booking is a step of its own.
#[test]
fn a_folder_is_filled_step_by_step() {
    let folder = Folder::temporary().expect("a folder");
    let here = Folder::at(folder.join("here")).expect("a folder");
    let chosen = ["--organisation", "mossgate", "--without", "retention"];
    let with = |step: &[&str]| work(&folder, &[&chosen[..], step].concat());
    with(&["--preview"]).expect("a preview");
    let app = open(&folder);
    assert_eq!(mailboxes(&app), 3);
    let everything = app.preview().expect("a plan").0.digest().to_string();
    drop(app);
    with(&["--confirm", &everything]).expect_err("it is the digest of another plan");
    assert_eq!(mailboxes(&open(&folder)), 3);

    let choice = Choice {
        organisations: [ObjectId::new("mossgate").expect("an id")].into(),
        without: ["retention".parse().expect("a name")].into(),
        ..Choice::default()
    };
    let app = App::open(&here, EXPORT.as_ref(), &choice).expect("the panel");
    let digest = app.preview().expect("a plan").0.digest().to_string();
    drop(app);
    with(&["--confirm", &digest]).expect("it is current");
    let app = open(&folder);
    assert_eq!(mailboxes(&app), 8);
    let missing = |app: &App| {
        app.uses(None)
            .expect("figures")
            .iter()
            .map(|one| one.adjustments().len())
            .sum()
    };
    let before: usize = missing(&app);
    drop(app);
    with(&["--adjust", "mailboxes"]).expect("it is booked");
    let after: usize = missing(&open(&folder));
    assert_eq!(after, before - 1);
}

#[test]
fn what_nobody_can_mean_is_refused() {
    for arguments in [
        &["--preview"][..],
        &["--folder", "x", "--preview", "--adjust", "mailboxes"],
        &["--folder", "x", "--confirm", "no digest"],
        &["--bogus"],
        &["stray"],
    ] {
        assert!(parse(arguments.iter().map(Into::into)).is_err(), "{arguments:?}");
    }
    let folder = Folder::temporary().expect("a folder");
    let refused = work(&folder, &["--organisation", "nowhere"]).expect_err("there is no such organisation");
    assert!(refused.contains("mossgate"), "{refused}");
}
