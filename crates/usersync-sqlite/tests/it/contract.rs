//! The contracts of stores, in a file, in a host's file and in a host's memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use usersync_sqlite::{SqliteStore, TablePrefix};
use usersync_store::StateStore;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::store::StoreHarness;

use crate::support::{Folder, Time};

#[derive(Clone, Copy, PartialEq)]
enum Place {
    File,
    HostsFile,
    HostsMemory,
}

struct Stores {
    place: Place,
    time: Time,
    last: Mutex<Folder>,
}

impl Stores {
    fn new(place: Place) -> Self {
        Self {
            place,
            time: Time::new(),
            last: Mutex::new(Folder::new()),
        }
    }

    fn open(&self) -> Arc<dyn StateStore> {
        let file = self.last.lock().unwrap().file();
        let conn = match self.place {
            Place::File => return Arc::new(SqliteStore::open(file, self.time.options()).unwrap()),
            Place::HostsFile => Connection::open(file).unwrap(),
            Place::HostsMemory => Connection::open_in_memory().unwrap(),
        };
        let prefix = TablePrefix::new("sync_").unwrap();
        Arc::new(SqliteStore::with_connection(conn, &prefix, self.time.options()).unwrap())
    }
}

#[async_trait]
impl StoreHarness for Stores {
    async fn fresh(&self) -> Arc<dyn StateStore> {
        *self.last.lock().unwrap() = Folder::new();
        self.open()
    }

    async fn advance(&self, duration: Duration) -> Result<(), Cannot> {
        self.time.move_by(duration.as_secs().cast_signed());
        Ok(())
    }

    async fn reopen(&self) -> Result<Arc<dyn StateStore>, Cannot> {
        match self.place {
            Place::HostsMemory => Err(Cannot),
            Place::File | Place::HostsFile => Ok(self.open()),
        }
    }
}

usersync_testkit::state_store_conformance!(file, Stores::new(Place::File));
usersync_testkit::state_store_conformance!(hosts_file, Stores::new(Place::HostsFile));
usersync_testkit::state_store_conformance!(hosts_memory, Stores::new(Place::HostsMemory));
