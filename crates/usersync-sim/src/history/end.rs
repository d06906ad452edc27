//! Where a world that is left alone has to end.

use std::collections::{BTreeMap, BTreeSet};

use usersync_engine::Job;
use usersync_model::{JobId, Origin, TenantId};
use usersync_reconcile::{Drift, Mode};
use usersync_store::{LedgerKey, Table};

use super::commit::Intent;
use super::{History, Put};
use crate::model::leaves;

impl History {
    /// Compares where a tenant ended with where the naive model says that it ends. `outdated` are the members with another role than their
    /// container gives.
    pub(crate) fn ended(&mut self, id: &TenantId, outdated: &BTreeMap<LedgerKey, String>) {
        let mut problems: Vec<(&'static str, String)> = Vec::new();
        let ledger = self.shadow.tenant(id).ledger.clone();
        let journal: Vec<_> = self
            .shadow
            .tenant(id)
            .values
            .iter()
            .filter(|((table, _), _)| *table == Table::Intent)
            .filter_map(|((_, name), bytes)| Some((name.clone(), Intent::read(bytes)?.key)))
            .collect();
        let waiting = self.shadow.tenant(id).outbox.len();
        let tenant = self.tenant(id);
        let (moment, jobs, there) = (tenant.now(), tenant.jobs(), tenant.members());
        let at_rest: BTreeMap<&JobId, _> = jobs
            .values()
            .map(|job| {
                let leaves = |key: &LedgerKey| leaves(job, ledger.get(key));
                (&job.id, moment.at_rest(job, &there, leaves))
            })
            .collect();
        let wants = |job: &Job, key: &LedgerKey| {
            let wants = moment.wants(job, key)?;
            match key.subject.principal() {
                Some(who) => {
                    let wanted = at_rest[&job.id].get(&key.container)?;
                    Some(wanted.as_ref()?.contains(who))
                }
                None => Some(wants),
            }
        };
        let covering = |key: &LedgerKey| -> Vec<(&Job, bool)> {
            jobs.values()
                .filter_map(|job| Some((job, wants(job, key)?)))
                .collect()
        };
        let mut keys: BTreeSet<LedgerKey> = tenant.here.keys().chain(ledger.keys()).cloned().collect();
        for job in jobs.values() {
            for container in moment.collections(job) {
                let wanted = moment.wanted(job, &container).into_iter();
                keys.extend(wanted.map(|subject| LedgerKey {
                    container: container.clone(),
                    subject,
                }));
            }
            for (container, wanted) in &at_rest[&job.id] {
                let wanted = wanted.iter().flatten().cloned();
                keys.extend(wanted.map(|who| LedgerKey::member(container.clone(), who)));
            }
        }
        for key in &keys {
            let here = tenant.here.get(key).copied();
            let row = ledger.get(key);
            let jobs = covering(key);
            let show = || format!("{} in {} of {id}: {here:?}, {row:?}", key.subject, key.container);
            let restores = |job: &Job| job.policy.mode != Mode::Managed || job.policy.drift == Drift::Restore;
            let wanted = jobs.iter().any(|(job, wanted)| *wanted && restores(job));
            let is_wanted = jobs.iter().any(|(_, wanted)| *wanted);
            let is_untouched = here == Some(Put::Ours) && !tenant.roles_by_hand.contains(key);
            if let Some(role) = outdated.get(key).filter(|_| is_wanted && is_untouched) {
                problems.push(("role_left_behind", format!("{}: {role}", show())));
            }
            let unwanted = jobs.iter().all(|(_, wanted)| !*wanted);
            if wanted && here.is_none() {
                problems.push(("missing_at_the_end", show()));
            }
            // A claim of a job that only adds, or that covers it no more, keeps what is there.
            let is_kept = row.is_some_and(|row| {
                row.claims().iter().any(|claim| {
                    !jobs
                        .iter()
                        .any(|(job, _)| job.id == *claim && job.policy.mode != Mode::AddOnly)
                })
            });
            let removes = jobs.iter().any(|(job, _)| job.policy.mode != Mode::AddOnly);
            if unwanted && here == Some(Put::Ours) && removes && !is_kept && row.is_some() {
                problems.push(("left_behind", show()));
            }
            if unwanted && here == Some(Put::Ours) && row.is_none() && !jobs.is_empty() {
                problems.push(("ours_forgotten", show()));
            }
            let mirrors = jobs.iter().any(|(job, _)| job.policy.mode == Mode::Mirror);
            if unwanted && here.is_some() && mirrors && !is_kept {
                problems.push(("left_in_mirror", show()));
            }
            if let Some(row) = row {
                let claims_unwanted = row.claims().iter().any(|claim| {
                    jobs.iter()
                        .any(|(job, wanted)| job.id == *claim && !*wanted && job.policy.mode != Mode::AddOnly)
                });
                if claims_unwanted {
                    problems.push(("claim_left_behind", show()));
                }
                if row.origin == Origin::Ours && here == Some(Put::People) {
                    problems.push(("foreign_claimed", show()));
                }
            }
        }
        for (name, key) in journal {
            // Nobody is wanted and nobody unwanted where containers exclude each other: what is on its way there waits for a person.
            let job = name.parts().next();
            let at_rest = at_rest.iter().find(|(id, _)| Some(id.as_str()) == job);
            if at_rest.is_some_and(|(_, wanted)| wanted.get(&key.container) == Some(&None)) {
                continue;
            }
            problems.push((
                "journal_left_open",
                format!("{name:?} of {id}: {} in {}", key.subject, key.container),
            ));
        }
        if waiting > 0 {
            problems.push((
                "outbox_left_full",
                format!("{waiting} notifications of {id} wait"),
            ));
        }
        for (rule, message) in problems {
            self.violate(rule, message);
        }
    }
}
