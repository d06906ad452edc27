//! The host's own tables: the target's members, what was done to them by whom, what people were told, and how far the work is.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use usersync::connector::{
    Applied, CallContext, Error, ErrorKind, Extent, MemberChange, MemberOperation, MembersEntry,
    MembershipRead, MembershipTarget, Notification, Notifier, Precondition, PresentMember, ReadEnd,
    ReadStream, Result, TargetCapabilities, Version, failed_read, read_stream,
};
use usersync::model::{Member, MemberFacets, ObjectId, PrincipalRef, SystemId};
use usersync::store::Key;

use crate::tap::Tap;

const SCHEMA: &str = "
    CREATE TABLE containers (id TEXT PRIMARY KEY) STRICT;
    CREATE TABLE members (
        container TEXT NOT NULL,
        system TEXT NOT NULL,
        object TEXT NOT NULL,
        facets TEXT NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (container, system, object)
    ) STRICT;
    -- Every attempt, before it is made ('begun') and with its effect ('done'). Worker 0 is a person.
    CREATE TABLE effects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        worker INTEGER NOT NULL,
        token INTEGER NOT NULL,
        operation TEXT NOT NULL,
        container TEXT NOT NULL,
        system TEXT NOT NULL,
        object TEXT NOT NULL,
        change TEXT NOT NULL,
        phase TEXT NOT NULL,
        changed INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE told (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL,
        place INTEGER NOT NULL,
        recipient TEXT NOT NULL,
        news TEXT NOT NULL
    ) STRICT;
    CREATE TABLE progress (weeks INTEGER NOT NULL) STRICT;
    INSERT INTO progress VALUES (0);
";

/// The host's database. What it writes survives the end of the process, and no loss of power.
#[derive(Debug)]
pub(crate) struct Host {
    database: Mutex<Connection>,
    system: SystemId,
    offers: TargetCapabilities,
    tap: Arc<Tap>,
}

/// Conditional writes, roles, reads of one member and calls of up to `max_batch` operations; and whether it remembers the names of
/// operations.
pub(crate) fn offers(max_batch: usize, idempotency_key: bool) -> TargetCapabilities {
    TargetCapabilities {
        conditional_write: true,
        idempotency_key,
        max_batch: max_batch.try_into().expect("batches are not empty"),
        point_read: true,
        updates: true,
    }
}

/// How a person or a worker is named in the log of effects.
#[derive(Clone, Copy, Debug)]
struct Author {
    worker: u32,
    token: u64,
}

impl Host {
    /// Opens the database, and makes it if it is not there.
    pub(crate) fn open(
        path: &Path,
        system: SystemId,
        offers: TargetCapabilities,
        tap: Arc<Tap>,
    ) -> rusqlite::Result<Self> {
        let mut database = Connection::open(path)?;
        database.busy_timeout(Duration::from_secs(60))?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.pragma_update(None, "synchronous", "off")?;
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !transaction.table_exists(None, "progress")? {
            transaction.execute_batch(SCHEMA)?;
        }
        transaction.commit()?;
        Ok(Self {
            database: Mutex::new(database),
            system,
            offers,
            tap,
        })
    }

    pub(crate) fn create_container(&self, id: &ObjectId) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO containers VALUES (?1)";
        self.database().execute(sql, [id.as_str()])?;
        Ok(())
    }

    /// How many weeks are done.
    pub(crate) fn weeks(&self) -> rusqlite::Result<u32> {
        self.database()
            .query_row("SELECT weeks FROM progress", (), |row| row.get(0))
    }

    /// Notes that the week of this number is done.
    pub(crate) fn end_week(&self, week: u32) -> rusqlite::Result<()> {
        let sql = "UPDATE progress SET weeks = ?1 + 1 WHERE weeks = ?1";
        self.database().execute(sql, [week])?;
        Ok(())
    }

    /// A person adds a member, changes one, or, with `None`, removes one.
    pub(crate) fn change_by_hand(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        facets: Option<&MemberFacets>,
    ) -> rusqlite::Result<()> {
        let mut database = self.database();
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let author = Author { worker: 0, token: 0 };
        let version = log(
            &transaction,
            author,
            container,
            principal,
            "by hand",
            "hand",
            "done",
            true,
        )?;
        match facets {
            Some(facets) => put(&transaction, container, principal, facets, version)?,
            None => remove(&transaction, container, principal)?,
        }
        transaction.commit()
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_all(&self, containers: &[ObjectId]) -> rusqlite::Result<Vec<MembersEntry>> {
        let mut database = self.database();
        let transaction = database.transaction()?;
        let mut entries = Vec::new();
        for container in containers {
            let container = container.clone();
            if !exists(&transaction, &container)? {
                entries.push(MembersEntry::Missing { container });
                continue;
            }
            let sql = "SELECT system, object, facets, version FROM members WHERE container = ?1";
            let mut statement = transaction.prepare_cached(sql)?;
            let members = statement
                .query_map([container.as_str()], present)?
                .collect::<Result<_, _>>()?;
            entries.push(MembersEntry::Members { container, members });
        }
        Ok(entries)
    }

    fn attempt(&self, container: &ObjectId, operation: &MemberOperation) -> Result<Applied> {
        let author = Author {
            worker: std::process::id(),
            token: self.tap.token(),
        };
        self.begin(author, container, operation).map_err(failed)?;
        self.tap.pass("effect.before");
        let applied = self.have_effect(author, container, operation).map_err(failed)?;
        self.tap.pass("effect.after");
        applied
    }

    fn begin(
        &self,
        author: Author,
        container: &ObjectId,
        operation: &MemberOperation,
    ) -> rusqlite::Result<()> {
        let mut database = self.database();
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        log_attempt(&transaction, author, container, operation, "begun", false)?;
        transaction.commit()
    }

    /// The effect, and its line in the log, in one transaction.
    fn have_effect(
        &self,
        author: Author,
        container: &ObjectId,
        operation: &MemberOperation,
    ) -> rusqlite::Result<Result<Applied>> {
        let mut database = self.database();
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.offers.idempotency_key
            && let Some(version) = version_of(&transaction, operation)?
        {
            log_attempt(&transaction, author, container, operation, "done", false)?;
            transaction.commit()?;
            return Ok(Ok(applied(version)));
        }
        let outcome = outcome(&transaction, container, operation)?;
        let changed = matches!(outcome, Ok(true));
        let version = log_attempt(&transaction, author, container, operation, "done", changed)?;
        if changed {
            let MemberOperation {
                principal, change, ..
            } = operation;
            match change {
                MemberChange::Add(facets) | MemberChange::Update(facets) => {
                    put(&transaction, container, principal, facets, version)?;
                }
                MemberChange::Remove => remove(&transaction, container, principal)?,
            }
        }
        transaction.commit()?;
        Ok(outcome.map(|changed| match changed {
            true => applied(version),
            false => Applied::unchanged(),
        }))
    }
}

fn applied(version: i64) -> Applied {
    Applied {
        changed: true,
        version: Some(Version(version.to_string())),
    }
}

/// What the operation answered, if it had its effect before.
fn version_of(transaction: &Transaction<'_>, operation: &MemberOperation) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM effects WHERE operation = ?1 AND changed";
    let mut statement = transaction.prepare_cached(sql)?;
    statement
        .query_row([operation.id.to_string()], |row| row.get(0))
        .optional()
}

/// Whether the operation changes anything, if it may be done at all.
fn outcome(
    transaction: &Transaction<'_>,
    container: &ObjectId,
    operation: &MemberOperation,
) -> rusqlite::Result<Result<bool>> {
    let is_removal = operation.change == MemberChange::Remove;
    if !exists(transaction, container)? {
        let gone = || Error::new(ErrorKind::NotFound, "there is no such container");
        return Ok(if is_removal { Ok(false) } else { Err(gone()) });
    }
    let found = find(transaction, container, &operation.principal)?;
    let holds = match (&operation.precondition, &found) {
        (Precondition::None, _) | (Precondition::Absent, None) => true,
        (Precondition::Version(wanted), Some(found)) => found.version.as_ref() == Some(wanted),
        (Precondition::Absent, Some(_)) | (Precondition::Version(_), None) => false,
    };
    if !holds {
        return Ok(Err(Error::new(
            ErrorKind::Conflict,
            "somebody changed the member",
        )));
    }
    Ok(match (&operation.change, found) {
        (MemberChange::Add(_), found) => Ok(found.is_none()),
        (MemberChange::Remove, found) => Ok(found.is_some()),
        (MemberChange::Update(to), Some(found)) => Ok(found.member.facets != *to),
        (MemberChange::Update(_), None) => Err(Error::new(ErrorKind::NotFound, "there is no such member")),
    })
}

fn exists(transaction: &Transaction<'_>, container: &ObjectId) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM containers WHERE id = ?1";
    transaction.prepare_cached(sql)?.exists([container.as_str()])
}

fn find(
    transaction: &Transaction<'_>,
    container: &ObjectId,
    principal: &PrincipalRef,
) -> rusqlite::Result<Option<PresentMember>> {
    let sql = "SELECT system, object, facets, version FROM members
        WHERE container = ?1 AND system = ?2 AND object = ?3";
    let key = [
        container.as_str(),
        principal.system.as_str(),
        principal.object.as_str(),
    ];
    transaction
        .prepare_cached(sql)?
        .query_row(key, present)
        .optional()
}

fn put(
    transaction: &Transaction<'_>,
    container: &ObjectId,
    principal: &PrincipalRef,
    facets: &MemberFacets,
    version: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO members VALUES (?1, ?2, ?3, ?4, ?5)";
    let (system, object) = (principal.system.as_str(), principal.object.as_str());
    transaction.execute(
        sql,
        params![container.as_str(), system, object, to_text(facets), version],
    )?;
    Ok(())
}

fn remove(
    transaction: &Transaction<'_>,
    container: &ObjectId,
    principal: &PrincipalRef,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM members WHERE container = ?1 AND system = ?2 AND object = ?3";
    let key = [
        container.as_str(),
        principal.system.as_str(),
        principal.object.as_str(),
    ];
    transaction.execute(sql, key)?;
    Ok(())
}

fn log_attempt(
    transaction: &Transaction<'_>,
    author: Author,
    container: &ObjectId,
    operation: &MemberOperation,
    phase: &str,
    changed: bool,
) -> rusqlite::Result<i64> {
    let change = match &operation.change {
        MemberChange::Add(facets) => format!("add {}", to_text(facets)),
        MemberChange::Remove => "remove".to_owned(),
        MemberChange::Update(facets) => format!("update {}", to_text(facets)),
    };
    let id = operation.id.to_string();
    log(
        transaction,
        author,
        container,
        &operation.principal,
        &id,
        &change,
        phase,
        changed,
    )
}

/// A line in the log of effects. Its number is never used again.
#[expect(clippy::too_many_arguments, reason = "one for each column")]
fn log(
    transaction: &Transaction<'_>,
    author: Author,
    container: &ObjectId,
    principal: &PrincipalRef,
    operation: &str,
    change: &str,
    phase: &str,
    changed: bool,
) -> rusqlite::Result<i64> {
    let sql =
        "INSERT INTO effects (worker, token, operation, container, system, object, change, phase, changed)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let token = author.token.cast_signed();
    let (system, object) = (principal.system.as_str(), principal.object.as_str());
    transaction.execute(
        sql,
        params![
            author.worker,
            token,
            operation,
            container.as_str(),
            system,
            object,
            change,
            phase,
            changed
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn present(row: &Row<'_>) -> rusqlite::Result<PresentMember> {
    let (system, object): (String, String) = (row.get(0)?, row.get(1)?);
    let version: i64 = row.get(3)?;
    Ok(PresentMember {
        member: Member {
            principal: PrincipalRef::parse(&system, &object).expect("only ids are written"),
            facets: from_text(&row.get::<_, String>(2)?),
        },
        version: Some(Version(version.to_string())),
    })
}

fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("facets, recipients and news have a JSON form")
}

fn from_text<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("only what was made by `to_text` is written")
}

fn failed(error: rusqlite::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the host's database failed")
        .with_source(error)
        .with_unknown_outcome(true)
}

#[async_trait]
impl MembershipRead for Host {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        self.offers
    }

    fn members(&self, containers: Vec<ObjectId>, _: &CallContext) -> ReadStream<MembersEntry> {
        match self.read_all(&containers) {
            Ok(entries) => read_stream(Extent::Full, entries, ReadEnd::complete()),
            Err(error) => failed_read(failed(error)),
        }
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let mut database = self.database();
        let transaction = database.transaction().map_err(failed)?;
        find(&transaction, container, principal).map_err(failed)
    }
}

#[async_trait]
impl MembershipTarget for Host {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        _: &CallContext,
    ) -> Vec<Result<Applied>> {
        let is_too_large = operations.len() > self.offers.max_batch.get();
        let apply = |operation| match is_too_large {
            true => Err(Error::new(ErrorKind::LimitExceeded, "too many operations")),
            false => self.attempt(container, operation),
        };
        operations.iter().map(apply).collect()
    }
}

#[async_trait]
impl Notifier for Host {
    async fn notify(&self, notification: &Notification) -> Result<()> {
        self.tap.pass("notice.before");
        let key = notification.key.to_string();
        let place = self
            .tap
            .place(&Key::of(&[&key]))
            .unwrap_or_default()
            .cast_signed();
        let (recipient, news) = (to_text(&notification.recipient), to_text(&notification.news));
        let sql = "INSERT INTO told (key, place, recipient, news) VALUES (?1, ?2, ?3, ?4)";
        self.database()
            .execute(sql, params![key, place, recipient, news])
            .map_err(failed)?;
        self.tap.pass("notice.after");
        Ok(())
    }
}
