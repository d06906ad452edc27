//! What people approved: exactly what they were shown, and for as long as they said.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use usersync_engine::Job;
use usersync_model::{Digest, TenantId};
use usersync_reconcile::{Action, Approval, Plan};
use usersync_store::LedgerKey;

use super::{History, Tenant};

/// What people were shown, and what of that they approved.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    /// What waited, by the digest that stands for it.
    shown: BTreeMap<Digest, Waiting>,
    given: Vec<Approval>,
}

/// What waits for an approval.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    removals: BTreeSet<LedgerKey>,
    adoptions: BTreeSet<LedgerKey>,
}

impl History {
    /// Somebody is shown what waits in a plan.
    pub(crate) fn shown(&mut self, tenant: &TenantId, plan: &Plan) {
        let Some(held) = plan.held_digest() else { return };
        let mut waiting = Waiting::default();
        for section in plan.sections() {
            for hold in section.holds.iter().filter(|hold| hold.cause.is_approvable()) {
                let key = LedgerKey {
                    container: section.container.clone(),
                    subject: hold.operation.subject.clone(),
                };
                match hold.operation.action {
                    Action::Adopt => waiting.adoptions.insert(key),
                    Action::Delete | Action::Remove => waiting.removals.insert(key),
                    _ => continue,
                };
            }
        }
        self.tenant(tenant).approvals.show(held, waiting);
    }
}

impl Approvals {
    pub(super) fn show(&mut self, held: Digest, waiting: Waiting) {
        self.shown.insert(held, waiting);
    }
}

impl Waiting {
    #[cfg(test)]
    pub(super) fn of_removals(keys: impl IntoIterator<Item = LedgerKey>) -> Self {
        Self {
            removals: keys.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl Tenant {
    pub(super) fn approve(&mut self, approval: Approval) {
        self.approvals.given.push(approval);
    }

    /// Whether a run that began at `began`, and goes by one of these versions of its job, may remove what waited for an approval.
    pub(super) fn lets_go(&self, versions: &[&Job], key: &LedgerKey, began: DateTime<Utc>) -> bool {
        self.lets(versions, began, |waiting| waiting.removals.contains(key))
    }

    /// Whether it may count as its own who is there.
    pub(super) fn lets_adopt(&self, versions: &[&Job], key: &LedgerKey, began: DateTime<Utc>) -> bool {
        self.lets(versions, began, |waiting| waiting.adoptions.contains(key))
    }

    fn lets(&self, versions: &[&Job], began: DateTime<Utc>, what: impl Fn(&Waiting) -> bool) -> bool {
        let is_of = |approval: &Approval, job: &Job| {
            // Where directories have filters, a policy is more than what the job says.
            let saved = || self.jobs.iter().filter_map(|jobs| jobs.get(&job.id));
            approval.job == job.id
                && (approval.policy == job.policy_digest()
                    || !saved().any(|saved| saved.policy_digest() == approval.policy))
        };
        self.approvals.given.iter().any(|approval| {
            began < approval.expires
                && versions.iter().any(|job| is_of(approval, job))
                && self.approvals.shown.get(&approval.held).is_some_and(&what)
        })
    }
}
