//! How things were, whenever they changed, and what could be wanted by that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use usersync_engine::Job;
use usersync_license::Entitlement;
use usersync_model::{Container, ContainerRef, JobId, ObjectId, PrincipalRef, RecordRef, SystemId, TenantId};
use usersync_store::LedgerKey;

use super::{History, Put, Tenant, Window};
use crate::model::{Moment, People, There};
use crate::occurrence::Occurrence;

impl History {
    pub(crate) fn set_people(
        &mut self,
        now: DateTime<Utc>,
        tenant: &TenantId,
        system: &SystemId,
        people: People,
    ) {
        let tenant = self.tenant(tenant);
        let epochs = tenant.people.entry(system.clone()).or_default();
        if let Some(before) = epochs.last() {
            let left = before.users().filter(|user| !people.shows(user));
            let left = left.map(|user| (PrincipalRef::new(system.clone(), user.clone()), now));
            tenant.gone.extend(left);
            tenant
                .gone
                .retain(|who, _| who.system != *system || !people.shows(&who.object));
        }
        if epochs.last().is_none_or(|last| **last != people) {
            epochs.push(Arc::new(people));
        }
    }

    pub(crate) fn set_catalog(&mut self, tenant: &TenantId, catalog: BTreeMap<ContainerRef, Container>) {
        let epochs = &mut self.tenant(tenant).catalogs;
        if epochs.last().is_none_or(|last| **last != catalog) {
            epochs.push(Arc::new(catalog));
            if self.tenant(tenant).now().has_circle() {
                self.occur(Occurrence::Circle);
            }
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
        self.tenant(tenant).comes(key, put);
    }

    /// A person gave a member another role.
    pub(crate) fn role_by_hand(&mut self, tenant: &TenantId, key: LedgerKey) {
        self.tenant(tenant).roles_by_hand.insert(key);
    }

    /// Somebody is to have a job adopt what is there.
    pub(crate) fn adopts(&mut self, tenant: &TenantId, job: &JobId) {
        self.tenant(tenant).adopting.insert(job.clone());
    }

    pub(crate) fn drop_by_hand(&mut self, tenant: &TenantId, key: &LedgerKey) {
        self.tenant(tenant).goes(key);
    }

    /// What a tenant is entitled to from now on.
    pub(crate) fn set_entitled(&mut self, tenant: &TenantId, entitled: Entitlement) {
        self.tenant(tenant).entitled = Some(entitled);
    }

    /// An account or a person came or went.
    pub(crate) fn moved(&mut self, tenant: &TenantId, account: ObjectId) {
        self.tenant(tenant).moved.insert(account);
    }

    /// How many states of something there were so far.
    pub(crate) fn epoch(&self, tenant: &TenantId, what: &Shown) -> usize {
        let epochs = self.tenants.get(tenant).map_or(0, |tenant| match what {
            Shown::Catalog => tenant.catalogs.len(),
            Shown::People(system) => tenant.people.get(system).map_or(0, Vec::len),
            Shown::Records => tenant.records.len(),
        });
        epochs.saturating_sub(1)
    }

    /// A run was shown something as it was at an earlier time.
    pub(crate) fn shown_stale(&mut self, tenant: &TenantId, job: &JobId, what: &Shown, epoch: usize) {
        if let Some(run) = self.tenant(tenant).runs.get_mut(job) {
            let since = match what {
                Shown::Catalog => &mut run.since.catalog,
                Shown::People(system) => run.since.people.entry(system.clone()).or_insert(epoch),
                Shown::Records => &mut run.since.records,
            };
            *since = epoch.min(*since);
        }
    }
}

/// What reads may show as it was some time ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Catalog,
    People(SystemId),
    /// All records that are copied or imported.
    Records,
}

impl Tenant {
    /// Somebody or something is there no more.
    pub(super) fn goes(&mut self, key: &LedgerKey) {
        self.here.remove(key);
        if let Some(who) = key.subject.principal() {
            for run in self.runs.values_mut() {
                if let Some(stayed) = run.stayed.get_mut(&key.container) {
                    stayed.remove(who);
                }
            }
        }
    }

    /// Somebody or something is there from now on.
    pub(super) fn comes(&mut self, key: LedgerKey, put: Put) {
        for run in self.runs.values_mut() {
            if !self.here.contains_key(&key) {
                run.met += 1;
            }
            if let Some(who) = key.subject.principal() {
                let there = run.there.entry(key.container.clone()).or_default();
                there.insert(who.clone());
            }
        }
        self.here.entry(key).or_insert(put);
    }

    /// Who is a member of what.
    pub(super) fn members(&self) -> There {
        let mut there = There::new();
        for key in self.here.keys() {
            if let Some(who) = key.subject.principal() {
                there
                    .entry(key.container.clone())
                    .or_default()
                    .insert(who.clone());
            }
        }
        there
    }

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
    /// moment: each system may have been seen at any time of the run. Where containers select others, what their members were
    /// meanwhile and what was planned for them decides, too: then it could, unless there is no way that it could.
    pub(super) fn could(&self, job: &Job, key: &LedgerKey, since: &Window, wanted: bool) -> bool {
        let Some(mut moments) = self.moments(&key.container, since) else {
            return true;
        };
        let run = self.runs.get(&job.id);
        let there = run.map(|run| &run.there);
        let nobody = There::new();
        let stayed = run.map_or(&nobody, |run| &run.stayed);
        moments.any(|moment| {
            let (Some(who), true) = (key.subject.principal(), moment.is_chained(&key.container)) else {
                return moment.wants(job, key) == Some(wanted);
            };
            let is_known = moment.wants(job, key).is_some();
            is_known
                && match wanted {
                    true => there.is_none_or(|there| moment.may_want(&key.container, who, there)),
                    false => !moment.must_want(&key.container, who, stayed),
                }
        })
    }

    /// Whether every run that reads since then finds that nobody is wanted in a container.
    pub(super) fn must_be_empty(&self, job: &Job, container: &ContainerRef, since: &Window) -> bool {
        match self.moments(container, since) {
            Some(mut moments) => moments
                .all(|moment| !moment.is_chained(container) && moment.wanted(job, container).is_empty()),
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
        let chained = |catalog: &Arc<BTreeMap<ContainerRef, Container>>| {
            let moment = Moment {
                catalog: Arc::clone(catalog),
                ..Moment::default()
            };
            moment.is_chained(container)
        };
        if !catalogs.iter().any(chained) {
            catalogs.dedup_by_key(|catalog| catalog.get(container).cloned());
        }
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
