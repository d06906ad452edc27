//! The calendar of an intranet: what the host has anyway, and the traits that let `usersync` work with it.
//!
//! Calls block for as long as a local database takes. A host with an async runtime makes them on its threads for blocking work;
//! targets that need neither versions nor point reads get a thread of `usersync::connector::adapt::blocking`.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use usersync::connector::{
    Applied, CallContext, ContainerCatalog, Error, ErrorKind, Extent, MemberChange, MemberOperation,
    MembersEntry, MembershipRead, MembershipTarget, Precondition, PresentMember, ReadEnd, ReadStream, Result,
    TargetCapabilities, Version, failed_read, read_stream,
};
use usersync::model::{
    Container, ContainerKind, ContainerRef, Member, MemberFacets, MembershipState, ObjectId, PartialKind,
    PartialReason, PrincipalRef, Role, Selection, SystemId,
};

use crate::database::{Database, failed, parsed, principal};

/// How many changes one call takes.
const MAX_BATCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");

/// Events, projects, groups and the like, with what was selected for them and who attends. Clones share the database.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    system: SystemId,
    database: Database,
}

/// What people do in the application.
impl Calendar {
    pub(crate) fn new(system: SystemId, database: Database) -> Self {
        Self { system, database }
    }

    /// Enters an event with what its organiser selected.
    pub(crate) fn create(&self, event: &Container) -> rusqlite::Result<()> {
        let mut connection = self.database.lock();
        let transaction = connection.transaction()?;
        transaction.execute(
            "INSERT INTO event (id, kind, name, owner_system, owner, role) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                event.id.object.as_str(),
                event.kind.code(),
                &event.name,
                event.owner.as_ref().map(|owner| owner.system.as_str()),
                event.owner.as_ref().map(|owner| owner.object.as_str()),
                event.role.to_string(),
            ),
        )?;
        for who in &event.selection.include {
            select(&transaction, &event.id, who, false)?;
        }
        for who in &event.selection.exclude {
            select(&transaction, &event.id, who, true)?;
        }
        transaction.commit()
    }

    /// Selects somebody, or some group, for an event, too.
    pub(crate) fn select(&self, event: &ContainerRef, who: &PrincipalRef) -> rusqlite::Result<()> {
        select(&self.database.lock(), event, who, false)
    }

    /// Adds an attendee by hand; tells whether that is a new one.
    pub(crate) fn add_by_hand(&self, event: &ContainerRef, who: &PrincipalRef) -> rusqlite::Result<bool> {
        let mut connection = self.database.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let is_new = attendee(&transaction, &event.object, who)?.is_none();
        if is_new {
            put(&transaction, &event.object, who, &MemberFacets::default())?;
        }
        transaction.commit()?;
        Ok(is_new)
    }

    /// Removes an attendee by hand; tells whether there was one.
    pub(crate) fn remove_by_hand(&self, event: &ContainerRef, who: &PrincipalRef) -> rusqlite::Result<bool> {
        let mut connection = self.database.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let was_there = remove(&transaction, &event.object, who)?;
        transaction.commit()?;
        Ok(was_there)
    }

    /// An attendee declines, and so is shown as one who has not accepted; tells whether there was one.
    pub(crate) fn decline(&self, event: &ContainerRef, who: &PrincipalRef) -> rusqlite::Result<bool> {
        let facets = MemberFacets {
            state: MembershipState::Pending,
            ..MemberFacets::default()
        };
        let mut connection = self.database.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let attends = attendee(&transaction, &event.object, who)?.is_some();
        if attends {
            put(&transaction, &event.object, who, &facets)?;
        }
        transaction.commit()?;
        Ok(attends)
    }

    /// How somebody attends, if at all.
    pub(crate) fn attendance(
        &self,
        event: &ContainerRef,
        who: &PrincipalRef,
    ) -> rusqlite::Result<Option<MemberFacets>> {
        let attendee = attendee(&self.database.lock(), &event.object, who)?;
        Ok(attendee.map(|attendee| attendee.member.facets))
    }

    /// Who attends what.
    pub(crate) fn attendances(&self) -> rusqlite::Result<Vec<(ObjectId, Member)>> {
        let connection = self.database.lock();
        let mut query = connection.prepare_cached(
            "SELECT system, who, role, state, version, event FROM attendee ORDER BY event, system, who",
        )?;
        let rows = query.query_map((), |row| Ok((parsed(row, 5)?, present(row)?.member)))?;
        rows.collect()
    }

    /// How often an attendance was changed.
    pub(crate) fn changes(&self) -> rusqlite::Result<i64> {
        let connection = self.database.lock();
        connection.query_row("SELECT count FROM change", (), |row| row.get(0))
    }
}

impl ContainerCatalog for Calendar {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _context: &CallContext) -> ReadStream<Container> {
        match self.events(only) {
            Ok(events) => read_stream(Extent::Full, events, ReadEnd::complete()),
            Err(error) => failed_read(failed(error).at(&self.system, "containers")),
        }
    }
}

#[async_trait]
impl MembershipRead for Calendar {
    fn system(&self) -> &SystemId {
        &self.system
    }

    fn capabilities(&self) -> TargetCapabilities {
        TargetCapabilities {
            conditional_write: true,
            max_batch: MAX_BATCH,
            point_read: true,
            updates: true,
            ..TargetCapabilities::default()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, _context: &CallContext) -> ReadStream<MembersEntry> {
        match self.attendees(containers) {
            Ok((entries, end)) => read_stream(Extent::Full, entries, end),
            Err(error) => failed_read(failed(error).at(&self.system, "members")),
        }
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        attendee(&self.database.lock(), container, principal)
            .map_err(|error| failed(error).at(&self.system, "member"))
    }
}

#[async_trait]
impl MembershipTarget for Calendar {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        self.apply_all(container, operations).unwrap_or_else(|error| {
            // What fails as a whole fails for each operation, since every one of them gets an answer.
            let error = error.at(&self.system, "apply");
            operations.iter().map(|_| Err(error.copy())).collect()
        })
    }
}

/// What the traits rest on.
impl Calendar {
    fn events(&self, only: Option<Vec<ContainerRef>>) -> rusqlite::Result<Vec<Container>> {
        let mut connection = self.database.lock();
        // One transaction, so that all that is read is of one moment.
        let transaction = connection.transaction()?;
        let ids: BTreeSet<ObjectId> = match only {
            None => {
                let mut query = transaction.prepare_cached("SELECT id FROM event")?;
                query
                    .query_map((), |row| parsed(row, 0))?
                    .collect::<rusqlite::Result<_>>()?
            }
            Some(only) => {
                let ours = only.into_iter().filter(|event| event.system == self.system);
                ours.map(|event| event.object).collect()
            }
        };
        let events = ids
            .into_iter()
            .map(|id| event(&transaction, ContainerRef::new(self.system.clone(), id)));
        events.filter_map(rusqlite::Result::transpose).collect()
    }

    fn attendees(&self, events: Vec<ObjectId>) -> rusqlite::Result<(Vec<MembersEntry>, ReadEnd)> {
        let mut connection = self.database.lock();
        let transaction = connection.transaction()?;
        let mut entries = Vec::new();
        let mut end = ReadEnd::complete();
        for container in events {
            match attendees(&transaction, &container) {
                Ok(Some(members)) => entries.push(MembersEntry::Members { container, members }),
                Ok(None) => entries.push(MembersEntry::Missing { container }),
                // One row that makes no sense says nothing about other events.
                Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
                    let reason = PartialReason::new(PartialKind::Failed, error.to_string());
                    end.partial.push((container, reason));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((entries, end))
    }

    /// One transaction for all operations, so that they wait for the disk once.
    fn apply_all(&self, event: &ObjectId, operations: &[MemberOperation]) -> Result<Vec<Result<Applied>>> {
        if operations.len() > MAX_BATCH.get() {
            let message = format!("{} changes at once; send at most {MAX_BATCH}", operations.len());
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        let mut connection = self.database.lock();
        // Immediate: nobody changes anything between a precondition and its effect.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let results = operations
            .iter()
            .map(|operation| change(&transaction, event, operation))
            .collect::<rusqlite::Result<_>>()
            .map_err(failed)?;
        // Nobody knows how far a commit came that failed: the engine then looks before it repeats anything.
        transaction
            .commit()
            .map_err(|error| failed(error).with_unknown_outcome(true))?;
        Ok(results)
    }
}

/// One operation: its own failure is within, what keeps all of them from being done is around it.
fn change(
    connection: &Connection,
    event: &ObjectId,
    operation: &MemberOperation,
) -> rusqlite::Result<Result<Applied>> {
    let who = &operation.principal;
    let known = attendee(connection, event, who)?;
    let holds = match &operation.precondition {
        Precondition::Absent => known.is_none(),
        Precondition::None => true,
        Precondition::Version(version) => known.as_ref().and_then(|k| k.version.as_ref()) == Some(version),
    };
    if !holds {
        let message = "somebody changed the attendance meanwhile; read it again";
        return Ok(Err(Error::new(ErrorKind::Conflict, message)));
    }
    let applied = match (&operation.change, known) {
        (MemberChange::Add(_), Some(_)) | (MemberChange::Remove, None) => Applied::unchanged(),
        (MemberChange::Add(_), None) if !exists(connection, event)? => {
            let message = format!("there is no event {event}; create it first");
            return Ok(Err(Error::new(ErrorKind::NotFound, message)));
        }
        (MemberChange::Add(facets), None) => put(connection, event, who, facets)?,
        (MemberChange::Remove, Some(_)) => {
            remove(connection, event, who)?;
            Applied::changed()
        }
        (MemberChange::Update(_), None) => {
            let message = format!("{who} does not attend; add them first");
            return Ok(Err(Error::new(ErrorKind::NotFound, message)));
        }
        (MemberChange::Update(facets), Some(known)) if known.member.facets == *facets => Applied {
            changed: false,
            version: known.version,
        },
        (MemberChange::Update(facets), Some(_)) => put(connection, event, who, facets)?,
    };
    Ok(Ok(applied))
}

fn select(
    connection: &Connection,
    event: &ContainerRef,
    who: &PrincipalRef,
    is_excluded: bool,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO selected (event, system, who, is_excluded) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute((
            event.object.as_str(),
            who.system.as_str(),
            who.object.as_str(),
            is_excluded,
        ))?;
    Ok(())
}

fn event(connection: &Connection, id: ContainerRef) -> rusqlite::Result<Option<Container>> {
    let mut selection = Selection::default();
    let mut query =
        connection.prepare_cached("SELECT system, who, is_excluded FROM selected WHERE event = ?1")?;
    for row in query.query_map([id.object.as_str()], |row| Ok((principal(row, 0)?, row.get(2)?)))? {
        match row? {
            (who, false) => selection.include.insert(who),
            (who, true) => selection.exclude.insert(who),
        };
    }
    connection
        .prepare_cached("SELECT kind, name, role, owner_system, owner FROM event WHERE id = ?1")?
        .query_row([id.object.as_str()], |row| {
            let owner: Option<String> = row.get(3)?;
            Ok(Container {
                id: id.clone(),
                kind: kind(row, 0)?,
                name: row.get(1)?,
                owner: owner.map(|_| principal(row, 3)).transpose()?,
                selection,
                role: role(row, 2)?,
            })
        })
        .optional()
}

fn exists(connection: &Connection, event: &ObjectId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM event WHERE id = ?1")?
        .exists([event.as_str()])
}

/// Everybody who attends; `None` if there is no such event.
fn attendees(connection: &Connection, event: &ObjectId) -> rusqlite::Result<Option<Vec<PresentMember>>> {
    if !exists(connection, event)? {
        return Ok(None);
    }
    let mut query = connection
        .prepare_cached("SELECT system, who, role, state, version FROM attendee WHERE event = ?1")?;
    let attendees = query.query_map([event.as_str()], present)?;
    attendees.collect::<rusqlite::Result<_>>().map(Some)
}

fn attendee(
    connection: &Connection,
    event: &ObjectId,
    who: &PrincipalRef,
) -> rusqlite::Result<Option<PresentMember>> {
    connection
        .prepare_cached(
            "SELECT system, who, role, state, version FROM attendee
             WHERE event = ?1 AND system = ?2 AND who = ?3",
        )?
        .query_row(
            (event.as_str(), who.system.as_str(), who.object.as_str()),
            present,
        )
        .optional()
}

/// Makes somebody attend like this, in a version that no attendance ever had.
fn put(
    connection: &Connection,
    event: &ObjectId,
    who: &PrincipalRef,
    facets: &MemberFacets,
) -> rusqlite::Result<Applied> {
    let version = count_change(connection)?;
    connection
        .prepare_cached(
            "INSERT INTO attendee (event, system, who, role, state, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET role = excluded.role, state = excluded.state, version = excluded.version",
        )?
        .execute((
            event.as_str(),
            who.system.as_str(),
            who.object.as_str(),
            facets.role.to_string(),
            facets.state.to_string(),
            version,
        ))?;
    Ok(Applied {
        changed: true,
        version: Some(Version(version.to_string())),
    })
}

/// Tells whether there was an attendance to end.
fn remove(connection: &Connection, event: &ObjectId, who: &PrincipalRef) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM attendee WHERE event = ?1 AND system = ?2 AND who = ?3")?
        .execute((event.as_str(), who.system.as_str(), who.object.as_str()))?;
    if removed > 0 {
        count_change(connection)?;
    }
    Ok(removed > 0)
}

fn count_change(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE change SET count = count + 1 RETURNING count")?
        .query_row((), |row| row.get(0))
}

/// A row of system, who, role, state and version.
fn present(row: &Row<'_>) -> rusqlite::Result<PresentMember> {
    let state: String = row.get(3)?;
    let version: i64 = row.get(4)?;
    Ok(PresentMember {
        member: Member {
            principal: principal(row, 0)?,
            facets: MemberFacets {
                role: role(row, 2)?,
                state: match state.as_str() {
                    "pending" => MembershipState::Pending,
                    _ => MembershipState::Active,
                },
            },
        },
        version: Some(Version(version.to_string())),
    })
}

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let text: String = row.get(column)?;
    Ok(match text.as_str() {
        "manager" => Role::Manager,
        "member" => Role::Member,
        "owner" => Role::Owner,
        _ => Role::Other(parsed(row, column)?),
    })
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<ContainerKind> {
    let text: String = row.get(column)?;
    let kinds = [
        ContainerKind::Event,
        ContainerKind::Filebox,
        ContainerKind::Group,
        ContainerKind::HelpMe,
        ContainerKind::MailingList,
        ContainerKind::PhotoAlbum,
        ContainerKind::Poll,
        ContainerKind::Project,
        ContainerKind::Team,
    ];
    match kinds.into_iter().find(|kind| kind.code() == text) {
        Some(kind) => Ok(kind),
        None => Ok(ContainerKind::Other(parsed(row, column)?)),
    }
}
