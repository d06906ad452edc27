//! What was written to the store: whether it may be written, and what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use usersync_engine::{Job, LinkEntry, RunRecord, RunState};
use usersync_license::Entitlement;
use usersync_model::{ContainerRef, JobId, Origin, Subject, TenantId};
use usersync_reconcile::{Approval, Mode};
use usersync_store::{Key, Lease, LedgerKey, Log, Table, Transaction, Write};

use super::terms::terms;
use super::{History, Put, Run};
use crate::executor::Process;
use crate::fault::FaultKind;
use crate::occurrence::Occurrence;
use crate::shadow::Held;

/// What an intent in the journal says.
pub(super) struct Intent {
    pub(super) key: LedgerKey,
    is_addition: bool,
    is_removal: bool,
}

impl Intent {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut stored: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        let value = stored.get_mut("value")?;
        let container: ContainerRef = serde_json::from_value(value.get_mut("container")?.take()).ok()?;
        let subject: Subject = serde_json::from_value(value.get_mut("subject")?.take()).ok()?;
        let effect = value.get("effect")?;
        let is = |code: &str| effect.get(code).is_some() || effect.as_str() == Some(code);
        Some(Self {
            key: LedgerKey { container, subject },
            is_addition: is("add") || is("create"),
            is_removal: is("remove") || is("delete"),
        })
    }
}

impl History {
    /// A store gave a lease away.
    pub(crate) fn acquired(
        &mut self,
        process: Process,
        now: DateTime<Utc>,
        lease: &Lease,
        ttl: Duration,
    ) -> Option<FaultKind> {
        let mut taken = None;
        if let Some(held) = self.shadow.leases.get(&lease.name) {
            if lease.token <= held.token {
                self.violate(
                    "token_reused",
                    format!(
                        "{:?}: token {} after {}",
                        lease.name.key, lease.token.0, held.token.0
                    ),
                );
            }
            let held = &self.shadow.leases[&lease.name];
            if !held.is_released && now < held.expires {
                self.violate(
                    "lease_given_twice",
                    format!("{:?} to {process:?} while {:?} has it", lease.name.key, held.by),
                );
            } else if !held.is_released {
                taken = Some(FaultKind::LeaseExpired);
            }
        }
        let expires = later(now, ttl);
        let held = Held {
            by: process,
            token: lease.token,
            expires,
            is_released: false,
            since: self.step,
        };
        self.shadow.leases.insert(lease.name.clone(), held);
        let parts: Vec<&str> = lease.name.key.parts().collect();
        if let ["job", job] = parts[..]
            && let Ok(job) = usersync_model::JobId::new(job)
        {
            let tenant_id = lease.name.tenant.clone();
            let stored = self.shadow.tenant(&tenant_id);
            let claimed = stored
                .ledger
                .values()
                .filter(|row| row.is_claimed_by(&job))
                .count();
            let open = stored.values.keys();
            let open = open
                .filter(|(table, key)| *table == Table::Intent && key.parts().next() == Some(job.as_str()));
            let known = claimed + open.count();
            let step = self.step;
            let tenant = self.tenant(&tenant_id);
            let run = Run {
                token: lease.token,
                began: now,
                wrote: step,
                since: tenant.window(),
                removals: std::collections::BTreeSet::new(),
                claimed: known,
                met: tenant.here.len(),
                there: tenant.members(),
                stayed: tenant.members(),
                written: tenant.written.get(&job).cloned().unwrap_or_default(),
            };
            tenant.runs.insert(job, run);
            self.counts.runs += 1;
        }
        taken
    }

    pub(crate) fn renewed(&mut self, now: DateTime<Utc>, lease: &Lease, ttl: Duration) {
        let Some(held) = self.shadow.leases.get_mut(&lease.name) else {
            return;
        };
        if held.token != lease.token || held.is_released {
            let message = format!(
                "{:?}: token {} was renewed after {} was given",
                lease.name.key, lease.token.0, held.token.0
            );
            return self.violate("lost_lease_renewed", message);
        }
        held.expires = later(now, ttl);
    }

    pub(crate) fn released(&mut self, lease: &Lease) {
        if let Some(held) = self.shadow.leases.get_mut(&lease.name)
            && held.token == lease.token
        {
            held.is_released = true;
        }
    }

    /// A store committed a transaction of somebody who was last told of this entitlement.
    pub(crate) fn committed(&mut self, transaction: &Transaction, entitled: Option<Entitlement>) {
        self.counts.commits += 1;
        if let Some(refusal) = self.shadow.refusal(transaction) {
            return self.violate("store_must_refuse", refusal);
        }
        let agrees = |write: &&Write| match write {
            Write::Append { .. } | Write::Ledger { .. } => true,
            Write::Delete { table, .. } | Write::Put { table, .. } => {
                matches!(table, Table::Base | Table::Intent)
            }
            _ => false,
        };
        self.agreed += transaction.writes.iter().filter(agrees).count() as u64;
        let before = self.before(transaction);
        self.links_move(transaction);
        let mut appended = Vec::new();
        let stored = self.shadow.tenant(&transaction.tenant);
        for write in &transaction.writes {
            stored.apply(write, &mut appended);
        }
        self.follow(transaction, before, &appended);
        self.run_wrote(transaction);
        self.seats_moved(transaction, entitled);
    }

    /// The intents that a transaction ends.
    fn before(&mut self, transaction: &Transaction) -> BTreeMap<Key, Intent> {
        let stored = self.shadow.tenant(&transaction.tenant);
        let ended = transaction.writes.iter().filter_map(|write| match write {
            Write::Delete {
                table: Table::Intent,
                key,
            } => {
                let bytes = stored.values.get(&(Table::Intent, key.clone()))?;
                Some((key.clone(), Intent::read(bytes)?))
            }
            _ => None,
        });
        ended.collect()
    }

    fn follow(&mut self, transaction: &Transaction, ended: BTreeMap<Key, Intent>, appended: &[(Log, Key)]) {
        let id = &transaction.tenant;
        for write in &transaction.writes {
            match write {
                Write::Put {
                    table: Table::Job,
                    bytes,
                    ..
                } => self.saved(id, bytes),
                Write::Put {
                    table: Table::Approval,
                    bytes,
                    ..
                } => {
                    if let Some(approval) = value_of::<Approval>(bytes) {
                        self.tenant(id).approve(approval);
                    }
                }
                Write::Delete {
                    table: Table::Approval,
                    ..
                } if transaction.fence.is_some() => self.occur(Occurrence::ApprovalUsed),
                Write::Put {
                    table: Table::Departure,
                    ..
                } => self.occur(Occurrence::DepartureNoted),
                Write::Delete {
                    table: Table::Departure,
                    ..
                } => self.occur(Occurrence::DepartureEnded),
                Write::Put {
                    table: Table::Intent,
                    key,
                    bytes,
                } => self.intended(transaction, key, bytes),
                Write::Put {
                    table: Table::JobState,
                    ..
                } => self.wrote(transaction),
                Write::Put {
                    table: Table::Link,
                    bytes,
                    ..
                } if value_of::<LinkEntry>(bytes).is_some_and(|entry| entry.waiting.is_some()) => {
                    self.occur(Occurrence::Waited);
                }
                Write::Put {
                    table: Table::Run,
                    bytes,
                    ..
                } => {
                    if let Some(message) = panicked(bytes) {
                        self.violate("engine_panicked", format!("{id}: {message}"));
                    }
                }
                Write::Ledger { key, row: Some(row) } if row.origin == Origin::Ours => {
                    self.ours(transaction, key, &ended);
                }
                _ => {}
            }
        }
        self.settled_elsewhere(transaction, &ended);
        let by_operation: BTreeMap<&str, &Intent> = ended
            .iter()
            .filter_map(|(key, intent)| Some((key.parts().nth(1)?, intent)))
            .collect();
        let ledger = |key: &LedgerKey| {
            transaction
                .writes
                .iter()
                .any(|write| matches!(write, Write::Ledger { key: written, .. } if written == key))
        };
        for (name, intent) in &by_operation {
            let told = appended
                .iter()
                .filter(|(log, key)| *log == Log::Outbox && key.parts().eq([*name]))
                .count();
            let changed = self.operation(id, name).is_some_and(|fate| fate.changed);
            if ledger(&intent.key) && changed && told != 1 {
                self.violate(
                    "told_not_once",
                    format!(
                        "operation {name} on {} was confirmed with {told} notifications",
                        intent.key.subject
                    ),
                );
            }
        }
        for (log, key) in appended {
            if *log != Log::Outbox {
                continue;
            }
            let name = key.parts().next().unwrap_or_default().to_owned();
            let told = self.tenant(id).told.entry(key.clone()).or_default();
            *told += 1;
            let told = *told;
            if let Some(fate) = self.operation(id, &name) {
                let may = fate.may_be_ours(transaction.fence.as_ref().map(|fence| fence.token));
                if told > 1 {
                    self.violate("told_twice", format!("operation {name} was told {told} times"));
                } else if !by_operation.contains_key(name.as_str()) {
                    self.violate(
                        "told_unconfirmed",
                        format!("operation {name} was told without its intent being ended"),
                    );
                } else if !may {
                    self.violate(
                        "told_without_effect",
                        format!("operation {name} was told and never had an effect"),
                    );
                }
            }
        }
    }

    fn operation(&self, tenant: &TenantId, name: &str) -> Option<&super::Fate> {
        self.tenants.get(tenant)?.operations.get(name)
    }

    /// A row says from now on that one of our jobs put its subject there.
    fn ours(&mut self, transaction: &Transaction, key: &LedgerKey, ended: &BTreeMap<Key, Intent>) {
        let id = &transaction.tenant;
        let intents: Vec<String> = ended
            .iter()
            .filter(|(_, intent)| intent.key == *key && intent.is_addition)
            .filter_map(|(name, _)| name.parts().nth(1).map(str::to_owned))
            .collect();
        let token = transaction.fence.as_ref().map(|fence| fence.token);
        let may = intents.iter().any(|name| {
            self.operation(id, name)
                .is_none_or(|fate| fate.may_be_ours(token))
        });
        let was = self.tenant(id).here.get(key).copied();
        if was == Some(Put::People) {
            if may {
                self.tenant(id).here.insert(key.clone(), Put::Unclear);
            } else if self.may_adopt(transaction, key) {
                self.tenant(id).here.insert(key.clone(), Put::Ours);
                self.occur(Occurrence::Adopted);
            } else {
                self.violate(
                    "foreign_claimed",
                    format!(
                        "{} in {} counts as ours, and a person put it there",
                        key.subject, key.container
                    ),
                );
            }
        }
    }

    /// Whether somebody approved that the job of a transaction counts as its own what is there and wanted.
    fn may_adopt(&self, transaction: &Transaction, key: &LedgerKey) -> bool {
        let (Some(job), Some(tenant)) = (job_of(transaction), self.tenants.get(&transaction.tenant)) else {
            return false;
        };
        let Some(run) = tenant.runs.get(&job) else {
            return false;
        };
        let versions = tenant.versions(&job, &run.since);
        tenant.adopting.contains(&job)
            && tenant.lets_adopt(&versions, key, run.began)
            && versions
                .into_iter()
                .any(|version| tenant.could(version, key, &run.since, true))
    }

    /// An operation is to be begun, or begun again.
    fn intended(&mut self, transaction: &Transaction, intent: &Key, bytes: &[u8]) {
        let (Some(fence), Some(name)) = (&transaction.fence, intent.parts().nth(1)) else {
            return;
        };
        // Intents of items are looked at on their own.
        let Some(job) = job_of(transaction) else { return };
        let tenant = self.tenant(&transaction.tenant);
        let fate = tenant.operations.entry(name.to_owned()).or_default();
        fate.intended.get_or_insert(fence.token);
        if let Some(run) = tenant.runs.get(&job) {
            fate.asked = run.wrote;
        }
        let Some(removal) = Intent::read(bytes).filter(|intent| intent.is_removal) else {
            return;
        };
        if let Some((rule, problem)) = self.unclaimed(&transaction.tenant, &job, &removal.key) {
            let LedgerKey { container, subject } = removal.key;
            self.violate(
                rule,
                format!("{job} is to remove {subject} from {container}: {problem}"),
            );
        }
    }

    /// Why a job may not begin to remove what the ledger says this of.
    fn unclaimed(
        &mut self,
        tenant: &TenantId,
        job: &JobId,
        key: &LedgerKey,
    ) -> Option<(&'static str, &'static str)> {
        let row = self.shadow.tenant(tenant).ledger.get(key).cloned();
        if row.as_ref().is_some_and(|row| row.is_claimed_beside(job)) {
            return Some(("removal_of_claimed", "another job claims it"));
        }
        let tenant = self.tenant(tenant);
        let since = tenant.runs.get(job).map(|run| run.since.clone());
        let versions = tenant.versions(job, &since.unwrap_or_default());
        let is_ours = row.is_some_and(|row| row.origin == Origin::Ours && row.is_claimed_by(job));
        let is_managed = versions.iter().all(|job| job.policy.mode == Mode::Managed);
        (is_managed && !is_ours).then_some((
            "removal_without_claim",
            "the ledger does not say that it is the job's",
        ))
    }

    /// The run that a transaction is of wrote for the last time now.
    fn run_wrote(&mut self, transaction: &Transaction) {
        let (step, Some(fence)) = (self.step, &transaction.fence) else {
            return;
        };
        let Some(job) = job_of(transaction) else { return };
        let runs = &mut self.tenant(&transaction.tenant).runs;
        if let Some(run) = runs.get_mut(&job).filter(|run| run.token == fence.token) {
            run.wrote = step;
        }
    }

    /// A run of the job of a transaction wrote.
    fn wrote(&mut self, transaction: &Transaction) {
        let Some(job) = job_of(transaction) else { return };
        let tenant = self.tenant(&transaction.tenant);
        let Some(run) = tenant.runs.get(&job) else { return };
        let versions = tenant.versions(&job, &run.since);
        let versions: Vec<_> = versions.into_iter().map(terms).collect();
        tenant.written.entry(job).or_default().extend(versions);
    }

    /// Notes intents that end in containers which their job does not cover any more.
    fn settled_elsewhere(&mut self, transaction: &Transaction, ended: &BTreeMap<Key, Intent>) {
        let Some(job) = job_of(transaction).filter(|_| !ended.is_empty()) else {
            return;
        };
        let tenant = self.tenant(&transaction.tenant);
        let moment = tenant.now();
        let jobs = tenant.jobs();
        let is_elsewhere = |intent: &Intent| {
            let known = jobs.get(&job);
            known.is_some_and(|job| moment.wants(job, &intent.key).is_none())
        };
        if ended.values().any(is_elsewhere) {
            self.occur(Occurrence::SettledElsewhere);
        }
    }

    fn saved(&mut self, tenant: &TenantId, bytes: &[u8]) {
        let Some(job) = value_of::<Job>(bytes) else {
            return self.violate("job_unreadable", "what was stored as a job is none");
        };
        if job.tenant != *tenant {
            return self.violate(
                "tenants_mixed",
                format!("a job of {} is stored under {tenant}", job.tenant),
            );
        }
        let tenant = self.tenant(tenant);
        let mut jobs = tenant.jobs();
        let after = terms(&job);
        let before = jobs.insert(job.id.clone(), job);
        tenant.jobs.push(jobs);
        if before.is_some_and(|before| terms(&before) != after) {
            self.occur(Occurrence::PolicyChanged);
        }
    }
}

/// The job under whose lease a transaction is.
fn job_of(transaction: &Transaction) -> Option<JobId> {
    let fence = transaction.fence.as_ref()?;
    match fence.name.key.parts().collect::<Vec<_>>()[..] {
        ["job", job] => JobId::new(job).ok(),
        _ => None,
    }
}

/// What the record of a run that panicked says.
pub(crate) fn panicked(bytes: &[u8]) -> Option<String> {
    match value_of::<RunRecord>(bytes)?.state {
        RunState::Failed { code, message, .. } if code == "panicked" => Some(message),
        _ => None,
    }
}

/// What a value of the engine's says.
pub(super) fn value_of<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut stored: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    serde_json::from_value(stored.get_mut("value")?.take()).ok()
}

fn later(now: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(span)
        .ok()
        .and_then(|span| now.checked_add_signed(span))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
