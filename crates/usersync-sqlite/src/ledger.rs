//! The ledger: rows of four integers.

use std::vec;

use usersync_model::{
    ContainerRef, JobId, LedgerRow, ObjectId, Origin, PrincipalRef, RecordRef, Subject, SystemId,
};
use usersync_store::{LedgerEntry, LedgerKey};

use crate::database::Database;
use crate::error::{Result, corrupt};
use crate::names::{Names, parse, remember};
use crate::scan::{CHUNK_ROWS, Step, Steps};

/// How many rows, or containers, one step looks at before other requests have their turn.
const PAGE_ROWS: usize = 8 * 1024;
const PAGE_CONTAINERS: usize = 512;

pub(crate) fn row(
    db: &Database,
    names: &mut Names,
    tenant: i64,
    key: &LedgerKey,
) -> Result<Option<LedgerEntry>> {
    let Some((container, subject)) = find(db, names, tenant, key)? else {
        return Ok(None);
    };
    let found = db.find(&db.sql.row, (container, subject), |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?))
    })?;
    let entry = |(id, revision): (i64, i64)| {
        Ok(LedgerEntry {
            key: key.clone(),
            row: content(db, names, id)?,
            revision: revision.cast_unsigned(),
        })
    };
    found.map(entry).transpose()
}

pub(crate) fn set(
    db: &Database,
    names: &mut Names,
    tenant: i64,
    key: &LedgerKey,
    row: &LedgerRow,
    revision: i64,
) -> Result<()> {
    let container = intern_container(db, names, tenant, &key.container)?;
    let (system, object, kind) = parts(&key.subject);
    let system = names.systems.intern(db, system)?;
    let object = intern_object(db, names, system, object)?;
    let content = intern_content(db, names, row)?;
    db.execute(
        &db.sql.row_set,
        (container, object << 1 | kind, content, revision),
    )?;
    Ok(())
}

pub(crate) fn remove(db: &Database, names: &mut Names, tenant: i64, key: &LedgerKey) -> Result<()> {
    if let Some(place) = find(db, names, tenant, key)? {
        db.execute(&db.sql.row_delete, place)?;
    }
    Ok(())
}

/// Where a row is, or would be; none if one of its ids is not interned, and so no such row is there.
fn find(db: &Database, names: &mut Names, tenant: i64, key: &LedgerKey) -> Result<Option<(i64, i64)>> {
    let Some(container) = find_container(db, names, tenant, &key.container)? else {
        return Ok(None);
    };
    let (system, object, kind) = parts(&key.subject);
    let Some(system) = names.systems.find(db, system)? else {
        return Ok(None);
    };
    let object = find_object(db, names, system, object)?;
    Ok(object.map(|object| (container, object << 1 | kind)))
}

fn parts(subject: &Subject) -> (&SystemId, &ObjectId, i64) {
    match subject {
        Subject::Principal(principal) => (&principal.system, &principal.object, 0),
        Subject::Record(record) => (&record.system, &record.object, 1),
    }
}

fn find_object(db: &Database, names: &mut Names, system: i64, object: &ObjectId) -> Result<Option<i64>> {
    let key = (system, object.clone());
    if let Some(id) = names.objects.get(&key) {
        return Ok(Some(*id));
    }
    let id = db.find(&db.sql.object_find, (system, object.as_str()), |row| row.get(0))?;
    if let Some(id) = id {
        remember(&mut names.objects, key, id);
    }
    Ok(id)
}

fn intern_object(db: &Database, names: &mut Names, system: i64, object: &ObjectId) -> Result<i64> {
    let key = (system, object.clone());
    if let Some(id) = names.objects.get(&key) {
        return Ok(*id);
    }
    // Whoever sets a row checked it before that, mostly: what is not remembered by now is new.
    let Some(id) = db.add_name_if_new(&db.sql.object_add, (system, object.as_str()))? else {
        let id = find_object(db, names, system, object)?;
        return Ok(id.ok_or_else(|| corrupt("an object that is interned is not found"))?);
    };
    remember(&mut names.objects, key, id);
    Ok(id)
}

fn find_container(
    db: &Database,
    names: &mut Names,
    tenant: i64,
    container: &ContainerRef,
) -> Result<Option<i64>> {
    let key = (tenant, container.clone());
    if let Some(id) = names.containers.get(&key) {
        return Ok(Some(*id));
    }
    let Some(system) = names.systems.find(db, &container.system)? else {
        return Ok(None);
    };
    let params = (tenant, system, container.object.as_str());
    let id = db.find(&db.sql.container_find, params, |row| row.get(0))?;
    if let Some(id) = id {
        remember(&mut names.containers, key, id);
    }
    Ok(id)
}

fn intern_container(db: &Database, names: &mut Names, tenant: i64, container: &ContainerRef) -> Result<i64> {
    if let Some(id) = find_container(db, names, tenant, container)? {
        return Ok(id);
    }
    let system = names.systems.intern(db, &container.system)?;
    let id = db.add_name(&db.sql.container_add, (tenant, system, container.object.as_str()))?;
    remember(&mut names.containers, (tenant, container.clone()), id);
    Ok(id)
}

/// The row that a content stands for.
pub(crate) fn content(db: &Database, names: &mut Names, id: i64) -> Result<LedgerRow> {
    if let Some(row) = names.contents.get(&id) {
        return Ok(row.clone());
    }
    let columns = db.find(&db.sql.content, [id], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
        ))
    })?;
    let (origin, claims, facets) = columns.ok_or_else(|| corrupt("a ledger row has no content"))?;
    let origin = match origin {
        0 => Origin::Foreign,
        1 => Origin::Ours,
        _ => return Err(corrupt("the origin of a ledger row is none").into()),
    };
    let claims: Vec<JobId> = claims
        .split_terminator(',')
        .map(|job| {
            let job = job
                .parse()
                .map_err(|_| corrupt("a claim of a ledger row is none"))?;
            names.jobs.text(db, job)
        })
        .collect::<Result<_>>()?;
    let mut row = LedgerRow::new(origin, claims);
    if !facets.is_empty() {
        let facets = serde_json::from_str(&facets);
        // What the error says quotes what is stored, whatever that is.
        let unread = |error: serde_json::Error| {
            let at = error.column();
            corrupt(format!(
                "facets of a ledger row have no known form, from column {at} on"
            ))
        };
        row.facets = Some(facets.map_err(unread)?);
    }
    remember(&mut names.contents, id, row.clone());
    Ok(row)
}

fn intern_content(db: &Database, names: &mut Names, row: &LedgerRow) -> Result<i64> {
    let origin = match row.origin {
        Origin::Foreign => 0,
        Origin::Ours => 1,
    };
    let mut claims = String::new();
    for job in row.claims() {
        claims += &names.jobs.intern(db, job)?.to_string();
        claims.push(',');
    }
    let facets = match &row.facets {
        Some(facets) => serde_json::to_string(facets)
            .map_err(|error| corrupt(format!("facets have no stored form: {error}")))?,
        None => String::new(),
    };
    let key = format!("{origin};{claims};{facets}");
    if let Some(id) = names.content_ids.get(&key) {
        return Ok(*id);
    }
    let params = (origin, &claims, &facets);
    let id = match db.find(&db.sql.content_find, params, |row| row.get(0))? {
        Some(id) => id,
        None => db.add_name(&db.sql.content_add, params)?,
    };
    remember(&mut names.content_ids, key, id);
    Ok(id)
}

/// Reads ledger rows: containers in the order of their texts, and the rows of one container loaded in pages of integers' order,
/// then sorted by their texts. Holds the keys of one container at a time.
pub(crate) struct LedgerSteps {
    tenant: i64,
    containers: Containers,
    loading: Option<Loading>,
    sorted: Option<(ContainerRef, vec::IntoIter<LoadedRow>)>,
}

/// A row whose content is still to be looked up.
struct LoadedRow {
    subject: Subject,
    content: i64,
    revision: i64,
}

/// The containers still to read.
enum Containers {
    All {
        /// Systems still to read, after the first one.
        systems: vec::IntoIter<(i64, SystemId)>,
        system: Option<(i64, SystemId)>,
        /// The last container taken from the system.
        after: String,
        page: vec::IntoIter<(i64, ContainerRef)>,
    },
    Listed(vec::IntoIter<ContainerRef>),
}

/// A container whose rows are read in part.
struct Loading {
    id: i64,
    container: ContainerRef,
    after: i64,
    rows: Vec<LoadedRow>,
}

impl LedgerSteps {
    pub(crate) fn new(db: &Database, tenant: i64, containers: Option<Vec<ContainerRef>>) -> Result<Self> {
        let containers = match containers {
            Some(mut listed) => {
                listed.sort_unstable();
                listed.dedup();
                Containers::Listed(listed.into_iter())
            }
            None => {
                let mut statement = db.conn.prepare_cached(&db.sql.systems)?;
                let mut rows = statement.query(())?;
                let mut systems = Vec::new();
                while let Some(row) = rows.next()? {
                    systems.push((row.get(0)?, parse(&row.get::<_, String>(1)?)?));
                }
                let mut systems = systems.into_iter();
                Containers::All {
                    system: systems.next(),
                    systems,
                    after: String::new(),
                    page: Vec::new().into_iter(),
                }
            }
        };
        Ok(Self {
            tenant,
            containers,
            loading: None,
            sorted: None,
        })
    }

    fn next_container(&mut self, db: &Database, names: &mut Names) -> Result<Option<(i64, ContainerRef)>> {
        match &mut self.containers {
            Containers::All {
                systems,
                system,
                after,
                page,
            } => loop {
                if let Some(next) = page.next() {
                    return Ok(Some(next));
                }
                let Some((id, name)) = system else {
                    return Ok(None);
                };
                let read = read_containers(db, self.tenant, (*id, name), after)?;
                match read.last() {
                    Some((_, last)) => last.object.as_str().clone_into(after),
                    None => {
                        *system = systems.next();
                        after.clear();
                    }
                }
                *page = read.into_iter();
            },
            Containers::Listed(listed) => {
                for container in listed.by_ref() {
                    if let Some(id) = find_container(db, names, self.tenant, &container)? {
                        return Ok(Some((id, container)));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Reads a page of the container, and sorts it once it is whole. Answers with how many rows were read.
    fn load(&mut self, db: &Database, names: &mut Names, mut loading: Loading) -> Result<usize> {
        let read = read_rows(db, names, &mut loading)?;
        if read == PAGE_ROWS {
            self.loading = Some(loading);
        } else {
            // Principals come first, then records, each by system and object: the order of subjects.
            loading.rows.sort_unstable_by(|a, b| a.subject.cmp(&b.subject));
            self.sorted = Some((loading.container, loading.rows.into_iter()));
        }
        Ok(read)
    }
}

impl Steps for LedgerSteps {
    type Item = LedgerEntry;

    fn step(&mut self, db: &Database, names: &mut Names) -> Result<Step<LedgerEntry>> {
        let mut chunk = Vec::new();
        let (mut rows, mut containers) = (0, 0);
        let is_end = loop {
            if let Some((container, sorted)) = &mut self.sorted {
                for loaded in sorted.by_ref().take(CHUNK_ROWS - chunk.len()) {
                    let key = LedgerKey {
                        container: container.clone(),
                        subject: loaded.subject,
                    };
                    chunk.push(LedgerEntry {
                        key,
                        row: content(db, names, loaded.content)?,
                        revision: loaded.revision.cast_unsigned(),
                    });
                }
                if chunk.len() == CHUNK_ROWS {
                    break false;
                }
                self.sorted = None;
            }
            if rows >= PAGE_ROWS || containers >= PAGE_CONTAINERS {
                break false;
            }
            let loading = match self.loading.take() {
                Some(loading) => loading,
                None => match self.next_container(db, names)? {
                    Some((id, container)) => Loading {
                        id,
                        container,
                        after: i64::MIN,
                        rows: Vec::new(),
                    },
                    None => break true,
                },
            };
            containers += 1;
            rows += self.load(db, names, loading)?;
        };
        Ok(match (chunk.is_empty(), is_end) {
            (false, _) => Step::Chunk(chunk),
            (true, false) => Step::Progress,
            (true, true) => Step::End,
        })
    }
}

fn read_containers(
    db: &Database,
    tenant: i64,
    (system, name): (i64, &SystemId),
    after: &str,
) -> Result<Vec<(i64, ContainerRef)>> {
    let mut statement = db.conn.prepare_cached(&db.sql.containers)?;
    let mut rows = statement.query((tenant, system, after, PAGE_CONTAINERS as i64))?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        let object = parse(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        read.push((row.get(0)?, ContainerRef::new(name.clone(), object)));
    }
    Ok(read)
}

fn read_rows(db: &Database, names: &mut Names, loading: &mut Loading) -> Result<usize> {
    let mut statement = db.conn.prepare_cached(&db.sql.rows)?;
    let mut rows = statement.query((loading.id, loading.after, PAGE_ROWS as i64))?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        let subject: i64 = row.get(0)?;
        let object = row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
        let object =
            parse(object.ok_or_else(|| corrupt("a ledger row names an object that is not interned"))?)?;
        let system = names.systems.text(db, row.get(1)?)?;
        let named = if subject & 1 == 0 {
            Subject::Principal(PrincipalRef::new(system, object))
        } else {
            Subject::Record(RecordRef::new(system, object))
        };
        loading.rows.push(LoadedRow {
            subject: named,
            content: row.get(3)?,
            revision: row.get(4)?,
        });
        loading.after = subject;
        read += 1;
    }
    Ok(read)
}
