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
        self.tenant(tenant).catalogs.push(Arc::new(catalog));
    }

    pub(crate) fn set_records(&mut self, tenant: &TenantId, records: BTreeMap<ObjectId, BTreeSet<RecordRef>>) {
        self.tenant(tenant).records.push(Arc::new(records));
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
        let epochs = self.tenants.get(tenant).and_then(|tenant| tenant.people.get(system));
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
        self.moments(since)
            .any(|moment| moment.wants(job, key) == Some(wanted))
    }

    /// Whether it could find that nobody is wanted in a container.
    pub(super) fn could_be_empty(&self, job: &Job, container: &ContainerRef, since: &Window) -> (bool, bool) {
        let mut seen = (false, false);
        for moment in self.moments(since) {
            match moment.wanted(job, container).is_empty() {
                true => seen.0 = true,
                false => seen.1 = true,
            }
        }
        seen
    }

    /// Every combination of what its systems were since then, the newest first.
    fn moments<'a>(&'a self, since: &'a Window) -> impl Iterator<Item = Moment> + 'a {
        let catalogs = self.catalogs.get(since.catalog..).unwrap_or_default();
        let records = self.records.get(since.records..).unwrap_or_default();
        let none = Arc::default();
        let records: Vec<_> = match records {
            [] => vec![none],
            records => records.iter().rev().map(Arc::clone).collect(),
        };
        let mut people: Vec<BTreeMap<SystemId, Arc<People>>> = vec![BTreeMap::new()];
        for (system, epochs) in &self.people {
            let from = since.people.get(system).copied().unwrap_or(0);
            let epochs = epochs.get(from..).unwrap_or_default();
            people = epochs
                .iter()
                .rev()
                .flat_map(|epoch| {
                    people.iter().cloned().map(|mut combination| {
                        combination.insert(system.clone(), Arc::clone(epoch));
                        combination
                    })
                })
                .collect();
        }
        people.into_iter().flat_map(move |people| {
            let records = records.clone();
            catalogs.iter().rev().flat_map(move |catalog| {
                let people = people.clone();
                records.clone().into_iter().map(move |records| Moment {
                    people: people.clone(),
                    catalog: Arc::clone(catalog),
                    records,
                })
            })
        })
    }
}
