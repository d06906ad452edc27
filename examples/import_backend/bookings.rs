//! The panel's table of what organisations have booked.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rusqlite::Connection;
use usersync::connector::{
    Applied, BookingChange, CallContext, Error, ErrorKind, Result, SubscriptionAdmin, Subscriptions,
};
use usersync::license::Quantities;
use usersync::model::{ObjectId, SubscriptionResource, SystemId};

const TABLES: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS subscriber (id TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS booking (
        subscriber TEXT NOT NULL REFERENCES subscriber (id),
        resource TEXT NOT NULL,
        quantity INTEGER NOT NULL CHECK (quantity >= 0),
        PRIMARY KEY (subscriber, resource)
    ) STRICT, WITHOUT ROWID;
    COMMIT;
";

/// What organisations have booked. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Bookings {
    system: SystemId,
    connection: Arc<Mutex<Connection>>,
}

impl Bookings {
    pub(crate) fn open(path: &Path, system: SystemId) -> rusqlite::Result<Self> {
        Self::new(Connection::open(path)?, system)
    }

    pub(crate) fn new(connection: Connection, system: SystemId) -> rusqlite::Result<Self> {
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(TABLES)?;
        Ok(Self {
            system,
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Makes an organisation, if it is not there.
    pub(crate) fn create(&self, organisation: &ObjectId) -> rusqlite::Result<()> {
        let sql = "INSERT INTO subscriber (id) VALUES (?1) ON CONFLICT DO NOTHING";
        self.lock().execute(sql, [organisation.as_str()])?;
        Ok(())
    }

    /// Books, as people do in the panel.
    pub(crate) fn book(
        &self,
        organisation: &ObjectId,
        resource: &SubscriptionResource,
        quantity: u64,
    ) -> rusqlite::Result<()> {
        self.lock().execute(
            "INSERT INTO booking (subscriber, resource, quantity) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET quantity = excluded.quantity",
            (
                organisation.as_str(),
                resource.as_str(),
                i64::try_from(quantity).unwrap_or(i64::MAX),
            ),
        )?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Unavailable, format!("the database: {error}")).at(&self.system, "bookings")
    }

    fn quantities(&self, connection: &Connection, organisation: &ObjectId) -> Result<Quantities> {
        let fail = |error: rusqlite::Error| self.failed(error);
        let is_there = connection
            .prepare_cached("SELECT 1 FROM subscriber WHERE id = ?1")
            .and_then(|mut query| query.exists([organisation.as_str()]))
            .map_err(fail)?;
        if !is_there {
            let message = format!("{organisation} has no subscription");
            return Err(Error::new(ErrorKind::NotFound, message).at(&self.system, "bookings"));
        }
        let mut query = connection
            .prepare_cached("SELECT resource, quantity FROM booking WHERE subscriber = ?1")
            .map_err(fail)?;
        let rows = query
            .query_map([organisation.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(fail)?;
        let mut booked = Quantities::default();
        for row in rows {
            let (resource, quantity): (String, i64) = row.map_err(fail)?;
            let resource = SubscriptionResource::new(resource).map_err(|error| self.failed(error))?;
            booked.set(resource, u64::try_from(quantity).unwrap_or_default());
        }
        Ok(booked)
    }
}

#[async_trait]
impl Subscriptions for Bookings {
    fn system(&self) -> &SystemId {
        &self.system
    }

    async fn booked(&self, organisation: &ObjectId, _context: &CallContext) -> Result<Quantities> {
        self.quantities(&self.lock(), organisation)
    }
}

#[async_trait]
impl SubscriptionAdmin for Bookings {
    async fn adjust(
        &self,
        organisation: &ObjectId,
        change: &BookingChange,
        _context: &CallContext,
    ) -> Result<Applied> {
        let fail = |error: rusqlite::Error| self.failed(error);
        let mut connection = self.lock();
        // One transaction that locks at once: what is checked is what is changed.
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(fail)?;
        let booked = self.quantities(&transaction, organisation)?.of(&change.resource);
        if booked == change.wanted {
            return Ok(Applied::unchanged());
        }
        if booked != change.seen {
            let message = format!("{booked} are booked, not {}; look again", change.seen);
            return Err(Error::new(ErrorKind::Conflict, message).at(&self.system, "adjust"));
        }
        let quantity = i64::try_from(change.wanted).map_err(|_| {
            let error = Error::new(ErrorKind::InvalidData, "nobody can book so many");
            error.at(&self.system, "adjust")
        })?;
        transaction
            .execute(
                "INSERT INTO booking (subscriber, resource, quantity) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET quantity = excluded.quantity",
                (organisation.as_str(), change.resource.as_str(), quantity),
            )
            .map_err(fail)?;
        transaction.commit().map_err(fail)?;
        Ok(Applied::changed())
    }
}
