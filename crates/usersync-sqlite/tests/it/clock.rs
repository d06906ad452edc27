//! The clock never goes back: not in a handle, not beside another one, not over a restart.

use std::time::Duration;

use chrono::TimeDelta;
use futures::executor::block_on;
use usersync_sqlite::SqliteStore;
use usersync_store::{LeaseName, StateRead, StateStore, StoreErrorKind};

use crate::support::{Folder, Time, acme, key, kind};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_clock_set_back_goes_on_from_the_latest_time_told() {
    let folder = Folder::new();
    let time = Time::new();
    let open = || SqliteStore::open(folder.file(), time.options()).unwrap();
    let told = |store: &SqliteStore| block_on(store.now()).unwrap();
    let (first, second) = (open(), open());
    told(&first);
    time.move_by(7);
    let latest = time.now();
    assert_eq!(told(&first), latest);
    time.move_by(-100);
    assert_eq!(told(&first), latest, "the handle that told it");
    assert_eq!(told(&second), latest, "a handle that never told the time");
    drop((first, second));
    let third = open();
    assert_eq!(told(&third), latest, "after a restart");
    let reading = SqliteStore::open(folder.file(), time.options().read_only()).unwrap();
    assert_eq!(told(&reading), latest, "a handle that only reads");
    for _ in 0..2 {
        time.move_by(20);
        assert_eq!(told(&third), time.now() + TimeDelta::seconds(100));
    }
    let later = latest + TimeDelta::seconds(40);
    assert_eq!(told(&reading), later);
    time.move_by(-10);
    assert_eq!(told(&third), later, "set back once more");
    time.move_by(5);
    assert_eq!(told(&third), later + TimeDelta::seconds(5));
    assert_eq!(
        told(&open()),
        later + TimeDelta::seconds(5),
        "beside another handle"
    );
    time.move_by(200);
    assert_eq!(told(&reading), time.now());
    assert_eq!(told(&third), time.now(), "once it is caught up");
    time.move_by(1);
    assert_eq!(told(&third), time.now());
}

#[test]
fn a_clock_set_back_makes_no_lease_last_longer_and_expires_none() {
    let folder = Folder::new();
    let time = Time::new();
    let open = || SqliteStore::open(folder.file(), time.options()).unwrap();
    let name = LeaseName {
        tenant: acme(),
        key: key("job"),
    };
    let acquire = |store: &SqliteStore| block_on(store.acquire(&name, "worker", MINUTE));
    let store = open();
    acquire(&store).unwrap();
    time.move_by(50);
    assert_eq!(kind(acquire(&store)), Some(StoreErrorKind::Held));
    drop(store);
    time.move_by(-1000);
    let store = open();
    assert_eq!(kind(acquire(&store)), Some(StoreErrorKind::Held));
    // The clock was at fifty seconds, and needs ten more.
    time.move_by(9);
    assert_eq!(kind(acquire(&store)), Some(StoreErrorKind::Held));
    time.move_by(1);
    acquire(&store).unwrap();
}

#[test]
fn the_default_clock_is_the_systems() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file(), usersync_sqlite::SqliteOptions::default()).unwrap();
    let before = std::time::SystemTime::now();
    let told = std::time::SystemTime::from(block_on(store.now()).unwrap());
    let drift = told
        .duration_since(before)
        .unwrap_or_else(|error| error.duration());
    assert!(drift < Duration::from_secs(3600), "{drift:?}");
}
