//! Ids as integers, with a cache for each connection. A store only ever adds them, but whoever restores a backup takes some away, and they
//! are given anew. So each transaction that adds one stamps the tables with a random number. What is cached is true for the stamp that it
//! was read under; a counted stamp would come again like the ids.

use std::collections::HashMap;
use std::hash::Hash;
use std::str::FromStr;

use usersync_model::{ContainerRef, IdError, JobId, LedgerRow, ObjectId, SystemId, TenantId};

use crate::database::Database;
use crate::error::{Failure, Result, corrupt};
use crate::sql::Sql;

/// How many entries a cache holds before it is emptied.
const CACHE: usize = 16 * 1024;

pub(crate) struct Names {
    /// The stamp under which all of this is true.
    stamp: Option<i64>,
    pub(crate) containers: HashMap<(i64, ContainerRef), i64>,
    pub(crate) content_ids: HashMap<String, i64>,
    pub(crate) contents: HashMap<i64, LedgerRow>,
    pub(crate) jobs: Dictionary<JobId>,
    /// By system.
    pub(crate) objects: HashMap<(i64, ObjectId), i64>,
    pub(crate) systems: Dictionary<SystemId>,
    pub(crate) tenants: Dictionary<TenantId>,
}

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            stamp: None,
            containers: HashMap::new(),
            content_ids: HashMap::new(),
            contents: HashMap::new(),
            jobs: Dictionary::new(|sql| [&sql.job_find, &sql.job_name, &sql.job_add]),
            objects: HashMap::new(),
            systems: Dictionary::new(|sql| [&sql.system_find, &sql.system_name, &sql.system_add]),
            tenants: Dictionary::new(|sql| [&sql.tenant_find, &sql.tenant_name, &sql.tenant_add]),
        }
    }

    /// Forgets everything: a transaction was rolled back.
    pub(crate) fn forget(&mut self) {
        *self = Self::new();
    }

    /// Forgets everything if the tables have another stamp than before.
    pub(crate) fn follow(&mut self, stamp: i64) {
        if self.stamp != Some(stamp) {
            self.forget();
            self.stamp = Some(stamp);
        }
    }

    /// Stamps the tables anew if the transaction that is open has added ids. What is cached holds under the new stamp, too.
    pub(crate) fn stamp(&mut self, db: &Database) -> Result<(), Failure> {
        if db.has_new_names() {
            self.stamp = db.find(&db.sql.stamp, (), |row| row.get(0))?;
        }
        Ok(())
    }
}

/// Keeps a cache small.
pub(crate) fn remember<K: Eq + Hash, V>(cache: &mut HashMap<K, V>, key: K, value: V) {
    if cache.len() >= CACHE {
        cache.clear();
    }
    cache.insert(key, value);
}

/// The ids of one kind.
pub(crate) struct Dictionary<T> {
    /// The statements that find an id by its text and a text by its id, and that add a text.
    statements: fn(&Sql) -> [&String; 3],
    ids: HashMap<T, i64>,
    texts: HashMap<i64, T>,
}

impl<T: AsRef<str> + Clone + Eq + FromStr<Err = IdError> + Hash> Dictionary<T> {
    fn new(statements: fn(&Sql) -> [&String; 3]) -> Self {
        Self {
            statements,
            ids: HashMap::new(),
            texts: HashMap::new(),
        }
    }

    pub(crate) fn find(&mut self, db: &Database, text: &T) -> Result<Option<i64>> {
        if let Some(id) = self.ids.get(text) {
            return Ok(Some(*id));
        }
        let [find, ..] = (self.statements)(&db.sql);
        let id = db.find(find, [text.as_ref()], |row| row.get(0))?;
        if let Some(id) = id {
            remember(&mut self.ids, text.clone(), id);
        }
        Ok(id)
    }

    pub(crate) fn intern(&mut self, db: &Database, text: &T) -> Result<i64> {
        if let Some(id) = self.find(db, text)? {
            return Ok(id);
        }
        let [.., add] = (self.statements)(&db.sql);
        let id = db.add_name(add, [text.as_ref()])?;
        remember(&mut self.ids, text.clone(), id);
        Ok(id)
    }

    pub(crate) fn text(&mut self, db: &Database, id: i64) -> Result<T> {
        if let Some(text) = self.texts.get(&id) {
            return Ok(text.clone());
        }
        let [_, name, _] = (self.statements)(&db.sql);
        let text = db.find(name, [id], |row| row.get::<_, String>(0))?;
        let text = text.ok_or_else(|| corrupt("a row names an id that is not interned"))?;
        let text: T = parse(&text)?;
        remember(&mut self.texts, id, text.clone());
        Ok(text)
    }
}

/// Reads an id that was stored.
pub(crate) fn parse<T: FromStr<Err = IdError>>(text: &str) -> Result<T> {
    let id = text.parse();
    Ok(id.map_err(|error: IdError| corrupt(error.to_string()))?)
}
