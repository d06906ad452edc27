//! The calendar of an intranet: what the host has anyway, and the two traits that let `usersync` work with it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use usersync::connector::{
    Applied, CallContext, ContainerCatalog, Error, ErrorKind, Extent, MemberChange, MemberOperation,
    MembersEntry, MembershipRead, MembershipTarget, Precondition, PresentMember, ReadEnd, ReadStream, Result,
    TargetCapabilities, Version, read_stream,
};
use usersync::model::{
    Container, ContainerRef, Member, MemberFacets, ObjectId, PrincipalRef, Selection, SystemId,
};

/// How many changes one call takes.
const MAX_BATCH: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Events, projects, groups and the like, with what was selected for them and who attends. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    system: SystemId,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<ObjectId, Entry>,
    /// Rises with every change, and so gives each attendance a version of its own.
    writes: u64,
}

#[derive(Debug)]
struct Entry {
    container: Container,
    attendees: BTreeMap<PrincipalRef, u64>,
}

impl Calendar {
    /// A calendar without entries.
    pub(crate) fn new(system: SystemId) -> Self {
        Self {
            system,
            state: Arc::default(),
        }
    }

    pub(crate) fn create(&self, container: Container) {
        let entry = Entry {
            container,
            attendees: BTreeMap::new(),
        };
        let id = entry.container.id.object.clone();
        self.state().entries.insert(id, entry);
    }

    /// Changes what is selected for an entry, as its organiser does in the dialogue.
    pub(crate) fn select(&self, entry: &ContainerRef, change: impl FnOnce(Selection) -> Selection) {
        if let Some(entry) = self.state().entries.get_mut(&entry.object) {
            entry.container.selection = change(std::mem::take(&mut entry.container.selection));
        }
    }

    /// A person adds an attendee by hand.
    pub(crate) fn add_by_hand(&self, entry: &ContainerRef, who: &PrincipalRef) -> bool {
        let mut state = self.state();
        state.writes += 1;
        let version = state.writes;
        let entry = state.entries.get_mut(&entry.object);
        entry.is_some_and(|entry| entry.attendees.insert(who.clone(), version).is_none())
    }

    /// A person removes an attendee by hand.
    pub(crate) fn remove_by_hand(&self, entry: &ContainerRef, who: &PrincipalRef) -> bool {
        let mut state = self.state();
        state.writes += 1;
        let entry = state.entries.get_mut(&entry.object);
        entry.is_some_and(|entry| entry.attendees.remove(who).is_some())
    }

    pub(crate) fn attends(&self, entry: &ContainerRef, who: &PrincipalRef) -> bool {
        let state = self.state();
        let entry = state.entries.get(&entry.object);
        entry.is_some_and(|entry| entry.attendees.contains_key(who))
    }

    /// How many attendances there are in all entries.
    pub(crate) fn attendances(&self) -> usize {
        self.state().entries.values().map(|e| e.attendees.len()).sum()
    }

    /// How often anything was changed.
    pub(crate) fn writes(&self) -> u64 {
        self.state().writes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ContainerCatalog for Calendar {
    fn containers(&self, only: Option<Vec<ContainerRef>>, _context: &CallContext) -> ReadStream<Container> {
        let is_wanted = |container: &Container| match &only {
            Some(only) => only.contains(&container.id),
            None => true,
        };
        let state = self.state();
        let entries = state.entries.values().map(|entry| &entry.container);
        let containers: Vec<_> = entries.filter(|c| is_wanted(c)).cloned().collect();
        read_stream(Extent::Full, containers, ReadEnd::complete())
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
            ..TargetCapabilities::default()
        }
    }

    fn members(&self, containers: Vec<ObjectId>, _context: &CallContext) -> ReadStream<MembersEntry> {
        let state = self.state();
        let show = |container: ObjectId| match state.entries.get(&container) {
            None => MembersEntry::Missing { container },
            Some(entry) => MembersEntry::Members {
                container,
                members: entry.attendees.iter().map(present).collect(),
            },
        };
        let entries: Vec<_> = containers.into_iter().map(show).collect();
        read_stream(Extent::Full, entries, ReadEnd::complete())
    }

    async fn member(
        &self,
        container: &ObjectId,
        principal: &PrincipalRef,
        _context: &CallContext,
    ) -> Result<Option<PresentMember>> {
        let state = self.state();
        let attendees = state.entries.get(container).map(|entry| &entry.attendees);
        Ok(attendees.and_then(|attendees| attendees.get_key_value(principal).map(present)))
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
        let mut state = self.state();
        let mut apply = |operation| {
            if operations.len() > MAX_BATCH.get() {
                let message = format!("{} changes at once; send at most {MAX_BATCH}", operations.len());
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
            state.apply(container, operation)
        };
        operations.iter().map(&mut apply).collect()
    }
}

impl State {
    fn apply(&mut self, container: &ObjectId, operation: &MemberOperation) -> Result<Applied> {
        let add = match &operation.change {
            MemberChange::Add(facets) if *facets == MemberFacets::default() => true,
            MemberChange::Remove => false,
            _ => return Err(Error::unsupported("a role or a state of an attendee")),
        };
        let Self { entries, writes } = self;
        let Some(entry) = entries.get_mut(container) else {
            return if add {
                Err(Error::new(ErrorKind::NotFound, format!("no entry {container}")))
            } else {
                Ok(Applied::unchanged())
            };
        };
        let known = entry.attendees.get(&operation.principal).copied();
        let holds = match &operation.precondition {
            Precondition::None => true,
            Precondition::Absent => known.is_none(),
            Precondition::Version(version) => known.map(shown).as_ref() == Some(version),
        };
        match (add, known) {
            _ if !holds => Err(Error::new(
                ErrorKind::Conflict,
                "somebody changed the attendance meanwhile; read it again",
            )),
            (true, Some(_)) | (false, None) => Ok(Applied::unchanged()),
            (true, None) => {
                *writes += 1;
                entry.attendees.insert(operation.principal.clone(), *writes);
                Ok(Applied {
                    changed: true,
                    version: Some(shown(*writes)),
                })
            }
            (false, Some(_)) => {
                *writes += 1;
                entry.attendees.remove(&operation.principal);
                Ok(Applied::changed())
            }
        }
    }
}

fn present((who, version): (&PrincipalRef, &u64)) -> PresentMember {
    PresentMember {
        member: Member::new(who.clone()),
        version: Some(shown(*version)),
    }
}

fn shown(version: u64) -> Version {
    Version(version.to_string())
}
