//! What is wanted, by the definitions, slowly, on sets of names. Knows nothing of how the engine finds it out.

mod groups;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_engine::{Collections, Job, JobKind};
use usersync_memory::MemoryDirectory;
use usersync_model::{
    Activity, Container, ContainerRef, ObjectId, PrincipalRef, RecordRef, Selection, Subject, SystemId,
};
use usersync_store::LedgerKey;

pub(crate) use self::groups::{There, leaves};

/// A directory at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct People {
    /// Users, and whether they are active.
    users: BTreeMap<ObjectId, bool>,
    members: BTreeMap<ObjectId, BTreeSet<PrincipalRef>>,
}

impl People {
    #[cfg(test)]
    pub(crate) fn with_users(users: BTreeMap<ObjectId, bool>) -> Self {
        Self {
            users,
            ..Self::default()
        }
    }

    /// Whether somebody is shown.
    pub(crate) fn shows(&self, who: &ObjectId) -> bool {
        self.users.contains_key(who)
    }

    /// The users that are shown.
    pub(crate) fn users(&self) -> impl Iterator<Item = &ObjectId> {
        self.users.keys()
    }

    pub(crate) fn of(directory: &MemoryDirectory) -> Self {
        let mut people = Self::default();
        for principal in directory.principals() {
            if principal.kind.is_group() {
                let members = directory.members_of(&principal.id);
                people.members.insert(principal.id, members);
            } else {
                people
                    .users
                    .insert(principal.id, principal.activity == Activity::Active);
            }
        }
        people
    }
}

/// Everything that decides what is wanted, at one moment or at several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moment {
    pub(crate) people: BTreeMap<SystemId, Arc<People>>,
    pub(crate) catalog: Arc<BTreeMap<ContainerRef, Container>>,
    /// The records of the collections that are copied, and of those that are imported.
    pub(crate) records: Arc<BTreeMap<ObjectId, BTreeSet<RecordRef>>>,
}

impl Moment {
    /// Whether `job` wants the key; `None` if the key is none of its.
    pub(crate) fn wants(&self, job: &Job, key: &LedgerKey) -> Option<bool> {
        if key.container.system != job.target {
            return None;
        }
        match (&job.kind, &key.subject) {
            (JobKind::Members, Subject::Principal(who)) => {
                let container = self.catalog.get(&key.container)?;
                job.covers(&container.kind)
                    .then(|| self.selected(&container.selection).contains(who))
            }
            (JobKind::Records(records), Subject::Record(record)) => match &records.collections {
                Collections::Distribute { owner, group, to } => {
                    let is_destination = self
                        .selected(to)
                        .iter()
                        .any(|who| who != owner && who.object == key.container.object);
                    let is_copied = self
                        .records
                        .get(group)
                        .is_some_and(|group| group.contains(record));
                    Some(is_destination && is_copied)
                }
                Collections::Each(each) => {
                    let from = each.get(&key.container.object)?;
                    Some(self.records.get(from).is_some_and(|there| there.contains(record)))
                }
            },
            _ => None,
        }
    }

    /// The collections of records that `job` fills, as far as they are known without a look at who is selected.
    pub(crate) fn collections(&self, job: &Job) -> Vec<ContainerRef> {
        let objects: BTreeSet<&ObjectId> = match &job.kind {
            JobKind::Records(records) => match &records.collections {
                Collections::Distribute { .. } => {
                    self.people.values().flat_map(|people| people.users()).collect()
                }
                Collections::Each(each) => each.keys().collect(),
            },
            _ => BTreeSet::new(),
        };
        let of = |object: &ObjectId| ContainerRef::new(job.target.clone(), object.clone());
        objects.into_iter().map(of).collect()
    }

    /// Whom `job` wants in a container.
    pub(crate) fn wanted(&self, job: &Job, container: &ContainerRef) -> BTreeSet<Subject> {
        match &job.kind {
            JobKind::Members => match self.catalog.get(container) {
                Some(container) if job.covers(&container.kind) => self
                    .selected(&container.selection)
                    .into_iter()
                    .map(Subject::Principal)
                    .collect(),
                _ => BTreeSet::new(),
            },
            JobKind::Records(_) => {
                let all = self.records.values().flatten();
                let key = |record: &RecordRef| LedgerKey {
                    container: container.clone(),
                    subject: Subject::Record(record.clone()),
                };
                let wanted = all.filter(|record| self.wants(job, &key(record)) == Some(true));
                wanted.cloned().map(Subject::Record).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// The active users below what is included and not below what is excluded.
    fn selected(&self, selection: &Selection) -> BTreeSet<PrincipalRef> {
        let excluded = self.below(&selection.exclude);
        let mut selected = self.below(&selection.include);
        selected.retain(|who| self.is_active(who) == Some(true) && !excluded.contains(who));
        selected
    }

    /// Whether a user is active; `None` if no directory shows it.
    fn is_active(&self, who: &PrincipalRef) -> Option<bool> {
        let people = self.people.get(&who.system)?;
        people.users.get(&who.object).copied()
    }

    fn below(&self, from: &BTreeSet<PrincipalRef>) -> BTreeSet<PrincipalRef> {
        let mut set = from.clone();
        loop {
            let members: Vec<PrincipalRef> = set
                .iter()
                .filter_map(|who| self.people.get(&who.system)?.members.get(&who.object))
                .flatten()
                .cloned()
                .collect();
            let before = set.len();
            set.extend(members);
            if set.len() == before {
                return set;
            }
        }
    }
}
