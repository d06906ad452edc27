//! The table of records against the conformance suite.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use usersync::connector::RecordTarget;
use usersync::model::{ObjectId, Record, RecordRef, SystemId};
use usersync_examples::records::RecordTable;
use usersync_testkit::conformance::Cannot;
use usersync_testkit::conformance::record::RecordHarness;
use usersync_testkit::record_target_conformance;

record_target_conformance!(record_table, World(Mutex::new(empty())));

/// A table that the suite may change behind the connector's back.
struct World(Mutex<RecordTable>);

fn empty() -> RecordTable {
    let system = SystemId::new("books").expect("an id");
    RecordTable::new(Connection::open_in_memory().expect("a database"), system).expect("tables")
}

#[async_trait]
impl RecordHarness for World {
    async fn fresh(&self, collections: Vec<(Option<ObjectId>, Vec<Record>)>) -> Arc<dyn RecordTarget> {
        let table = empty();
        for (collection, records) in collections {
            let collection = collection.expect("the collections of this suite have names");
            table.create_collection(&collection, "").expect("a collection");
            for record in records {
                table
                    .put_by_hand(&collection, &record.id, Some(&record))
                    .expect("a record");
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = table.clone();
        Arc::new(table)
    }

    async fn change(
        &self,
        collection: Option<&ObjectId>,
        id: &RecordRef,
        record: Option<Record>,
    ) -> Result<(), Cannot> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let collection = collection.ok_or(Cannot)?;
        table
            .put_by_hand(collection, id, record.as_ref())
            .map_err(|_| Cannot)
    }
}
