//! The roster as a membership target.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use usersync::connector::{
    Applied, CallContext, Error, ErrorKind, Extent, MemberChange, MemberOperation, MembersEntry,
    MembershipRead, MembershipTarget, Precondition, PresentMember, ReadEnd, ReadStream, Result,
    TargetCapabilities, failed_read, read_stream,
};
use usersync::model::{Member, MemberFacets, ObjectId, PrincipalRef, SystemId};

use crate::export::Export;
use crate::roster::{Listed, Person, Roster, RosterFile};
use crate::selection::Systems;

/// How many changes one call takes: each call writes the file once.
pub(crate) const MAX_BATCH: NonZeroUsize = NonZeroUsize::new(1000).expect("1000 is not zero");

/// How often a change is tried anew because somebody saved the file meanwhile.
const TRIES: usize = 5;

/// The roster as a membership target, with conditional writes: the content of a member's entry is its version.
///
/// The file is small, and read and written in place; what blocks for longer belongs on a thread of its own, as
/// `usersync::connector::adapt::blocking` gives it.
#[derive(Debug)]
pub(crate) struct RosterTarget {
    systems: Systems,
    pub(crate) file: RosterFile,
    /// For the names and addresses of those who are added.
    export: Arc<Export>,
    known: Mutex<Known>,
    /// A change reads the file and writes it anew; two at once would lose one.
    writing: Mutex<()>,
}

/// What is known of containers beside what the file says.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The names of those that the file need not have yet: nobody was put into them so far.
    pub(crate) fresh: BTreeMap<ObjectId, String>,
    /// Those that the file had, or that somebody was put into. One that is not there any more is lost, and neither empty nor
    /// removed on purpose.
    pub(crate) begun: BTreeSet<ObjectId>,
}

impl RosterTarget {
    pub(crate) fn new(systems: Systems, file: RosterFile, export: Arc<Export>, known: Known) -> Self {
        Self {
            systems,
            file,
            export,
            known: Mutex::new(known),
            writing: Mutex::default(),
        }
    }

    /// The refusal to show anything without a container that has to be there.
    pub(crate) fn lost(&self, container: &ObjectId) -> Error {
        let message = format!(
            "{container} is not in {}, although members were put into it; restore the file, or, to begin anew, remove \
             the state file, too",
            self.file.path().display(),
        );
        Error::new(ErrorKind::Unavailable, message).at(&self.systems.target, "read")
    }

    /// The members of a container; `None` if there is no such container, and an error if it was lost.
    fn members_of(&self, roster: &Roster, container: &ObjectId) -> Result<Option<Vec<PresentMember>>> {
        let known = lock(&self.known);
        match roster.get(container) {
            Some(listed) => Ok(Some(
                listed.members.iter().map(|person| self.shown(person)).collect(),
            )),
            None if known.begun.contains(container) => Err(self.lost(container)),
            None => Ok(known.fresh.contains_key(container).then(Vec::new)),
        }
    }

    fn read(&self) -> Result<Roster> {
        let roster = self
            .file
            .read()
            .map_err(|error| error.at(&self.systems.target, "read"))?
            .roster;
        self.learn(&roster);
        Ok(roster)
    }

    fn apply_all(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
    ) -> Result<Vec<Result<Applied>>> {
        let _writing = lock(&self.writing);
        for _ in 0..TRIES {
            let read = self.file.read()?;
            let mut roster = read.roster.clone();
            let results = operations
                .iter()
                .map(|operation| self.change(&mut roster, container, operation))
                .collect();
            if roster == read.roster || self.file.replace(&read, &roster)? {
                self.learn(&roster);
                return Ok(results);
            }
        }
        let message = format!("{} keeps changing; try again later", self.file.path().display());
        Err(Error::new(ErrorKind::Unavailable, message).with_unknown_outcome(false))
    }

    fn change(
        &self,
        roster: &mut Roster,
        container: &ObjectId,
        operation: &MemberOperation,
    ) -> Result<Applied> {
        let id = &operation.principal.object;
        if operation.principal.system != self.systems.directory {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "the roster has people of the directory only",
            ));
        }
        let listed = match roster.get_mut(container) {
            Some(listed) => listed,
            None if operation.change == MemberChange::Remove => return Ok(Applied::unchanged()),
            None => {
                let name = lock(&self.known).fresh.get(container).cloned();
                let listed = Listed {
                    id: container.clone(),
                    name: name.ok_or_else(|| missing(container))?,
                    members: Vec::new(),
                };
                roster.containers.push(listed);
                roster.containers.last_mut().expect("it was just pushed")
            }
        };
        let at = listed.members.iter().position(|person| person.id == *id);
        let known = at.map(|at| &mut listed.members[at]);
        let holds = match &operation.precondition {
            Precondition::None => true,
            Precondition::Absent => known.is_none(),
            Precondition::Version(version) => known.as_ref().is_some_and(|known| known.version() == *version),
        };
        match (&operation.change, known) {
            (MemberChange::Update(_), None) => {
                Err(Error::new(ErrorKind::NotFound, format!("{id} is no member")))
            }
            _ if !holds => Err(Error::new(
                ErrorKind::Conflict,
                "somebody changed the roster meanwhile; read it again",
            )),
            (MemberChange::Add(_), Some(_)) | (MemberChange::Remove, None) => Ok(Applied::unchanged()),
            (MemberChange::Add(facets), None) => {
                let person = self.person(id, facets);
                let version = person.version();
                let key = |person: &Person| (person.name.clone(), person.id.clone());
                let at = listed.members.partition_point(|other| key(other) < key(&person));
                listed.members.insert(at, person);
                Ok(Applied {
                    changed: true,
                    version: Some(version),
                })
            }
            (MemberChange::Update(facets), Some(known)) => {
                let changed = facets_of(known) != *facets;
                (known.role, known.state) = (facets.role.clone(), facets.state);
                Ok(Applied {
                    changed,
                    version: Some(known.version()),
                })
            }
            (MemberChange::Remove, Some(_)) => {
                listed.members.retain(|person| person.id != *id);
                Ok(Applied::changed())
            }
        }
    }

    fn person(&self, id: &ObjectId, facets: &MemberFacets) -> Person {
        let index = self.export.latest();
        let entry = index.get(id);
        Person {
            id: id.clone(),
            name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
            address: entry
                .and_then(|entry| entry.addresses.first().cloned())
                .unwrap_or_default(),
            role: facets.role.clone(),
            state: facets.state,
        }
    }

    fn shown(&self, person: &Person) -> PresentMember {
        PresentMember {
            member: Member {
                principal: PrincipalRef::new(self.systems.directory.clone(), person.id.clone()),
                facets: facets_of(person),
            },
            version: Some(person.version()),
        }
    }

    /// Remembers which containers the file has.
    fn learn(&self, roster: &Roster) {
        let mut known = lock(&self.known);
        for listed in &roster.containers {
            known.fresh.remove(&listed.id);
            known.begun.insert(listed.id.clone());
        }
    }
}

#[async_trait]
impl MembershipRead for RosterTarget {
    fn system(&self) -> &SystemId {
        &self.systems.target
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
        let roster = match self.read() {
            Ok(roster) => roster,
            Err(error) => return failed_read(error),
        };
        let mut entries = Vec::new();
        for container in containers {
            entries.push(match self.members_of(&roster, &container) {
                Ok(Some(members)) => MembersEntry::Members { container, members },
                Ok(None) => MembersEntry::Missing { container },
                Err(error) => return failed_read(error),
            });
        }
        read_stream(Extent::Full, entries, ReadEnd::complete())
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let mut members = self.members_of(&self.read()?, container)?.into_iter().flatten();
        Ok(members.find(|present| present.member.principal == *principal))
    }
}

#[async_trait]
impl MembershipTarget for RosterTarget {
    async fn apply(
        &self,
        container: &ObjectId,
        operations: &[MemberOperation],
        _context: &CallContext,
    ) -> Vec<Result<Applied>> {
        // What fails as a whole fails for each operation, since every one of them gets an answer.
        let all = |error: Error| {
            let error = error.at(&self.systems.target, "apply");
            operations.iter().map(|_| Err(error.copy())).collect()
        };
        if operations.len() > MAX_BATCH.get() {
            let message = format!("{} changes at once; send at most {MAX_BATCH}", operations.len());
            return all(Error::new(ErrorKind::LimitExceeded, message));
        }
        match self.apply_all(container, operations) {
            Ok(results) => results,
            Err(error) => all(error),
        }
    }
}

fn missing(container: &ObjectId) -> Error {
    let message = format!("there is no container {container}; list it in the roster");
    Error::new(ErrorKind::NotFound, message)
}

fn facets_of(person: &Person) -> MemberFacets {
    MemberFacets {
        role: person.role.clone(),
        state: person.state,
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
