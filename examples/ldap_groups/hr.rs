//! The export as a directory of departments and roles, whose members are principals of the LDAP directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, StreamExt};
use usersync::connector::{
    AccountDirectory, AccountEntry, CallContext, Cursor, Directory, DirectoryCapabilities, Error, ErrorKind,
    Extent, ReadEnd, ReadStream, Reader, Result, failed_read, read_stream,
};
use usersync::ldap::{LdapAccounts, ValueForm};
use usersync::model::{
    AttributeName, Completeness, DirectoryChange, GroupKind, ObjectId, PartialKind, PartialReason, Principal,
    PrincipalKind, SystemId, Value,
};

use crate::rows::{self, Row};
use crate::rules::Term;

/// A row belongs to the one entry that has its `column` as `attribute`.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    column: String,
    attribute: String,
}

/// What HR says, in terms of the LDAP directory. Every read reads the file and the numbers of all accounts anew.
#[derive(Clone, Debug)]
pub(crate) struct Hr(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    system: SystemId,
    file: PathBuf,
    key: Key,
    terms: BTreeSet<Term>,
    accounts: LdapAccounts,
    skip_unmatched: bool,
    /// The rows that the last read could not place.
    unplaced: Mutex<Vec<PartialReason>>,
}

/// A department or a role, as far as it is known.
#[derive(Default)]
struct Group {
    members: BTreeSet<ObjectId>,
    flaw: Option<PartialReason>,
}

impl Hr {
    pub(crate) fn new(
        system: SystemId,
        file: PathBuf,
        key: Key,
        terms: BTreeSet<Term>,
        accounts: LdapAccounts,
        skip_unmatched: bool,
    ) -> Self {
        let accounts = accounts.with_attribute(number(), key.attribute.as_str(), ValueForm::Texts);
        Self(Arc::new(Inner {
            system,
            file,
            key,
            terms,
            accounts,
            skip_unmatched,
            unplaced: Mutex::default(),
        }))
    }

    /// What keeps departments and roles from being known in full, as of the last read. A plan tells it only where something waits
    /// for it.
    pub(crate) fn unplaced(&self) -> Vec<PartialReason> {
        self.0
            .unplaced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Inner {
    async fn groups(&self, context: &CallContext) -> Result<(BTreeMap<Term, Group>, Completeness)> {
        let mut columns: Vec<&str> = self.terms.iter().map(|term| term.column.as_str()).collect();
        columns.push(&self.key.column);
        columns.sort_unstable();
        columns.dedup();
        let rows = rows::read(&self.file, &columns).map_err(|error| error.at(&self.system, "read"))?;
        let (owners, mut verdict) = self.owners(context).await?;
        if rows.is_empty() {
            verdict = Completeness::partial(PartialKind::NoVerdict, "the export has no rows");
        }
        // A group is there even if nobody is in it.
        let mut groups: BTreeMap<Term, Group> = self
            .terms
            .iter()
            .map(|term| (term.clone(), Group::default()))
            .collect();
        let mut unplaced = Vec::new();
        for row in &rows {
            let owner = self.owner(row, &owners);
            unplaced.extend(owner.clone().err());
            for (term, group) in &mut groups {
                if row.values(&term.column).any(|value| value == term.value) {
                    group.take(owner.clone());
                }
            }
        }
        *self.unplaced.lock().unwrap_or_else(PoisonError::into_inner) = unplaced;
        Ok((groups, verdict))
    }

    /// Which entries have which number.
    async fn owners(&self, context: &CallContext) -> Result<(BTreeMap<String, Vec<ObjectId>>, Completeness)> {
        let mut reader = Reader::new(self.accounts.accounts(None, context));
        let mut owners: BTreeMap<String, Vec<ObjectId>> = BTreeMap::new();
        while let Some(chunk) = reader.next_chunk().await {
            for entry in chunk {
                let AccountEntry::Upsert(account) = entry else {
                    continue;
                };
                let numbers = match account.attributes.get(&number()) {
                    Some(Value::Set(numbers)) => numbers.clone(),
                    Some(Value::Text(one)) => BTreeSet::from([one.clone()]),
                    _ => BTreeSet::new(),
                };
                for number in numbers {
                    owners.entry(number).or_default().push(account.id.clone());
                }
            }
        }
        if let Some(error) = reader.error() {
            return Err(Error::new(error.kind(), error.message()).at(&self.system, "read"));
        }
        Ok((owners, reader.finish().verdict))
    }

    /// Whom a row is about; nobody, if that is no matter.
    fn owner(
        &self,
        row: &Row,
        owners: &BTreeMap<String, Vec<ObjectId>>,
    ) -> std::result::Result<Option<ObjectId>, PartialReason> {
        let Key { column, attribute } = &self.key;
        let place = &row.place;
        let unknown = |text: String| match self.skip_unmatched {
            true => Ok(None),
            false => Err(PartialReason::new(PartialKind::UnknownMember, text)),
        };
        let mut numbers = row.values(column);
        let number = match (numbers.next(), numbers.next()) {
            (Some(number), None) => number,
            (None, _) => return unknown(format!("{place} has no {column}")),
            (Some(_), Some(_)) => return unknown(format!("{place} has several of {column}")),
        };
        match owners.get(number).map(Vec::as_slice) {
            Some([owner]) => Ok(Some(owner.clone())),
            None | Some([]) => unknown(format!("no entry has the {attribute} {number} of {place}")),
            Some(several) => Err(PartialReason::new(
                PartialKind::Contradiction,
                format!(
                    "{} entries have the {attribute} {number} of {place}",
                    several.len()
                ),
            )),
        }
    }

    fn shown(
        &self,
        (groups, verdict): (BTreeMap<Term, Group>, Completeness),
    ) -> Result<ReadStream<DirectoryChange>> {
        let (mut changes, mut partial) = (Vec::new(), Vec::new());
        for (term, group) in groups {
            let id = term.id().map_err(|error| {
                Error::new(ErrorKind::InvalidData, error.to_string()).at(&self.system, "read")
            })?;
            let kind = PrincipalKind::Group(GroupKind::UserGroup);
            let principal = Principal::new(id.clone(), kind, term.to_string());
            changes.push(DirectoryChange::Upsert(principal));
            changes.push(DirectoryChange::Members {
                group: id.clone(),
                system: AccountDirectory::system(&self.accounts).clone(),
                members: group.members.into_iter().collect(),
            });
            partial.extend(group.flaw.map(|flaw| (id, flaw)));
        }
        let end = ReadEnd {
            verdict,
            partial,
            cursor: None,
            retry: None,
        };
        Ok(read_stream(Extent::Full, changes, end))
    }
}

impl Group {
    fn take(&mut self, owner: std::result::Result<Option<ObjectId>, PartialReason>) {
        match owner {
            Ok(owner) => self.members.extend(owner),
            Err(flaw) => {
                self.flaw.get_or_insert(flaw);
            }
        }
    }
}

impl Directory for Hr {
    fn system(&self) -> &SystemId {
        &self.0.system
    }

    /// Full reads only.
    fn capabilities(&self) -> DirectoryCapabilities {
        DirectoryCapabilities::default()
    }

    fn read(&self, since: Option<Cursor>, context: &CallContext) -> ReadStream<DirectoryChange> {
        if since.is_some() {
            return failed_read(Error::unsupported("reading changes").at(&self.0.system, "read"));
        }
        let (inner, context) = (Arc::clone(&self.0), context.clone());
        let read = async move { inner.shown(inner.groups(&context).await?) };
        read.map(|read| read.unwrap_or_else(failed_read))
            .into_stream()
            .flatten()
            .boxed()
    }
}

impl Default for Key {
    fn default() -> Self {
        Self {
            column: "employee_number".to_owned(),
            attribute: "employeeNumber".to_owned(),
        }
    }
}

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((column, attribute)) if !column.is_empty() && !attribute.is_empty() => Ok(Self {
                column: column.to_owned(),
                attribute: attribute.to_owned(),
            }),
            _ => Err("it is COLUMN=ATTRIBUTE"),
        }
    }
}

fn number() -> AttributeName {
    AttributeName::new("number").expect("a name in lower case is well-formed")
}
