//! What is wanted, by the definitions, slowly, on sets of names. Knows nothing of how the engine finds it out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_engine::{Collections, Job, JobKind};
use usersync_memory::MemoryDirectory;
use usersync_model::{
    Activity, Container, ContainerRef, ObjectId, PrincipalRef, RecordRef, Selection, Subject, SystemId,
};
use usersync_store::LedgerKey;

/// A directory at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct People {
    /// Users, and whether they are active.
    users: BTreeMap<ObjectId, bool>,
    members: BTreeMap<ObjectId, BTreeSet<PrincipalRef>>,
}

impl People {
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
    /// The records of the collections that are copied.
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
                Collections::Each(_) => None,
            },
            _ => None,
        }
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
        selected.retain(|who| {
            let known = self
                .people
                .get(&who.system)
                .and_then(|people| people.users.get(&who.object));
            known == Some(&true) && !excluded.contains(who)
        });
        selected
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
