//! How things were, whenever they changed, and what could be wanted by that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usersync_engine::Job;
use usersync_model::{Container, ContainerRef, JobId, ObjectId, RecordRef, SystemId, TenantId};
use usersync_store::LedgerKey;

use super::{History, Put, Tenant, Window};
use crate::model::{Moment, People};

impl History {
    pub(crate) fn set_people(&mut self, tenant: &TenantId, system: &SystemId, people: People) {
        let epochs = self.tenant(tenant).people.entry(system.clone()).or_default();
        if epochs.last().is_none_or(|last| **last != people) {
            epochs.push(Arc::new(people));
        }
    }

    pub(crate) fn set_catalog(&mut self, tenant: &TenantId, catalog: BTreeMap<ContainerRef, Container>) {
        let epochs = &mut self.tenant(tenant).catalogs;
        if epochs.last().is_none_or(|last| **last != catalog) {
            epochs.push(Arc::new(catalog));
        }
    }

    pub(crate) fn set_records(
        &mut self,
        tenant: &TenantId,
        records: BTreeMap<ObjectId, BTreeSet<RecordRef>>,
    ) {
        let epochs = &mut self.tenant(tenant).records;
        if epochs.last().is_none_or(|last| **last != records) {
            epochs.push(Arc::new(records));
        }
    }

    /// A person put somebody or something there.
    pub(crate) fn put_by_hand(&mut self, tenant: &TenantId, key: LedgerKey) {
        let is_ours = self
            .shadow
            .tenant(tenant)
            .ledger
            .get(&key)
            .is_some_and(|row| row.origin == usersync_model::Origin::Ours);
        // Where the ledger says that we put it there, nobody saw that it was away.
        let put = if is_ours { Put::Unclear } else { Put::People };
        self.tenant(tenant).here.entry(key).or_insert(put);
    }

    pub(crate) fn drop_by_hand(&mut self, tenant: &TenantId, key: &LedgerKey) {
        self.tenant(tenant).here.remove(key);
    }

    /// How many states of a directory there were so far.
    pub(crate) fn people_epoch(&self, tenant: &TenantId, system: &SystemId) -> usize {
        let epochs = self
            .tenants
            .get(tenant)
            .and_then(|tenant| tenant.people.get(system));
        epochs.map_or(0, |epochs| epochs.len().saturating_sub(1))
    }

    /// A run was shown a directory as it was at an earlier time.
    pub(crate) fn shown_stale(&mut self, tenant: &TenantId, job: &JobId, system: &SystemId, epoch: usize) {
        if let Some(run) = self.tenant(tenant).runs.get_mut(job) {
            let since = run.since.people.entry(system.clone()).or_insert(epoch);
            *since = epoch.min(*since);
        }
    }
}

impl Tenant {
    /// Everything as it is now.
    pub(crate) fn now(&self) -> Moment {
        let newest = |epochs: &Vec<Arc<People>>| epochs.last().map(Arc::clone).unwrap_or_default();
        Moment {
            people: self
                .people
                .iter()
                .map(|(system, epochs)| (system.clone(), newest(epochs)))
                .collect(),
            catalog: self.catalogs.last().map(Arc::clone).unwrap_or_default(),
            records: self.records.last().map(Arc::clone).unwrap_or_default(),
        }
    }

    /// The jobs as they are now.
    pub(crate) fn jobs(&self) -> BTreeMap<JobId, Job> {
        self.jobs.last().cloned().unwrap_or_default()
    }

    pub(super) fn window(&self) -> Window {
        Window {
            people: self
                .people
                .iter()
                .map(|(system, epochs)| (system.clone(), epochs.len() - 1))
                .collect(),
            catalog: self.catalogs.len().saturating_sub(1),
            records: self.records.len().saturating_sub(1),
            jobs: self.jobs.len().saturating_sub(1),
        }
    }

    /// The versions of a job that a run since then may go by, the newest first.
    pub(super) fn versions(&self, job: &JobId, since: &Window) -> Vec<&Job> {
        let epochs = self.jobs.get(since.jobs..).unwrap_or_default();
        let mut versions: Vec<&Job> = epochs.iter().rev().filter_map(|jobs| jobs.get(job)).collect();
        versions.dedup();
        versions
    }

    /// Whether a run that reads since then could find that `job` wants the key, or that it does not. Reads are not of one
    /// moment: each system may have been seen at any time of the run.
    pub(super) fn could(&self, job: &Job, key: &LedgerKey, since: &Window, wanted: bool) -> bool {
        match self.moments(&key.container, since) {
            Some(mut moments) => moments.any(|moment| moment.wants(job, key) == Some(wanted)),
            None => true,
        }
    }

    /// Whether every run that reads since then finds that nobody is wanted in a container.
    pub(super) fn must_be_empty(&self, job: &Job, container: &ContainerRef, since: &Window) -> bool {
        match self.moments(container, since) {
            Some(mut moments) => moments.all(|moment| moment.wanted(job, container).is_empty()),
            None => false,
        }
    }

    /// Every combination of what its systems were since then, as far as a container is concerned, the newest first. `None`:
    /// there are too many to look at.
    fn moments<'a>(
        &'a self,
        container: &ContainerRef,
        since: &'a Window,
    ) -> Option<impl Iterator<Item = Moment> + 'a> {
        let mut catalogs: Vec<_> = since_then(&self.catalogs, since.catalog);
        catalogs.dedup_by_key(|catalog| catalog.get(container).cloned());
        let mut records = since_then(&self.records, since.records);
        if records.is_empty() {
            records.push(Arc::default());
        }
        let mut people: Vec<BTreeMap<SystemId, Arc<People>>> = vec![BTreeMap::new()];
        for (system, epochs) in &self.people {
            let epochs = since_then(epochs, since.people.get(system).copied().unwrap_or(0));
            if people.len() * epochs.len() * catalogs.len() * records.len() > MOST {
                return None;
            }
            people = epochs
                .iter()
                .flat_map(|epoch| {
                    people.iter().cloned().map(|mut combination| {
                        combination.insert(system.clone(), Arc::clone(epoch));
                        combination
                    })
                })
                .collect();
        }
        Some(people.into_iter().flat_map(move |people| {
            let records = records.clone();
            catalogs.clone().into_iter().flat_map(move |catalog| {
                let people = people.clone();
                records.clone().into_iter().map(move |records| Moment {
                    people: people.clone(),
                    catalog: Arc::clone(&catalog),
                    records,
                })
            })
        }))
    }
}

/// More combinations than are looked at.
const MOST: usize = 2000;

/// The newest first.
fn since_then<T>(epochs: &[Arc<T>], since: usize) -> Vec<Arc<T>> {
    let epochs = epochs.get(since..).unwrap_or_default();
    epochs.iter().rev().map(Arc::clone).collect()
}
